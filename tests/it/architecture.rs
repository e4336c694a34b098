//! The layers hold: what each folder may name, and which door each outside crate has.

use std::collections::BTreeMap;
use std::path::Path;

/// One file of `src/`: its path below it, and its words without comments and texts.
#[derive(Debug, Clone)]
struct Source {
    path: String,
    words: Vec<String>,
    text: String,
}

impl Source {
    fn of(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), words: words(&code(text)), text: text.to_owned() }
    }

    /// True if the file names this path: `tokio`, `std::fs`, `cfg(feature`. Macros of that name are none.
    fn names(&self, path: &str) -> bool {
        let wanted = words(path);
        self.words.windows(wanted.len() + 1).any(|found| {
            let (found, next) = found.split_at(wanted.len());
            found == wanted.as_slice() && next != ["!"]
        })
    }
}

/// A file with comments and string literals blanked.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("'\"'") {
            3
        } else if rest.starts_with("r#\"") {
            rest.find("\"#").map_or(rest.len(), |end| end + 2)
        } else if letter == '"' {
            literal_length(rest)
        } else {
            code.push(letter);
            rest = &rest[letter.len_utf8()..];
            continue;
        };
        code.push(' ');
        rest = &rest[skipped..];
    }
    code
}

fn literal_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// Identifiers and marks. Groups of a `use` are opened: `std::{fs, io}` reads `std::fs`, `std::io`.
fn words(code: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    for letter in code.chars().chain([' ']) {
        if letter.is_alphanumeric() || letter == '_' {
            word.push(letter);
            continue;
        }
        if !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if !letter.is_whitespace() {
            words.push(letter.to_string());
        }
    }
    open_groups(&words)
}

/// Writes the path before a group in front of each of its members.
fn open_groups(words: &[String]) -> Vec<String> {
    let mut opened: Vec<String> = Vec::new();
    let mut prefixes: Vec<(usize, Vec<String>)> = Vec::new();
    let mut depth = 0;
    for word in words {
        let is_group = word == "{" && opened.ends_with(&[":".to_owned(), ":".to_owned()]);
        match word.as_str() {
            "{" => {
                depth += 1;
                if is_group {
                    let path = opened.iter().rev().take_while(|word| *word == ":" || is_name(word)).count();
                    prefixes.push((depth, opened[opened.len() - path..].to_vec()));
                    continue;
                }
            }
            "}" => {
                if prefixes.last().is_some_and(|(own, _)| *own == depth) {
                    prefixes.pop();
                }
                depth = depth.saturating_sub(1);
            }
            "," => {
                if let Some((_, prefix)) = prefixes.last().filter(|(own, _)| *own == depth) {
                    opened.push(",".to_owned());
                    opened.extend(prefix.iter().cloned());
                    continue;
                }
            }
            _ => {}
        }
        opened.push(word.clone());
    }
    opened
}

fn is_name(word: &str) -> bool {
    word != "use" && word != "pub" && word.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path.strip_prefix(&root).unwrap().to_str().unwrap();
                sources.push(Source::of(below, &std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(sources.len() > 20, "src/ was not found");
    sources
}

/// What a folder must not name.
const FORBIDDEN: [(&str, &[&str]); 8] = [
    // What runs in an agent's process reads no framework's records.
    ("live/", &["framework", "source", "intake", "follow", "cli"]),
    ("state/", &["follow", "export"]),
    ("model/", &["otel", "framework", "ledger", "export", "source", "opentelemetry_proto"]),
    ("framework/", &["otel", "export", "ledger", "source", "opentelemetry_proto"]),
    ("money/", &["framework", "otel", "ledger", "export", "source", "intake", "opentelemetry_proto"]),
    ("otel/", &["framework", "money", "export", "source", "intake", "delivery"]),
    (
        "watching/",
        &["framework", "ledger", "money", "export", "source", "intake", "delivery", "opentelemetry_proto"],
    ),
    ("ledger/", &["export", "source", "intake", "delivery", "opentelemetry_proto"]),
];

/// The pure middle: no I/O, no clock, no async.
const PURE: [&str; 6] = ["framework/", "model/", "money/", "otel/", "ledger/", "watching/"];
const IMPURE: [&str; 12] = [
    "tokio",
    "hyper",
    "rusqlite",
    "tokio_postgres",
    "std::fs",
    "std::env",
    "std::net",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant",
    "Clock",
];

/// Where each outside crate may be named.
const DOORS: [(&str, &[&str]); 40] = [
    ("rustix", &["source/mod.rs", "cli/check/setup.rs"]),
    // The tests of the durable way break its state file.
    ("rusqlite", &["source/", "state/", "live/durable/tests.rs"]),
    (
        "tempfile",
        &[
            "source/file.rs",
            "source/watch.rs",
            "source/postgres/passfile.rs",
            "config/file/tests.rs",
            "live/durable/tests.rs",
        ],
    ),
    ("twox_hash", &["stable_hash.rs", "otel/ids.rs"]),
    ("tokio_postgres", &["source/postgres/"]),
    ("tokio_postgres_rustls", &["source/postgres/tls.rs"]),
    ("clap", &["cli/", "main.rs"]),
    ("clap_complete", &["cli/manual.rs"]),
    ("clap_mangen", &["cli/manual.rs"]),
    ("indicatif", &["cli/", "main.rs"]),
    ("anyhow", &["cli/", "main.rs"]),
    ("terminal_size", &["cli/"]),
    ("unicode_width", &["export/print.rs", "export/print/", "cli/show/tables.rs"]),
    ("tracing_subscriber", &["live/", "cli/environment.rs", "observe/"]),
    ("tracing_opentelemetry", &["live/", "observe/"]),
    ("opentelemetry", &["live/", "observe/"]),
    ("opentelemetry_sdk", &["live/durable/", "observe/"]),
    ("opentelemetry_otlp", &["observe/"]),
    ("opentelemetry_http", &["observe/"]),
    ("opentelemetry_appender_tracing", &["observe/"]),
    ("opentelemetry_proto", &["live/durable/work.rs", "otel/", "export/"]),
    ("prost", &["otel/", "export/"]),
    ("hyper", &["export/client.rs", "serve/server.rs"]),
    ("hyper_util", &["export/client.rs", "serve/server.rs"]),
    ("hyper_rustls", &["export/client.rs"]),
    ("rustls", &["export/client.rs", "source/postgres/tls.rs", "serve/tls.rs"]),
    ("tokio_rustls", &["serve/server.rs", "serve/tls.rs"]),
    ("subtle", &["serve/token.rs"]),
    ("rustls_native_certs", &["export/client.rs", "source/postgres/tls.rs"]),
    ("tonic::Status", &["export/otlp_grpc.rs"]),
    ("tonic_types", &["export/otlp_grpc.rs", "export/otlp_http.rs"]),
    ("flate2", &["export/compression.rs", "serve/body.rs"]),
    ("zstd", &["export/compression.rs", "serve/body.rs"]),
    ("base64", &["config/"]),
    ("genai_prices", &["money/table.rs"]),
    ("toml", &["config/file/"]),
    // Lengths of time that other programs' settings say.
    ("humantime", &["cli/check/", "config/file/", "config/when.rs", "model/budget/window.rs"]),
    ("strsim", &["config/file/"]),
    // YAML is what other programs have; ours is TOML.
    ("saphyr_parser", &["cli/check/yaml.rs"]),
    ("SystemTime", &["clock.rs"]),
];

/// Where code may depend on a feature.
const FEATURES: [&str; 10] = [
    // The durable way needs a state file.
    "live/mod.rs",
    "live/way.rs",
    "source/inspect.rs",
    "source/error.rs",
    "source/mod.rs",
    "source/sessions.rs",
    "lib.rs",
    "main.rs",
    "cli/",
    "export/mod.rs",
];

const MOST_LINES: usize = 500;

/// What breaks a rule, as `file: what`.
fn breaches(sources: &[Source]) -> Vec<String> {
    let mut breaches = Vec::new();
    for source in sources {
        let within = |folders: &[&str]| folders.iter().any(|folder| source.path.starts_with(folder));
        let mut breach = |what: String| breaches.push(format!("{}: {what}", source.path));
        for (folder, forbidden) in FORBIDDEN {
            // Paths into our own modules, so that a field called `source` is none.
            let named = |name: &&&str| {
                ["crate", "super::super", "agno_otel"]
                    .iter()
                    .any(|root| source.names(&format!("{root}::{name}")))
                    || (name.contains("proto") && source.names(name))
            };
            for name in forbidden.iter().filter(named).filter(|_| within(&[folder])) {
                breach(format!("names {name}"));
            }
        }
        for name in IMPURE.iter().filter(|name| within(&PURE) && source.names(name)) {
            breach(format!("is pure and names {name}"));
        }
        for (outside, doors) in DOORS {
            if source.names(outside) && !within(doors) {
                breach(format!("names {outside}, whose door is {}", doors.join(" or ")));
            }
        }
        if ["cfg(feature", "cfg(not(feature", "cfg_attr(feature"].iter().any(|cfg| source.names(cfg))
            && !within(&FEATURES)
        {
            breach("depends on a feature".to_owned());
        }
        let lines = source.text.lines().count();
        if lines > MOST_LINES {
            breach(format!("{lines} lines"));
        }
    }
    breaches
}

#[test]
fn the_layers_hold() {
    let sources = sources();
    for source in sources.iter().filter(|source| source.text.lines().count() > 400) {
        println!("{}: {} lines", source.path, source.text.lines().count());
    }
    let breaches = breaches(&sources);
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn every_door_is_used() {
    let sources = sources();
    // `hyper` is there for the features `hyper_util` needs of it.
    for (outside, doors) in DOORS.iter().filter(|(outside, _)| *outside != "hyper") {
        for door in doors.iter().filter(|door| **door != "main.rs") {
            let used = sources.iter().any(|source| source.path.starts_with(door) && source.names(outside));
            assert!(used, "{door} is no longer a door of {outside}");
        }
    }
}

#[test]
fn each_rule_can_be_broken() {
    let broken = [
        ("model/run.rs", "use crate::otel::names;", "names otel"),
        ("money/mod.rs", "use crate::otel::names;", "names otel"),
        ("money/bill.rs", "use genai_prices::Usage;", "names genai_prices"),
        ("model/run.rs", "use crate::{error, framework::Oddity};", "names framework"),
        ("model/run.rs", "use opentelemetry_proto::tonic;", "names opentelemetry_proto"),
        ("model/tree.rs", "use std::{fmt, fs};", "is pure and names std::fs"),
        ("model/tree.rs", "fn a() { std::fs::read(b).ok(); }", "is pure and names std::fs"),
        ("framework/mod.rs", "use crate::otel::names;", "names otel"),
        ("framework/mod.rs", "use super::super::export::Signal;", "names export"),
        ("framework/agno/run.rs", "use std::env;", "is pure and names std::env"),
        ("otel/spans.rs", "use crate::framework::Oddity;", "names framework"),
        ("otel/spans.rs", "use std::time::SystemTime;", "is pure and names SystemTime"),
        ("otel/ids.rs", "use crate::clock::Clock;", "is pure and names Clock"),
        ("watching/spend.rs", "use crate::ledger::Ledger;", "names ledger"),
        ("watching/alerts.rs", "use std::fs;", "is pure and names std::fs"),
        ("ledger/mod.rs", "use tokio::time::Duration;", "is pure and names tokio"),
        ("intake.rs", "use rusqlite::Connection;", "names rusqlite"),
        ("source/mod.rs", "use tokio_postgres::Client;", "names tokio_postgres"),
        ("intake.rs", "use clap::Parser;", "names clap"),
        ("delivery.rs", "use hyper::Request;", "names hyper"),
        ("delivery.rs", "use anyhow::Context as _;", "names anyhow"),
        ("export/print.rs", "use hyper_util::rt;", "names hyper_util"),
        ("config/mod.rs", "use rustls::ClientConfig;", "names rustls"),
        ("config/endpoint.rs", "use toml::Spanned;", "names toml"),
        ("config/file/mod.rs", "use saphyr_parser::Parser;", "names saphyr_parser"),
        ("source/file.rs", "use tracing_subscriber::fmt;", "names tracing_subscriber"),
        ("cli/summary.rs", "use opentelemetry_proto::tonic;", "names opentelemetry_proto"),
        ("cli/own.rs", "use opentelemetry::KeyValue;", "names opentelemetry"),
        ("export/otlp_http.rs", "use opentelemetry_otlp::SpanExporter;", "names opentelemetry_otlp"),
        ("intake.rs", "#[cfg(feature = \"sqlite\")]\nfn a() {}", "depends on a feature"),
        ("intake.rs", "#[cfg(not(feature = \"sqlite\"))]\nfn a() {}", "depends on a feature"),
    ];
    for (path, line, what) in broken {
        let found = breaches(&[Source::of(path, &format!("//! Doc.\n{line}\n"))]);
        assert!(found.iter().any(|breach| breach.contains(what)), "{path}: {line}: {found:?}");
    }
    let long = Source::of("model/run.rs", &"\n".repeat(MOST_LINES + 1));
    assert_eq!(breaches(&[long]), ["model/run.rs: 501 lines"]);
}

#[test]
fn words_in_comments_texts_and_macros_break_nothing() {
    let harmless = "//! See `crate::otel` and std::fs.\n/// tokio\nconst A: &str = \"use tokio::fs; \\\" clap\"; // hyper\n\
                    const B: char = '\"'; const C: &str = env!(\"HOME\"); fn source(otel: u8) { std::env!(\"A\"); }\n";
    assert_eq!(breaches(&[Source::of("model/run.rs", harmless)]), Vec::<String>::new());
    let groups: BTreeMap<&str, bool> = ["std::fs", "std::io::Read", "std::io::Write", "std::Write"]
        .into_iter()
        .map(|path| (path, Source::of("a.rs", "use std::{fs, io::{Read, Write}};").names(path)))
        .collect();
    assert_eq!(groups.into_values().collect::<Vec<_>>(), [false, true, true, true]);
}
