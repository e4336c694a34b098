//! Our totals of a session beside Agno's `session_metrics`, and the rules by which Agno came to differ.
//!
//! Agno adds a run to its session each time it saves the run. What it saves, and how often, is known per release, so
//! that from the records the figures can be worked out that it must have arrived at. An explanation is accepted only if
//! it arrives at every one of Agno's nine token fields; else the difference stays unexplained.

mod booked;
mod figures;
mod race;
mod session;
mod stated;
mod ways;

pub use booked::Booked;
pub use figures::{Amount, Figures};
pub use session::{Settled, account};
pub use stated::{StatedSession, stated_sessions};

use crate::model::{Run, RunKind, Tokens};

/// What made Agno's figures differ from ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// Cache beside the input, thoughts beside the output: other words for the same tokens.
    Tokens,
    /// The reasoning agent's calls are in no sum.
    Reasoning,
    /// A run's own metrics are not the sum of its calls.
    Sum,
    /// A run was added at its pause, and again with all it had spent.
    Pause,
    /// The same at each checkpoint.
    Checkpoint,
    /// A paused run is not added before it goes on.
    Waiting,
    /// Of steps with one name only the last counts.
    Loop,
    /// Members of a team are not added.
    Team,
    /// Runs of a workflow that are no step's.
    Workflow,
    /// A copied session brings the figures of its original along.
    Fork,
    /// A run of another user than the session's is not added.
    User,
    /// Runs of several writers at once: the last one's figures replaced the others'.
    Race,
    /// The session has no `session_metrics`.
    Unstated,
    /// No run of the session is stored.
    Unstored,
}

impl Rule {
    /// Every rule, in the order they are shown.
    pub const ALL: [Self; 14] = [
        Self::Tokens,
        Self::Reasoning,
        Self::Sum,
        Self::Pause,
        Self::Checkpoint,
        Self::Waiting,
        Self::Loop,
        Self::Team,
        Self::Workflow,
        Self::Fork,
        Self::User,
        Self::Race,
        Self::Unstated,
        Self::Unstored,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Reasoning => "reasoning",
            Self::Sum => "sum",
            Self::Pause => "pause",
            Self::Checkpoint => "checkpoint",
            Self::Waiting => "waiting",
            Self::Loop => "loop",
            Self::Team => "team",
            Self::Workflow => "workflow",
            Self::Fork => "fork",
            Self::User => "user",
            Self::Race => "race",
            Self::Unstated => "unstated",
            Self::Unstored => "unstored",
        }
    }

    /// What it says, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Tokens => "Agno leaves cache out of input, or thoughts out of output or total",
            Self::Reasoning => "up to 2.5.3 Agno adds a reasoning agent's calls to no sum",
            Self::Sum => "the run's own metrics are not the sum of its calls",
            Self::Pause => "what a run spent before a pause is added again when it goes on",
            Self::Checkpoint => "what a run spent so far is added again at each checkpoint",
            Self::Waiting => "up to 2.1 a paused run is not added before it goes on",
            Self::Loop => "of steps with one name, rounds of a loop too, Agno keeps the last",
            Self::Team => "members of a team, or of a team in a step, are not added",
            Self::Workflow => "a workflow adds its steps, not its own agent or failed steps",
            Self::Fork => "a copied session brings its original's figures along",
            Self::User => "a run of another user than the session's is not added",
            Self::Race => "runs at the same time: one writer's figures replaced another's",
            Self::Unstated => "Agno stored no session_metrics for this session",
            Self::Unstored => "no run of it is stored: deleted, overwritten, or refused by Postgres",
        }
    }
}

/// What one rule adds to our figures, or takes from them, to arrive at Agno's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The rule.
    pub rule: Rule,
    /// By how much.
    pub amount: Amount,
    /// The runs it concerns, by their ids.
    pub runs: Vec<String>,
}

/// Why nothing can be worked out, as far as that can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// A run paused, and the message at which it did is not stored.
    HiddenPause,
    /// Agno states more than the stored runs spent.
    MoreThanStored,
}

impl Hint {
    /// What it says, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::HiddenPause => {
                "a run paused at a message that is not stored (store_tool_messages=False), so what it had spent by then \
                 is unknown"
            }
            Self::MoreThanStored => {
                "Agno states more than the stored runs spent: were runs deleted, or overwritten by others with their ids?"
            }
        }
    }
}

/// One run of a session.
#[derive(Debug, Clone)]
pub struct RunLine {
    /// Its id.
    pub run_id: String,
    /// How many runs of the session it lies below.
    pub depth: usize,
    /// What it is called.
    pub label: Option<String>,
    /// What it is.
    pub kind: RunKind,
    /// Where it stands.
    pub status: String,
    /// What we count for it; a copy's calls are its original's.
    pub ours: Amount,
    /// What Agno states for it alone. Nothing for a workflow.
    pub stated: Option<Amount>,
}

/// A session, in our books and in Agno's.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its id.
    pub session_id: String,
    /// Its runs, those that are copies too.
    pub runs: Vec<RunLine>,
    /// What we count.
    pub ours: Tokens,
    /// What Agno states, if anything.
    pub stated: Option<StatedSession>,
    /// Why they differ. All together are the difference, or there are none.
    pub causes: Vec<Cause>,
    /// What no rule explains.
    pub unexplained: Amount,
    /// Why not, if that can be seen.
    pub hint: Option<Hint>,
}

impl Account {
    /// Of a session nothing is known of yet but its figures.
    fn of(session_id: &str, stated: Option<StatedSession>) -> Self {
        Self {
            session_id: session_id.to_owned(),
            runs: Vec::new(),
            ours: Tokens::default(),
            stated,
            causes: Vec::new(),
            unexplained: Amount::default(),
            hint: None,
        }
    }

    /// Agno's figures; zero where it states none.
    pub fn agnos(&self) -> Amount {
        let figures = self.stated.as_ref().and_then(|stated| stated.figures);
        figures.map(|figures| figures.amount()).unwrap_or_default()
    }

    /// What Agno states beyond what we count.
    pub fn difference(&self) -> Amount {
        self.agnos() - Amount::of(&self.ours)
    }

    /// True where both say the same.
    pub fn agrees(&self) -> bool {
        self.difference().is_zero()
    }

    /// True where every token of the difference has its rule.
    pub fn is_explained(&self) -> bool {
        self.unexplained.is_zero()
    }

    /// Writes down why they differ, where that is the whole difference.
    fn explain(&mut self, causes: Vec<Cause>) -> bool {
        let sum: Amount = causes.iter().map(|cause| cause.amount).sum();
        if sum != self.difference() {
            return false;
        }
        self.causes = causes.into_iter().filter(|cause| !cause.amount.is_zero()).collect();
        true
    }
}

/// A run's line, as far as the run says it.
fn line(booked: &Booked, settled: Option<&Run>, depth: usize) -> RunLine {
    RunLine {
        depth,
        run_id: booked.key.run_id.clone(),
        label: settled.and_then(Run::label).or(booked.entity_id.as_deref()).map(str::to_owned),
        kind: booked.kind,
        status: booked.status.as_str().to_owned(),
        ours: settled.map(|run| Amount::of(&run.own_tokens())).unwrap_or_default(),
        stated: (booked.kind != RunKind::Workflow).then(|| booked.figures.amount()),
    }
}
