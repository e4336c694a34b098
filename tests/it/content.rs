//! What was said: in the conventions' shapes, within its limits, and without touching anything else.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use agno_otel::framework::Keep;
use agno_otel::framework::agno::Columns;
use agno_otel::otel::content::strip_content;
use agno_otel::otel::names;
use agno_otel::otel::policy::{DEFAULT_LIMIT_BYTES, MIN_LIMIT_BYTES, Mode, Policy};
use agno_otel::{Gathered, Intake, Record, Settings};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Otlp;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};

use crate::support::program::{agno_otel, every_fixture, run};
use crate::support::{canaries, fixtures, gather, gather_content};

fn settings(mode: Mode, limit_bytes: usize) -> Settings {
    Settings { content: Policy::new(mode, limit_bytes), ..Settings::default() }
}

fn spans(gathered: &Gathered, mode: Mode, limit_bytes: usize) -> Vec<Span> {
    gathered.spans(settings(mode, limit_bytes)).into_iter().flat_map(|trace| trace.spans).collect()
}

fn fixture_spans(fixture: &str, mode: Mode) -> Vec<Span> {
    spans(&gather_content(&[&fixtures().join(fixture)]), mode, DEFAULT_LIMIT_BYTES)
}

/// Records of these texts, with their content.
fn gather_texts(texts: &[String]) -> Gathered {
    let mut intake = Intake::keeping(Keep::Content);
    for text in texts {
        intake.accept(&Record { json: text.clone().into_bytes(), columns: Columns::default() });
    }
    intake.finish(0)
}

fn text<'s>(attributes: &'s [KeyValue], name: &str) -> Option<&'s str> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        Otlp::StringValue(text) => Some(text),
        other => panic!("{name} is {other:?}"),
    }
}

/// A value that is JSON.
#[track_caller]
fn parsed(span: &Span, name: &str) -> Value {
    let text = text(&span.attributes, name).unwrap_or_else(|| panic!("{} without {name}", span.name));
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn named<'s>(spans: &'s [Span], name: &str) -> Vec<&'s Span> {
    spans.iter().filter(|span| span.name.starts_with(name)).collect()
}

/// What the conventions' schemas ask of a part.
#[track_caller]
fn expect_part(part: &Value) {
    let required: &[&str] = match part["type"].as_str().unwrap_or_else(|| panic!("no type: {part}")) {
        "text" | "reasoning" => &["content"],
        "tool_call" => &["name"],
        "tool_call_response" => {
            assert!(part.get("response").is_some(), "{part}");
            &[]
        }
        "uri" => &["modality", "uri"],
        "file" => &["modality", "file_id"],
        "generic" => &["generic_type"],
        other => panic!("a part of type {other}"),
    };
    for field in required {
        assert!(part[field].is_string(), "{field} of {part}");
    }
}

#[track_caller]
fn expect_parts(parts: &Value) {
    parts.as_array().unwrap_or_else(|| panic!("no list: {parts}")).iter().for_each(expect_part);
}

/// Everything with content in a span, checked against the schemas: how many values, and the longest in bytes.
fn expect_shapes(span: &Span) -> (usize, usize) {
    let (mut count, mut longest) = (0, 0);
    for (attributes, name) in span
        .events
        .iter()
        .map(|event| &event.attributes)
        .chain([&span.attributes])
        .flat_map(|attributes| names::CONTENT.iter().map(move |name| (attributes, *name)))
    {
        let Some(said) = text(attributes, name) else {
            continue;
        };
        (count, longest) = (count + 1, longest.max(said.len()));
        if matches!(name, names::TOOL_CALL_ARGUMENTS | names::TOOL_CALL_RESULT) {
            // An object or a list is JSON; a text is itself.
            assert!(!said.starts_with('{') || serde_json::from_str::<Value>(said).is_ok(), "{said}");
            continue;
        }
        let value: Value = serde_json::from_str(said).unwrap_or_else(|error| panic!("{error}: {said}"));
        if matches!(name, names::MESSAGE_CONTENT | names::SYSTEM_INSTRUCTIONS) {
            expect_parts(&value);
            continue;
        }
        for message in value.as_array().unwrap() {
            assert!(message["role"].is_string(), "{message}");
            expect_parts(&message["parts"]);
        }
    }
    (count, longest)
}

#[test]
fn every_fixtures_content_has_the_conventions_shapes_and_stays_below_its_limit() {
    let mut counts = BTreeMap::<&str, usize>::new();
    for source in every_fixture() {
        let gathered = gather_content(&[&source]);
        for (mode, limit, label) in [
            (Mode::Full, DEFAULT_LIMIT_BYTES, "full"),
            (Mode::Full, MIN_LIMIT_BYTES, "full, small"),
            (Mode::Masked, MIN_LIMIT_BYTES, "masked, small"),
        ] {
            for span in spans(&gathered, mode, limit) {
                let (count, longest) = expect_shapes(&span);
                assert!(
                    longest <= limit,
                    "{}: {} has {longest} of {limit} bytes",
                    source.display(),
                    span.name
                );
                *counts.entry(label).or_default() += count;
            }
        }
    }
    println!("{counts:?}");
    assert!(counts["full"] > 10_000, "{counts:?}");
    assert_eq!(counts["full"], counts["full, small"]);
    assert_eq!(counts["full"], counts["masked, small"]);
}

#[test]
fn content_changes_nothing_but_itself_and_can_be_taken_out_again() {
    let mut taken_out = 0;
    for source in every_fixture() {
        let (without, with) = (gather(&[&source]), gather_content(&[&source]));
        assert_eq!(without.oddities, with.oddities, "{}", source.display());
        let bare = spans(&without, Mode::Full, DEFAULT_LIMIT_BYTES);
        assert_eq!(spans(&with, Mode::None, DEFAULT_LIMIT_BYTES), bare, "{}", source.display());
        for mode in [Mode::Full, Mode::Masked] {
            let mut full = spans(&with, mode, DEFAULT_LIMIT_BYTES);
            for span in &mut full {
                let had_content = strip_content(span);
                let says_so =
                    span.attributes.iter().position(|attribute| attribute.key == names::CONTENT_LEFT_OUT);
                assert_eq!(says_so.is_some(), had_content, "{}", span.name);
                if let Some(at) = says_so {
                    span.attributes.remove(at);
                    taken_out += 1;
                }
                assert!(!strip_content(span), "nothing is left to take out of {}", span.name);
            }
            assert_eq!(full, bare, "{}", source.display());
        }
    }
    assert!(taken_out > 5_000, "{taken_out}");
}

#[test]
fn a_model_call_says_the_conversation_before_it_and_its_answer() {
    let spans = fixture_spans("agno/3.1.10/tools_multi.db", Mode::Full);
    let calls = named(&spans, "chat ");
    let question = json!({"role": "user", "parts":
        [{"type": "text", "content": "[[tools=get_weather*2]] [[tools2=slow_lookup]] weather?"}]});
    let asks = json!({"role": "assistant", "parts": [
        {"type": "tool_call", "id": "call_0001_0", "name": "get_weather", "arguments": {"city": "Oslo"}},
        {"type": "tool_call", "id": "call_0001_1", "name": "get_weather", "arguments": {"city": "Lima"}}]});
    let answers = |id: &str, response: &str| json!({"role": "tool", "parts": [{"type": "tool_call_response", "id": id, "response": response}]});
    assert_eq!(parsed(calls[0], names::INPUT_MESSAGES), json!([question]));
    assert_eq!(parsed(calls[0], names::OUTPUT_MESSAGES), json!([asks]));
    assert_eq!(
        parsed(calls[1], names::INPUT_MESSAGES),
        json!([
            question,
            asks,
            answers("call_0001_0", "Weather in Oslo: 21C, clear"),
            answers("call_0001_1", "Weather in Lima: 21C, clear")
        ])
    );
    let tool = named(&spans, "execute_tool slow_lookup")[0];
    assert_eq!(parsed(tool, names::TOOL_CALL_ARGUMENTS), json!({"n": 5}));
    assert_eq!(text(&tool.attributes, names::TOOL_CALL_RESULT), Some("looked up 5"));
}

#[test]
fn instructions_are_said_once_and_reasoning_stands_before_the_answer() {
    let spans = fixture_spans("agno/3.1.10/anthropic.db", Mode::Full);
    let call = named(&spans, "chat ")[1];
    let instructions = parsed(call, names::SYSTEM_INSTRUCTIONS);
    assert_eq!(instructions[0]["type"], "text");
    let input = parsed(call, names::INPUT_MESSAGES);
    assert!(input.as_array().unwrap().iter().all(|message| message["role"] != "system"), "{input}");
    let output = parsed(call, names::OUTPUT_MESSAGES);
    let kinds: Vec<&Value> =
        output[0]["parts"].as_array().unwrap().iter().map(|part| &part["type"]).collect();
    assert_eq!(kinds, ["reasoning", "text"]);
}

#[test]
fn history_is_part_of_what_a_model_was_asked() {
    let spans = fixture_spans("agno/3.1.10/history_stored.db", Mode::Full);
    let last = named(&spans, "chat ").into_iter().next_back().unwrap();
    let roles: Vec<String> = parsed(last, names::INPUT_MESSAGES)
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["role"].as_str().unwrap().to_owned())
        .collect();
    assert!(roles.len() > 2 && roles.contains(&"assistant".to_owned()), "{roles:?}");
    assert_eq!(roles.last().map(String::as_str), Some("user"));
}

#[test]
fn both_generations_say_the_same() {
    for case in ["gemini", "anthropic", "tools_multi", "structured", "rich_input", "audio"] {
        let of = |version: &str| {
            let spans = fixture_spans(&format!("agno/{version}/{case}.db"), Mode::Full);
            let of_span = |name: &'static str| {
                move |span: &&Span| (span.name.clone(), text(&span.attributes, name).map(str::to_owned))
            };
            [names::TOOL_CALL_ARGUMENTS, names::TOOL_CALL_RESULT, names::OUTPUT_MESSAGES].map(|name| {
                let mut said: Vec<_> = spans.iter().collect::<Vec<_>>().iter().map(of_span(name)).collect();
                said.sort();
                said
            })
        };
        assert_eq!(of("2.0.2"), of("3.1.10"), "{case}");
    }
}

#[test]
fn media_is_said_by_reference_and_its_bytes_never_leave() {
    let rich = fixture_spans("agno/3.1.10/rich_input.db", Mode::Full);
    let call = named(&rich, "chat ")[0];
    let image = json!({"type": "generic", "generic_type": "media", "modality": "image", "mime_type": "image/png",
        "size_bytes": 12});
    assert_eq!(parsed(call, names::INPUT_MESSAGES)[0]["parts"][1], image);
    let mut run = canaries::agent();
    let bytes = "iVBORw0KGgpmYWtl";
    let data = format!("data:image/png;base64,{bytes}");
    run["messages"] = json!([
        {"id": "m1", "role": "user", "content": [
            {"type": "image_url", "image_url": {"url": data}},
            {"type": "input_image", "image_url": data},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": bytes}},
            {"type": "input_audio", "input_audio": {"data": bytes, "format": "wav"}},
            {"type": "input_file", "file_id": "file-1"},
            {"type": "document", "source": {"type": "url", "url": "https://host/a.pdf"}}],
         "images": [{"id": "i", "filepath": "/tmp/a.png", "content": bytes},
            {"id": "own", "url": "https://store/a.png?signature=secret",
             "media_reference": {"media_id": "i", "storage_key": "k", "url": "https://store/a.png?signature=secret", "mime_type": "image/png"}},
            {"id": "i", "media_reference": {"storage_key": "agno/media/i.png"}}]},
        {"id": "m2", "role": "assistant", "content": "seen"},
    ]);
    let spans = spans(&gather_texts(&[run.to_string()]), Mode::Full, DEFAULT_LIMIT_BYTES);
    let call = named(&spans, "chat ")
        .into_iter()
        .find(|span| text(&span.attributes, names::INPUT_MESSAGES).is_some());
    let input = parsed(call.unwrap(), names::INPUT_MESSAGES);
    let parts: Vec<String> = input[0]["parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| {
            let place = ["uri", "file_id", "size_bytes"].iter().find_map(|field| part.get(*field)).unwrap();
            format!("{} {} {} {place}", part["type"], part["modality"], part["mime_type"])
        })
        .collect();
    assert_eq!(
        parts.join("\n").replace('"', ""),
        "generic image null 12
generic image null 12
generic image image/png 12
generic audio null 12
file document null file-1
uri document null https://host/a.pdf
uri image null /tmp/a.png
uri image image/png https://store/a.png
file image null agno/media/i.png"
    );
}

#[test]
fn the_reason_of_a_failure_is_said_on_request_only() {
    let statuses = |fixture: &str, mode| {
        let spans = fixture_spans(fixture, mode);
        let failed = spans.iter().filter(|span| span.status.as_ref().unwrap().code == 2);
        failed
            .map(|span| format!("{}: {}", span.name, span.status.as_ref().unwrap().message))
            .collect::<Vec<_>>()
    };
    let workflow = "agno/3.1.10/workflow_error.db";
    assert_eq!(
        statuses(workflow, Mode::Full),
        ["agno.step bad: mock 500 error", "invoke_agent WfE: mock 500 error"]
    );
    assert_eq!(
        statuses(workflow, Mode::Masked),
        ["agno.step bad: <14 chars>", "invoke_agent WfE: <14 chars>"]
    );
    assert_eq!(statuses(workflow, Mode::None), ["agno.step bad: ", "invoke_agent WfE: "]);
    assert_eq!(statuses("agno/3.1.10/tool_error.db", Mode::Full), ["execute_tool broken_tool: broken for 3"]);
    // What a run that failed holds in its content is no answer.
    let spans = fixture_spans("agno/3.1.10/error_after_tools.db", Mode::Full);
    assert_eq!(text(&spans[0].attributes, names::OUTPUT_MESSAGES), None);
}

#[test]
fn masked_texts_that_are_equal_are_seen_to_be_equal() {
    let spans = fixture_spans("agno/3.1.10/team_run.db", Mode::Masked);
    let arguments =
        text(&named(&spans, "execute_tool delegate")[0].attributes, names::TOOL_CALL_ARGUMENTS).unwrap();
    let member =
        text(&named(&spans, "invoke_agent Researcher")[0].attributes, names::INPUT_MESSAGES).unwrap();
    // The task a leader gave is what its member was asked.
    assert!(arguments.contains("<77 chars, 3ed115b4>"), "{arguments}");
    assert!(member.contains("<77 chars, 3ed115b4>"), "{member}");
}

#[test]
fn text_that_python_writes_and_json_forbids_is_said_as_it_was_read() {
    let spans = fixture_spans("agno/3.1.10/surrogate.db", Mode::Full);
    let output = parsed(named(&spans, "chat ")[0], names::OUTPUT_MESSAGES);
    assert_eq!(output[0]["parts"][0]["content"], "lone \u{FFFD} surrogate and \u{0} nul");
    let spans = fixture_spans("agno/3.1.10/nan_tool_args.db", Mode::Full);
    let tool = named(&spans, "execute_tool ")[0];
    assert!(parsed(tool, names::TOOL_CALL_ARGUMENTS).is_object());
}

#[test]
fn what_is_not_asked_for_is_not_even_kept() {
    let source = fixtures().join("agno/3.1.10/team_run.db");
    assert!(gather(&[&source]).forest.runs.iter().all(|run| run.content.is_none()));
    assert!(gather_content(&[&source]).forest.runs.iter().all(|run| run.content.is_some()));
}

#[test]
fn of_copies_that_differ_in_content_alone_the_same_one_wins_in_any_order() {
    let mut other = canaries::agent();
    other["content"] = Value::from("another answer");
    let (a, b) = (canaries::agent().to_string(), other.to_string());
    let said = |texts: &[String]| spans(&gather_texts(texts), Mode::Full, DEFAULT_LIMIT_BYTES);
    assert_ne!(said(std::slice::from_ref(&a)), said(std::slice::from_ref(&b)));
    assert_eq!(said(&[a.clone(), b.clone()]), said(&[b, a]));
}

#[test]
fn content_of_any_type_and_depth_is_said_in_shape() {
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let values = [
        "7",
        "true",
        "\"text\"",
        "\"{\\\"a\\\": NaN}\"",
        "[[1], {\"type\": 3}, null]",
        "{\"a\": {\"b\": []}}",
        &deep,
    ];
    let run = canaries::agent();
    for field in
        ["content", "input", "reasoning_content", "arguments", "tool_args", "result", "images", "function"]
    {
        for value in values {
            // Every field of that name, wherever it stands.
            let mut text = String::new();
            let whole = run.to_string();
            for (at, piece) in whole.split(&format!("\"{field}\":")).enumerate() {
                if at > 0 {
                    write!(text, "\"{field}\":{value},\"was_{field}\":").unwrap();
                }
                text.push_str(piece);
            }
            let gathered = gather_texts(&[text]);
            assert_eq!(gathered.forest.runs.len(), 1, "{field}: {value}");
            for mode in [Mode::Full, Mode::Masked] {
                for span in spans(&gathered, mode, MIN_LIMIT_BYTES) {
                    assert!(expect_shapes(&span).1 <= MIN_LIMIT_BYTES);
                }
            }
        }
    }
}

fn content_sent(arguments: &[&str], variable: Option<&str>) -> bool {
    let database = fixtures().join("agno/3.1.10/simple.db");
    let mut command = agno_otel(["send", "--to", "otlp-json:-"]);
    if let Some(value) = variable {
        command.env("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", value);
    }
    let ended = run(command.args(arguments).arg(database)).expect_code(0);
    ended.stdout.contains(names::INPUT_MESSAGES)
}

#[test]
fn a_flag_wins_over_opentelemetrys_variable_and_that_over_the_default() {
    assert!(!content_sent(&[], None));
    assert!(content_sent(&[], Some("span_and_event")));
    assert!(content_sent(&[], Some("SPAN_ONLY")));
    assert!(!content_sent(&[], Some("NO_CONTENT")));
    assert!(!content_sent(&["--content", "none"], Some("SPAN_ONLY")));
    assert!(content_sent(&["--content", "full"], Some("no_content")));
    assert!(content_sent(&["--content", "masked"], Some("EVENT_ONLY")));
}

#[test]
fn what_cannot_be_done_about_content_ends_with_2_and_says_what_can() {
    let database = fixtures().join("agno/3.1.10/simple.db");
    for value in ["EVENT_ONLY", "true"] {
        for command in ["show", "send", "demo"] {
            let mut command = agno_otel([command]);
            if !command.get_args().any(|argument| argument == "demo") {
                command.arg(&database);
            }
            command.env("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", value);
            run(&mut command).expect_code(2).expect_words(&[
                "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
                value,
                "NO_CONTENT",
                "--content",
            ]);
        }
    }
    for arguments in [["--content", "some"], ["--content-limit", "1023"], ["--content-limit", "1048577"]] {
        run(agno_otel(["send"]).args(arguments).arg(&database)).expect_code(2).expect_words(&[arguments[1]]);
    }
    let limits = ["1024", "1048576"];
    assert!(limits.iter().all(|limit| content_sent(&["--content", "full", "--content-limit", limit], None)));
}
