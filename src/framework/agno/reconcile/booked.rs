//! What Agno saw of a run when it added it to its session: the run's own figures, and those it had on the way.

use std::collections::BTreeMap;

use super::super::DecodedRun;
use super::super::usage::{Detail, Recorded};
use super::figures::{Amount, Figures};
use crate::model::tree::name_hash;
use crate::model::{ModelCall, Run, RunKey, RunKind, RunStatus, Tokens};

/// The role of calls that Agno up to 2.5.3 keeps beside the messages, and adds to no sum.
const REASONING: &str = "reasoning_model";

/// A run as it stands in Agno's books. Unlike [`Run`] it has what other runs own, and what copies repeat.
#[derive(Debug, Clone)]
pub struct Booked {
    /// Which run.
    pub key: RunKey,
    /// Its session.
    pub session_id: Option<String>,
    pub(super) parent_run_id: Option<String>,
    pub(super) kind: RunKind,
    pub(super) entity_id: Option<String>,
    pub(super) status: RunStatus,
    pub(super) user_id: Option<String>,
    /// Its place in its session.
    pub(super) index: Option<i64>,
    /// It was copied from another session.
    pub(super) is_copy: bool,
    /// `metrics` as stated.
    pub(super) figures: Figures,
    /// 2.5.4 on: `metrics.details` is there.
    pub(super) has_details: bool,
    /// What Agno's way to state its sums differs from ours by, where the sums are stated in one piece.
    pub(super) meaning: Option<Amount>,
    pub(super) calls: Vec<BookedCall>,
    /// Tools a human was asked about whose message is not stored.
    pub(super) has_hidden_pause: bool,
    /// Up to which message it was saved on the way.
    pub(super) checkpoint: Option<usize>,
    /// What the steps of a workflow state, each with its name and run.
    pub(super) steps: Vec<BookedStep>,
}

/// A model call with what followed from it.
#[derive(Debug, Clone, Default)]
pub(super) struct BookedCall {
    pub(super) figures: Figures,
    pub(super) position: Option<usize>,
    /// It asked for a tool that waits for a human.
    pub(super) asks_human: bool,
    pub(super) asks_tools: bool,
    /// Runs it handed work to.
    pub(super) delegates_to: Vec<String>,
    /// Hashes of the members it handed work to.
    pub(super) delegates_to_members: Vec<u64>,
}

#[derive(Debug, Clone)]
pub(super) struct BookedStep {
    pub(super) name: String,
    pub(super) run_id: Option<String>,
    pub(super) figures: Figures,
}

impl Booked {
    /// Of a run as it was decoded, before it was settled what is its own.
    pub fn of(decoded: &DecodedRun) -> Self {
        let DecodedRun { run, recorded, checkpoint } = decoded;
        let (has_details, meaning) = match recorded {
            Recorded::Details(details) => (true, Some(meaning_of(details))),
            Recorded::Sum(detail) => (false, Some(meaning_of(std::slice::from_ref(detail.as_ref())))),
            Recorded::Messages | Recorded::Steps(_) => (false, None),
        };
        let continues = run.forked_from_run_id.is_some() && !run.calls.is_empty();
        Self {
            key: run.key.clone(),
            session_id: run.session_id.clone(),
            parent_run_id: run.parent_run_id.clone(),
            kind: run.kind,
            entity_id: run.entity_id.clone(),
            status: run.status.clone(),
            user_id: run.user_id.clone(),
            index: run.index,
            is_copy: run.forked_from_session_id.is_some() && !continues,
            figures: Figures::of(&run.stated),
            has_details,
            meaning,
            calls: calls(run),
            has_hidden_pause: run.tools.iter().any(|tool| tool.asked_human && tool.asked_by.is_none()),
            checkpoint: *checkpoint,
            steps: steps(run, recorded),
        }
    }

    /// What the run had spent at each of its calls that is wanted: all up to and with that call.
    fn prefixes(&self, wanted: impl Fn(&BookedCall) -> bool) -> Vec<Figures> {
        let mut sum = Figures::default();
        let mut prefixes = Vec::new();
        for call in &self.calls {
            sum += call.figures;
            if wanted(call) {
                prefixes.push(sum);
            }
        }
        prefixes
    }

    /// What it had spent when it paused, each time but for a pause it is still in.
    pub(super) fn pauses(&self) -> Vec<Figures> {
        let mut pauses = self.prefixes(|call| call.asks_human);
        if self.status == RunStatus::Paused {
            pauses.pop();
        }
        pauses
    }

    /// What it had spent when it was saved on the way, after each batch of tools.
    pub(super) fn checkpoints(&self) -> Vec<Figures> {
        let Some(last) = self.checkpoint else { return Vec::new() };
        self.prefixes(|call| call.asks_tools && call.position.is_some_and(|position| position < last))
    }

    /// What it had spent when it first handed work to this member.
    pub(super) fn delegation_to(&self, member: &Self) -> Option<Figures> {
        let hash = member.entity_id.as_deref().map(name_hash);
        let is_for = |call: &BookedCall| {
            call.delegates_to.contains(&member.key.run_id)
                || hash.is_some_and(|hash| call.delegates_to_members.contains(&hash))
        };
        self.prefixes(is_for).into_iter().next()
    }
}

/// What Agno states beyond what we count of the same calls: cache beside the input, thoughts beside the output.
fn meaning_of(details: &[Detail]) -> Amount {
    details.iter().map(|detail| beyond(&Figures::of(&detail.stated), &detail.usage.tokens)).sum()
}

fn beyond(stated: &Figures, tokens: &Tokens) -> Amount {
    stated.amount() - Amount::of(tokens)
}

/// The same of calls that are known one by one.
pub(super) fn meaning_of_calls(run: &Run) -> Amount {
    let own = run.calls.iter().filter(|call| !is_beside(call) && !call.stated.integers.is_empty());
    own.map(|call| beyond(&Figures::of(&call.stated), &call.tokens)).sum()
}

/// What a reasoning agent spent, where Agno adds it to no sum.
pub(super) fn reasoning(run: &Run) -> Amount {
    let beside = run.calls.iter().filter(|call| is_beside(call));
    beside.map(|call| Amount::of(&call.tokens)).sum()
}

/// What a run's calls state. Of a workflow: what it spent in steps whose runs were not kept.
pub(super) fn stated_by_calls(run: &Run) -> Figures {
    run.calls.iter().map(|call| Figures::of(&call.stated)).sum()
}

/// True for a call of the reasoning agent that stands beside the messages.
fn is_beside(call: &ModelCall) -> bool {
    call.role == REASONING && call.position.is_none()
}

fn calls(run: &Run) -> Vec<BookedCall> {
    let booked = |call: &ModelCall| BookedCall {
        figures: if is_beside(call) { Figures::default() } else { Figures::of(&call.stated) },
        position: call.position,
        ..BookedCall::default()
    };
    let mut calls: Vec<BookedCall> = run.calls.iter().map(booked).collect();
    for tool in &run.tools {
        if let Some(call) = tool.asked_by.and_then(|place| calls.get_mut(place)) {
            call.asks_tools = true;
            call.asks_human |= tool.asked_human;
            if tool.delegates {
                call.delegates_to.extend(tool.child_run_id.clone());
                call.delegates_to_members.extend(tool.member_hash);
            }
        }
    }
    calls
}

/// The steps that Agno adds up: those of agents and teams.
fn steps(run: &Run, recorded: &Recorded) -> Vec<BookedStep> {
    let Recorded::Steps(details) = recorded else { return Vec::new() };
    let mut steps = BTreeMap::<usize, BookedStep>::new();
    for detail in details {
        let step = detail.usage.spender.as_ref().map(|spender| spender.step);
        let Some((at, step)) = step.and_then(|at| Some((at, run.steps.get(at)?))) else { continue };
        if !matches!(step.executor_kind.as_deref(), Some("agent" | "team")) {
            continue;
        }
        let booked = steps.entry(at).or_insert_with(|| BookedStep {
            name: step.name.clone(),
            run_id: step.run_id.clone(),
            figures: Figures::default(),
        });
        booked.figures += Figures::of(&detail.stated);
    }
    steps.into_values().collect()
}
