//! `completions` and `man`: the arguments, for shells and for readers.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use super::Ended;

const NAME: &str = "agno-otel";

#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArguments {
    /// For which shell.
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(super) struct ManArguments {
    /// Of which command, as it is typed: send, or dead-letters list. Default: of agno-otel itself.
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
    /// Write the pages of all commands into this folder instead. It must be there; what is in it under these names is
    /// replaced.
    #[arg(long, value_name = "FOLDER", conflicts_with = "command")]
    to: Option<PathBuf>,
}

/// There is no such command.
#[derive(Debug, thiserror::Error)]
#[error("no command is called {wanted}; agno-otel --help lists them")]
pub(super) struct NoCommand {
    wanted: String,
}

pub(super) fn completions(arguments: &CompletionsArguments) -> anyhow::Result<Ended> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut all(), NAME, &mut script);
    // clap_complete 4.6 writes a dash of the program's own name in two ways, and finds the flags of no command then. Goes
    // when it does not: the test completes in a real bash.
    let script = String::from_utf8_lossy(&script).replace("agno__subcmd__otel", "agno__otel");
    super::write_painted(&script)?;
    Ok(Ended::Done)
}

pub(super) fn man(arguments: &ManArguments) -> anyhow::Result<Ended> {
    if let Some(folder) = &arguments.to {
        write_all(&all(), folder)?;
        return Ok(Ended::Done);
    }
    let mut command = &all();
    for name in &arguments.command {
        let wanted = || NoCommand { wanted: arguments.command.join(" ") };
        command = command.find_subcommand(name).ok_or_else(wanted)?;
    }
    super::write_painted(&page(command)?)?;
    Ok(Ended::Done)
}

/// All commands, each with its whole name. Help of help is none of them.
fn all() -> Command {
    let mut all = super::Arguments::command().disable_help_subcommand(true);
    all.build();
    all
}

/// The page of a command, and of those within it.
fn write_all(command: &Command, folder: &Path) -> anyhow::Result<()> {
    let path = folder.join(format!("{}.1", name(command)));
    super::export::write(&path, &page(command)?)?;
    command.get_subcommands().try_for_each(|within| write_all(within, folder))
}

fn page(command: &Command) -> anyhow::Result<String> {
    let name = name(command);
    let after = command.get_after_long_help().map(ToString::to_string);
    let has_within = command.has_subcommands();
    let said = command.clone().name(name.clone()).display_name(name).version(env!("CARGO_PKG_VERSION"));
    let man = Man::new(said).date("").manual(NAME);
    let mut page = Vec::new();
    let written = man
        .render_title(&mut page)
        .and_then(|()| man.render_name_section(&mut page))
        .and_then(|()| man.render_synopsis_section(&mut page))
        .and_then(|()| man.render_description_section(&mut page))
        .and_then(|()| man.render_options_section(&mut page))
        .and_then(|()| if has_within { man.render_subcommands_section(&mut page) } else { Ok(()) });
    written.context("cannot write a page")?;
    let mut page = String::from_utf8_lossy(&page).into_owned();
    if let Some(after) = after {
        // As it stands: it is a table.
        page.push_str(".SH NOTES\n.nf\n");
        page.push_str(&after.replace('\\', "\\e").replace('-', "\\-"));
        page.push_str("\n.fi\n");
    }
    Ok(in_ascii(&page))
}

/// What is no ASCII, in words of roff: of anything else it wants to be told the encoding.
fn in_ascii(page: &str) -> String {
    let mut ascii = String::with_capacity(page.len());
    for letter in page.chars() {
        if letter.is_ascii() {
            ascii.push(letter);
        } else {
            // Writing to a string cannot fail.
            write!(ascii, "\\[u{:04X}]", u32::from(letter)).ok();
        }
    }
    ascii
}

/// `agno-otel-dead-letters-list`, as pages are called.
fn name(command: &Command) -> String {
    command.get_bin_name().unwrap_or(NAME).replace(' ', "-")
}
