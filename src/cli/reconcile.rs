//! `reconcile`: our totals of each session beside Agno's `session_metrics`, and why they differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::named::Names;
use super::summary::counted;
use super::{Ended, Sources};
use crate::clock::Clock;
use crate::config::File;
use crate::export::print::{grouped, table};
use crate::framework::agno::reconcile::{Account, Amount, Rule, RunLine, StatedSession, stated_sessions};
use crate::framework::{Oddities, agno};
use crate::source::Location;

/// Columns of what stands before a rule's meaning.
const LABEL_COLUMNS: usize = 12;
/// Letters by which a run is told from others where there is little room.
const SHORT_ID_LETTERS: usize = 8;
/// Runs below runs are set in by so many steps at most.
const MAX_INDENT: usize = 6;
const UNEXPLAINED: &str = "unexplained";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    sources: Sources,
    /// Show one session in detail, run by run; also by the beginning of its id.
    #[arg(long, value_name = "ID", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    session: Option<String>,
    /// Show the sessions that agree too.
    #[arg(long, conflicts_with = "session")]
    all: bool,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

/// No session answers to the id that was asked for.
#[derive(Debug, thiserror::Error)]
#[error("no session has the id {id}, or one that begins so (of {sessions} sessions)")]
struct NoSuchSession {
    id: String,
    sessions: u64,
}

/// Standard input was named.
#[derive(Debug, thiserror::Error)]
#[error(
    "standard input (-) cannot be reconciled: it holds no session_metrics; give the database, or a JsonDb folder"
)]
pub(super) struct Stdin;

pub(super) async fn run(arguments: Arguments, file: &File) -> anyhow::Result<Ended> {
    let Arguments { sources, session, all, json } = arguments;
    let sources = sources.or_those_of(file)?;
    if sources.iter().flat_map(|sources| &sources.paths).any(|path| path.as_os_str() == "-") {
        return Err(Stdin.into());
    }
    let surveyed = super::survey(&sources).await?;
    let stated = stated(&sources).await?;
    let mut books = Books { asked: session, all, ..Books::default() };
    let mut oddities = surveyed.oddities.clone();
    let now_ns = Clock::System.now_ns();
    let mut known = BTreeSet::new();
    for family in surveyed.families() {
        let (accounts, odd) = surveyed.accounts(&family, &stated, now_ns).await?;
        oddities.merge(&odd);
        for account in accounts {
            known.insert(account.session_id.clone());
            books.take(account);
        }
    }
    for (id, session) in stated.into_iter().filter(|(id, _)| !known.contains(id)) {
        books.take(agno::reconcile::account(&id, Some(session), &[], &BTreeMap::new()));
    }
    books.close()?;
    let text = if json { books.json()? } else { books.text(super::columns()) };
    super::write_either(&text, json)?;
    warn(&oddities);
    Ok(if books.unexplained > 0 { Ended::SomeRefused } else { Ended::Done })
}

/// What Agno states, by session. Of copies of a session the one with more is the later: Agno's figures only grow.
async fn stated(sources: &[Sources]) -> anyhow::Result<BTreeMap<String, StatedSession>> {
    let mut stated = BTreeMap::<String, StatedSession>::new();
    for sources in sources {
        let names = Names::of(sources);
        for path in &sources.paths {
            let mut accept = |record: crate::Record| {
                for session in stated_sessions(&record.json, &record.columns) {
                    let known = stated.entry(session.session_id.clone()).or_insert_with(|| session.clone());
                    if session.figures > known.figures {
                        *known = session;
                    }
                }
            };
            names.sessions(&Location::of(path), &mut accept).await?;
        }
    }
    Ok(stated)
}

fn warn(oddities: &Oddities) {
    for (oddity, count) in oddities.iter() {
        tracing::warn!(count, "{}", oddity.meaning());
    }
}

/// All sessions that were compared, and those of them that are shown.
#[derive(Default)]
struct Books {
    asked: Option<String>,
    all: bool,
    shown: Vec<Account>,
    sessions: u64,
    differ: u64,
    unexplained: u64,
    ours: Amount,
    agnos: Amount,
}

impl Books {
    fn take(&mut self, account: Account) {
        self.sessions += 1;
        let is_shown = match &self.asked {
            Some(id) => begins(&account.session_id, id),
            None => self.all || !account.agrees(),
        };
        if self.asked.is_none() || is_shown {
            self.differ += u64::from(!account.agrees());
            self.unexplained += u64::from(!account.is_explained());
            self.ours += Amount::of(&account.ours);
            self.agnos += account.agnos();
        }
        if is_shown {
            self.shown.push(account);
        }
    }

    /// Puts the largest differences first. An id that fits wholly wins over ids that begin so.
    fn close(&mut self) -> Result<(), NoSuchSession> {
        if let Some(id) = &self.asked {
            if self.shown.is_empty() {
                return Err(NoSuchSession { id: id.clone(), sessions: self.sessions });
            }
            if self.shown.iter().any(|account| account.session_id == *id) {
                self.shown.retain(|account| account.session_id == *id);
                self.unexplained = self.shown.iter().filter(|account| !account.is_explained()).count() as u64;
            }
        }
        let size = |account: &Account| {
            let Amount { input, output, total } = account.difference();
            input.unsigned_abs().max(output.unsigned_abs()).max(total.unsigned_abs())
        };
        self.shown.sort_by(|a, b| {
            let by_size = size(b).cmp(&size(a));
            a.is_explained()
                .cmp(&b.is_explained())
                .then(by_size)
                .then_with(|| a.session_id.cmp(&b.session_id))
        });
        Ok(())
    }

    fn text(&self, columns: Option<usize>) -> String {
        let mut text = String::new();
        if self.asked.is_some() {
            let details: Vec<String> = self.shown.iter().map(|account| detail(account, columns)).collect();
            return details.join("\n") + "\n" + &self.note();
        }
        if !self.shown.is_empty() {
            let heading = ["session", "ours", "Agno", "difference", "why"].map(str::to_owned).to_vec();
            let rows: Vec<Vec<String>> = std::iter::once(heading).chain(self.shown.iter().map(row)).collect();
            text.push_str(&table(&rows, &[1, 2, 3], columns));
            text.push('\n');
        }
        let mut rules: Vec<Rule> =
            self.shown.iter().flat_map(|account| &account.causes).map(|cause| cause.rule).collect();
        rules.sort();
        rules.dedup();
        for rule in &rules {
            text.push_str(&labelled(rule.as_str(), rule.meaning()));
        }
        if self.unexplained > 0 {
            text.push_str(&labelled(
                UNEXPLAINED,
                "no rule we know arrives at Agno's figures; --session has more",
            ));
        }
        if !rules.is_empty() || self.unexplained > 0 {
            text.push('\n');
        }
        text.push_str(&labelled("sessions", &self.tally()));
        let difference = signed((self.agnos - self.ours).total);
        let (ours, agnos) = (number(self.ours.total), number(self.agnos.total));
        text.push_str(&labelled("tokens", &format!("ours {ours}, Agno {agnos} ({difference})")));
        text + &self.note()
    }

    fn tally(&self) -> String {
        let agree = format!("{}: {} agree", grouped(self.sessions), grouped(self.sessions - self.differ));
        match (self.differ, self.unexplained) {
            (0, _) => agree,
            (differ, 0) => format!("{agree}, {} differ, each explained to the token", grouped(differ)),
            (differ, unexplained) => {
                format!("{agree}, {} differ, {} of them unexplained", grouped(differ), grouped(unexplained))
            }
        }
    }

    #[expect(clippy::unused_self, reason = "said of every comparison")]
    fn note(&self) -> String {
        labelled("note", "ours is what providers billed as far as Agno recorded it: streams")
            + &labelled("", "that were cut or abandoned, and retries, are in neither")
    }

    fn json(&self) -> serde_json::Result<String> {
        let sessions: Vec<Value> = self.shown.iter().map(json_of).collect();
        let summary = json!({
            "sessions": self.sessions,
            "differ": self.differ,
            "unexplained": self.unexplained,
            "ours": json_amount(self.ours),
            "agno": json_amount(self.agnos),
        });
        let all = json!({"sessions": sessions, "summary": summary});
        Ok(serde_json::to_string_pretty(&all)? + "\n")
    }
}

fn begins(id: &str, asked: &str) -> bool {
    id.get(..asked.len()).is_some_and(|start| start.eq_ignore_ascii_case(asked))
}

fn labelled(label: &str, text: &str) -> String {
    format!("{label:<LABEL_COLUMNS$}{text}\n")
}

fn row(account: &Account) -> Vec<String> {
    let Amount { total, .. } = Amount::of(&account.ours);
    let has_figures = account.stated.as_ref().is_some_and(|stated| stated.figures.is_some());
    let agnos = if has_figures { number(account.agnos().total) } else { "-".to_owned() };
    vec![account.session_id.clone(), number(total), agnos, signed(account.difference().total), why(account)]
}

/// The rules of a difference, or that it has none.
fn why(account: &Account) -> String {
    if !account.is_explained() {
        return UNEXPLAINED.to_owned();
    }
    let rules: Vec<&str> = account.causes.iter().map(|cause| cause.rule.as_str()).collect();
    rules.join(", ")
}

/// One session as a bill: ours, what each rule adds, Agno's.
fn detail(account: &Account, columns: Option<usize>) -> String {
    let mut text =
        format!("session {}, {}\n\n", account.session_id, counted(account.runs.len() as u64, "run"));
    let amounts = |label: &str, amount: Amount, shown: fn(i64) -> String, why: &str| {
        let Amount { input, output, total } = amount;
        vec![label.to_owned(), shown(input), shown(output), shown(total), why.to_owned()]
    };
    let mut rows = vec![["", "input", "output", "total"].map(str::to_owned).to_vec()];
    rows.push(amounts("ours", Amount::of(&account.ours), number, ""));
    for cause in &account.causes {
        rows.push(amounts(
            cause.rule.as_str(),
            cause.amount,
            signed,
            &counted(cause.runs.len() as u64, "run"),
        ));
    }
    if !account.is_explained() {
        rows.push(amounts(UNEXPLAINED, account.unexplained, signed, ""));
    }
    rows.push(match account.stated.as_ref().and_then(|stated| stated.figures) {
        Some(figures) => amounts("Agno", figures.amount(), number, ""),
        None => amounts("Agno", Amount::default(), |_| "-".to_owned(), ""),
    });
    text.push_str(&table(&rows, &[1, 2, 3], columns));
    text.push('\n');
    for cause in &account.causes {
        text.push_str(&labelled(cause.rule.as_str(), cause.rule.meaning()));
    }
    if let Some(hint) = account.hint {
        text.push_str(&labelled(UNEXPLAINED, hint.meaning()));
    }
    if let Some(cost) = account.stated.as_ref().and_then(|stated| stated.cost) {
        text.push_str(&labelled("cost", &format!("{cost} as Agno states it")));
    }
    if !account.runs.is_empty() {
        let heading = ["run", "status", "ours", "Agno alone", "why"].map(str::to_owned).to_vec();
        let runs = account.runs.iter().map(|run| run_row(account, run, columns.is_some()));
        let rows: Vec<Vec<String>> = std::iter::once(heading).chain(runs).collect();
        // Writing to a string cannot fail.
        write!(text, "\n{}", table(&rows, &[2, 3], columns)).ok();
    }
    text
}

fn run_row(account: &Account, run: &RunLine, is_short: bool) -> Vec<String> {
    let letters = if is_short { SHORT_ID_LETTERS } else { usize::MAX };
    let id: String = run.run_id.chars().take(letters).collect();
    let name = run.label.as_deref().unwrap_or_default();
    let alone = run.stated.map_or_else(|| "-".to_owned(), |stated| number(stated.total));
    let rules = account.causes.iter().filter(|cause| cause.runs.contains(&run.run_id));
    let rules: Vec<&str> = rules.map(|cause| cause.rule.as_str()).collect();
    let indent = "  ".repeat(run.depth.min(MAX_INDENT));
    let label = format!("{indent}{} {name} {id}", run.kind.as_str());
    vec![label, run.status.clone(), number(run.ours.total), alone, rules.join(", ")]
}

fn number(count: i64) -> String {
    let sign = if count < 0 { "-" } else { "" };
    format!("{sign}{}", grouped(count.unsigned_abs()))
}

fn signed(count: i64) -> String {
    if count > 0 { format!("+{}", number(count)) } else { number(count) }
}

fn json_amount(amount: Amount) -> Value {
    let Amount { input, output, total } = amount;
    json!({"input_tokens": input, "output_tokens": output, "total_tokens": total})
}

fn json_of(account: &Account) -> Value {
    let figures = account.stated.as_ref().and_then(|stated| stated.figures);
    let cause = |cause: &agno::reconcile::Cause| json!({"rule": cause.rule.as_str(), "amount": json_amount(cause.amount), "runs": cause.runs});
    let run = |run: &RunLine| {
        json!({
            "run_id": run.run_id,
            "kind": run.kind.as_str(),
            "name": run.label,
            "status": run.status,
            "ours": json_amount(run.ours),
            "agno": run.stated.map(json_amount),
        })
    };
    json!({
        "session_id": account.session_id,
        "ours": json_amount(Amount::of(&account.ours)),
        "agno": figures.map(|figures| json_amount(figures.amount())),
        "agno_cost": account.stated.as_ref().and_then(|stated| stated.cost),
        "difference": json_amount(account.difference()),
        "causes": account.causes.iter().map(cause).collect::<Vec<_>>(),
        "unexplained": (!account.is_explained()).then(|| json_amount(account.unexplained)),
        "hint": account.hint.map(agno::reconcile::Hint::meaning),
        "runs": account.runs.iter().map(run).collect::<Vec<_>>(),
    })
}
