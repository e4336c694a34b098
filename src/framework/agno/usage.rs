//! What a run spent: whose messages are whose, and which of the agent's models made which call.

use std::collections::{BTreeMap, BTreeSet};

use super::DecodedRun;
use super::matching::match_details;
use crate::framework::Oddities;
use crate::model::{Run, RunKey, Stated, Tokens, Usage};
use crate::stable_hash::stable_hash;

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

/// Something by which runs hang together: what is said of one may change what another spent, or where it is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Link<'r> {
    /// A session by its id. All runs without one are taken together: their messages may be each other's.
    Session(Option<&'r str>),
    /// A run by its id.
    Run(&'r str),
}

impl Link<'_> {
    /// A hash that is the same in every invocation.
    pub fn stable_hash(self) -> u64 {
        match self {
            Self::Session(Some(id)) => stable_hash(&["session", id]),
            Self::Session(None) => stable_hash(&["no session"]),
            Self::Run(id) => stable_hash(&["run", id]),
        }
    }
}

impl DecodedRun {
    /// Everything this run hangs together with, itself first. [`settle`] and `Forest::of` look no further.
    pub fn links(&self) -> impl Iterator<Item = Link<'_>> {
        let run = &self.run;
        let details = match &self.recorded {
            Recorded::Details(details) | Recorded::Steps(details) => details.as_slice(),
            Recorded::Sum(detail) => std::slice::from_ref(detail.as_ref()),
            Recorded::Messages => &[],
        };
        let others = [&run.parent_run_id, &run.forked_from_run_id, &run.regenerated_from];
        let runs = others
            .into_iter()
            .chain(run.steps.iter().map(|step| &step.run_id))
            .chain(details.iter().map(|detail| &detail.step_run_id))
            .flatten();
        let origin = run.forked_from_session_id.as_deref().map(|session| Link::Session(Some(session)));
        [Link::Run(&run.key.run_id), Link::Session(run.session_id.as_deref())]
            .into_iter()
            .chain(origin)
            .chain(runs.map(|id| Link::Run(id)))
    }
}

/// Decides, over all runs at once, which run each message belongs to and what each run spent.
///
/// Within a session a message id belongs to one run: to the original rather than to a continuation, then to the
/// one that stands earlier. What a copy has of the session it was copied from belongs there. Copies of forked sessions count what is theirs alone, and are left out
/// where that is nothing: the second of what is returned. The result does not depend on the order of `decoded`.
pub fn settle(decoded: Vec<DecodedRun>, oddities: &mut Oddities) -> (Vec<Run>, Vec<Run>) {
    let (owners, origins) = (owners(&decoded), origins(&decoded));
    let foreign: Vec<Vec<bool>> =
        decoded.iter().map(|DecodedRun { run, .. }| foreign_calls(run, &owners, &origins)).collect();
    let known: BTreeSet<String> = decoded.iter().map(|one| one.run.key.run_id.clone()).collect();
    let settled = decoded.into_iter().zip(foreign).map(|(DecodedRun { mut run, recorded, .. }, foreign)| {
        drop_foreign(&mut run, &foreign);
        let mut recorded = of_fork(&run, recorded);
        drop_repeated_steps(&mut run, &mut recorded, &known);
        attribute(&mut run, recorded, &known, oddities);
        run
    });
    let (copies, runs) = settled.partition(Run::is_pure_copy);
    (runs, copies)
}

/// How much a run's claim to a message is worth; the least wins.
type Claim = (bool, bool, Option<i64>, Option<i64>);

/// Who owns a message, by session and id: an application may use ids again in another session.
type Owners<'d> = BTreeMap<(Option<&'d str>, &'d str), (Claim, &'d RunKey)>;

fn owners(decoded: &[DecodedRun]) -> Owners<'_> {
    let mut owners = Owners::new();
    for DecodedRun { run, .. } in decoded {
        let continues = run.forked_from_run_id.is_some() || run.regenerated_from.is_some();
        let claim = (run.forked_from_session_id.is_some(), continues, run.index, run.first_message_s());
        let mine = (claim, &run.key);
        for id in run.calls.iter().filter_map(|call| call.message_id.as_deref()) {
            let owner = owners.entry((run.session_id.as_deref(), id)).or_insert(mine);
            *owner = mine.min(*owner);
        }
    }
    owners
}

/// The sessions that each session was copied or continued from: copies keep their messages' ids, and so do runs
/// that go on from a copy.
fn origins(decoded: &[DecodedRun]) -> BTreeMap<&str, BTreeSet<&str>> {
    let runs = decoded.iter().map(|one| &one.run);
    let sessions: BTreeMap<&str, Option<&str>> =
        runs.clone().map(|run| (run.key.run_id.as_str(), run.session_id.as_deref())).collect();
    let mut origins = BTreeMap::<&str, BTreeSet<&str>>::new();
    for run in runs {
        let before = [&run.forked_from_run_id, &run.regenerated_from].into_iter().flatten();
        let before = before.filter_map(|id| sessions.get(id.as_str()).copied().flatten());
        if let Some(session) = run.session_id.as_deref() {
            let others =
                before.chain(run.forked_from_session_id.as_deref()).filter(|other| *other != session);
            origins.entry(session).or_default().extend(others);
        }
    }
    origins
}

/// Which of a run's calls are another's: an earlier run's of its session, or any run's of a session that its own
/// was copied from.
fn foreign_calls(run: &Run, owners: &Owners<'_>, origins: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<bool> {
    let is_anothers = |session: Option<&str>, id: &str| {
        owners.get(&(session, id)).is_some_and(|(_, owner)| **owner != run.key)
    };
    let own = run.session_id.as_deref();
    let origins = own.and_then(|session| origins.get(session));
    let is_foreign = |id: &str| {
        is_anothers(own, id) || origins.into_iter().flatten().any(|origin| is_anothers(Some(origin), id))
    };
    run.calls.iter().map(|call| call.message_id.as_deref().is_some_and(is_foreign)).collect()
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
fn drop_repeated_steps(run: &mut Run, recorded: &mut Recorded, known: &BTreeSet<String>) {
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

fn attribute(run: &mut Run, recorded: Recorded, known: &BTreeSet<String>, oddities: &mut Oddities) {
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
        .map(|((role, provider, model), tokens)| Usage { role, provider, model, tokens, ..Usage::default() })
        .collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ModelCall, RunKind, ToolCall};

    /// A run of the session `s` with a message of 10 tokens under each of these ids.
    fn decoded(run_id: &str, ids: &[&str]) -> DecodedRun {
        let call = |id: &&str| ModelCall {
            key: (*id).to_owned(),
            message_id: Some((*id).to_owned()),
            tokens: Tokens { uncached: 10, ..Tokens::default() },
            ..ModelCall::default()
        };
        let calls = ids.iter().map(call).collect();
        let run = Run { session_id: Some("s".to_owned()), calls, ..Run::bare(run_id, RunKind::Agent) };
        DecodedRun { run, recorded: Recorded::Messages, checkpoint: None }
    }

    /// Each run with the messages left to it and the tokens it spent.
    fn settled(decoded: Vec<DecodedRun>) -> Vec<String> {
        let (runs, _) = settle(decoded, &mut Oddities::default());
        let said = |run: &Run| {
            let ids: Vec<&str> = run.calls.iter().map(|call| call.key.as_str()).collect();
            format!("{} {} {}", run.key.run_id, ids.join(","), run.own_tokens().total())
        };
        runs.iter().map(said).collect()
    }

    #[test]
    fn a_message_belongs_to_the_original_and_not_to_what_continues_it() {
        let original = || decoded("z", &["m1"]);
        let continuing = |mark: fn(&mut Run)| {
            let mut one = decoded("a", &["m1", "m2"]);
            mark(&mut one.run);
            one
        };
        let forked = continuing(|run| run.forked_from_run_id = Some("z".to_owned()));
        let regenerated = continuing(|run| run.regenerated_from = Some("z".to_owned()));
        for later in [forked, regenerated] {
            assert_eq!(settled(vec![original(), later.clone()]), ["z m1 10", "a m2 10"]);
            assert_eq!(settled(vec![later, original()]), ["a m2 10", "z m1 10"]);
        }
    }

    #[test]
    fn tools_go_with_the_messages_that_asked_for_them() {
        let tool = |key: &str, asked_by| ToolCall { key: key.to_owned(), asked_by, ..ToolCall::default() };
        let mut later = decoded("a", &["m1", "m2", "m3"]);
        later.run.forked_from_run_id = Some("z".to_owned());
        later.run.tools = vec![
            tool("theirs", Some(0)),
            tool("of m2", Some(1)),
            tool("of m3", Some(2)),
            tool("of none", None),
        ];
        let (runs, _) = settle(vec![decoded("z", &["m1"]), later], &mut Oddities::default());
        let tools: Vec<_> = runs[1].tools.iter().map(|tool| (tool.key.as_str(), tool.asked_by)).collect();
        assert_eq!(tools, [("of m2", Some(0)), ("of m3", Some(1)), ("of none", None)]);
    }
}
