//! One session: what Agno must have added up, run by run, for each way its releases did it.

use std::collections::{BTreeMap, BTreeSet};

use super::booked::{BookedStep, meaning_of_calls, reasoning, stated_by_calls};
use super::figures::{Amount, Figures};
use super::race::lost;
use super::ways::{Members, Pauses, Way};
use super::{Account, Booked, Cause, Hint, Rule, RunLine, StatedSession, line};
use crate::model::{Run, RunKey, RunKind, RunStatus};

/// A run as it was settled, and when it ran.
#[derive(Debug, Clone, Copy)]
pub struct Settled<'r> {
    /// The run.
    pub run: &'r Run,
    /// Its start and end, Unix nanoseconds.
    pub interval: Option<(i64, i64)>,
}

/// Compares a session with what Agno states of it. `booked` are all runs of the session, `settled` those of them that
/// count, and maybe others.
pub fn account(
    session_id: &str,
    stated: Option<StatedSession>,
    booked: &[&Booked],
    settled: &BTreeMap<&RunKey, Settled<'_>>,
) -> Account {
    let session = Session::of(booked, settled);
    let mut account = Account::of(session_id, stated);
    account.runs = session.lines();
    account.ours = session.entries.iter().filter_map(Entry::run).map(Run::own_tokens).sum();
    if account.agrees() {
        return account;
    }
    let figures = account.stated.as_ref().and_then(|stated| stated.figures);
    let is_explained = match figures {
        None => {
            let causes = session.named(session.unstated(account.difference()));
            account.explain(causes)
        }
        // Whatever it is of, it is of none of the runs there are.
        Some(figures) if session.entries.is_empty() && figures.is_count() => {
            let amount = account.difference();
            account.explain(vec![Cause { rule: Rule::Unstored, amount, runs: Vec::new() }])
        }
        Some(figures) => {
            let user = account.stated.as_ref().and_then(|stated| stated.user_id.as_deref());
            let causes = session.explanation(figures, user);
            causes.is_some_and(|causes| account.explain(session.named(causes)))
        }
    };
    if !is_explained {
        account.unexplained = account.difference();
        account.hint = session.hint(account.difference());
    }
    account
}

/// A run of the session in both books.
struct Entry<'s> {
    booked: &'s Booked,
    settled: Option<Settled<'s>>,
    /// What Agno states of the run alone. Of a workflow: what it spent in steps whose runs were not kept.
    own: Figures,
}

impl<'s> Entry<'s> {
    fn run(&self) -> Option<&'s Run> {
        self.settled.map(|settled| settled.run)
    }

    /// Copies, of which no time is known, come last.
    fn start_ns(&self) -> i64 {
        self.settled.and_then(|settled| settled.interval).map_or(i64::MAX, |(start, _)| start)
    }

    /// Where the run's own figures differ from what we count for it, by rule.
    fn of_run_alone(&self) -> Vec<(Rule, Amount)> {
        let booked = self.booked;
        let ours = self.run().map(|run| Amount::of(&run.own_tokens())).unwrap_or_default();
        let mut rest = self.own.amount() - ours;
        let Some(run) = self.run().filter(|_| !booked.is_copy) else { return vec![(Rule::Fork, rest)] };
        let meaning = booked.meaning.unwrap_or_else(|| meaning_of_calls(run));
        let beside = if booked.has_details { Amount::default() } else { reasoning(run) };
        let beside = Amount::default() - beside;
        rest = rest - meaning - beside;
        // Until 2.5.3 a run that goes on adds all of its messages to what it had at the pause.
        let is_pause = !booked.has_details && !booked.pauses().is_empty();
        let rest_rule = if is_pause { Rule::Pause } else { Rule::Sum };
        vec![(Rule::Tokens, meaning), (Rule::Reasoning, beside), (rest_rule, rest)]
    }
}

/// What a run that nobody started brings into its session, beside the figures of all runs below it.
#[derive(Debug, Default)]
struct Brought {
    /// All of it.
    total: Figures,
    /// What differs from the sum of the runs' own figures, and the run that made it differ.
    adjustments: Vec<(Rule, Figures, usize)>,
}

impl Brought {
    fn add(&mut self, rule: Rule, figures: Figures, run: usize) {
        self.total += figures;
        self.adjustments.push((rule, figures, run));
    }
}

/// By rule its amount, and the places of the runs it concerns.
type Causes = BTreeMap<Rule, (Amount, BTreeSet<usize>)>;

/// The runs of a session as trees.
struct Session<'s> {
    entries: Vec<Entry<'s>>,
    /// Each root with all below it, the root first: places and depths.
    trees: Vec<Vec<(usize, usize)>>,
    parents: Vec<Option<usize>>,
}

impl<'s> Session<'s> {
    fn of(booked: &[&'s Booked], settled: &BTreeMap<&RunKey, Settled<'s>>) -> Self {
        let entry = |booked: &&'s Booked| {
            let settled = settled.get(&booked.key).copied();
            let own = match (booked.kind, settled) {
                (RunKind::Workflow, Some(settled)) => stated_by_calls(settled.run),
                (RunKind::Workflow, None) => Figures::default(),
                _ => booked.figures,
            };
            Entry { booked, settled, own }
        };
        let mut entries: Vec<Entry<'s>> = booked.iter().map(entry).collect();
        entries.sort_by_key(|entry| (entry.start_ns(), entry.booked.index));
        let places: BTreeMap<&str, usize> =
            entries.iter().zip(0..).map(|(entry, at)| (entry.booked.key.run_id.as_str(), at)).collect();
        let parent = |(at, entry): (usize, &Entry<'s>)| {
            let parent = places.get(entry.booked.parent_run_id.as_deref()?).copied();
            parent.filter(|parent| *parent != at)
        };
        let parents: Vec<Option<usize>> = entries.iter().enumerate().map(parent).collect();
        let trees = trees(&parents);
        Self { entries, trees, parents }
    }

    /// Each run below the one that started it.
    fn lines(&self) -> Vec<RunLine> {
        let of = |(at, depth): &(usize, usize)| {
            self.entry(*at).map(|entry| line(entry.booked, entry.run(), *depth))
        };
        self.trees.iter().flatten().filter_map(of).collect()
    }

    /// Causes with the ids of their runs.
    fn named(&self, causes: Causes) -> Vec<Cause> {
        let id = |at: &usize| Some(self.entry(*at)?.booked.key.run_id.clone());
        let cause = |(rule, (amount, runs)): (Rule, (Amount, BTreeSet<usize>))| Cause {
            rule,
            amount,
            runs: runs.iter().filter_map(id).collect(),
        };
        causes.into_iter().map(cause).collect()
    }

    fn entry(&self, at: usize) -> Option<&Entry<'s>> {
        self.entries.get(at)
    }

    fn own(&self, at: usize) -> Figures {
        self.entry(at).map(|entry| entry.own).unwrap_or_default()
    }

    fn kind(&self, at: usize) -> Option<RunKind> {
        self.entry(at).map(|entry| entry.booked.kind)
    }

    /// Agno says nothing of this session.
    fn unstated(&self, difference: Amount) -> Causes {
        let spent = |(at, entry): (usize, &Entry<'_>)| {
            let run = entry.run().filter(|run| !run.own_tokens().is_zero());
            run.map(|_| (at, entry.booked.status == RunStatus::Paused))
        };
        let spent: Vec<(usize, bool)> = self.entries.iter().enumerate().filter_map(spent).collect();
        let is_waiting = spent.iter().all(|(_, is_paused)| *is_paused);
        let rule = if is_waiting { Rule::Waiting } else { Rule::Unstated };
        let runs = spent.into_iter().map(|(at, _)| at).collect();
        Causes::from([(rule, (difference, runs))])
    }

    /// How Agno arrived at its figures, if by any way we know.
    fn explanation(&self, stated: Figures, user: Option<&str>) -> Option<Causes> {
        let ways: Vec<Vec<Brought>> = Way::all().map(|way| self.brought(way, user)).collect();
        let sum = |brought: &[Brought]| -> Figures { brought.iter().map(|one| one.total).sum() };
        if let Some(brought) = ways.iter().find(|brought| sum(brought) == stated) {
            return Some(self.causes(brought));
        }
        // Some writers' figures may be lost, of runs that were under way at the same time.
        let candidates = self.side_by_side();
        ways.into_iter().find_map(|mut brought| {
            let missing = sum(&brought) - stated;
            let totals: Vec<Figures> =
                candidates.iter().filter_map(|tree| brought.get(*tree)).map(|one| one.total).collect();
            for lost in lost(&totals, missing)? {
                let tree = candidates.get(lost).copied()?;
                let root = self.trees.get(tree)?.first()?.0;
                let one = brought.get_mut(tree)?;
                one.add(Rule::Race, -one.total, root);
            }
            Some(self.causes(&brought))
        })
    }

    /// The trees that ran while another of the session did.
    fn side_by_side(&self) -> Vec<usize> {
        let interval = |tree: usize| self.entry(self.trees.get(tree)?.first()?.0)?.settled?.interval;
        let mut intervals: Vec<((i64, i64), usize)> =
            (0..self.trees.len()).filter_map(|tree| Some((interval(tree)?, tree))).collect();
        intervals.sort_unstable();
        let mut found = BTreeSet::new();
        let mut longest: Option<(i64, usize)> = None;
        for ((start, end), tree) in intervals {
            if let Some((_, other)) = longest.filter(|(other_end, _)| start < *other_end) {
                found.extend([other, tree]);
            }
            if longest.is_none_or(|(other_end, _)| other_end < end) {
                longest = Some((end, tree));
            }
        }
        found.into_iter().collect()
    }

    /// What each root brings, in one of the ways.
    fn brought(&self, way: Way, user: Option<&str>) -> Vec<Brought> {
        self.trees.iter().map(|tree| self.of_tree(tree, way, user)).collect()
    }

    fn of_tree(&self, tree: &[(usize, usize)], way: Way, user: Option<&str>) -> Brought {
        let total = tree.iter().map(|(at, _)| self.own(*at)).sum();
        let mut brought = Brought { total, ..Brought::default() };
        let Some((root, entry)) = tree.first().and_then(|(root, _)| Some((*root, self.entry(*root)?))) else {
            return brought;
        };
        let booked = entry.booked;
        let is_anothers = user.zip(booked.user_id.as_deref()).is_some_and(|(own, other)| own != other);
        let missed = [
            (Rule::Waiting, booked.status == RunStatus::Paused && !way.adds_waiting),
            (Rule::User, is_anothers && !way.adds_other_users),
        ];
        if let Some((rule, _)) = missed.into_iter().find(|(_, is_missed)| *is_missed) {
            brought.add(rule, -total, root);
            return brought;
        }
        match booked.kind {
            RunKind::Workflow => self.steps(root, tree, &mut brought),
            RunKind::Team => self.members(tree, way.members, &mut brought),
            RunKind::Agent => {}
        }
        self.saves(root, tree, way.pauses, &mut brought);
        brought
    }

    /// A team adds its members, or does not.
    fn members(&self, tree: &[(usize, usize)], members: Members, brought: &mut Brought) {
        let is_left_out = |depth: usize| match members {
            Members::All => false,
            Members::OfTheOutermost => depth > 1,
            Members::None => depth > 0,
        };
        for (at, depth) in tree {
            if is_left_out(*depth) {
                brought.add(Rule::Team, -self.own(*at), *at);
            }
        }
    }

    /// A workflow adds what its steps state, by the steps' names.
    fn steps(&self, root: usize, tree: &[(usize, usize)], brought: &mut Brought) {
        let Some(entry) = self.entry(root) else { return };
        let steps = &entry.booked.steps;
        let executed = |at: usize| -> bool {
            let id = self.entry(at).map(|entry| entry.booked.key.run_id.as_str());
            steps.iter().any(|step| step.run_id.is_some() && step.run_id.as_deref() == id)
        };
        // What runs and steps say of the same spend should be the same.
        let mut rest: Figures = steps.iter().map(|step| step.figures).sum();
        for (at, _) in tree {
            let (own, kind) = (self.own(*at), self.kind(*at));
            if kind == Some(RunKind::Workflow) || executed(*at) {
                rest = rest - own;
            } else {
                let parent = self.parents.get(*at).copied().flatten().and_then(|parent| self.kind(parent));
                let rule = if parent == Some(RunKind::Workflow) { Rule::Workflow } else { Rule::Team };
                brought.add(rule, -own, *at);
            }
        }
        brought.add(Rule::Workflow, rest, root);
        for step in overwritten(steps) {
            let run = tree.iter().map(|(at, _)| *at).find(|at| {
                let id = self.entry(*at).map(|entry| entry.booked.key.run_id.as_str());
                step.run_id.is_some() && step.run_id.as_deref() == id
            });
            brought.add(Rule::Loop, -step.figures, run.unwrap_or(root));
        }
    }

    /// A run is added each time it is saved before its end.
    fn saves(&self, root: usize, tree: &[(usize, usize)], pauses: Pauses, brought: &mut Brought) {
        let Some(entry) = self.entry(root) else { return };
        let booked = entry.booked;
        for checkpoint in booked.checkpoints() {
            brought.add(Rule::Checkpoint, checkpoint, root);
        }
        if pauses == Pauses::NotAdded {
            return;
        }
        let mut so_far = Figures::default();
        for spent in booked.pauses() {
            // Until 2.5.3 the run's own figures grow by all of its messages at each stop.
            so_far = if booked.has_details { spent } else { so_far + spent };
            brought.add(Rule::Pause, so_far, root);
        }
        if booked.kind != RunKind::Team {
            return;
        }
        for (at, _) in tree.iter().filter(|(_, depth)| *depth == 1) {
            let Some(member) = self.entry(*at).map(|entry| entry.booked) else { continue };
            let waits = member.status == RunStatus::Paused || !member.pauses().is_empty();
            let Some(led_to) = booked.delegation_to(member).filter(|_| waits) else { continue };
            brought.add(Rule::Pause, led_to, root);
            if pauses == Pauses::Added {
                let spent = member.pauses().into_iter().next();
                brought.add(Rule::Pause, spent.unwrap_or_else(|| self.own(*at)), *at);
            }
        }
    }

    /// By rule: what makes all runs together differ from what was brought, and each run from what we count.
    fn causes(&self, brought: &[Brought]) -> Causes {
        let mut causes = Causes::new();
        let mut add = |rule, amount: Amount, at| {
            if !amount.is_zero() {
                let (sum, runs) = causes.entry(rule).or_default();
                *sum += amount;
                runs.insert(at);
            }
        };
        for (at, entry) in self.entries.iter().enumerate() {
            entry.of_run_alone().into_iter().for_each(|(rule, amount)| add(rule, amount, at));
        }
        for (rule, figures, at) in brought.iter().flat_map(|one| &one.adjustments) {
            add(*rule, figures.amount(), *at);
        }
        causes
    }

    fn hint(&self, difference: Amount) -> Option<Hint> {
        if self.entries.iter().any(|entry| entry.booked.has_hidden_pause) {
            return Some(Hint::HiddenPause);
        }
        (difference.input >= 0 && difference.output >= 0).then_some(Hint::MoreThanStored)
    }
}

/// Of steps with one name all but the last: Agno keeps them by their names.
fn overwritten(steps: &[BookedStep]) -> impl Iterator<Item = &BookedStep> {
    let is_named_again = |at: usize, name: &str| steps.iter().skip(at + 1).any(|later| later.name == name);
    steps.iter().enumerate().filter(move |(at, step)| is_named_again(*at, &step.name)).map(|(_, step)| step)
}

/// Each root with all below it. Runs that are each other's parents are below none, and each a root.
fn trees(parents: &[Option<usize>]) -> Vec<Vec<(usize, usize)>> {
    let mut children = vec![Vec::new(); parents.len()];
    for (at, parent) in parents.iter().enumerate() {
        if let Some(children) = parent.and_then(|parent| children.get_mut(parent)) {
            children.push(at);
        }
    }
    let below = |root: usize| {
        let (mut tree, mut waiting) = (Vec::new(), vec![(root, 0)]);
        while let Some((at, depth)) = waiting.pop() {
            tree.push((at, depth));
            waiting.extend(children.get(at).into_iter().flatten().rev().map(|child| (*child, depth + 1)));
        }
        tree
    };
    let roots = parents.iter().enumerate().filter(|(_, parent)| parent.is_none());
    let mut trees: Vec<Vec<(usize, usize)>> = roots.map(|(root, _)| below(root)).collect();
    let mut is_known = vec![false; parents.len()];
    for (at, _) in trees.iter().flatten() {
        if let Some(known) = is_known.get_mut(*at) {
            *known = true;
        }
    }
    trees.extend((0..parents.len()).filter(|at| is_known.get(*at) == Some(&false)).map(|at| vec![(at, 0)]));
    trees
}
