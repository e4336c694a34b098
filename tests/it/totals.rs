//! Totals equal the provider's own bill, as far as Agno recorded it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agno_otel::Settings;
use agno_otel::ledger::{Ledger, Value};
use agno_otel::model::{Forest, Tokens};

use crate::support::{Case, Classes, calls, cases, counted, fixtures, gather, gather_records, records};

/// Cases of which Agno stored less than the provider billed, with the classes it did store (input, cache read,
/// cache write, output, reasoning), and why.
const UNRECORDED: [(&str, [u64; 5], &str); 18] = [
    ("2.0.2/cancelled_stream", [0, 0, 0, 0, 0], "a stream that was left never said its usage"),
    ("2.0.2/error_stream_cut", [0, 0, 0, 0, 0], "a stream that was cut never said its usage"),
    ("2.5.17/cancelled_stream", [0, 0, 0, 0, 0], "a stream that was left never said its usage"),
    ("2.5.17/error_stream_cut", [0, 0, 0, 0, 0], "a stream that was cut never said its usage"),
    ("3.1.10/cancelled_stream", [0, 0, 0, 0, 0], "a stream that was left never said its usage"),
    ("3.1.10/error_stream_cut", [0, 0, 0, 0, 0], "a stream that was cut never said its usage"),
    ("2.0.2/error_after_tools", [0, 0, 0, 0, 0], "2.0 stores nothing of a run that failed"),
    ("2.0.2/team_member_error", [0, 0, 0, 0, 0], "2.0 stores nothing of a run that failed"),
    (
        "2.0.2/memory_summary",
        [158, 128, 0, 28, 0],
        "before 2.5.4 the usage of memory, summary, learning and compression models is stored nowhere",
    ),
    (
        "2.0.2/memory_summary_stream",
        [43, 32, 0, 13, 0],
        "before 2.5.4 the usage of memory, summary, learning and compression models is stored nowhere",
    ),
    ("2.0.2/parser_output_model", [109, 64, 0, 39, 0], "2.0 counts neither a parser nor an output model"),
    ("2.0.2/openai_responses", [166, 0, 0, 46, 0], "2.0 keeps no cached part of the Responses API"),
    (
        "2.5.17/memory_summary",
        [1392, 1216, 0, 92, 0],
        "of the calls of a memory manager or a learning store only the last is counted",
    ),
    (
        "2.5.17/memory_summary_stream",
        [661, 544, 0, 44, 0],
        "of the calls of a memory manager or a learning store only the last is counted",
    ),
    (
        "3.1.10/memory_summary",
        [1392, 1216, 0, 92, 0],
        "of the calls of a memory manager or a learning store only the last is counted",
    ),
    (
        "3.1.10/memory_summary_stream",
        [661, 544, 0, 44, 0],
        "of the calls of a memory manager or a learning store only the last is counted",
    ),
    ("2.0.2/postgres", [1182, 672, 0, 299, 0], "a run whose content Postgres refused was never stored"),
    ("3.1.10/postgres", [1112, 576, 0, 264, 0], "a run whose content Postgres refused was never stored"),
];

/// Databases whose provider's record covers one run of four: the expected sum is Agno's own.
const LEGACY: [u64; 5] = [421, 256, 0, 78, 0];

fn classes(tokens: [u64; 5]) -> Classes {
    ["input", "cache_read", "cache_write", "output", "reasoning"].into_iter().zip(tokens).collect()
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Verdict {
    Exact,
    Unrecorded,
    Wrong,
}

/// What a source must give, whether that is all that was billed, and why not.
fn expected(case: &Case) -> (Classes, Verdict, String) {
    let billed = calls::classes(&calls::read(&case.calls));
    if case.name.contains("/legacy_") {
        return (classes(LEGACY), Verdict::Exact, String::new());
    }
    if let Some((_, stored, why)) = UNRECORDED.iter().find(|(name, ..)| *name == case.name) {
        assert_ne!(classes(*stored), billed, "{} is recorded in full and needs no pin", case.name);
        return (classes(*stored), Verdict::Unrecorded, (*why).to_owned());
    }
    // The generated cases carry their own pins, derived when they were made.
    let meta = case.calls.to_string_lossy().replace(".calls.json", ".meta.json");
    let meta: serde_json::Value =
        std::fs::read(meta).map_or(serde_json::Value::Null, |text| serde_json::from_slice(&text).unwrap());
    let Some(stored) = meta.pointer("/unrecorded/stored") else {
        return (billed, Verdict::Exact, String::new());
    };
    let stored = billed.keys().map(|&class| (class, stored[class].as_u64().unwrap())).collect();
    (stored, Verdict::Unrecorded, meta["unrecorded"]["why"].as_str().unwrap().to_owned())
}

#[test]
fn every_source_gives_what_its_provider_billed_as_far_as_agno_recorded_it() {
    let mut table: Vec<(Verdict, String)> = Vec::new();
    for case in cases() {
        let (expected, verdict, _) = expected(&case);
        let counted = counted(&gather(&[&case.source]));
        let verdict = if counted == expected { verdict } else { Verdict::Wrong };
        table.push((verdict, format!("{:<50} {:<10} {counted:?}", case.name, format!("{verdict:?}"))));
        if verdict == Verdict::Wrong {
            table.push((verdict, format!("{:<50} expected   {expected:?}", "")));
        }
    }
    for (_, line) in &table {
        println!("{line}");
    }
    let count = |wanted| table.iter().filter(|(verdict, _)| *verdict == wanted).count();
    let (exact, unrecorded, wrong) =
        (count(Verdict::Exact), count(Verdict::Unrecorded), count(Verdict::Wrong));
    println!("exact {exact}, unrecorded {unrecorded}, wrong {wrong}");
    assert_eq!(wrong, 0, "see the table");
    let pinned = table.iter().filter(|(_, line)| !line.starts_with("generated/"));
    assert_eq!(pinned.filter(|(verdict, _)| *verdict == Verdict::Unrecorded).count(), UNRECORDED.len());
    assert!(exact > 250, "cases are missing");
}

/// What the limits page tells of these cases.
fn limits(cases: &[Case]) -> String {
    let total = |classes: &Classes| classes.values().sum::<u64>();
    let (mut rows, mut exact) = (BTreeMap::<_, BTreeMap<String, Vec<&str>>>::new(), 0);
    for case in cases {
        let (stored, verdict, why) = expected(case);
        if verdict == Verdict::Exact {
            exact += 1;
            continue;
        }
        let billed = total(&calls::classes(&calls::read(&case.calls)));
        let figures = match total(&stored) {
            stored if stored == billed => "all, in other classes".to_owned(),
            stored => format!("{stored} of {billed}"),
        };
        let (release, name) = case.name.trim_start_matches("generated/").split_once('/').unwrap();
        rows.entry((why, name)).or_default().entry(figures).or_default().push(release);
    }
    let rows = rows.into_iter().map(|((why, name), figures)| {
        let figures = figures.into_iter().map(|(figures, mut releases)| {
            releases.sort_unstable();
            format!("{figures} ({})", releases.join(", "))
        });
        format!("| {why} | `{name}` | {} |\n", figures.collect::<Vec<_>>().join("; "))
    });
    let rows: String = rows.collect();
    let head =
        "| what happened | in the recording | tokens stored of those billed (release) |\n|---|---|---|\n";
    format!(
        "{exact} of {} recordings are exact, in every class of every call. The others:\n\n{head}{rows}",
        cases.len()
    )
}

#[test]
fn the_limits_page_has_the_numbers_of_these_totals() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/limits.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once("<!-- totals: begin -->\n").unwrap();
    let (told, after) = rest.split_once("<!-- totals: end -->").unwrap();
    let expected = format!("\n{}\n", limits(&cases()));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let page = format!("{before}<!-- totals: begin -->\n{expected}<!-- totals: end -->{after}");
        std::fs::write(path, page).unwrap();
    } else {
        assert_eq!(told, expected, "UPDATE_DOCS=1 cargo test the_limits_page writes it");
    }
}

/// Everything a case left behind: its database or folder, and the runs its caller was given.
fn all_sources(case: &Case) -> Vec<PathBuf> {
    let run_files = ["run.json", "runs.json"]
        .map(|end| PathBuf::from(case.calls.to_string_lossy().replace("calls.json", end)));
    let mut sources = vec![case.source.clone()];
    sources.extend(run_files.into_iter().filter(|path| path.exists() && *path != case.source));
    sources
}

#[test]
fn sources_fed_together_twice_and_in_any_order_give_the_same_totals() {
    for case in cases() {
        let (expected, verdict, _) = expected(&case);
        let sources = all_sources(&case);
        let paths: Vec<&Path> = sources.iter().map(PathBuf::as_path).collect();
        let (once, oddities) = records(&paths);
        let together = counted(&gather_records(&once, oddities.clone()));
        // The caller's copy may hold what the database lost, so together they are at least as much.
        let least: u64 = expected.values().sum();
        assert!(together.values().sum::<u64>() >= least, "{}", case.name);
        if verdict == Verdict::Exact {
            assert_eq!(together, expected, "{}", case.name);
        }
        let twice: Vec<_> = once.iter().chain(&once).cloned().collect();
        let reversed: Vec<_> = twice.iter().rev().cloned().collect();
        let rotated: Vec<_> = twice.iter().skip(1).chain(twice.first()).cloned().collect();
        for order in [twice, reversed, rotated] {
            let gathered = gather_records(&order, oddities.clone());
            assert_eq!(counted(&gathered), together, "{}", case.name);
        }
    }
}

#[test]
fn the_model_calls_of_every_trace_add_up_to_what_is_counted() {
    for case in cases() {
        let gathered = gather(&[&case.source]);
        let calls = gathered.forest.runs.iter().flat_map(|run| &run.calls).map(|call| call.tokens);
        assert_eq!(calls.sum::<Tokens>(), gathered.tokens(), "{}", case.name);
    }
}

#[test]
fn earlier_states_of_a_database_add_nothing_to_its_last() {
    let mut seen = 0;
    for case in cases() {
        let stem =
            case.calls.file_name().unwrap().to_str().unwrap().trim_end_matches(".calls.json").to_owned();
        let folder = case.calls.parent().unwrap();
        let earlier: Vec<PathBuf> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| {
                let name = path.file_name().unwrap().to_str().unwrap();
                name == format!("{stem}.paused.db") || name.starts_with(&format!("{stem}.after"))
            })
            // An id used again overwrites its run, so an earlier state holds runs that the last has lost.
            .filter(|_| stem != "reused_run_ids")
            .collect();
        for path in earlier {
            seen += 1;
            let alone = counted(&gather(&[&case.source]));
            assert_eq!(counted(&gather(&[&path, &case.source])), alone, "{}", path.display());
            assert_eq!(counted(&gather(&[&case.source, &path])), alone, "{}", path.display());
        }
    }
    assert!(seen >= 10, "snapshots are missing");
}

#[test]
fn runs_that_reuse_an_id_are_runs_of_their_own() {
    for version in ["3.0.0", "3.1.10"] {
        let folder = fixtures().join("generated").join(version);
        let states: Vec<PathBuf> = ["after1.db", "after3.db", "db"]
            .iter()
            .map(|end| folder.join(format!("reused_run_ids.{end}")))
            .collect();
        let paths: Vec<&Path> = states.iter().map(PathBuf::as_path).collect();
        let billed = calls::classes(&calls::read(&folder.join("reused_run_ids.calls.json")));
        // The last state alone holds two runs of four; the states together hold all.
        assert_eq!(counted(&gather(&paths)), billed, "{version}");
        let reversed: Vec<&Path> = paths.iter().rev().copied().collect();
        assert_eq!(counted(&gather(&reversed)), billed, "{version}");
    }
}

#[test]
fn a_sessions_runs_and_time_are_those_of_the_runs_nobody_started() {
    let gathered = gather(&[&fixtures().join("agno/3.1.10/team_run.db")]);
    let mut ledger = Ledger::default();
    gathered.count(&mut ledger, Settings::default());
    let released = ledger.release(1_795_400_000_000_000_000);
    let sum = |metric: &str| -> u64 {
        let of_metric = released.iter().filter(|series| series.key.metric.name == metric);
        of_metric
            .map(|series| match &series.now.value {
                Value::Histogram(histogram) => histogram.sum,
                Value::Number(_) | Value::Quotient { .. } => panic!("{metric} is a histogram"),
            })
            .sum()
    };
    let Forest { runs, traces, .. } = &gathered.forest;
    let roots = traces.iter().map(|trace| &runs[trace.nodes[0].run]);
    let duration_ns: i64 = roots.filter_map(|root| root.duration_ns).sum();
    assert!(runs.len() > traces.len() && duration_ns > 0);
    assert_eq!(sum("agno.session.runs"), traces.len() as u64);
    assert_eq!(sum("agno.session.duration"), duration_ns.unsigned_abs());
    assert_eq!(sum("agno.session.tokens"), gathered.tokens().total());
}

#[test]
fn a_message_of_openais_is_read_as_such_in_a_run_stored_under_anthropic() {
    // As 2.4.8 stores a run that paused under Anthropic and went on with OpenAI.
    let message = |id: &str, metrics: serde_json::Value| serde_json::json!({"id": id, "role": "assistant", "provider_data": {"id": id}, "metrics": metrics});
    let claude = serde_json::json!({"input_tokens": 74, "output_tokens": 9, "cache_read_tokens": 32});
    let gpt = serde_json::json!({"input_tokens": 350, "output_tokens": 28, "cache_read_tokens": 160});
    let run = serde_json::json!({"run_id": "r", "agent_id": "a", "model_provider": "Anthropic", "model": "claude",
        "messages": [message("msg_1", claude), message("chatcmpl-1", gpt)]});
    let record = agno_otel::Record {
        json: run.to_string().into_bytes(),
        columns: agno_otel::framework::agno::Columns::default(),
    };
    let tokens = gather_records(&[record], agno_otel::framework::Oddities::default()).tokens();
    assert_eq!((tokens.uncached, tokens.cache_read, tokens.answer), (74 + 350 - 160, 32 + 160, 37));
}
