//! What a run spent: whose messages are whose, and which of the agent's models made which call.

use std::collections::BTreeMap;

use super::DecodedRun;
use super::tokens::Rule;
use crate::framework::{Oddities, Oddity};
use crate::model::{ModelCall, Run, RunKey, Stated, Tokens, Usage};

/// What a record says of its run's spend, before messages are matched to it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Recorded {
    /// `metrics.details` (2.5.4 on): a sum per role, provider and model. It wins over messages.
    Details(Vec<Detail>),
    /// The sum of the run's own messages.
    Messages,
    /// Only a sum: messages that would make it up are not stored.
    Sum(Box<Detail>),
    /// A workflow spends nothing itself, but steps whose runs were not kept do.
    Steps(Vec<Detail>),
}

/// One entry of [`Recorded`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Detail {
    pub(crate) usage: Usage,
    pub(crate) stated: Stated,
    pub(crate) rule: &'static str,
    /// The run of the workflow step this was stated for.
    pub(crate) step_run_id: Option<String>,
}

/// Decides, over all runs at once, which run each message belongs to and what each run spent.
///
/// A message id belongs to one run: to the original rather than to a copy or a continuation, then to the one
/// that stands earlier in its session. Copies of forked sessions count what is theirs alone, and are left out
/// where that is nothing. The result does not depend on the order of `decoded`.
pub fn settle(decoded: Vec<DecodedRun>, oddities: &mut Oddities) -> Vec<Run> {
    let owners = owners(&decoded);
    let foreign: Vec<Vec<bool>> = decoded
        .iter()
        .map(|DecodedRun { run, .. }| {
            let foreign = |id: &String| owners.get(id).is_some_and(|(_, owner)| *owner != run.key);
            run.calls.iter().map(|call| call.message_id.as_ref().is_some_and(foreign)).collect()
        })
        .collect();
    let known: std::collections::BTreeSet<String> =
        decoded.iter().map(|one| one.run.key.run_id.clone()).collect();
    decoded
        .into_iter()
        .zip(foreign)
        .map(|(DecodedRun { mut run, recorded }, foreign)| {
            drop_foreign(&mut run, &foreign);
            let mut recorded = of_fork(&run, recorded);
            drop_repeated_steps(&mut run, &mut recorded, &known);
            attribute(&mut run, recorded, &known, oddities);
            run
        })
        .filter(|run| !run.is_pure_copy())
        .collect()
}

/// How much a run's claim to a message is worth; the least wins.
type Claim = (bool, bool, Option<i64>, Option<i64>);

fn owners(decoded: &[DecodedRun]) -> BTreeMap<String, (Claim, RunKey)> {
    let mut owners = BTreeMap::<String, (Claim, RunKey)>::new();
    for DecodedRun { run, .. } in decoded {
        let continues = run.forked_from_run_id.is_some() || run.regenerated_from.is_some();
        let claim = (run.forked_from_session_id.is_some(), continues, run.index, run.first_message_s());
        for id in run.calls.iter().filter_map(|call| call.message_id.as_ref()) {
            let mine = (claim, run.key.clone());
            owners
                .entry(id.clone())
                .and_modify(|owner| {
                    if mine < *owner {
                        owner.clone_from(&mine);
                    }
                })
                .or_insert(mine);
        }
    }
    owners
}

/// What a run of a forked session may count.
///
/// A copy holds the figures of its original, so only messages that are its own count. A run that continues from
/// a copy carries the same mark, but its figures are its own from the fork on.
fn of_fork(run: &Run, recorded: Recorded) -> Recorded {
    let continues = run.forked_from_run_id.is_some() && !run.calls.is_empty();
    if run.forked_from_session_id.is_none() || continues { recorded } else { Recorded::Messages }
}

/// Takes out calls that belong to an earlier run, and the tools they asked for.
fn drop_foreign(run: &mut Run, foreign: &[bool]) {
    if !foreign.contains(&true) {
        return;
    }
    let is_foreign = |call: usize| foreign.get(call).copied().unwrap_or(false);
    let mut kept = 0;
    let places: Vec<Option<usize>> = foreign
        .iter()
        .map(|&foreign| {
            (!foreign).then(|| {
                kept += 1;
                kept - 1
            })
        })
        .collect();
    run.tools.retain(|tool| !tool.asked_by.is_some_and(is_foreign));
    for tool in &mut run.tools {
        tool.asked_by = tool.asked_by.and_then(|call| places.get(call).copied().flatten());
    }
    let mut place = 0;
    run.calls.retain(|_| {
        place += 1;
        !is_foreign(place - 1)
    });
}

/// A step that runs a workflow repeats that workflow's own steps; where its run is known, they are that run's.
fn drop_repeated_steps(run: &mut Run, recorded: &mut Recorded, known: &std::collections::BTreeSet<String>) {
    let mut kept = Vec::with_capacity(run.steps.len());
    let mut count = 0;
    for step in &run.steps {
        let repeated = step.parent.is_some_and(|parent| {
            let holds_run = run
                .steps
                .get(parent)
                .and_then(|parent| parent.run_id.as_ref())
                .is_some_and(|id| known.contains(id));
            holds_run || kept.get(parent).copied().flatten().is_none()
        });
        kept.push((!repeated).then_some(count));
        count += usize::from(!repeated);
    }
    if count == run.steps.len() {
        return;
    }
    let place = |step: usize| kept.get(step).copied().flatten();
    let mut at = 0;
    run.steps.retain(|_| {
        at += 1;
        place(at - 1).is_some()
    });
    for step in &mut run.steps {
        step.parent = step.parent.and_then(place);
    }
    if let Recorded::Steps(details) = recorded {
        details.retain_mut(|detail| {
            let Some(spender) = &mut detail.usage.spender else {
                return true;
            };
            place(spender.step).map(|step| spender.step = step).is_some()
        });
    }
}

fn attribute(
    run: &mut Run,
    recorded: Recorded,
    known: &std::collections::BTreeSet<String>,
    oddities: &mut Oddities,
) {
    match recorded {
        Recorded::Messages => {}
        Recorded::Details(details) => return match_details(run, details, oddities),
        Recorded::Sum(detail) => return match_details(run, vec![*detail], oddities),
        Recorded::Steps(details) => {
            let unknown = |detail: &Detail| detail.step_run_id.as_ref().is_none_or(|id| !known.contains(id));
            return match_details(run, details.into_iter().filter(unknown).collect(), oddities);
        }
    }
    let mut sums = BTreeMap::<(String, Option<String>, Option<String>), Tokens>::new();
    for call in &run.calls {
        *sums.entry((call.role.clone(), call.provider.clone(), call.model.clone())).or_default() +=
            call.tokens;
    }
    run.usage = sums
        .into_iter()
        .filter(|(_, tokens)| !tokens.is_zero())
        .map(|((role, provider, model), tokens)| Usage { role, provider, model, spender: None, tokens })
        .collect();
}

/// Gives each message the entry its tokens were counted under; what is left of an entry becomes a model call
/// without a message, which may stand for several.
fn match_details(run: &mut Run, details: Vec<Detail>, oddities: &mut Oddities) {
    let mut left: Vec<Tokens> = details.iter().map(|detail| detail.usage.tokens).collect();
    let mut used = vec![false; details.len()];
    let mut of_call: Vec<Option<usize>> = vec![None; run.calls.len()];
    match_by_role(run, &details, &mut left, &mut used, &mut of_call);
    match_other_models(run, &details, &mut left, &mut used, &mut of_call);
    match_main(run, &details, &mut left, &mut used, &mut of_call, oddities);
    for (call, entry) in run.calls.iter_mut().zip(&of_call) {
        if let Some(detail) = entry.and_then(|entry| details.get(entry)) {
            call.role.clone_from(&detail.usage.role);
            call.provider.clone_from(&detail.usage.provider);
            call.model.clone_from(&detail.usage.model);
            let rule = Rule::of(call.provider.as_deref(), &call.stated);
            if !call.tokens.is_zero() {
                call.tokens = rule.normalise(&call.stated, &mut Oddities::default());
                call.rule = rule.as_str();
            }
        }
    }
    for (place, (detail, left)) in details.iter().zip(left).enumerate() {
        let is_used = used.get(place).copied().unwrap_or(false);
        if !left.is_zero() || !is_used {
            run.calls.push(remainder(detail, left, is_used, place));
        }
    }
    run.usage =
        details.into_iter().map(|detail| detail.usage).filter(|usage| !usage.tokens.is_zero()).collect();
}

/// A reasoning model's answer without figures takes its role's entry whole.
fn match_by_role(
    run: &mut Run,
    details: &[Detail],
    left: &mut [Tokens],
    used: &mut [bool],
    of_call: &mut [Option<usize>],
) {
    for (call, entry) in run.calls.iter_mut().zip(of_call) {
        if call.role == "model" {
            continue;
        }
        let found = details.iter().position(|detail| detail.usage.role == call.role);
        if let Some((found, left, used)) =
            found.and_then(|found| Some((found, left.get_mut(found)?, used.get_mut(found)?)))
        {
            if call.tokens.is_zero() && !*used {
                call.tokens = *left;
                if let Some(detail) = details.get(found) {
                    call.stated.integers.clone_from(&detail.stated.integers);
                    call.rule = detail.rule;
                }
            }
            *left = left.minus(&call.tokens);
            *used = true;
            *entry = Some(found);
        } else {
            "model".clone_into(&mut call.role);
        }
    }
}

/// The parser's answer is an assistant message like any other: only its tokens tell. Taken where the main
/// model's entries cannot hold all messages.
fn match_other_models(
    run: &Run,
    details: &[Detail],
    left: &mut [Tokens],
    used: &mut [bool],
    of_call: &mut [Option<usize>],
) {
    let is_main = |detail: &Detail| detail.usage.role == "model";
    let main: Tokens =
        details.iter().filter(|detail| is_main(detail)).map(|detail| detail.usage.tokens).sum();
    for (place, detail) in details.iter().enumerate().filter(|(_, detail)| !is_main(detail)) {
        let unmatched: Tokens = run
            .calls
            .iter()
            .zip(&*of_call)
            .filter(|(_, entry)| entry.is_none())
            .map(|(call, _)| call.tokens)
            .sum();
        if main.covers(&unmatched) {
            return;
        }
        let fits = |call: &ModelCall| {
            let rule = Rule::of(detail.usage.provider.as_deref(), &call.stated);
            rule.normalise(&call.stated, &mut Oddities::default()) == detail.usage.tokens
        };
        let found = run.calls.iter().zip(&*of_call).rposition(|(call, entry)| entry.is_none() && fits(call));
        if let Some(((entry, left), used)) =
            found.and_then(|found| of_call.get_mut(found)).zip(left.get_mut(place)).zip(used.get_mut(place))
        {
            *entry = Some(place);
            *left = Tokens::default();
            *used = true;
        }
    }
}

/// All other messages are the main model's. Where it changed under way, the entry with room takes them.
fn match_main(
    run: &Run,
    details: &[Detail],
    left: &mut [Tokens],
    used: &mut [bool],
    of_call: &mut [Option<usize>],
    oddities: &mut Oddities,
) {
    let main: Vec<usize> = details
        .iter()
        .enumerate()
        .filter(|(_, detail)| detail.usage.role == "model")
        .map(|(place, _)| place)
        .collect();
    for (call, entry) in run.calls.iter().zip(of_call).filter(|(_, entry)| entry.is_none()) {
        let room = |&&place: &&usize| left.get(place).is_some_and(|left| left.covers(&call.tokens));
        let Some(place) = main.iter().find(room).or(main.first()).copied() else {
            continue;
        };
        if let Some((left, used)) = left.get_mut(place).zip(used.get_mut(place)) {
            if !left.covers(&call.tokens) {
                oddities.add(Oddity::MessagesExceedSum);
            }
            *left = left.minus(&call.tokens);
            *used = true;
            *entry = Some(place);
        }
    }
}

fn remainder(detail: &Detail, tokens: Tokens, is_used: bool, place: usize) -> ModelCall {
    let usage = &detail.usage;
    ModelCall {
        key: format!("{}/{}", usage.role, place),
        role: usage.role.clone(),
        provider: usage.provider.clone(),
        model: usage.model.clone(),
        response_id: None,
        message_id: None,
        has_message: false,
        tokens,
        rule: detail.rule,
        // What is left of a sum was never stated as such.
        stated: if is_used { Stated::default() } else { detail.stated.clone() },
        duration_ns: None,
        time_to_first_token_ns: None,
        streamed: false,
        created_at_s: None,
        position: None,
        step: usage.spender.as_ref().map(|spender| spender.step),
    }
}
