//! The command line of agno-otel.

use std::process::ExitCode;

fn main() -> ExitCode {
    agno_otel::cli::main()
}
