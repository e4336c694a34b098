//! Jaeger: whether our traces are there, and whether the application sends some of its own.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Findings, Level, asked, fixes, list, text};
use crate::cli::Ended;
use crate::export::ask::Asker;
use crate::otel::names;

const JAEGER: &str = "jaeger";

/// Services that are looked into beside ours, and traces of each: a sample.
const SERVICES: usize = 8;
const TRACES: &str = "10";

/// What spans of other instrumentations say of a model's tokens, and of Agno's runs.
const TELLING: [&str; 7] = [
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.prompt_tokens",
    "llm.token_count.prompt",
    "llm.token_count.total",
    "llm.usage.total_tokens",
    "agno.run.id",
    "agno.agent.id",
];

pub(super) async fn check(findings: &mut Findings, asker: &Asker, service: &str, now_ns: u64) {
    let problem = |findings: &mut Findings, what: String| {
        findings.add(Level::Problem(Ended::DestinationAmiss), JAEGER, what, fixes::JAEGER);
    };
    let (services, date_ns) = match asked(asker, "api/services", &[]).await {
        Ok((answer, date_ns)) => (answer, date_ns),
        Err(error) => {
            problem(findings, format!("{}: {error}", asker.target()));
            return;
        }
    };
    // An empty one says null.
    if !services.is_array() && !services.is_null() {
        problem(findings, format!("{}: answers, and not as Jaeger does", asker.target()));
        return;
    }
    let services: BTreeSet<&str> = list(&services, "").filter_map(Value::as_str).collect();
    findings.fine(JAEGER, format!("{}: {} services", asker.target(), services.len()));
    if let Some(date_ns) = date_ns {
        findings.clock(JAEGER, "its clock", date_ns, now_ns);
    }
    if services.contains(service) {
        findings.fine(JAEGER, format!("service {service} has traces"));
    } else {
        findings.note(JAEGER, format!("service {service} has no traces"), fixes::NO_TRACES);
    }
    // Its own and ours tell of no run.
    let others =
        services.iter().filter(|name| ![service, "jaeger", names::SCOPE].contains(*name)).take(SERVICES);
    let looked_into = services.get(service).into_iter().chain(others);
    let mut scopes = BTreeMap::<(String, String), u64>::new();
    for name in looked_into {
        match asked(asker, "api/traces", &[("service", name), ("limit", TRACES)]).await {
            Ok((traces, _)) => foreign(&traces, &mut scopes),
            Err(error) => {
                let what = format!("traces of service {name} were not looked into: {error}");
                findings.note(JAEGER, what, "");
            }
        }
    }
    for ((scope, of), count) in &scopes {
        let what = format!(
            "service {of} sends {count} spans of scope {scope} in its last traces: two sources of spans for the same runs"
        );
        findings.note(JAEGER, what, fixes::INSTRUMENTED);
    }
    if scopes.is_empty() {
        findings.fine(JAEGER, "no spans of another instrumentation of agents were found");
    }
}

/// Spans that tell of model calls or of Agno's runs, and are not ours, by scope and service.
fn foreign(traces: &Value, scopes: &mut BTreeMap<(String, String), u64>) {
    for trace in list(traces, "") {
        for span in list(trace, "/spans") {
            let tag = |name: &str| list(span, "/tags").find(|tag| text(tag, "/key") == name);
            let scope = tag("otel.scope.name").or_else(|| tag("otel.library.name"));
            let scope = scope.map_or("", |tag| text(tag, "/value"));
            let is_telling = TELLING.iter().any(|name| tag(name).is_some()) || scope.contains("agno");
            if scope == names::SCOPE || !is_telling {
                continue;
            }
            let process = trace.get("processes").and_then(|all| all.get(text(span, "/processID")));
            let service = process.map_or("", |process| text(process, "/serviceName"));
            let scope = if scope.is_empty() { "no name" } else { scope };
            *scopes.entry((scope.to_owned(), service.to_owned())).or_default() += 1;
        }
    }
}
