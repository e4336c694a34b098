//! Telemetry on its way from what was gathered to where it goes.

use super::plan::Scale;
use super::{AllRefused, Ended};
use crate::clock::Clock;
use crate::delivery::{self, Delivery, Report};
use crate::export::otlp_json::{self, OtlpJson};
use crate::export::{Request, Signal};
use crate::framework::Oddities;
use crate::intake::{self, Gathered, Surveyed, Unpriced, count_reading};
use crate::ledger::Ledger;
use crate::model::{Cost, RunKind, Tokens};
use crate::observe::{About, Underway};
use crate::otel::names;
use crate::otel::request::{Chunk, metric_chunks, view_chunks};
use crate::otel::{Resource, Settings, TraceView, metrics};

/// A request of several traces is sent when the next would make it larger than this: large enough that its overhead is
/// nothing, small enough to be copied a few times.
const FULL_REQUEST_BYTES: usize = 1024 * 1024;

/// Where telemetry goes.
#[derive(Debug)]
pub(super) enum Way {
    /// To an endpoint.
    Endpoint(Box<Delivery>),
    /// Into a file, which takes everything.
    File(OtlpJson, Box<Report>),
    /// Nowhere: it is weighed.
    Scale(Box<Scale>),
    /// Nowhere: it was only shown.
    Nowhere,
}

/// What was sent, and what became of it.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) records: u64,
    /// Records that were counted before, where there is a state file.
    pub(super) known: Option<u64>,
    /// Runs of agents, teams and workflows.
    pub(super) runs: [usize; 3],
    pub(super) tokens: Tokens,
    pub(super) cost: Option<Cost>,
    pub(super) unpriced: Unpriced,
    pub(super) traces: u64,
    pub(super) spans: u64,
    pub(super) series: usize,
    pub(super) sessions: usize,
    pub(super) oddities: Oddities,
    /// Where spans and metrics went.
    pub(super) targets: Vec<String>,
    pub(super) report: Report,
    pub(super) gave_up: Option<delivery::Error>,
}

/// Telemetry on its way: spans family by family, metrics at the end, so that an exemplar never points at a trace that is
/// not there yet.
pub(super) struct Outgoing<'o> {
    way: &'o mut Way,
    resource: &'o Resource,
    settings: Settings,
    clock: Clock,
    ledger: Ledger,
    /// What of the next request is there already.
    request: Vec<Chunk>,
    bytes: usize,
    underway: Underway,
    sent: Sent,
}

impl<'o> Outgoing<'o> {
    pub(super) fn new(way: &'o mut Way, resource: &'o Resource, settings: Settings, clock: Clock) -> Self {
        let sent = Sent { targets: way.targets(), ..Sent::default() };
        let (ledger, request, underway) = (Ledger::default(), Vec::new(), Underway::default());
        Self { way, resource, settings, clock, ledger, request, bytes: 0, underway, sent }
    }

    /// Counts the runs of a family and sends their traces, each made when it is its turn.
    pub(super) async fn send(&mut self, gathered: &Gathered) -> anyhow::Result<()> {
        for trace in gathered.traces(self.settings) {
            self.sent.traces += 1;
            let about = About::of(&trace);
            let chunks = view_chunks(&trace, self.resource);
            self.way.see(&trace, &chunks);
            for chunk in chunks {
                self.sent.spans += chunk.items;
                if self.bytes > 0 && self.bytes + chunk.bytes.len() > FULL_REQUEST_BYTES {
                    self.flush().await?;
                }
                self.bytes += chunk.bytes.len();
                self.request.push(chunk);
                self.underway.holds(&about);
            }
        }
        gathered.count(&mut self.ledger, self.settings);
        // Nothing of another family is theirs.
        self.ledger.forget_runs();
        self.sent.oddities.merge(&gathered.oddities);
        self.sent.tokens += gathered.tokens();
        self.sent.cost = Cost::sum(self.sent.cost.into_iter().chain(gathered.cost()));
        intake::add_unpriced(&mut self.sent.unpriced, &gathered.unpriced());
        let kinds = [RunKind::Agent, RunKind::Team, RunKind::Workflow];
        for (count, kind) in self.sent.runs.iter_mut().zip(kinds) {
            *count += gathered.runs(kind);
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), delivery::Error> {
        let request = std::mem::take(&mut self.request);
        self.bytes = 0;
        let taken = self.way.take(Signal::Traces, &request, &mut self.sent.gave_up);
        self.underway.deliver(Signal::Traces, taken).await
    }

    /// Sends what is left, and the metrics. Returns what was sent, and what was counted.
    pub(super) async fn finish(mut self, surveyed: &Surveyed) -> anyhow::Result<(Sent, Ledger)> {
        self.flush().await?;
        let Self { way, resource, clock, mut ledger, mut underway, mut sent, .. } = self;
        sent.records = surveyed.records;
        sent.oddities.merge(&surveyed.oddities);
        count_reading(&mut ledger, sent.records, &sent.oddities);
        way.count(&mut ledger);
        intake::take_leave(&mut ledger);
        let released = ledger.release(clock.now_ns());
        sent.series = released.len();
        for chunk in metric_chunks(metrics::metrics(&released), resource) {
            let taken = way.take(Signal::Metrics, std::slice::from_ref(&chunk), &mut sent.gave_up);
            underway.deliver(Signal::Metrics, taken).await?;
        }
        sent.sessions = ledger.session_count();
        sent.oddities.merge(&ledger.oddities());
        sent.report = way.end()?;
        Ok((sent, ledger))
    }
}

impl Way {
    fn targets(&self) -> Vec<String> {
        match self {
            Self::Endpoint(delivery) => {
                [Signal::Traces, Signal::Metrics].map(|signal| delivery.target(signal)).into()
            }
            Self::File(file, _) => vec![file.name()],
            Self::Scale(_) | Self::Nowhere => Vec::new(),
        }
    }

    /// Looks at a trace that is about to be taken.
    fn see(&mut self, trace: &TraceView<'_>, chunks: &[Chunk]) {
        if let Self::Scale(scale) = self {
            scale.see(trace, chunks);
        }
    }

    /// Takes one request. Once a server was given up on, what would go to it is passed over.
    async fn take(
        &mut self,
        signal: Signal,
        chunks: &[Chunk],
        gave_up: &mut Option<delivery::Error>,
    ) -> Result<(), delivery::Error> {
        let request = Request { signal, chunks };
        match self {
            _ if request.is_empty() => Ok(()),
            Self::Nowhere => Ok(()),
            Self::Scale(scale) => {
                scale.weigh(&request);
                Ok(())
            }
            Self::File(file, report) => {
                report.of_mut(signal).delivered += 1;
                Ok(file.write(&request)?)
            }
            Self::Endpoint(delivery) => {
                let is_tried = delivery.report.of(signal).undelivered == 0
                    && (gave_up.is_none() || !delivery.has_one_server());
                if !is_tried {
                    delivery.pass_over(signal);
                    return Ok(());
                }
                match delivery.deliver(&request).await {
                    Err(error @ delivery::Error::GaveUp { .. }) => {
                        gave_up.get_or_insert(error);
                        Ok(())
                    }
                    ended => ended,
                }
            }
        }
    }

    /// Counts what became of the requests so far; spans were all sent by now.
    fn count(&self, ledger: &mut Ledger) {
        let report = match self {
            Self::Endpoint(delivery) => Some(&delivery.report),
            // As an endpoint that takes everything, so that there are the same series.
            Self::Scale(scale) => Some(&scale.report),
            Self::File(..) | Self::Nowhere => None,
        };
        if let Some(sent) = report.map(|report| &report.traces) {
            for (outcome, count) in &sent.attempts {
                ledger.set(
                    &names::BRIDGE_ATTEMPTS,
                    vec![(names::BRIDGE_OUTCOME, (*outcome).to_owned())],
                    *count,
                );
            }
            for (reason, count) in [("refused", sent.refused_items), ("rejected", sent.rejected)] {
                ledger.set(&names::BRIDGE_DROPPED, vec![(names::BRIDGE_REASON, reason.to_owned())], count);
            }
        }
        let folded = ledger.oddities().count(crate::framework::Oddity::FoldedValue);
        ledger.set(&names::BRIDGE_OVERFLOW, Vec::new(), folded);
        // Itself is one of them.
        let series = ledger.series_count() as u64 + 1;
        ledger.set(&names::BRIDGE_SERIES, Vec::new(), series);
    }

    fn end(&mut self) -> Result<Report, otlp_json::Error> {
        match self {
            Self::Endpoint(delivery) => Ok(std::mem::take(&mut delivery.report)),
            Self::File(file, report) => file.flush().map(|()| std::mem::take(report.as_mut())),
            Self::Scale(scale) => Ok(std::mem::take(&mut scale.report)),
            Self::Nowhere => Ok(Report::default()),
        }
    }
}

impl Sent {
    /// How the command ends after the summary: refusals are never silently a success.
    pub(super) fn ended(self) -> anyhow::Result<Ended> {
        if let Some(error) = self.gave_up {
            return Err(error.into());
        }
        let report = &self.report;
        let refused = report.sum(|sent| sent.refused);
        if report.sum(|sent| sent.delivered) == 0 && refused > 0 {
            let which = usize::from(report.traces.refused == 0);
            let target = self.targets.into_iter().nth(which).unwrap_or_default();
            return Err(AllRefused { target, reasons: report.reasons.join("; ") }.into());
        }
        let left_out = self.oddities.iter().any(|(oddity, _)| oddity.leaves_out_record());
        let some = refused + report.sum(|sent| sent.rejected) > 0 || left_out;
        Ok(if some { Ended::SomeRefused } else { Ended::Done })
    }
}
