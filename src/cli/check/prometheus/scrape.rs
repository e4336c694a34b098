//! Whether Prometheus scrapes what `run --metrics scrape` shows.

use serde_json::Value;

use super::PROMETHEUS;
use crate::cli::Ended;
use crate::cli::check::yaml::Node;
use crate::cli::check::{Findings, Level, asked, fixes, list, text};
use crate::export::ask::Asker;

pub(super) async fn check(findings: &mut Findings, asker: &Asker, config: &Node, port: Option<u16>) {
    let Some(port) = port else { return };
    let targets = match asked(asker, "api/v1/targets", &[("state", "active")]).await {
        Ok((answer, _)) => answer,
        Err(error) => {
            findings.note(PROMETHEUS, format!("its targets are not shown: {error}"), fixes::NOT_SHOWN);
            return;
        }
    };
    let all = || list(&targets, "/activeTargets");
    let ours: Vec<&Value> = all().filter(|target| is_at(text(target, "/scrapeUrl"), port)).collect();
    if ours.is_empty() {
        let what = format!("none of its {} targets is /metrics at port {port}", all().count());
        findings.add(Level::Problem(Ended::DestinationAmiss), PROMETHEUS, what, fixes::NO_TARGET);
    }
    for target in ours {
        let (url, health, pool) =
            (text(target, "/scrapeUrl"), text(target, "/health"), text(target, "/scrapePool"));
        if health == "down" {
            let what = format!("it cannot scrape {url}: {}", text(target, "/lastError"));
            findings.add(Level::Problem(Ended::DestinationAmiss), PROMETHEUS, what, fixes::TARGET_DOWN);
        } else {
            findings.fine(PROMETHEUS, format!("it scrapes {url}"));
        }
        let is_true = |job: &Node| job.get("honor_labels").and_then(Node::text) == Some("true");
        let mut jobs = config.get("scrape_configs").into_iter().flat_map(Node::items);
        let job = jobs.find(|job| job.get("job_name").and_then(Node::text) == Some(pool));
        if job.is_some_and(|job| !is_true(job)) {
            let what =
                format!("job {pool} has no honor_labels: ours become exported_job and exported_instance");
            findings.add(Level::Problem(Ended::DestinationAmiss), PROMETHEUS, what, fixes::HONOR_LABELS);
        }
    }
}

fn is_at(url: &str, port: u16) -> bool {
    let url: Option<http::Uri> = url.parse().ok();
    url.is_some_and(|url| url.port_u16() == Some(port) && url.path() == "/metrics")
}
