//! `export`: dashboards and alerts for what is sent.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::Ended;
use crate::config::{Config, File, Flags};
use crate::watching::{self, DEFAULT_JAEGER, Setup};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
    /// Whose: service.name, as everything is sent with. [env: OTEL_SERVICE_NAME; default: that of the config file, else
    /// every service's]
    #[arg(long, value_name = "NAME", global = true)]
    service_name: Option<String>,
    /// Where Jaeger's pages are, for the links to runs.
    #[arg(long, value_name = "URL", global = true, default_value = DEFAULT_JAEGER)]
    jaeger_url: String,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum What {
    /// Write Grafana's dashboards into a folder: spend.json and runs.json.
    Dashboards {
        /// Must be there. What is in it under these names is replaced.
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
    /// Print rules for Prometheus.
    Alerts {
        /// A model that may be asked, * for any text; repeatable. Any other is alerted on. Default: those that were asked a
        /// day before.
        #[arg(long = "model", value_name = "NAME")]
        models: Vec<String>,
    },
}

pub(super) fn run(arguments: &Arguments, file: &File) -> anyhow::Result<Ended> {
    let flags = Flags { service_name: arguments.service_name.clone(), ..Flags::default() };
    let config = Config { flags: &flags, environment: &super::variable, file };
    let mut setup = Setup {
        job: config.job(),
        thresholds: file.sections.session.thresholds.clone(),
        budgets: file.sections.budget.clone(),
        models: Vec::new(),
        jaeger: arguments.jaeger_url.trim_end_matches('/').to_owned(),
        metrics_every: file.sections.run.metrics_every,
    };
    match &arguments.what {
        What::Dashboards { folder } => {
            for (name, text) in watching::dashboards(&setup) {
                write(&folder.join(name), &text)?;
            }
        }
        What::Alerts { models } => {
            setup.models.clone_from(models);
            super::write_out(&watching::alerts(&setup))?;
        }
    }
    Ok(Ended::Done)
}

/// Writes a file into a folder that must be there.
pub(super) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.is_dir()) {
        anyhow::bail!("there is no folder {}; make it first", folder.display());
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
