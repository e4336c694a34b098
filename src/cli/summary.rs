//! What was read, counted and sent, for people and for machines.

use std::fmt::Write as _;

use serde_json::json;

use super::Ended;
use super::send::Outgoing;
use crate::delivery::Report;
use crate::intake::Gathered;
use crate::model::tokens::CLASSES;
use crate::model::{RunKind, Tokens};

/// What became of the telemetry.
pub(super) struct Delivered {
    pub(super) to: Vec<String>,
    pub(super) report: Report,
}

impl Delivered {
    /// It was only shown.
    pub(super) fn nowhere() -> Self {
        Self { to: Vec::new(), report: Report::default() }
    }
}

pub(super) struct Summary<'s> {
    records: u64,
    runs: [usize; 3],
    tokens: Tokens,
    outgoing: &'s Outgoing,
    delivered: Delivered,
}

impl<'s> Summary<'s> {
    pub(super) fn of(gathered: &Gathered, outgoing: &'s Outgoing, delivered: Delivered) -> Self {
        Self {
            records: gathered.records,
            runs: [RunKind::Agent, RunKind::Team, RunKind::Workflow].map(|kind| gathered.runs(kind)),
            tokens: gathered.tokens(),
            outgoing,
            delivered,
        }
    }

    /// Refusals are counted and kept apart, never silently a success.
    pub(super) fn ended(&self) -> Ended {
        let Report { refused, rejected, .. } = self.delivered.report;
        if refused + rejected > 0 { Ended::SomeRefused } else { Ended::Done }
    }

    pub(super) fn text(&self) -> String {
        let [agents, teams, workflows] = self.runs;
        let all = agents + teams + workflows;
        let mut text = String::new();
        // Writing to a string cannot fail.
        let mut line = |label: &str, value: &str| {
            writeln!(text, "{label:<11}{value}").ok();
        };
        let kinds = format!("{all} (agents {agents}, teams {teams}, workflows {workflows})");
        line("runs", &format!("{kinds} in {}", counted(self.outgoing.sessions, "session")));
        let spans =
            format!("{} in {}", grouped(self.outgoing.spans()), counted(self.outgoing.traces, "trace"));
        line("spans", &spans);
        line("series", &grouped(self.outgoing.series as u64));
        let classes: Vec<String> = CLASSES
            .iter()
            .map(|&class| format!("{} {}", class.as_str(), grouped(self.tokens.of(class))))
            .collect();
        line("tokens", &format!("{} ({})", grouped(self.tokens.total()), classes.join(", ")));
        let report = &self.delivered.report;
        if self.delivered.to.is_empty() {
            line("delivered", "nothing: no endpoint is set");
        } else {
            let requests = counted(usize::try_from(report.delivered).unwrap_or(usize::MAX), "request");
            line("delivered", &format!("{requests} to {}", self.delivered.to.join(" and ")));
        }
        if report.refused + report.rejected > 0 {
            let reasons = report.reasons.join("; ");
            line(
                "refused",
                &format!(
                    "{} requests, {} spans or points within others: {reasons}",
                    report.refused, report.rejected
                ),
            );
        }
        for (oddity, count) in self.outgoing.oddities.iter() {
            line("odd", &format!("{} × {}: {}", grouped(count), oddity.as_str(), oddity.meaning()));
        }
        text
    }

    pub(super) fn json(&self) -> serde_json::Result<String> {
        let [agents, teams, workflows] = self.runs;
        let tokens: serde_json::Map<String, serde_json::Value> =
            CLASSES.iter().map(|&class| (class.as_str().to_owned(), json!(self.tokens.of(class)))).collect();
        let oddities: serde_json::Map<String, serde_json::Value> = self
            .outgoing
            .oddities
            .iter()
            .map(|(oddity, count)| (oddity.as_str().to_owned(), json!(count)))
            .collect();
        let report = &self.delivered.report;
        let summary = json!({
            "records": self.records,
            "runs": {"agent": agents, "team": teams, "workflow": workflows},
            "sessions": self.outgoing.sessions,
            "traces": self.outgoing.traces,
            "spans": self.outgoing.spans(),
            "series": self.outgoing.series,
            "tokens": tokens,
            "total_tokens": self.tokens.total(),
            "destinations": self.delivered.to,
            "requests_delivered": report.delivered,
            "requests_refused": report.refused,
            "items_refused": report.refused_items,
            "items_rejected": report.rejected,
            "attempts": report.attempts,
            "reasons": report.reasons,
            "oddities": oddities,
        });
        Ok(format!("{}\n", serde_json::to_string_pretty(&summary)?))
    }
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(count as u64))
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && place % 3 == first {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let shown: Vec<String> = [0, 12, 123, 1_234, 123_456, 1_234_567].into_iter().map(grouped).collect();
        assert_eq!(shown, ["0", "12", "123", "1,234", "123,456", "1,234,567"]);
    }
}
