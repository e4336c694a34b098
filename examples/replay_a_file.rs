//! The library without its command line: reads runs, prints each trace as an outline, then what was spent.
//!
//! `cargo run --example replay_a_file -- examples/demo.db`

use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use agno_otel::clock::Clock;
use agno_otel::error::Chain;
use agno_otel::export::print::outline;
use agno_otel::model::tokens::CLASSES;
use agno_otel::otel::lines;
use agno_otel::source::{self, Location, Tables};
use agno_otel::{Intake, Settings};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match replay().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(io::stderr(), "{}", Chain(error.as_ref())).ok();
            ExitCode::FAILURE
        }
    }
}

async fn replay() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("expected a database, a JsonDb folder or a file of runs")?;

    // Runs depend on each other, so all are gathered before anything is said of one.
    let mut intake = Intake::default();
    let mut accept = |_, record| intake.accept(&record);
    let source = source::read(&Location::of(Path::new(&path)), &Tables::default(), &mut accept).await?;
    intake.oddities.merge(&source.oddities);
    let gathered = intake.finish(Clock::System.now_ns());

    let mut out = io::stdout().lock();
    for trace in gathered.spans(Settings::default()) {
        writeln!(out, "{}", outline(&lines(&trace)))?;
    }
    let tokens = gathered.tokens();
    for class in CLASSES {
        writeln!(out, "{:<11}{:>8}", class.as_str(), tokens.of(class))?;
    }
    writeln!(out, "{:<11}{:>8}", "total", tokens.total())?;
    for (oddity, count) in gathered.oddities.iter() {
        writeln!(out, "{count} × {}", oddity.meaning())?;
    }
    Ok(())
}
