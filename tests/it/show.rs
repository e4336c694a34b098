//! `show`: any run is found, by any form of its id, and what a terminal gets is fit for one.

use std::fs::File;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

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

/// The run ids and names of the spans of each line.
fn shown(arguments: &[&str]) -> Vec<Vec<(String, String)>> {
    let ended = run(&mut agno_otel(arguments)).expect_code(0);
    let spans = |line: &str| -> Vec<(String, String)> {
        let line: Value = serde_json::from_str(line).unwrap();
        let spans = line["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
        spans.iter().map(|span| (run_id(span), span["name"].as_str().unwrap().to_owned())).collect()
    };
    ended.stdout.lines().map(spans).collect()
}

fn run_id(span: &Value) -> String {
    let attributes = span["attributes"].as_array().unwrap();
    let of_run = attributes.iter().find(|attribute| attribute["key"] == "agno.run.id");
    of_run.unwrap()["value"]["stringValue"].as_str().unwrap().to_owned()
}

#[test]
fn a_run_is_found_by_any_form_of_its_id_and_a_member_with_what_it_started() {
    let source = fixture("team_run.db");
    let all = shown(&["show", "--json", &source]);
    assert_eq!(all.len(), 1);
    let root = &all[0][0].0;
    let members: Vec<&(String, String)> =
        all[0].iter().filter(|(id, name)| id != root && name.starts_with("invoke_agent")).collect();
    assert_eq!(members.len(), 2);
    let bare = root.replace('-', "");
    for id in
        [root.clone(), root.to_uppercase(), bare.clone(), bare[..10].to_uppercase(), root[..12].to_owned()]
    {
        assert_eq!(shown(&["show", "--json", "--run", &id, &source]), all, "{id}");
    }
    for member in members {
        let subtree: Vec<_> = all[0].iter().filter(|(id, _)| *id == member.0).cloned().collect();
        assert!(subtree.len() > 1 && subtree[0] == *member);
        assert_eq!(shown(&["show", "--json", "--run", &member.0, &source]), [subtree]);
        let text = run(&mut agno_otel(["show", "--run", &member.0, &source])).expect_code(0).stdout;
        assert!(text.starts_with(&format!("run {}\n{} ", member.0, member.1)), "{text}");
    }
}

#[test]
fn an_id_that_fits_wins_over_ids_that_begin_so() {
    let run = |id: &str| json!({"run_id": id, "agent_id": "a", "agent_name": id, "session_id": "s", "status": "COMPLETED"});
    let (_folder, path) = file_of(&json!([run("job-1"), run("job-10"), run("JOB-2"), run("other")]));
    let path = path.to_str().unwrap();
    let found = |id: &str| -> Vec<String> {
        shown(&["show", "--json", "--run", id, path]).into_iter().map(|trace| trace[0].0.clone()).collect()
    };
    assert_eq!(found("job-1"), ["job-1"]);
    assert_eq!(found("job-"), ["job-1", "job-10", "JOB-2"]);
    assert_eq!(found("job2"), ["JOB-2"]);
    // The trace's id is no run id here.
    let text = run_program(&mut agno_otel(["show", "--json", "--run", "other", path])).expect_code(0).stdout;
    let line: Value = serde_json::from_str(&text).unwrap();
    let trace_id =
        line["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"].as_str().unwrap().to_owned();
    assert_eq!(found(&trace_id), ["other"]);
    assert_eq!(found(&trace_id[..9].to_uppercase()), ["other"]);
}

#[test]
fn a_run_that_is_not_there_is_a_failure_with_nothing_on_standard_output() {
    for flags in [&["show"] as &[&str], &["show", "--json"]] {
        let ended =
            run(agno_otel(flags).args(["--run", "nobody", &fixture("history.runs.json")])).expect_code(1);
        assert_eq!(ended.stdout, "");
        ended.expect_words(&["nobody", "3 traces"]);
    }
    run(&mut agno_otel(["show", "--run", "", &fixture("history.runs.json")])).expect_code(2);
    let folder = TempDir::new().unwrap();
    let empty = folder.path().join("new.db");
    std::fs::write(&empty, "").unwrap();
    let ended = run(agno_otel(["show"]).arg(empty)).expect_code(0);
    assert_eq!(ended.stdout, "");
    ended.expect_words(&["no runs"]);
}

#[test]
fn as_json_it_prints_what_send_would_write() {
    let sources = [fixture("team_run.db"), fixture("history.runs.json")];
    let lines = |arguments: &[&str]| -> Vec<Value> {
        let ended =
            run(agno_otel(arguments).args(&sources).env("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=x"));
        let lines = ended.expect_code(0).stdout;
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let spans = |lines: &[Value]| -> Vec<Value> {
        let resources =
            lines.iter().flat_map(|line| line["resourceSpans"].as_array().cloned().unwrap_or_default());
        let scopes = resources.flat_map(|resource| resource["scopeSpans"].as_array().cloned().unwrap());
        scopes.flat_map(|scope| scope["spans"].as_array().cloned().unwrap()).collect()
    };
    let shown = lines(&["show", "--json"]);
    let sent = lines(&["send", "--to", "otlp-json:-"]);
    assert_eq!(shown.len(), 4, "a line per trace");
    assert_eq!(spans(&shown), spans(&sent));
    assert_eq!(shown[0]["resourceSpans"][0]["resource"], sent[0]["resourceSpans"][0]["resource"]);
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
        &["show", "--run", evil, path],
        &["show", "--run", &format!("{evil}x"), path],
        &["send", "--to", to, path],
        &["show", named.to_str().unwrap()],
        &["send", "--to", to, "--runs-table", evil, &fixture("team_run.db")],
    ] {
        let ended = run(&mut agno_otel(arguments));
        for text in [&ended.stdout, &ended.stderr] {
            let steers = |letter: char| letter != '\n' && (letter.is_control() || letter == '\u{202e}');
            assert!(!text.contains(steers), "{arguments:?}: {text:?}");
        }
        assert_eq!(ended.stderr.lines().filter(|line| *line == "c").count(), 0, "{}", ended.stderr);
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
    let text = run(agno_otel(["show"]).arg(&path)).expect_code(0).stdout;
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("invoke_agent")).collect();
    assert_eq!(lines.len(), DEPTH);
    assert!(
        lines.iter().any(|line| line.contains(" 63: invoke_agent Deep")),
        "levels are numbers down there"
    );
    assert!(lines.iter().all(|line| line.chars().count() < 120));
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
