//! A Collector's settings: whether what is sent gets through, and in its order.

mod exporters;
mod processors;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::yaml::Node;
use super::{Findings, Level, fixes};
use crate::cli::Ended;
use crate::config::{Config, Environment};
use crate::error::Chain;
use crate::export::{Endpoint, Protocol, Service};

const COLLECTOR: &str = "collector";

/// Settings are a few kilobytes; what is larger is something else.
const MAX_BYTES: u64 = 1024 * 1024;

/// What goes to the Collector, and where.
pub(super) struct Sent {
    pub(super) traces: Endpoint,
    /// None: metrics do not go there.
    pub(super) metrics: Option<Endpoint>,
    /// Whether the bridge's own telemetry goes there too.
    pub(super) observes: bool,
}

/// Settings as the Collector has them: its files, merged, and its variables as they are here.
struct Settings<'s> {
    root: &'s Node,
    environment: Environment<'s>,
}

/// One pipeline that our telemetry goes through.
struct Pipeline<'s> {
    name: &'s str,
    node: &'s Node,
}

pub(super) fn check(findings: &mut Findings, files: &[PathBuf], sent: &Sent, config: Config<'_>) {
    let Some(root) = read(findings, files) else { return };
    let settings = Settings { root: &root, environment: config.environment };
    let mut signals = vec![(Service::Traces, "traces", Some(&sent.traces))];
    if let Some(metrics) = &sent.metrics {
        signals.push((Service::Metrics, "metrics", Some(metrics)));
    }
    if sent.observes {
        signals.push((Service::Logs, "logs", None));
    }
    let mut told = BTreeSet::new();
    for (service, signal, endpoint) in signals {
        let pipelines = settings.pipelines(signal);
        if pipelines.is_empty() {
            let what = format!("no pipeline of {signal} has the receiver otlp");
            if service == Service::Logs {
                findings.note(COLLECTOR, what, fixes::LOGS);
            } else {
                findings.add(Level::Problem(Ended::DestinationAmiss), COLLECTOR, what, fixes::PIPELINE);
            }
            continue;
        }
        if let Some(endpoint) = endpoint {
            receivers(findings, &settings, &pipelines, endpoint, &mut told);
        }
        exporters::check(findings, &settings, signal, &pipelines);
        processors::check(findings, &settings, signal, &pipelines);
    }
}

fn read(findings: &mut Findings, files: &[PathBuf]) -> Option<Node> {
    let mut whole: Option<Node> = None;
    for path in files {
        let text = match text_of(path) {
            Ok(text) => text,
            Err(error) => {
                let what = format!("cannot read {}: {error}", path.display());
                findings.add(Level::Problem(Ended::Misconfigured), COLLECTOR, what, fixes::CONFIG_FILE);
                return None;
            }
        };
        match Node::parse(&path.display().to_string(), &text) {
            Ok(tree) => match &mut whole {
                Some(whole) => whole.merge(tree),
                None => whole = Some(tree),
            },
            Err(error) => {
                let what = Chain(&error).to_string();
                findings.add(Level::Problem(Ended::DestinationAmiss), COLLECTOR, what, fixes::CONFIG_FILE);
                return None;
            }
        }
    }
    let names: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    findings.fine(COLLECTOR, format!("{} was read", names.join(" with ")));
    whole
}

fn text_of(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(std::io::Error::other(format!("it has more than {MAX_BYTES} bytes")));
    }
    Ok(text)
}

impl<'s> Settings<'s> {
    /// The pipelines of a signal that what comes in by OTLP goes through, connectors between them included.
    fn pipelines(&self, signal: &str) -> Vec<Pipeline<'s>> {
        let all = self.root.at(&["service", "pipelines"]).into_iter().flat_map(Node::entries);
        let of_signal: Vec<_> = all.filter(|(name, _)| kind(name) == signal).collect();
        let names = |node: &'s Node, key: &str| -> Vec<&'s str> {
            node.get(key).into_iter().flat_map(Node::items).filter_map(Node::text).collect()
        };
        let is_connector = |id: &str| self.component("connectors", id).is_some();
        let (mut found, mut connectors) = (Vec::<Pipeline<'s>>::new(), BTreeSet::new());
        loop {
            let known = found.len();
            for (name, node) in &of_signal {
                let is_known = found.iter().any(|pipeline| pipeline.name == *name);
                let takes = |id: &&str| kind(id) == "otlp" && !is_connector(id) || connectors.contains(*id);
                if !is_known && names(node, "receivers").iter().any(takes) {
                    found.push(Pipeline { name, node });
                    connectors.extend(names(node, "exporters").into_iter().filter(|id| is_connector(id)));
                }
            }
            if found.len() == known {
                return found;
            }
        }
    }

    /// What a section says of a component; `None` where it does not name it.
    fn component(&self, section: &str, id: &str) -> Option<&'s Node> {
        self.root.at(&[section, id])
    }

    /// A value with its variables, as they are here. `None`: it depends on what is not known here.
    fn value(&self, node: &Node) -> Option<String> {
        expand(node.text()?, self.environment)
    }

    /// A value below a component.
    fn value_at(&self, node: Option<&Node>, keys: &[&str]) -> Value {
        match node.and_then(|node| node.at(keys)) {
            None => Value::Default,
            Some(value) => self.value(value).map_or(Value::Unknown, Value::Text),
        }
    }
}

/// What settings say of a key.
enum Value {
    /// Nothing: the default holds.
    Default,
    Text(String),
    /// It depends on a variable that is not set here.
    Unknown,
}

impl<'s> Pipeline<'s> {
    /// The components of a section, each with where it is named.
    fn components(&self, key: &str) -> impl Iterator<Item = (&'s str, &'s Node)> + use<'s> {
        let list = self.node.get(key).into_iter().flat_map(Node::items);
        list.filter_map(|item| Some((item.text()?, item)))
    }
}

/// The type of a component: what stands before the slash. The Collector renames them: `otlphttp` is now `otlp_http`.
fn kind(id: &str) -> String {
    id.split('/').next().unwrap_or_default().replace('_', "")
}

/// A text with its `${env:NAME}`, `${env:NAME:-default}` and `${NAME}`.
fn expand(text: &str, environment: Environment<'_>) -> Option<String> {
    let (mut expanded, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once("${") {
        let (name, after) = behind.split_once('}')?;
        expanded += before;
        rest = after;
        let name = name.strip_prefix("env:").unwrap_or(name);
        let (name, default) =
            name.split_once(":-").map_or((name, None), |(name, default)| (name, Some(default)));
        expanded += &environment(name).or_else(|| default.map(str::to_owned))?;
    }
    Some(expanded + rest)
}

/// Whether a receiver listens where we send to.
fn receivers(
    findings: &mut Findings,
    settings: &Settings<'_>,
    pipelines: &[Pipeline<'_>],
    endpoint: &Endpoint,
    told: &mut BTreeSet<String>,
) {
    let (protocol, port) = match endpoint.protocol {
        Protocol::HttpProtobuf => ("http", 4318),
        Protocol::Grpc => ("grpc", 4317),
    };
    let default_port = if endpoint.url.scheme_str() == Some("https") { 443 } else { 80 };
    let wanted = endpoint.url.port_u16().unwrap_or(default_port).to_string();
    let ids = pipelines.iter().flat_map(|pipeline| pipeline.components("receivers"));
    for (id, named) in ids.filter(|(id, _)| kind(id) == "otlp") {
        let Some(node) = settings.component("receivers", id) else { continue };
        if !told.insert(format!("{id} {protocol} {wanted}")) {
            continue;
        }
        let Some(spoken) = node.at(&["protocols", protocol]) else {
            let what =
                format!("{}: receivers.{id} does not speak {protocol}, which we send by", named.place());
            findings.add(Level::Problem(Ended::DestinationAmiss), COLLECTOR, what, fixes::PROTOCOL);
            continue;
        };
        let listens = match settings.value_at(Some(spoken), &["endpoint"]) {
            Value::Text(address) => address,
            Value::Default => format!("localhost:{port}"),
            Value::Unknown => continue,
        };
        if listens.rsplit(':').next() == Some(wanted.as_str()) {
            findings.fine(COLLECTOR, format!("receivers.{id} listens at {listens}, where we send to"));
        } else {
            let place = spoken.get("endpoint").unwrap_or(spoken).place();
            let what = format!("{place}: receivers.{id} listens at {listens}, and we send to port {wanted}");
            findings.note(COLLECTOR, what, fixes::PORT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_as_they_are_here_or_their_defaults() {
        let environment = |name: &str| (name == "HOST").then(|| "collector".to_owned());
        let expand = |text| expand(text, &environment);
        assert_eq!(expand("${env:HOST:-a}:${env:PORT:-4317}").as_deref(), Some("collector:4317"));
        assert_eq!(expand("http://${HOST}/").as_deref(), Some("http://collector/"));
        assert_eq!(expand("0.0.0.0:4317").as_deref(), Some("0.0.0.0:4317"));
        assert_eq!((expand("${env:PORT}"), expand("${HOST")), (None, None));
    }
}
