//! What environment variables say, and what those that we do not follow would have said.

use std::env::{self, VarError};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::config::{self, File};
use crate::export::print::Paint;
use crate::observe::{Observing, is_for_people};

/// Names the config file, as `--config` does.
const CONFIG: &str = "AGNO_OTEL_CONFIG";

/// A variable of ours that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{name} is not UTF-8; set it anew or unset it")]
pub(super) struct NotUtf8 {
    name: String,
}

/// What is not there, or not UTF-8, is unset; [`expect_utf8`] refuses the latter.
pub(super) fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// Reads the config file that was named, by the flag or else by its variable.
pub(super) fn config_file(flag: Option<&Path>) -> anyhow::Result<File> {
    let variable = env::var_os(CONFIG).filter(|path| !path.is_empty()).map(PathBuf::from);
    let path = flag.map(Path::to_owned).or(variable);
    let file = path.map(|path| File::read(&path)).transpose().map_err(config::Error::from)?;
    Ok(file.unwrap_or_default())
}

/// Refuses variables of ours that we cannot read.
pub(super) fn expect_utf8() -> Result<(), NotUtf8> {
    for (name, value) in env::vars_os() {
        let name = name.to_string_lossy();
        let is_ours = name.starts_with("OTEL_EXPORTER_OTLP_")
            || ["OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "AGNO_OTEL_OBSERVE"].contains(&&*name);
        if is_ours && value.to_str().is_none() {
            return Err(NotUtf8 { name: name.into_owned() });
        }
    }
    Ok(())
}

/// Warns of variables that ask for what we do not do.
pub(super) fn warn_of_unfollowed() {
    if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.trim().eq_ignore_ascii_case("true")) {
        tracing::warn!(
            "OTEL_SDK_DISABLED is for SDKs within applications, and not followed: what was asked for is sent"
        );
    }
    for (name, instead) in [
        ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
        ("OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"),
    ] {
        let unfollowed = |value: &String| !matches!(value.trim(), "" | "otlp");
        if let Some(value) = variable(name).filter(unfollowed) {
            tracing::warn!(
                "{name}={value} is not followed: both signals are sent by OTLP; {instead} says where to"
            );
        }
    }
}

/// Writes logs to standard error, as much as RUST_LOG or else the flags say; what is observed goes its own way.
pub(super) fn log(verbose: u8, observing: Option<&Observing>) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let (filter, wrong) = match env::var("RUST_LOG") {
        Ok(text) if !text.trim().is_empty() => match EnvFilter::try_new(text) {
            Ok(filter) => (Some(filter), None),
            Err(error) => (None, Some(error.to_string())),
        },
        Err(VarError::NotUnicode(_)) => (None, Some("not UTF-8".to_owned())),
        Ok(_) | Err(VarError::NotPresent) => (None, None),
    };
    let filter = filter.unwrap_or_else(|| EnvFilter::new(format!("agno_otel={level}")));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(paint(&io::stderr()) == Paint::Ansi)
        .with_target(false)
        .with_filter(filter.and(filter_fn(is_for_people)));
    let registry = tracing_subscriber::registry().with(lines);
    match observing {
        // No layer that is none: beside one, what nobody wants to know would be made all the same.
        None => registry.init(),
        Some(observing) => registry.with(observing.layer()).init(),
    }
    if let Some(error) = wrong {
        tracing::warn!(error, "RUST_LOG is not understood, and passed over; write it as agno_otel=debug");
    }
}

/// Colour only on a terminal, and only where the user has not asked for none (<https://no-color.org>).
pub(super) fn paint(stream: &impl IsTerminal) -> Paint {
    let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if stream.is_terminal() && !unwanted { Paint::Ansi } else { Paint::Plain }
}
