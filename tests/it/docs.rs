//! The documents say what the code does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use agno_otel::otel::names::{ATTRIBUTES, METRICS, STATED_PREFIX};

use crate::manual::{commands, flags};
use crate::support::program::{agno_otel, run};

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names we send that a text has between backticks.
fn names_in(text: &str) -> BTreeSet<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|name| ["agno.", "gen_ai."].iter().any(|prefix| name.starts_with(prefix))).collect()
}

fn sent() -> BTreeSet<&'static str> {
    ATTRIBUTES.iter().copied().chain(METRICS.iter().map(|metric| metric.name)).collect()
}

/// True for the names of a file, and for families of names written with a placeholder.
fn is_sent(name: &str, sent: &BTreeSet<&str>) -> bool {
    let is_file = Path::new(name)
        .extension()
        .is_some_and(|end| ["db", "json", "rs", "py"].iter().any(|known| end == *known));
    // `agno.step {name}` is the name of a span.
    let first = name.split(' ').next().unwrap_or(name);
    let family = name.strip_suffix('*').or_else(|| name.strip_suffix('…'));
    let is_family = family.is_some_and(|start| sent.iter().any(|name| name.starts_with(start)));
    is_file || is_family || first == "agno.step" || name.starts_with(STATED_PREFIX) || sent.contains(name)
}

#[test]
fn the_mapping_names_nothing_that_is_not_sent() {
    let text = read("docs/mapping.md");
    let sent = sent();
    let names = names_in(&text);
    assert!(names.len() > 50, "{names:?}");
    let unknown: Vec<&str> = names.into_iter().filter(|name| !is_sent(name, &sent)).collect();
    assert!(unknown.is_empty(), "docs/mapping.md names what the code does not: {unknown:#?}");
}

#[test]
fn the_mapping_names_everything_that_is_sent() {
    let text = read("docs/mapping.md");
    let quoted: BTreeSet<&str> = text.split('`').skip(1).step_by(2).collect();
    let missing: Vec<&str> = sent().into_iter().filter(|name| !quoted.contains(name)).collect();
    assert!(missing.is_empty(), "docs/mapping.md does not name: {missing:#?}");
    assert!(
        quoted.iter().any(|name| name.starts_with(STATED_PREFIX)),
        "docs/mapping.md names no {STATED_PREFIX}…"
    );
}

/// The names of the bridge's own spans, counters and attributes, as its source has them.
fn own_names() -> BTreeSet<String> {
    let sources = ["src/delivery.rs", "src/cli/own.rs", "src/observe/underway.rs"].map(read).concat();
    let words = sources.split(|letter: char| !(letter.is_ascii_alphanumeric() || "._:".contains(letter)));
    let names = words.filter_map(|word| word.strip_prefix("monotonic_counter.").or(Some(word)));
    names.filter(|name| name.starts_with("agno_otel.")).map(str::to_owned).collect()
}

#[test]
fn the_mapping_has_every_name_of_the_bridges_own() {
    let (text, names) = (read("docs/mapping.md"), own_names());
    assert!(names.len() >= 8, "{names:?}");
    let told: BTreeSet<String> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| name.starts_with("agno_otel."))
        .map(str::to_owned)
        .collect();
    assert_eq!(told, names);
}

#[test]
fn the_readme_holds_the_two_commands() {
    let text = read("README.md");
    for command in ["cargo run --release -- demo", "cargo test"] {
        assert!(text.lines().any(|line| line.contains(command)), "README.md without `{command}`");
    }
}

/// The exit codes of the binary, as its source has them.
fn exit_codes() -> BTreeSet<u8> {
    let source = read("src/cli/ended.rs");
    let constants =
        source.lines().filter_map(|line| line.strip_prefix("pub(super) const ")?.split_once(": u8 = "));
    let ended = source
        .lines()
        .skip_while(|line| !line.starts_with("pub(super) enum Ended"))
        .take_while(|line| *line != "}");
    let variants = ended.filter_map(|line| line.split_once(" = "));
    constants.chain(variants).map(|(_, value)| value.trim_end_matches([';', ',']).parse().unwrap()).collect()
}

#[test]
fn the_reference_tells_every_exit_code() {
    let codes = exit_codes();
    assert_eq!(codes, BTreeSet::from([0, 1, 2, 3, 4, 5, 130, 143]), "the source has other codes");
    let text = read("docs/reference.md");
    let table =
        text.lines().skip_while(|line| *line != "Exit codes:").skip(1).take_while(|line| !line.is_empty());
    // Meanings begin behind two spaces.
    let told: BTreeSet<u8> = table
        .filter_map(|line| line.trim_start_matches("  ").split("  ").next())
        .flat_map(|codes| codes.split(", "))
        .filter_map(|code| code.parse().ok())
        .collect();
    let missing: Vec<_> = codes.difference(&told).collect();
    assert!(missing.is_empty(), "docs/reference.md does not tell exit codes {missing:?}");
}

#[test]
fn a_name_that_is_not_sent_is_noticed() {
    let sent = sent();
    let names = names_in(
        "| `agno.token.usage` | `agno.tokens.used` | `agno.metrics.cost` | `agno.step {name}` | `agno.*` | agno.none |",
    );
    let unknown: Vec<&str> = names.into_iter().filter(|name| !is_sent(name, &sent)).collect();
    assert_eq!(unknown, ["agno.tokens.used"]);
}

/// What follows each `start` in a text, as far as it could be a version.
fn versions_after<'text>(text: &'text str, start: &str) -> BTreeSet<&'text str> {
    let rest = text.split(start).skip(1);
    rest.filter_map(|rest| rest.split(|letter: char| !(letter.is_ascii_digit() || letter == '.')).next())
        .filter(|version| version.contains('.'))
        .collect()
}

#[test]
fn the_image_is_of_this_version_wherever_it_is_named() {
    for file in [
        "Dockerfile",
        "collector-config/compose.yaml",
        "packaging/kubernetes/agno-otel.yaml",
        "docs/deploying.md",
    ] {
        let text = read(file);
        assert_eq!(
            versions_after(&text, "agno-otel:"),
            BTreeSet::from([env!("CARGO_PKG_VERSION")]),
            "{file}"
        );
    }
    let toolchain = format!("{}.0", env!("CARGO_PKG_RUST_VERSION"));
    assert_eq!(versions_after(&read("Dockerfile"), "FROM rust:"), BTreeSet::from([toolchain.as_str()]));
}

#[test]
fn the_stack_has_the_versions_it_is_tested_with() {
    let compose = read("collector-config/compose.yaml");
    let collector = read("tests/stack/go/otelcol/main.go");
    assert_eq!(
        versions_after(&compose, "opentelemetry-collector-contrib:"),
        versions_after(&collector, "Version:     \"")
    );
    let build = read("tests/stack/build.sh");
    assert_eq!(versions_after(&compose, "prom/prometheus:v"), versions_after(&build, "version.Version="));
}

#[test]
fn the_page_on_check_tells_every_fix_of_what_stands_around() {
    let (page, source) = (read("docs/check.md"), read("src/cli/check/fixes.rs"));
    let statements = source.split("pub(super) const ").skip(1);
    let fixes: Vec<String> = statements
        .map(|statement| {
            let (_, value) = statement.split_once('"').unwrap();
            value.split_once("\";").unwrap().0.replace("\\\"", "\"")
        })
        .collect();
    assert!(fixes.len() > 30, "{fixes:#?}");
    let missing: Vec<&String> = fixes.iter().filter(|fix| !page.contains(&format!("`{fix}`"))).collect();
    assert!(missing.is_empty(), "docs/check.md does not tell: {missing:#?}");
}

/// What the page of commands says: each one's help, as the binary gives it.
fn reference() -> String {
    let mut text = "# Commands\n\n\
        Every command with its flags, defaults and variables, as `--help` says them, and what exit codes mean. It is made \
        from the\nbinary, and a test holds it against that: after a change of flags, `UPDATE_DOCS=1 cargo \
        test --test it\ndocs::the_reference` writes it anew. The keys of the config file are in\n\
        [examples/agno-otel.toml](../examples/agno-otel.toml).\n"
        .to_owned();
    let mut all = commands();
    all.sort();
    for path in [Vec::new()].into_iter().chain(all) {
        let help = run(agno_otel(&path).arg("--help")).expect_code(0).stdout;
        let name = [&["agno-otel".to_owned()], path.as_slice()].concat().join(" ");
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        write!(text, "\n## {name}\n\n```text\n{}\n```\n", lines.join("\n").trim_end()).unwrap();
    }
    text
}

#[test]
fn the_reference_is_what_the_binary_says() {
    const FILE: &str = "docs/reference.md";
    let said = reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE), &said).unwrap();
    }
    let written = read(FILE);
    let differs = said.lines().zip(written.lines()).find(|(said, written)| said != written);
    assert!(
        said == written,
        "{FILE} is not what the binary says, first at {differs:?}; write it anew: \
         UPDATE_DOCS=1 cargo test --test it docs::the_reference"
    );
}

/// The commands in blocks of code of a document, each as its words: what stands behind `#` is for readers.
fn typed(text: &str) -> Vec<Vec<&str>> {
    let blocks = text.split("\n```").skip(1).step_by(2);
    let lines = blocks.flat_map(|block| block.lines().skip(1));
    let commands = lines.filter_map(|line| {
        let words = line.trim_start_matches("$ ").split(" #").next()?.split_whitespace();
        // Variables before it.
        let words: Vec<&str> =
            words.skip_while(|word| word.contains('=') && !word.starts_with('-')).collect();
        let starts: [&[&str]; 2] = [&["agno-otel"], &["cargo", "run", "--release", "--"]];
        let rest = starts.iter().find_map(|start| words.strip_prefix(*start))?;
        Some(
            rest.strip_prefix(&["--config"])
                .and_then(|rest| rest.split_first())
                .map_or(rest, |(_, rest)| rest)
                .to_vec(),
        )
    });
    // A line of Cargo.toml is none.
    commands.filter(|words| words.first().is_some_and(|word| *word != "=")).collect()
}

/// The documents that tell people what to type.
fn documents() -> Vec<String> {
    let mut files =
        ["README.md", "collector-config/README.md", "examples/README.md"].map(str::to_owned).to_vec();
    let mut folders = vec!["docs".to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{folder}/{}", entry.file_name().to_str().unwrap());
            if entry.path().is_dir() {
                folders.push(name);
            } else if Path::new(&name).extension().is_some_and(|end| end == "md") {
                files.push(name);
            }
        }
    }
    files
}

/// What of a typed command the binary does not know: a command, or a flag of it.
fn unknown(words: &[&str], known: &BTreeMap<Vec<String>, BTreeSet<String>>) -> Option<String> {
    let mut path = Vec::new();
    for word in words {
        let longer = [path.as_slice(), &[(*word).to_owned()]].concat();
        if !known.contains_key(&longer) {
            break;
        }
        path = longer;
    }
    let of_command = known.get(&path).filter(|_| !path.is_empty());
    let of_all = ["--help", "--version"];
    let flag = |word: &&&str| word.starts_with("--");
    let name = |word: &&str| word.split('=').next().unwrap_or_default().to_owned();
    match of_command {
        None if words.first().is_some_and(|word| of_all.contains(word)) => None,
        None => Some(format!("no command: {}", words.join(" "))),
        Some(flags) => words
            .iter()
            .filter(flag)
            .map(name)
            .find(|name| !flags.contains(name))
            .map(|name| format!("{name} of {}", path.join(" "))),
    }
}

#[test]
fn every_command_and_flag_of_the_documents_is_one_of_the_binary() {
    let known: BTreeMap<Vec<String>, BTreeSet<String>> =
        commands().into_iter().map(|path| (path.clone(), flags(&path))).collect();
    let mut wrong = Vec::new();
    let mut all = 0;
    for file in documents() {
        let text = read(&file);
        let typed = typed(&text);
        all += typed.len();
        wrong.extend(typed.iter().filter_map(|words| Some(format!("{file}: {}", unknown(words, &known)?))));
    }
    assert!(all > 40, "{all} commands were found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_command_or_flag_that_is_none_is_noticed() {
    let known: BTreeMap<Vec<String>, BTreeSet<String>> =
        commands().into_iter().map(|path| (path.clone(), flags(&path))).collect();
    let text = "a\n```sh\nagno-otel send a.db --to x      # --nothing\nagno-otel sned a.db\nagno-otel send --tooo x\n\
                X=1 agno-otel dead-letters list --json\nagno-otel dead-letters burn\ncargo run --release -- demo --spin=false\n```\nagno-otel nothing\n";
    let found: Vec<String> = typed(text).iter().filter_map(|words| unknown(words, &known)).collect();
    assert_eq!(found, ["no command: sned a.db", "--tooo of send", "--spin of demo"]);
}
