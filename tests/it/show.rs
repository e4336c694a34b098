//! `show`: what it says is what is counted, any run is found, and what a terminal gets is fit for one.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use unicode_width::UnicodeWidthStr as _;

use crate::support::fixtures;
use crate::support::program::{agno_otel, run, run as run_program};

fn fixture(name: &str) -> String {
    fixtures().join("agno/3.1.10").join(name).display().to_string()
}

/// A file of these runs in a folder of its own.
fn file_of(runs: &Value) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("runs.json");
    std::fs::write(&path, runs.to_string()).unwrap();
    (folder, path)
}

/// `show` of these, for people, where there are so many columns.
fn at(columns: usize, arguments: &[&str]) -> String {
    let mut command = agno_otel(["show"]);
    run(command.args(arguments).env("COLUMNS", columns.to_string())).expect_code(0).stdout
}

/// `show --json` of these.
#[track_caller]
fn document(arguments: &[&str]) -> Value {
    run(agno_otel(["show", "--json"]).args(arguments)).expect_code(0).summary()
}

/// A text of each of these.
fn each<'v>(all: &'v Value, name: &str) -> Vec<&'v str> {
    all.as_array().unwrap().iter().map(|one| one[name].as_str().unwrap_or("-")).collect()
}

fn sum(all: &Value, pointer: &str) -> u64 {
    all.as_array().unwrap().iter().filter_map(|one| one.pointer(pointer)?.as_u64()).sum()
}

#[test]
fn each_view_is_drawn_for_the_width_there_is() {
    let tracing = fixture("tracing.db");
    let views: [(&str, &[&str]); 8] = [
        ("sessions", &[&tracing]),
        ("session", &[&tracing, "s-tr"]),
        ("team", &[&tracing, "402198eb"]),
        ("workflow", &[&tracing, "04f59b3b"]),
        ("failed_tool", &[&tracing, "d0811b89", "--content", "full"]),
        ("search", &[&tracing, "--error"]),
        ("cost", &[&fixture("cost.db")]),
        ("reasoning", &[&fixture("reasoning_native_stream.db")]),
    ];
    for (name, arguments) in views {
        for columns in [80, 200] {
            insta::assert_snapshot!(format!("{name}_{columns}"), at(columns, arguments));
        }
    }
}

#[test]
fn the_documented_views_and_fields_are_the_real_ones() {
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/show.md")).unwrap();
    let tracing = fixture("tracing.db");
    let views: [&[&str]; 4] =
        [&[&tracing], &[&tracing, "s-tr"], &[&tracing, "d0811b89"], &[&tracing, "--error"]];
    let drawn: String = views.iter().map(|arguments| at(120, arguments)).collect();
    let blocks: Vec<&str> =
        docs.split("```text\n").skip(2).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 3);
    for block in blocks {
        assert!(drawn.contains(block), "{block}\nis not in\n{drawn}");
    }
    let mut left: Vec<Value> = views.iter().map(|arguments| document(arguments)).collect();
    left.push(document(&[&tracing, "d0811b89", "--content", "full", "--user-id"]));
    let mut fields = std::collections::BTreeSet::new();
    while let Some(value) = left.pop() {
        match value {
            Value::Array(all) => left.extend(all),
            Value::Object(all) => all.into_iter().for_each(|(name, value)| {
                fields.insert(name);
                left.push(value);
            }),
            _ => {}
        }
    }
    assert!(fields.len() > 50, "{fields:?}");
    let undocumented: Vec<&String> =
        fields.iter().filter(|name| !docs.contains(&format!("`{name}`"))).collect();
    assert!(undocumented.is_empty(), "{undocumented:?}");
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let name = "研究者 who has a rather long name 🦀\u{7}";
    let call = json!({"role": "assistant", "id": "m", "metrics": {"input_tokens": 1_234_567_890_u64, "output_tokens": 3}});
    let runs: Vec<Value> = (0..3)
        .map(|number| {
            json!({"run_id": format!("a run of a long id, number {number}"), "agent_name": name, "session_id": format!("{name}{}", number / 2),
                "status": if number == 1 { "ERROR" } else { "COMPLETED" }, "created_at": 1_700_000_000 + number * 90_000,
                "model": name, "model_provider": "OpenAI", "messages": [call],
                "tools": [{"tool_name": name, "tool_call_id": "t", "tool_call_error": true}]})
        })
        .collect();
    let (_folder, path) = file_of(&Value::from(runs));
    let (own, tracing) = (path.display().to_string(), fixture("tracing.db"));
    let views: [&[&str]; 8] = [
        &[&own],
        &[&own, &format!("{name}0")],
        &[&own, "a run of a long id, number 0", "--content", "full"],
        &[&own, "--error"],
        &[&tracing],
        &[&tracing, "s-tr"],
        &[&tracing, "402198eb"],
        &[&tracing, "04f59b3b"],
    ];
    for arguments in views {
        for columns in [40, 57, 80, 120, 400] {
            let text = at(columns, arguments);
            for line in text.lines() {
                assert!(line.width() <= columns, "{columns} {arguments:?}:\n{text}");
            }
        }
    }
    // A pipe has no width, and no colours.
    let text = run(agno_otel(["show"]).arg(&own)).expect_code(0).stdout;
    assert!(
        text.contains("研究者 who has a rather long name 🦀\\u{7}0") && !text.contains('\u{1b}'),
        "{text}"
    );
}

#[test]
fn a_sessions_rows_add_up_to_what_is_billed_and_reconciled() {
    let folder = fixtures().join("agno/3.1.10");
    let mut all: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.extension().is_some_and(|end| end == "db"));
    let of = |command: &mut Command| run(command).summary();
    let reconciled = of(agno_otel(["reconcile", "--all", "--json"]).args(&all));
    let also = all.iter().skip(1).flat_map(|path| ["--also", path.to_str().unwrap()]);
    let shown = of(agno_otel(["show", "--json"]).arg(&all[0]).args(also));
    let accounts = reconciled["sessions"].as_array().unwrap();
    let sessions = shown["sessions"].as_array().unwrap();
    assert!(sessions.len() > 50, "{}", sessions.len());
    for session in sessions {
        let account = accounts.iter().find(|account| account["session_id"] == session["session_id"]).unwrap();
        assert_eq!(session["tokens"]["total"], account["ours"]["total_tokens"], "{}", session["session_id"]);
    }

    let cases =
        ["cost", "tracing", "anthropic", "fork_session", "paused_continued", "workflow_team", "team_nested"];
    for (source, id) in
        cases.iter().map(|case| fixture(&format!("{case}.db"))).flat_map(|source| sessions_of(&source))
    {
        let bill = of(&mut agno_otel(["bill", "--json", "--session", &id, &source]));
        let shown = document(&[&source, &id]);
        let (session, runs) = (&shown["session"], &shown["runs"]);
        assert_eq!(session["tokens"]["total"], bill["tokens"], "{source} {id}");
        assert_eq!(session["all_runs"], bill["runs"], "{source} {id}");
        assert_eq!(session["cost"]["nano_usd"], bill["total_nano_usd"], "{source} {id}");
        assert_eq!(session["runs"], runs.as_array().unwrap().len());
        for figure in [
            "all_runs",
            "model_calls",
            "tool_calls",
            "errors",
            "cost/nano_usd",
            "tokens/input",
            "tokens/cache_read",
            "tokens/cache_write",
            "tokens/output",
            "tokens/reasoning",
            "tokens/total",
        ] {
            let pointer = format!("/{figure}");
            let total = session.pointer(&pointer).and_then(Value::as_u64).unwrap_or(0);
            assert_eq!(sum(runs, &pointer), total, "{source} {id}: {figure}");
        }
    }
}

/// The sessions of a database, each with its source.
fn sessions_of(source: &str) -> Vec<(String, String)> {
    // A search never ends in the view of the only session.
    let runs = document(&[source, "--since", "1970-01-01"]);
    let ids: std::collections::BTreeSet<&str> = each(&runs["runs"], "session_id").into_iter().collect();
    ids.into_iter().map(|id| (source.to_owned(), id.to_owned())).collect()
}

#[test]
fn a_databases_total_is_what_the_provider_counted() {
    let totals = std::fs::read(fixtures().join("agno/3.1.10/TOTALS.json")).unwrap();
    let totals: Value = serde_json::from_slice(&totals).unwrap();
    for case in ["tracing", "session_25", "team_nested", "workflow_run", "tools_multi", "reasoning_native"] {
        let source = fixture(&format!("{case}.db"));
        let all = document(&[&source, "--since", "1970-01-01"]);
        let truth = &totals[case]["provider_truth"];
        assert_eq!(all["total"]["tokens"]["total"], truth["total_tokens"], "{case}");
        assert_eq!(sum(&all["runs"], "/tokens/cache_read"), truth["cache_read_tokens"].as_u64().unwrap());
        assert_eq!(sum(&all["runs"], "/tokens/total"), truth["total_tokens"].as_u64().unwrap());
    }
    let sessions = document(&[&fixture("tracing.db")]);
    assert_eq!(sessions["view"], "sessions");
    assert_eq!(
        sum(&sessions["sessions"], "/tokens/total"),
        sessions["total"]["tokens"]["total"].as_u64().unwrap()
    );
    assert_eq!((&sessions["total"]["sessions"], &sessions["total"]["runs"]), (&json!(3), &json!(6)));
}

#[test]
fn a_runs_spans_add_up_to_it_and_are_those_that_are_sent() {
    let source = fixture("tracing.db");
    let sent = run(&mut agno_otel(["send", "--to", "otlp-json:-", &source])).expect_code(0).stdout;
    for run_id in ["402198eb", "04f59b3b", "d0811b89", "c6b6b6e9"] {
        let shown = document(&[&source, run_id]);
        let (one, spans) = (&shown["run"], &shown["spans"]);
        assert_eq!(shown["view"], "run");
        assert_eq!(sum(spans, "/tokens/total"), one["tokens"]["total"].as_u64().unwrap());
        let calls = spans.as_array().unwrap().iter().filter(|span| !span["tokens"].is_null()).count();
        assert_eq!(one["model_calls"], calls);
        let failed = spans.as_array().unwrap().iter().filter(|span| span["failed"] == true).count();
        assert_eq!(one["errors"], failed);
        assert_eq!(spans[0]["span_id"], one["span_id"]);
        for (at, span) in spans.as_array().unwrap().iter().enumerate() {
            assert!(sent.contains(&format!("\"spanId\":\"{}\"", span["span_id"].as_str().unwrap())));
            let before = &spans.as_array().unwrap()[..at];
            let parent = &span["parent_span_id"];
            assert_eq!(parent.is_null(), at == 0);
            assert!(at == 0 || before.iter().any(|other| other["span_id"] == *parent));
        }
    }
}

#[test]
fn a_run_is_found_by_any_form_of_its_id_and_a_member_with_what_it_started() {
    let source = fixture("team_run.db");
    // One run is all there is.
    let all = document(&[&source]);
    let (root, spans) = (all["run"]["run_id"].as_str().unwrap(), &all["spans"]);
    let members: Vec<&Value> = spans
        .as_array()
        .unwrap()
        .iter()
        .filter(|span| span["run_id"] != root && span["name"].as_str().unwrap().starts_with("invoke_agent"))
        .collect();
    assert_eq!(members.len(), 2);
    let bare = root.replace('-', "");
    for id in [
        root.to_owned(),
        root.to_uppercase(),
        bare.clone(),
        bare[..10].to_uppercase(),
        format!("{}…", &root[..12]),
    ] {
        assert_eq!(document(&[&source, &id]), all, "{id}");
        assert_eq!(document(&["--run", &id, &source]), all, "{id}");
    }
    for member in members {
        let (id, name) = (member["run_id"].as_str().unwrap(), member["name"].as_str().unwrap());
        let shown = document(&[&source, id]);
        assert_eq!((&shown["run"]["root_run_id"], &shown["run"]["kind"]), (&json!(root), &json!("agent")));
        let own: Vec<&Value> = spans.as_array().unwrap().iter().filter(|span| span["run_id"] == id).collect();
        let of = |span: &Value| (span["span_id"].clone(), span["tokens"].clone(), span["started"].clone());
        let shown: Vec<_> = shown["spans"].as_array().unwrap().iter().map(of).collect();
        assert!(shown.len() > 1);
        assert_eq!(shown, own.into_iter().map(of).collect::<Vec<_>>());
        let text = run(&mut agno_otel(["show", &source, id])).expect_code(0).stdout;
        assert!(text.starts_with(&format!("run       {id}\n")), "{text}");
        assert!(
            text.contains(&format!("\n{name} ")) && text.contains(&format!("part of   run {root}\n")),
            "{text}"
        );
    }
}

/// A bare run.
fn a_run(id: &str, session: Option<&str>) -> Value {
    json!({"run_id": id, "agent_id": "a", "agent_name": id, "session_id": session, "status": "COMPLETED", "created_at": 1_700_000_000})
}

#[test]
fn an_id_that_fits_wins_over_ids_that_begin_so_and_several_are_all_said() {
    let run = |id: &str| a_run(id, Some(if id == "other" { "jo" } else { "s" }));
    let runs = json!([run("job-1"), run("job-10"), run("JOB-2"), run("other"), run("jobless")]);
    let (_folder, path) = file_of(&runs);
    let path = path.to_str().unwrap();
    let found = |id: &str| document(&[path, id])["run"]["run_id"].as_str().unwrap().to_owned();
    assert_eq!(found("job-1"), "job-1");
    assert_eq!(found("job2"), "JOB-2");
    // The trace's id is no run id here.
    let trace_id = document(&[path, "other"])["run"]["trace_id"].as_str().unwrap().to_owned();
    assert_eq!(found(&trace_id), "other");
    assert_eq!(found(&trace_id[..9].to_uppercase()), "other");
    // A session is there by its id, and its beginning.
    assert_eq!(document(&[path, "s"])["runs"].as_array().unwrap().len(), 4);
    assert_eq!(document(&[path, "jo"])["session"]["session_id"], "jo");

    let ended = run_program(&mut agno_otel(["show", path, "job-"])).expect_code(1);
    let mut ids: Vec<&str> =
        ended.stdout.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["JOB-2", "job-1", "job-10", "jobless"]);
    ended.expect_words(&["4 ids answer to job-"]);
    let ended = run_program(&mut agno_otel(["show", "--json", path, "j"])).expect_code(1);
    let document = ended.summary();
    assert_eq!(document["view"], "matches");
    assert_eq!(
        (each(&document["sessions"], "session_id"), document["runs"].as_array().unwrap().len()),
        (vec!["jo"], 4)
    );
}

#[test]
fn what_tables_show_can_be_pasted_back() {
    let uuid = |number: u32| format!("aaaaaaaa-0000-4000-8000-{number:012}");
    let twin = "aaaaaaaa-0001-4000-8000-000000000000";
    let runs =
        json!([a_run(&uuid(1), Some(&uuid(2))), a_run(twin, Some("t")), a_run("x", None), a_run("y", None)]);
    let (_folder, path) = file_of(&runs);
    let path = path.to_str().unwrap();
    let table = run(&mut agno_otel(["show", path])).expect_code(0).stdout;
    let shown: Vec<&str> =
        table.lines().skip(1).take(3).filter_map(|line| line.split_whitespace().next()).collect();
    for id in &shown {
        let session = &document(&[path, id])["session"];
        assert_eq!(session["session_id"].as_str().unwrap_or("-").get(..id.len()), Some(*id), "{table}");
        assert_eq!(session["runs"], if *id == "-" { 2 } else { 1 });
    }
    assert!(shown.contains(&"-") && shown.contains(&"t"), "{table}");
    let table = run(&mut agno_otel(["show", path, "t"])).expect_code(0).stdout;
    assert!(table.contains("\naaaaaaaa-0001 "), "{table}");
    assert_eq!(document(&[path, "aaaaaaaa-0001"])["run"]["run_id"], twin);
}

#[test]
fn a_search_finds_the_runs_that_match_all_that_is_asked() {
    let source = fixture("tracing.db");
    let found = |arguments: &[&str]| {
        let document = document(&[&[source.as_str()], arguments].concat());
        assert_eq!(document["view"], "runs");
        let mut ids: Vec<String> =
            each(&document["runs"], "run_id").iter().map(|id| id[..8].to_owned()).collect();
        assert_eq!(document["total"]["runs"], ids.len());
        assert_eq!(
            sum(&document["runs"], "/tokens/total"),
            document["total"]["tokens"]["total"].as_u64().unwrap()
        );
        ids.sort_unstable();
        ids
    };
    let (agent, failed, plain, last, team, workflow) =
        ("d0811b89", "c6b6b6e9", "dc898186", "2dfcce83", "402198eb", "04f59b3b");
    assert_eq!(found(&["--error"]), [failed, agent]);
    assert_eq!(found(&["--agent", "BASIC"]), [last, failed, agent, plain]);
    assert_eq!(found(&["--agent", "basic?agent", "--tool", "broken*"]), [agent]);
    assert_eq!(found(&["--agent", "basic"]).len(), 4);
    assert_eq!(found(&["--agent", "basic*r"]), [""; 0]);
    // Of what a run started only the name is not its own.
    assert_eq!(found(&["--model", "gpt-mock-res"]), [team]);
    assert_eq!(found(&["--model", "gpt-mock-a?"]), [workflow]);
    let member = document(&[&source, "--agent", "researcher"]);
    assert_eq!(each(&member["runs"], "name"), ["Researcher-m"]);
    assert!(member["runs"][0]["parent_run_id"].as_str().unwrap().starts_with(team));
    assert_eq!(found(&["--tool", "get_weather", "s-tr"]), [last, agent]);
    assert_eq!(found(&["--tool", "get_weather", team]), [""; 0]);
    assert_eq!(found(&["--since", "2026-11-23T01:37:19Z"]), [last]);
    assert_eq!(found(&["--since", "1h"]), [""; 0]);
    let text = run(&mut agno_otel(["show", &source, "--since", "1h"])).expect_code(0).stdout;
    assert_eq!(text, "no run answers\n");
    run(&mut agno_otel(["show", &source, "--error", "nobody"])).expect_code(1).expect_words(&["nobody"]);
    for wrong in [["--cost", "cheap"], ["--since", "soon"], ["--agent", ""], ["--limit", "0"]] {
        run(agno_otel(["show", &source]).args(wrong)).expect_code(2);
    }
}

#[test]
fn a_search_by_cost_finds_what_is_known_to_cost_so_much() {
    let run = |id: &str, model: &str, tokens: u64| {
        json!({"run_id": id, "agent_id": "a", "session_id": "s", "status": "COMPLETED", "created_at": 1_760_000_000,
            "model": model, "model_provider": "OpenAI",
            "messages": [{"role": "assistant", "id": id, "metrics": {"input_tokens": tokens, "output_tokens": 0}}]})
    };
    // $2.50 a million.
    let runs = json!([
        run("dear", "gpt-4o", 800_000),
        run("cheap", "gpt-4o", 80_000),
        run("unknown", "nobody-has-it", 5)
    ]);
    let (_folder, path) = file_of(&runs);
    let path = path.to_str().unwrap();
    let found = |cost: &str| -> Vec<String> {
        let document = document(&[path, "--cost", cost]);
        let mut ids: Vec<String> = each(&document["runs"], "run_id").into_iter().map(str::to_owned).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(found(">1"), ["dear"]);
    assert_eq!(found("2"), ["dear"]);
    assert_eq!(found(">2"), [""; 0]);
    assert_eq!(found("<=$2"), ["cheap", "dear"]);
    assert_eq!(found("<2"), ["cheap"]);
    assert_eq!(found(">=0"), ["cheap", "dear"]);
    let session = document(&[path]);
    let text = run_program(&mut agno_otel(["show", path])).expect_code(0).stdout;
    assert_eq!(session["session"]["cost"]["nano_usd"], 2_200_000_000_u64);
    assert_eq!(
        session["session"]["unpriced"],
        json!([{"provider": "openai", "model": "nobody-has-it", "tokens": 5}])
    );
    assert!(text.contains("$2.20+") && text.contains("unpriced: 5 tokens of nobody-has-it"), "{text}");
}

#[test]
fn what_is_left_out_is_counted_all_the_same() {
    let runs: Vec<Value> =
        (0..7).map(|number| a_run(&format!("r{number}"), Some(&format!("s{}", number % 4)))).collect();
    let (_folder, path) = file_of(&Value::from(runs));
    let path = path.to_str().unwrap();
    let all = document(&[path, "--limit", "3"]);
    assert_eq!((all["sessions"].as_array().unwrap().len(), &all["left_out"]), (3, &json!(1)));
    assert_eq!((&all["total"]["sessions"], &all["total"]["runs"]), (&json!(4), &json!(7)));
    let session = document(&[path, "s0", "--limit", "1"]);
    assert_eq!((each(&session["runs"], "run_id"), &session["session"]["runs"]), (vec!["r4"], &json!(2)));
    let text = run(&mut agno_otel(["show", path, "--limit", "3"])).expect_code(0).stdout;
    assert!(text.contains("1 older session left out") && text.contains("4 sessions"), "{text}");
}

#[test]
fn a_session_has_every_run_once_whoever_started_it() {
    let mut child = a_run("child", Some("other"));
    child["parent_run_id"] = json!("root");
    let mut member = a_run("member", Some("own"));
    member["parent_run_id"] = json!("root");
    let (_folder, path) = file_of(&json!([a_run("root", Some("own")), child, member]));
    let path = path.to_str().unwrap();
    let all = document(&[path]);
    assert_eq!(sum(&all["sessions"], "/all_runs"), 3);
    let own = document(&[path, "own"]);
    assert_eq!((each(&own["runs"], "run_id"), &own["runs"][0]["all_runs"]), (vec!["root"], &json!(2)));
    assert_eq!(each(&document(&[path, "other"])["runs"], "run_id"), ["child"]);
    // A run has all that it started.
    assert_eq!(document(&[path, "root"])["run"]["all_runs"], 3);
}

#[test]
fn a_copy_beside_its_original_counts_once() {
    let folder = TempDir::new().unwrap();
    let copy = folder.path().join("copy.db");
    std::fs::copy(fixture("tracing.db"), &copy).unwrap();
    let (source, team) = (fixture("tracing.db"), fixture("team_run.db"));
    let one = document(&[&source]);
    assert_eq!(document(&[&source, "--also", copy.to_str().unwrap()]), one);
    let both = document(&[&source, "--also", &team, "--also", copy.to_str().unwrap()]);
    assert_eq!(both["total"]["sessions"], 4);
}

#[test]
fn the_config_files_sources_are_shown_where_none_is_given() {
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("agno-otel.toml");
    std::fs::write(&config, format!("[[source]]\npath = '{}'\n", fixture("tracing.db"))).unwrap();
    let with = |arguments: &[&str]| {
        run(agno_otel(["show", "--json", "--config"]).arg(&config).args(arguments)).expect_code(0).summary()
    };
    assert_eq!(with(&[])["view"], "sessions");
    assert_eq!(with(&["--id", "s-tr"])["view"], "session");
    assert_eq!(with(&["--id", "402198eb"])["run"]["name"], "My Team");
    assert_eq!(with(&["--error"])["runs"].as_array().unwrap().len(), 2);
}

#[test]
fn what_was_said_is_shown_on_request_alone() {
    let source = fixture("tracing.db");
    let text = |content: &str| {
        run(&mut agno_otel(["show", &source, "d0811b89", "--content", content])).expect_code(0).stdout
    };
    let said = ["broken for 3", "input     [[tools", "output    Mock answer"];
    assert!(said.iter().all(|words| text("full").contains(words)), "{}", text("full"));
    for content in ["none", "masked"] {
        assert!(!said.iter().any(|words| text(content).contains(words)), "{}", text(content));
    }
    assert!(text("masked").contains("input     <"), "{}", text("masked"));
    // A session's table has no texts at all.
    let table = run(&mut agno_otel(["show", &source, "s-tr", "--content", "full"])).expect_code(0).stdout;
    assert!(!table.contains("500") && table.contains("error"), "{table}");
}

#[test]
fn a_terminal_gets_colours_and_hints() {
    let shell = format!("COLUMNS=100 '{}' show '{}'", env!("CARGO_BIN_EXE_agno-otel"), fixture("tracing.db"));
    let mut script = Command::new("script");
    script.args(["-qec", &shell, "/dev/null"]).env_remove("NO_COLOR").env("TERM", "xterm");
    // Not every machine has a terminal to give.
    let Ok(output) = script.stdin(std::process::Stdio::null()).output() else { return };
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\u{1b}[31m2 errors\u{1b}[0m") && text.contains("tracing.db SESSION"), "{text}");
    let plain = run(&mut agno_otel(["show", &fixture("tracing.db")])).expect_code(0).stdout;
    assert!(!plain.contains('\u{1b}') && !plain.contains("SESSION"), "{plain}");
}

#[test]
fn a_run_that_is_not_there_is_a_failure_with_nothing_on_standard_output() {
    for flags in [&["show"] as &[&str], &["show", "--json"]] {
        let ended =
            run(agno_otel(flags).args(["--run", "nobody", &fixture("history.runs.json")])).expect_code(1);
        assert_eq!(ended.stdout, "");
        ended.expect_words(&["nobody", "runs: 3, sessions: 1"]);
    }
    run(&mut agno_otel(["show", "--run", "", &fixture("history.runs.json")])).expect_code(2);
    let folder = TempDir::new().unwrap();
    let empty = folder.path().join("new.db");
    std::fs::write(&empty, "").unwrap();
    let ended = run(agno_otel(["show"]).arg(&empty)).expect_code(0);
    assert_eq!(ended.stdout, "");
    ended.expect_words(&["no runs"]);
    assert_eq!(document(&[empty.to_str().unwrap()])["sessions"], json!([]));
}

#[test]
fn what_records_say_never_steers_a_terminal() {
    let evil = "a\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}b\r\nc";
    let runs = json!([{"run_id": evil, "agent_id": evil, "agent_name": evil, "session_id": evil, "status": evil,
        "model": evil, "model_provider": evil, "tools": [{"tool_name": evil, "tool_call_id": evil}],
        "messages": [{"role": "assistant", "id": "m", "metrics": {"input_tokens": 12, "output_tokens": 3}}]}]);
    let (folder, path) = file_of(&runs);
    let named = folder.path().join("evil\u{1b}[2J\u{202e}.json");
    let to = "otlp-json:/dev/null";
    let path = path.to_str().unwrap();
    for arguments in [
        &["show", path] as &[&str],
        &["show", "--json", path],
        &["show", "--run", evil, path],
        &["show", "--run", &format!("{evil}x"), path],
        &["send", "--to", to, path],
        &["send", "--json", "--to", to, path],
        &["plan", path],
        &["plan", "--json", path],
        &["bill", path],
        &["bill", "--json", path],
        &["show", named.to_str().unwrap()],
        &["send", "--to", to, "--runs-table", evil, &fixture("team_run.db")],
    ] {
        let ended = run(&mut agno_otel(arguments));
        for text in [&ended.stdout, &ended.stderr] {
            let steers = |letter: char| letter != '\n' && (letter.is_control() || letter == '\u{202e}');
            assert!(!text.contains(steers), "{arguments:?}: {text:?}");
        }
        assert_eq!(ended.stderr.lines().filter(|line| *line == "c").count(), 0, "{}", ended.stderr);
        if arguments.contains(&"--json") {
            let document = serde_json::from_str::<Value>(&ended.stdout);
            assert!(document.is_ok(), "{arguments:?}: {document:?} in {}", ended.stdout);
        }
    }
    assert_eq!(document(&[path])["run"]["name"], evil);
}

#[test]
fn a_session_that_is_called_as_its_run_is_found_by_what_is_shown_of_it() {
    let id = "0190c2f4-7a1b-4c3d-8e5f-001122334455";
    let (_folder, path) = file_of(&json!([a_run(id, Some(id)), a_run("other", Some("other's"))]));
    for asked in [id, "0190c2f4"] {
        let document = document(&[path.to_str().unwrap(), asked]);
        assert_eq!((&document["view"], &document["session"]["session_id"]), (&json!("session"), &json!(id)));
    }
}

#[test]
fn a_trace_of_any_depth_is_shown() {
    const DEPTH: usize = 5_000;
    let runs: Vec<Value> = (0..DEPTH)
        .map(|at| {
            json!({"run_id": format!("run-{at}"), "agent_id": "a", "agent_name": "Deep", "session_id": "s",
                "status": "COMPLETED", "parent_run_id": at.checked_sub(1).map(|parent| format!("run-{parent}"))})
        })
        .collect();
    let (_folder, path) = file_of(&Value::from(runs));
    let path = path.to_str().unwrap();
    // What lies deeper than 64 runs is a trace of its own.
    let session = document(&[path]);
    assert_eq!(sum(&session["runs"], "/all_runs"), DEPTH as u64);
    let text = at(120, &[path, "run-64"]);
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("invoke_agent")).collect();
    assert_eq!(lines.len(), 64, "{text}");
    assert!(lines[63].contains(" 63: invoke_agent Deep"), "levels are numbers down there: {text}");
}

#[test]
fn a_standard_output_that_is_full_is_named() {
    for arguments in
        [&["show"] as &[&str], &["show", "--json"], &["send", "--json", "--to", "otlp-json:/dev/null"]]
    {
        let mut command = agno_otel(arguments);
        let full = File::options().write(true).open("/dev/full").unwrap();
        let child =
            command.arg(fixture("simple.db")).stdout(full).stderr(std::process::Stdio::piped()).spawn();
        let ended = crate::support::program::ended_of(child.unwrap()).expect_code(1);
        ended.expect_words(&["standard output", "No space left"]);
    }
}
