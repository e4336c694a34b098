//! Which of a run's model calls each of its messages is: messages matched to the sums of `metrics.details`.

use std::collections::BTreeMap;

use super::tokens::Rule;
use super::usage::Detail;
use crate::framework::{Oddities, Oddity};
use crate::model::{ModelCall, Run, Stated, Tokens, Usage};

/// Models whose answers stand among the messages beside those of the main one. All others leave none.
const ANSWERING_ROLES: [&str; 2] = ["parser_model", "output_model"];

/// Gives each message the entry its tokens were counted under; what is left of an entry becomes a model call
/// without a message, which may stand for several.
pub(super) fn match_details(run: &mut Run, details: Vec<Detail>, oddities: &mut Oddities) {
    let mut matching = Matching::of(&details, run.calls.len());
    matching.by_role(&mut run.calls);
    matching.other_models(&run.calls);
    matching.main_model(&run.calls);
    matching.share_what_was_taken();
    let surplus = matching.surplus(&run.calls, oddities);
    let Matching { left, used, of_call, .. } = matching;
    for (call, entry) in run.calls.iter_mut().zip(&of_call) {
        if let Some(detail) = entry.and_then(|entry| details.get(entry)) {
            call.role.clone_from(&detail.usage.role);
            call.provider.clone_from(&detail.usage.provider);
            call.model.clone_from(&detail.usage.model);
            call.tokens = tokens_under(call, detail);
            call.rule = Rule::of(call.provider.as_deref(), &call.stated).as_str();
        }
    }
    for (place, (detail, left)) in details.iter().zip(left).enumerate() {
        let is_used = used.get(place).copied().unwrap_or(false);
        if !left.is_zero() || !is_used {
            // Counted within the role: Postgres' JSONB keeps the order of a list, not that of an object's keys.
            let of_role = details.iter().take(place).filter(|other| other.usage.role == detail.usage.role);
            run.calls.push(remainder(detail, left, is_used, of_role.count()));
        }
    }
    let entries = details.into_iter().map(|detail| detail.usage);
    run.usage = entries.chain(surplus).filter(|usage| !usage.tokens.is_zero()).collect();
}

/// A message's figures as the provider of an entry means them: a run may have asked several.
fn tokens_under(call: &ModelCall, detail: &Detail) -> Tokens {
    let rule = Rule::of(detail.usage.provider.as_deref(), &call.stated);
    rule.normalise(&call.stated, &mut Oddities::default())
}

struct Matching<'d> {
    details: &'d [Detail],
    /// What no message accounts for yet, by entry.
    left: Vec<Tokens>,
    /// What messages account for beyond it, by entry.
    beyond: Vec<Tokens>,
    used: Vec<bool>,
    of_call: Vec<Option<usize>>,
}

impl<'d> Matching<'d> {
    fn of(details: &'d [Detail], calls: usize) -> Self {
        let left = details.iter().map(|detail| detail.usage.tokens).collect();
        let beyond = vec![Tokens::default(); details.len()];
        Self { details, left, beyond, used: vec![false; details.len()], of_call: vec![None; calls] }
    }

    fn take(&mut self, call: usize, entry: usize, tokens: &Tokens) {
        if let Some((left, beyond)) = self.left.get_mut(entry).zip(self.beyond.get_mut(entry)) {
            *beyond += tokens.minus(left);
            *left = left.minus(tokens);
        }
        if let Some(used) = self.used.get_mut(entry) {
            *used = true;
        }
        if let Some(of_call) = self.of_call.get_mut(call) {
            *of_call = Some(entry);
        }
    }

    /// The calls that have no entry yet.
    fn open<'c>(&self, calls: &'c [ModelCall]) -> Vec<(usize, &'c ModelCall)> {
        let open = calls.iter().enumerate().zip(&self.of_call).filter(|(_, entry)| entry.is_none());
        open.map(|(call, _)| call).collect()
    }

    /// The entries of the main model: several where it changed under way.
    fn main(&self) -> Vec<(usize, &'d Detail)> {
        self.details.iter().enumerate().filter(|(_, detail)| detail.usage.role == "model").collect()
    }

    /// A reasoning model's answer without figures takes its role's entry whole.
    fn by_role(&mut self, calls: &mut [ModelCall]) {
        for (place, call) in calls.iter_mut().enumerate().filter(|(_, call)| call.role != "model") {
            let Some(entry) = self.details.iter().position(|detail| detail.usage.role == call.role) else {
                "model".clone_into(&mut call.role);
                continue;
            };
            let is_free = self.used.get(entry) == Some(&false);
            if let Some((detail, left)) =
                self.details.get(entry).zip(self.left.get(entry)).filter(|_| is_free)
                && call.tokens.is_zero()
            {
                call.tokens = *left;
                call.stated.integers.clone_from(&detail.stated.integers);
                call.rule = detail.rule;
            }
            let tokens = self.details.get(entry).map(|detail| tokens_under(call, detail));
            self.take(place, entry, &tokens.unwrap_or_default());
        }
    }

    /// The parser's or the output model's answer is an assistant message like any other: only its tokens tell.
    /// Looked for where the main model's entries are not just what all messages say.
    fn other_models(&mut self, calls: &[ModelCall]) {
        for (entry, detail) in self.details.iter().enumerate() {
            if !ANSWERING_ROLES.contains(&detail.usage.role.as_str()) || self.is_all_main(calls) {
                continue;
            }
            let fits = |(_, call): &(usize, &ModelCall)| tokens_under(call, detail) == detail.usage.tokens;
            if let Some((call, _)) = self.open(calls).into_iter().rfind(fits) {
                self.take(call, entry, &detail.usage.tokens);
            }
        }
    }

    /// True when the messages left are what the main model's one entry says.
    fn is_all_main(&self, calls: &[ModelCall]) -> bool {
        let [(_, main)] = self.main()[..] else {
            return false;
        };
        let said: Tokens = self.open(calls).into_iter().map(|(_, call)| tokens_under(call, main)).sum();
        said == main.usage.tokens
    }

    /// All other messages are the main model's: of an entry that says just the same, else of one with room.
    fn main_model(&mut self, calls: &[ModelCall]) {
        let main = self.main();
        for (place, call) in self.open(calls) {
            let is_same = |detail: &Detail| {
                !call.stated.integers.is_empty() && detail.stated.integers == call.stated.integers
            };
            let is_free = |entry: usize| self.used.get(entry) == Some(&false);
            let has_room = |entry: usize, detail| {
                self.left.get(entry).is_some_and(|left| left.covers(&tokens_under(call, detail)))
            };
            let found = main
                .iter()
                .find(|(entry, detail)| is_same(detail) && is_free(*entry))
                .or_else(|| main.iter().find(|(entry, detail)| has_room(*entry, detail)))
                .or(main.first());
            if let Some((entry, detail)) = found.copied() {
                self.take(place, entry, &tokens_under(call, detail));
            }
        }
    }

    /// Where messages were given more of one entry than it has, the others of its role have less left: what is shown
    /// adds up to what is counted.
    fn share_what_was_taken(&mut self) {
        let mut beyond = BTreeMap::<&str, Tokens>::new();
        for (detail, own) in self.details.iter().zip(&self.beyond) {
            *beyond.entry(&detail.usage.role).or_default() += *own;
        }
        for (detail, left) in self.details.iter().zip(&mut self.left) {
            if let Some(beyond) = beyond.get_mut(detail.usage.role.as_str()) {
                let had = *left;
                *left = had.minus(beyond);
                *beyond = beyond.minus(&had);
            }
        }
    }

    /// What messages say beyond their role's entries. A run that began under a release without `details`, or whose
    /// entry was lost, has messages that no entry counts; they were billed.
    fn surplus(&self, calls: &[ModelCall], oddities: &mut Oddities) -> Vec<Usage> {
        let mut sums = BTreeMap::<&str, (Tokens, Tokens, Usage)>::new();
        for Detail { usage, .. } in self.details {
            let sum = sums.entry(&usage.role);
            sum.or_insert_with(|| (Tokens::default(), Tokens::default(), usage.clone())).1 += usage.tokens;
        }
        for (call, entry) in calls.iter().zip(&self.of_call) {
            let detail = entry.and_then(|entry| self.details.get(entry));
            let tokens = detail.map_or(call.tokens, |detail| tokens_under(call, detail));
            let role = detail.map_or("model", |detail| detail.usage.role.as_str());
            let sum = sums.entry(role);
            sum.or_insert_with(|| (Tokens::default(), Tokens::default(), usage_of(call))).0 += tokens;
        }
        let beyond = |(said, counted, usage): (Tokens, Tokens, Usage)| {
            if counted.covers(&said) {
                return None;
            }
            oddities.add(Oddity::MessagesExceedSum);
            // More of one class and less of another is no sum of messages: then the entries are believed.
            let tokens = said.covers(&counted).then(|| said.minus(&counted))?;
            Some(Usage { spender: None, tokens, stated_nano_usd: None, ..usage })
        };
        sums.into_values().filter_map(beyond).collect()
    }
}

/// What a message says, where no entry is of its model.
fn usage_of(call: &ModelCall) -> Usage {
    Usage {
        role: "model".to_owned(),
        provider: call.provider.clone(),
        model: call.model.clone(),
        tokens: call.tokens,
        ..Usage::default()
    }
}

fn remainder(detail: &Detail, tokens: Tokens, is_used: bool, place: usize) -> ModelCall {
    let usage = &detail.usage;
    ModelCall {
        key: format!("{}/{}", usage.role, place),
        role: usage.role.clone(),
        provider: usage.provider.clone(),
        model: usage.model.clone(),
        tokens,
        rule: detail.rule,
        // What is left of a sum was never stated as such.
        stated: if is_used { Stated::default() } else { detail.stated.clone() },
        step: usage.spender.as_ref().map(|spender| spender.step),
        ..ModelCall::default()
    }
}

#[cfg(test)]
mod tests;
