//! What somebody is told who does not know the way yet.

use std::io::{self, IsTerminal as _, Write as _};

/// What is said where nothing was asked.
pub(super) const FIRST: &str = "\
agno-otel turns the runs of Agno agents into OpenTelemetry. Three commands to begin with:

  agno-otel demo            shows a made-up day of agents
  agno-otel show agno.db    shows your own runs, in the terminal
  agno-otel send agno.db    sends them to a Collector at http://localhost:4318; plan says first what that is

Usage: agno-otel <COMMAND>. agno-otel --help has all commands.
";

/// What of all commands is to be known beside their flags.
pub(super) const AFTER: &str = "\
Exit codes:
  0         done
  1         failed, and said why; of check: the state file cannot be
            used, or its outbox is full
  2         wrong usage or configuration
  3         a source could not be read, or holds no runs of a layout we
            know; nothing was sent
  4         the destination refused everything, or could not be reached
            before giving up
  5         done, but some records were left out, or some requests,
            spans or points refused; all are counted. Of reconcile: a
            difference is unexplained
  130, 143  stopped by SIGINT, SIGTERM; what was delivered before stays
            delivered

Variables beside those that stand with their flags:
  OTEL_RESOURCE_ATTRIBUTES
            attributes of everything sent: service.namespace=shop,team=a
  OTEL_EXPORTER_OTLP_TRACES_*, OTEL_EXPORTER_OTLP_METRICS_*,
  OTEL_EXPORTER_OTLP_LOGS_*
            what OTEL_EXPORTER_OTLP_* says, of one signal; its endpoint
            is used as it is
  PGPASSWORD, PGPASSFILE
            passwords of Postgres databases
  RUST_LOG  what is logged: agno_otel=debug
  NO_COLOR  no colours

Flags win over variables, variables over the config file, the file over
defaults. What a file turns on, =false turns off: --observe=false. Not
followed, with a warning: OTEL_SDK_DISABLED, and OTEL_TRACES_EXPORTER and
OTEL_METRICS_EXPORTER with anything but otlp.";

/// What to do where nobody listens.
pub(super) const NO_COLLECTOR: &str =
    "collector-config/README.md says how to start a Collector; agno-otel show, plan and bill need none";

/// Says what could be done next, where somebody looks on: never to a script.
pub(super) fn next(text: &str) {
    if io::stdout().is_terminal() && io::stderr().is_terminal() {
        writeln!(io::stderr(), "next: {text}").ok();
    }
}
