//! What was read, counted and sent, for people and for machines.

use std::fmt::Write as _;

use serde_json::json;

use super::send::Sent;
use crate::delivery;
use crate::model::tokens::CLASSES;

pub(super) struct Summary<'s> {
    pub(super) sent: &'s Sent,
}

impl Summary<'_> {
    pub(super) fn text(&self) -> String {
        let sent = self.sent;
        let ([agents, teams, workflows], tokens) = (sent.runs, sent.tokens);
        let mut text = String::new();
        // Writing to a string cannot fail.
        let mut line = |label: &str, value: &str| {
            writeln!(text, "{label:<12}{value}").ok();
        };
        let all = grouped((agents + teams + workflows) as u64);
        let kinds = format!("{all} (agents {agents}, teams {teams}, workflows {workflows})");
        if let Some(known) = sent.known.filter(|known| *known > 0) {
            line("known", &format!("{} counted before, and not again", counted(known, "record")));
        }
        line("runs", &format!("{kinds} in {}", counted(sent.sessions as u64, "session")));
        line("spans", &format!("{} in {}", grouped(sent.spans), counted(sent.traces, "trace")));
        line("series", &grouped(sent.series as u64));
        let classes: Vec<String> = CLASSES
            .iter()
            .map(|&class| format!("{} {}", class.as_str(), grouped(tokens.of(class))))
            .collect();
        line("tokens", &format!("{} ({})", grouped(tokens.total()), classes.join(", ")));
        match sent.targets.as_slice() {
            [] => line("delivered", "nothing: no endpoint is set"),
            [file] => line("written", &format!("to {file}")),
            [traces, metrics, ..] => {
                for (what, sent, target) in
                    [("spans", &sent.report.traces, traces), ("metrics", &sent.report.metrics, metrics)]
                {
                    of_signal(what, sent, target, &mut line);
                }
                for reason in &sent.report.reasons {
                    line("because", reason);
                }
                for warning in &sent.report.warnings {
                    line("warning", warning);
                }
            }
        }
        for (oddity, count) in sent.oddities.iter() {
            line("odd", &format!("{} × {}: {}", grouped(count), oddity.as_str(), oddity.meaning()));
        }
        text
    }

    pub(super) fn json(&self) -> serde_json::Result<String> {
        let (sent, report) = (self.sent, &self.sent.report);
        let ([agents, teams, workflows], tokens) = (sent.runs, sent.tokens);
        let of_class =
            |class: crate::model::tokens::Class| (class.as_str().to_owned(), json!(tokens.of(class)));
        let tokens_by_class: serde_json::Map<String, serde_json::Value> =
            CLASSES.iter().map(|&class| of_class(class)).collect();
        let oddities: serde_json::Map<String, serde_json::Value> =
            sent.oddities.iter().map(|(oddity, count)| (oddity.as_str().to_owned(), json!(count))).collect();
        let mut attempts = report.traces.attempts.clone();
        for (outcome, count) in &report.metrics.attempts {
            *attempts.entry(outcome).or_default() += count;
        }
        let summary = json!({
            "records": sent.records,
            "records_known": sent.known,
            "runs": {"agent": agents, "team": teams, "workflow": workflows},
            "sessions": sent.sessions,
            "traces": sent.traces,
            "spans": sent.spans,
            "series": sent.series,
            "tokens": tokens_by_class,
            "total_tokens": tokens.total(),
            "destinations": sent.targets,
            "requests_delivered": report.sum(|sent| sent.delivered),
            "requests_refused": report.sum(|sent| sent.refused),
            "requests_undelivered": report.sum(|sent| sent.undelivered),
            "items_refused": report.sum(|sent| sent.refused_items),
            "items_rejected": report.sum(|sent| sent.rejected),
            "spans_without_content": report.traces.stripped,
            "attempts": attempts,
            "reasons": report.reasons,
            "warnings": report.warnings,
            "oddities": oddities,
        });
        Ok(format!("{}\n", serde_json::to_string_pretty(&summary)?))
    }
}

/// What became of one signal's requests, a line for each thing that did.
fn of_signal(what: &str, sent: &delivery::Sent, target: &str, line: &mut impl FnMut(&str, &str)) {
    let requests = |count| counted(count, "request");
    if sent.delivered > 0 {
        line("delivered", &format!("{} of {what} to {target}", requests(sent.delivered)));
    }
    if sent.refused > 0 {
        let items = grouped(sent.refused_items);
        line("refused", &format!("{} of {what} ({items}) by {target}", requests(sent.refused)));
    }
    if sent.rejected > 0 {
        line("rejected", &format!("{} of {what} within requests to {target}", grouped(sent.rejected)));
    }
    if sent.undelivered > 0 {
        line("undelivered", &format!("{} of {what} to {target}", requests(sent.undelivered)));
    }
    if sent.stripped > 0 {
        let spans = counted(sent.stripped, "span");
        line("cut", &format!("{spans} went without content, too large with it"));
    }
}

pub(super) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(count))
}

/// A number with its thousands apart.
pub(super) fn grouped(number: u64) -> String {
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
