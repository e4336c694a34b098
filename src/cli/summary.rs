//! What was read, counted and sent, for people and for machines.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::outgoing::Sent;
use crate::delivery;
use crate::export::print::{dollars, grouped};
use crate::intake::Unpriced;
use crate::model::cost::{self, usd};
use crate::model::tokens::CLASSES;
use crate::model::{Cost, Tokens};

/// How many models without a price are named.
const NAMED: usize = 3;

pub(super) struct Summary<'s> {
    pub(super) sent: &'s Sent,
}

impl Summary<'_> {
    pub(super) fn text(&self) -> String {
        let sent = self.sent;
        let [agents, teams, workflows] = sent.runs;
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
        line("tokens", &of_tokens(&sent.tokens));
        if let Some(cost) = &sent.cost {
            line("cost", &of_cost(cost));
        }
        if !sent.unpriced.is_empty() {
            line("unpriced", &of_unpriced(&sent.unpriced));
        }
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

    /// What was read and counted, for machines.
    pub(super) fn counted(&self) -> Map<String, Value> {
        let sent = self.sent;
        let ([agents, teams, workflows], tokens) = (sent.runs, sent.tokens);
        let of_class =
            |class: crate::model::tokens::Class| (class.as_str().to_owned(), json!(tokens.of(class)));
        let tokens_by_class: Map<String, Value> = CLASSES.iter().map(|&class| of_class(class)).collect();
        let oddities: Map<String, Value> =
            sent.oddities.iter().map(|(oddity, count)| (oddity.as_str().to_owned(), json!(count))).collect();
        let model = |((provider, model), tokens): (&(String, String), &u64)| json!({"provider": provider, "model": model, "tokens": tokens});
        let unpriced: Vec<Value> = sent.unpriced.iter().map(model).collect();
        let fields = [
            ("records", json!(sent.records)),
            ("runs", json!({"agent": agents, "team": teams, "workflow": workflows})),
            ("sessions", json!(sent.sessions)),
            ("traces", json!(sent.traces)),
            ("spans", json!(sent.spans)),
            ("series", json!(sent.series)),
            ("tokens", Value::Object(tokens_by_class)),
            ("total_tokens", json!(tokens.total())),
            ("cost_usd", json!(sent.cost.map(|cost| usd(cost.nano_usd)))),
            ("cost_is_estimate", json!(sent.cost.map(|cost| cost.is_estimate))),
            ("unpriced_tokens", Value::Array(unpriced)),
            ("oddities", Value::Object(oddities)),
        ];
        fields.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
    }

    pub(super) fn json(&self) -> serde_json::Result<String> {
        let (sent, report) = (self.sent, &self.sent.report);
        let mut attempts = report.traces.attempts.clone();
        for (outcome, count) in &report.metrics.attempts {
            *attempts.entry(outcome).or_default() += count;
        }
        let mut summary = self.counted();
        let fields = [
            ("records_known", json!(sent.known)),
            ("destinations", json!(sent.targets)),
            ("requests_delivered", json!(report.sum(|sent| sent.delivered))),
            ("requests_refused", json!(report.sum(|sent| sent.refused))),
            ("requests_undelivered", json!(report.sum(|sent| sent.undelivered))),
            ("items_refused", json!(report.sum(|sent| sent.refused_items))),
            ("items_rejected", json!(report.sum(|sent| sent.rejected))),
            ("spans_without_content", json!(report.traces.stripped)),
            ("attempts", json!(attempts)),
            ("reasons", json!(report.reasons)),
            ("warnings", json!(report.warnings)),
        ];
        summary.extend(fields.map(|(name, value)| (name.to_owned(), value)));
        Ok(format!("{}\n", serde_json::to_string_pretty(&Value::Object(summary))?))
    }
}

/// Tokens by their classes.
pub(super) fn of_tokens(tokens: &Tokens) -> String {
    let classes: Vec<String> =
        CLASSES.iter().map(|&class| format!("{} {}", class.as_str(), grouped(tokens.of(class)))).collect();
    format!("{} ({})", grouped(tokens.total()), classes.join(", "))
}

/// An amount, whose it is, and whether it is surely so.
pub(super) fn of_cost(cost: &Cost) -> String {
    let about = if cost.is_estimate { ", in part estimated" } else { "" };
    let by = match cost.source {
        cost::PROVIDER => "as the provider states",
        cost::CONFIG => "by the prices of the config file",
        cost::LOCAL => "models of one's own",
        cost::MIXED => "from several sources",
        table => table,
    };
    format!("{} ({by}{about})", dollars(cost.nano_usd))
}

/// How many tokens have no known price, and the models they were most spent on.
pub(super) fn of_unpriced(unpriced: &Unpriced) -> String {
    let mut models: Vec<(&str, u64)> = Vec::new();
    for ((provider, model), tokens) in unpriced {
        models.push((if model.is_empty() { provider } else { model }, *tokens));
    }
    models.sort_by_key(|(model, tokens)| (std::cmp::Reverse(*tokens), *model));
    let named: Vec<&str> = models.iter().map(|(model, _)| *model).take(NAMED).collect();
    let more = models.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let tokens = models.iter().map(|(_, tokens)| *tokens).fold(0, u64::saturating_add);
    format!("{} of {}{more}: no price is known", counted(tokens, "token"), named.join(", "))
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
