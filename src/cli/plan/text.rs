//! What would be sent, for people in as many columns as there are, and for machines.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::scale::{Largest, Weight};
use super::{Label, Plan};
use crate::cli::summary::{Summary, counted, of_cost, of_tokens};
use crate::config::History;
use crate::export::print::grouped;
use crate::ledger::MAX_VALUES_PER_ATTRIBUTE;
use crate::otel::Mode;
use crate::otel::census::ALL;

/// Where values begin.
const INDENT: usize = 12;
/// Fewer columns than these are not wrapped to: a word would not fit.
const LEAST_COLUMNS: usize = 40;
/// Models without a price that are shown; `--json` has all.
const MODELS: usize = 10;
/// An attribute with this many of a hundred values it may have is near its cap.
const NEAR_PERCENT: usize = 80;

impl Label {
    fn is_near(&self) -> bool {
        self.values * 100 >= MAX_VALUES_PER_ATTRIBUTE * NEAR_PERCENT
    }
}

/// Lines of a label and a value, wrapped below the value.
struct Lines {
    text: String,
    columns: Option<usize>,
}

impl Lines {
    fn add(&mut self, label: &str, value: &str) {
        let room = self.columns.map_or(usize::MAX, |columns| columns.max(LEAST_COLUMNS) - INDENT);
        let mut label = label;
        let mut row = String::new();
        for word in value.split(' ') {
            if !row.is_empty() && row.chars().count() + 1 + word.chars().count() > room {
                self.row(label, &std::mem::take(&mut row));
                label = "";
            }
            if !row.is_empty() {
                row.push(' ');
            }
            row.push_str(word);
        }
        self.row(label, &row);
    }

    fn row(&mut self, label: &str, row: &str) {
        // Writing to a string cannot fail.
        writeln!(self.text, "{label:<INDENT$}{row}").ok();
    }
}

impl Plan {
    pub(super) fn text(&self, columns: Option<usize>) -> String {
        let mut lines = Lines { text: String::new(), columns };
        self.counted(&mut lines);
        self.weighed(&mut lines);
        self.kept_back(&mut lines);
        lines.add("run", &self.first_contact());
        self.series(&mut lines);
        lines.text
    }

    /// What was found, and what it becomes.
    fn counted(&self, lines: &mut Lines) {
        let (sent, census) = (&self.sent, &self.scale.census);
        let [agents, teams, workflows] = sent.runs;
        let kinds = format!("(agents {agents}, teams {teams}, workflows {workflows})");
        let sessions = counted(sent.sessions as u64, "session");
        lines.add("runs", &format!("{} {kinds} in {sessions}", grouped(self.run_count())));
        let largest = self.scale.largest.as_ref().map(|Largest { run_id, spans, bytes }| {
            format!(
                "; the largest, of run {run_id}: {}, {}",
                counted(*spans, "span"),
                counted(*bytes, "byte")
            )
        });
        lines.add("traces", &format!("{}{}", grouped(sent.traces), largest.unwrap_or_default()));
        let of = ALL.map(|of| (of, census.spans.get(&of).copied().unwrap_or(0)));
        let of: Vec<String> = of
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(of, count)| counted(*count, of.as_str()))
            .collect();
        lines.add("spans", &with(&grouped(sent.spans), &of));
        let events: Vec<String> =
            census.events.iter().map(|(name, count)| format!("{name} {}", grouped(*count))).collect();
        lines.add("events", &with(&grouped(census.events.values().sum()), &events));
        lines.add("tokens", &of_tokens(&sent.tokens));
        if let Some(cost) = &sent.cost {
            lines.add("cost", &of_cost(cost));
        }
        let mut unpriced: Vec<_> = sent.unpriced.iter().collect();
        unpriced.sort_by_key(|(model, tokens)| (std::cmp::Reverse(**tokens), *model));
        let labels = std::iter::once("unpriced").chain(std::iter::repeat(""));
        for (((provider, model), tokens), label) in unpriced.iter().take(MODELS).zip(labels) {
            let names: Vec<&str> =
                [provider.as_str(), model].into_iter().filter(|name| !name.is_empty()).collect();
            let name = if names.is_empty() { "an unknown model".to_owned() } else { names.join(" ") };
            lines.add(label, &format!("{} of {name}: no price is known", counted(**tokens, "token")));
        }
        if let more @ 1.. = unpriced.len().saturating_sub(MODELS) {
            lines.add("", &format!("and {}", counted(more as u64, "more model")));
        }
        for (oddity, count) in sent.oddities.iter() {
            lines.add("odd", &format!("{} × {}: {}", grouped(count), oddity.as_str(), oddity.meaning()));
        }
    }

    fn weighed(&self, lines: &mut Lines) {
        let of = |what: &str, Weight { requests, bytes, gzip_bytes, largest_bytes }: &Weight| {
            let largest = format!("the largest {}", grouped(*largest_bytes));
            let largest = if *requests > 1 { format!("; {largest}") } else { String::new() };
            let requests = counted(*requests, "request");
            format!(
                "{} of {what} in {requests}{largest}; {} by gzip",
                counted(*bytes, "byte"),
                grouped(*gzip_bytes)
            )
        };
        lines.add("bytes", &of("spans", &self.scale.traces));
        lines.add("", &of("metrics", &self.scale.metrics));
        let rest = &self.at_rest;
        let (bytes, gzip) = (counted(rest.bytes, "byte"), grouped(rest.gzip_bytes));
        lines.add(
            "",
            &format!(
                "run sends the metrics again at each release: {bytes} of series at rest; {gzip} by gzip"
            ),
        );
    }

    /// What stays where it is.
    fn kept_back(&self, lines: &mut Lines) {
        let (content, kept) = (&self.content, &self.kept);
        let words = &content.words;
        let words = format!(
            "{}, {} and {}",
            counted(words.attributes, "attribute"),
            counted(words.events, "event"),
            counted(words.error_texts, "error text")
        );
        let (sent, full) = (self.scale.traces.bytes, content.bytes);
        lines.add(
            "content",
            &match self.settings.content.mode() {
                Mode::None => format!(
                    "none: {words} with content stay, {}; with --content full spans have {}",
                    counted(full.saturating_sub(sent), "byte"),
                    grouped(full)
                ),
                Mode::Masked => format!(
                    "masked: {words} say lengths and hashes alone; with --content full spans have {}",
                    counted(full, "byte")
                ),
                Mode::Full => format!("full: {words} with content are sent"),
            },
        );
        let is = if self.settings.user_id { "sent" } else { "not sent" };
        let have = if kept.user_ids == 1 { "run has" } else { "runs have" };
        lines.add("user.id", &format!("{is}; {} {have} it", grouped(kept.user_ids)));
        if kept.media > 0 {
            let (pieces, bytes) = (counted(kept.media, "piece"), counted(kept.media_bytes, "byte"));
            lines.add("media", &format!("{pieces} of {bytes} in records; never sent"));
        }
    }

    /// What `run` does with these runs, for which they are history.
    fn first_contact(&self) -> String {
        let runs = counted(self.run_count(), "run");
        let traces = counted(self.sent.traces, "trace");
        match self.history {
            History::Skip => format!(
                "would skip {runs} that are there at its first contact; --history traces sends {traces}, --history count counts them too"
            ),
            History::Traces => format!(
                "would send {traces} of what is there at its first contact, and not count {runs}; --history count counts them too"
            ),
            History::Count => {
                format!("would send {traces} of what is there at its first contact, and count {runs}")
            }
        }
    }

    fn series(&self, lines: &mut Lines) {
        lines.row("series", &grouped(self.sent.series as u64));
        for (name, family) in &self.series {
            let labels: Vec<&str> = family.labels.iter().copied().collect();
            let by = if labels.is_empty() { String::new() } else { format!(" by {}", labels.join(", ")) };
            lines.add(&format!("{:>10}", grouped(family.series)), &format!("{name}{by}"));
        }
        lines.add("labels", &format!("values of each, at most {}", grouped(MAX_VALUES_PER_ATTRIBUTE as u64)));
        for label in &self.labels {
            let about = match label.folded {
                0 if label.is_near() => ": near the most".to_owned(),
                0 => String::new(),
                more => format!(": {} more would be counted as \"other\"", grouped(more as u64)),
            };
            lines.add(&format!("{:>10}", grouped(label.values as u64)), &format!("{}{about}", label.name));
        }
    }

    fn run_count(&self) -> u64 {
        self.sent.runs.iter().sum::<usize>() as u64
    }

    pub(super) fn json(&self) -> serde_json::Result<String> {
        let census = &self.scale.census;
        let mut plan = Summary { sent: &self.sent }.counted();
        let weight = |weight: &Weight| {
            json!({"requests": weight.requests, "bytes": weight.bytes, "gzip_bytes": weight.gzip_bytes,
                "largest_bytes": weight.largest_bytes})
        };
        let spans = ALL.map(|of| (of.as_str().replace(' ', "_"), json!(census.spans.get(&of).unwrap_or(&0))));
        let words = |words: &crate::otel::census::Words| json!({"attributes": words.attributes, "events": words.events, "error_texts": words.error_texts});
        let metric = |(name, family): (&&str, &super::Family)| json!({"name": name, "series": family.series, "labels": family.labels});
        let label = |label: &Label| json!({"name": label.name, "values": label.values, "folded": label.folded, "is_near_most": label.is_near()});
        let largest = self.scale.largest.as_ref();
        let more = [
            ("spans_by_kind", Value::Object(spans.into_iter().collect())),
            ("events", json!(census.events)),
            (
                "largest_trace",
                largest.map_or(
                    Value::Null,
                    |it| json!({"run_id": it.run_id, "spans": it.spans, "bytes": it.bytes}),
                ),
            ),
            ("span_requests", weight(&self.scale.traces)),
            ("metric_requests", weight(&self.scale.metrics)),
            ("metric_requests_at_rest", weight(&self.at_rest)),
            ("metrics", Value::Array(self.series.iter().map(metric).collect())),
            ("labels", Value::Array(self.labels.iter().map(label).collect())),
            ("label_values_most", json!(MAX_VALUES_PER_ATTRIBUTE)),
            (
                "content",
                json!({
                    "mode": match self.settings.content.mode() {
                        Mode::None => "none",
                        Mode::Masked => "masked",
                        Mode::Full => "full",
                    },
                    "sent": words(&census.words),
                    "full": words(&self.content.words),
                    "full_span_bytes": self.content.bytes,
                }),
            ),
            ("user_id", json!({"is_sent": self.settings.user_id, "runs": self.kept.user_ids})),
            ("media", json!({"pieces": self.kept.media, "bytes": self.kept.media_bytes})),
            (
                "run_at_first_contact",
                json!(match self.history {
                    History::Skip => "skip",
                    History::Traces => "traces",
                    History::Count => "count",
                }),
            ),
        ];
        plan.extend(more.map(|(name, value)| (name.to_owned(), value)));
        Ok(format!("{}\n", serde_json::to_string_pretty(&Value::Object(plan))?))
    }
}

/// A number with what it is made of.
fn with(number: &str, parts: &[String]) -> String {
    if parts.is_empty() { number.to_owned() } else { format!("{number} ({})", parts.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_wrapped_to_the_columns_there_are_and_lose_no_word() {
        let value = "seven words of which one is quitealongone and stays whole";
        for columns in [None, Some(10), Some(40), Some(60), Some(200)] {
            let mut lines = Lines { text: String::new(), columns };
            lines.add("label", value);
            let words: Vec<&str> = lines.text.split_whitespace().collect();
            assert_eq!(words.join(" "), format!("label {value}"));
            let longest = lines.text.lines().map(str::len).max().unwrap();
            assert!(
                longest <= columns.map_or(usize::MAX, |columns| columns.max(LEAST_COLUMNS)),
                "{}",
                lines.text
            );
        }
    }
}
