//! `status` and `dead-letters`: what a state file holds, and what to do with what was refused.

use std::path::Path;

use serde_json::{Value, json};

use super::Ended;
use super::run::StateFile;
use crate::clock::Clock;
use crate::config::File;
use crate::export::print::plain;
use crate::state::State;
use crate::state::glance::{Glance, Window};
use crate::state::outbox::Amount;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    state: StateFile,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Letters {
    #[command(subcommand)]
    act: Act,
    #[command(flatten)]
    state: StateFile,
}

#[derive(Debug, Clone, Copy, clap::Subcommand)]
enum Act {
    /// List the requests that were refused, with why.
    List {
        /// Print them as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Put refused spans back among what waits to be delivered. Stop run first.
    Retry,
    /// Forget what was refused. Stop run first.
    Drop,
}

pub(super) fn status(arguments: &Arguments, file: &File) -> anyhow::Result<Ended> {
    let path = arguments.state.path(file)?;
    let glance = Window::open(&path)?.glance()?;
    let now_ns = Clock::System.now_ns();
    let text = if arguments.json {
        format!("{}\n", serde_json::to_string_pretty(&json_of(&glance, now_ns))?)
    } else {
        format!("state        {}\n{}", path.display(), text_of(&glance, now_ns))
    };
    super::write_either(&text, arguments.json)?;
    Ok(Ended::Done)
}

fn text_of(glance: &Glance, now_ns: u64) -> String {
    let Glance { runs, sessions, series, due, .. } = glance;
    let mut lines: Vec<String> = glance
        .sources
        .iter()
        .map(|(name, records)| format!("source       {}: {records} records", plain(&name.replace('\n', " "))))
        .collect();
    lines.push(format!(
        "known        {runs} runs in {sessions} sessions, history among them; {series} series"
    ));
    lines.push(format!("due          {due} families of records"));
    lines.push(format!("outbox       {}", amount(&glance.outbox, now_ns)));
    lines.push(format!("dead letters {}", amount(&glance.dead_letters, now_ns)));
    let released =
        glance.released_ns.map_or("never".to_owned(), |at_ns| format!("{} ago", age(at_ns, now_ns)));
    lines.push(format!("metrics      released {released}, as instance {}", glance.instance_id));
    lines.join("\n") + "\n"
}

fn amount(amount: &Amount, now_ns: u64) -> String {
    let Amount { requests, bytes, since_ns } = amount;
    match since_ns {
        None => "empty".to_owned(),
        Some(since_ns) => {
            format!("{requests} requests, {bytes} bytes, the oldest {} old", age(*since_ns, now_ns))
        }
    }
}

pub(super) fn age(since_ns: u64, now_ns: u64) -> String {
    const SECOND_NS: u64 = 1_000_000_000;
    let seconds = now_ns.saturating_sub(since_ns) / SECOND_NS;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn json_of(glance: &Glance, now_ns: u64) -> Value {
    let seconds =
        |since_ns: u64| std::time::Duration::from_nanos(now_ns.saturating_sub(since_ns)).as_secs_f64();
    let amount = |amount: &Amount| json!({"requests": amount.requests, "bytes": amount.bytes, "oldest_seconds": amount.since_ns.map(seconds)});
    let source = |(name, records): &(String, u64)| json!({"name": name, "records": records});
    json!({
        "instance_id": glance.instance_id,
        "sources": glance.sources.iter().map(source).collect::<Vec<_>>(),
        "runs": glance.runs,
        "sessions": glance.sessions,
        "series": glance.series,
        "due": glance.due,
        "outbox": amount(&glance.outbox),
        "dead_letters": amount(&glance.dead_letters),
        "metrics_released_seconds_ago": glance.released_ns.map(seconds),
    })
}

pub(super) fn dead_letters(arguments: &Letters, file: &File) -> anyhow::Result<Ended> {
    let is_json = matches!(arguments.act, Act::List { json: true });
    let path = arguments.state.path(file)?;
    let text = match arguments.act {
        Act::List { json } => {
            let letters = Window::open(&path)?.dead_letters()?;
            let now_ns = Clock::System.now_ns();
            if json {
                let letter = |letter: &crate::state::glance::KeptLetter| {
                    json!({
                        "id": letter.id, "signal": letter.signal, "items": letter.items, "bytes": letter.bytes,
                        "reason": letter.reason, "refused_unix_nano": letter.since_ns,
                    })
                };
                let all: Vec<Value> = letters.iter().map(letter).collect();
                format!("{}\n", serde_json::to_string_pretty(&all)?)
            } else if letters.is_empty() {
                "none\n".to_owned()
            } else {
                let line = |letter: &crate::state::glance::KeptLetter| {
                    let (id, items, age) = (letter.id, letter.items, age(letter.since_ns, now_ns));
                    format!("{id:<6}{} {items}, {age} ago: {}\n", letter.signal, plain(&letter.reason))
                };
                letters.iter().map(line).collect()
            }
        }
        Act::Retry => {
            let count = existing(&path)?.retry_dead_letters()?;
            format!("{count} put back; run or send --state delivers them\n")
        }
        Act::Drop => format!("{} forgotten\n", existing(&path)?.drop_dead_letters()?),
    };
    super::write_either(&text, is_json)?;
    Ok(Ended::Done)
}

/// A state file that is there: one that had to be made first would be empty.
fn existing(path: &Path) -> Result<State, crate::state::Error> {
    Window::open(path)?;
    State::open(path)
}
