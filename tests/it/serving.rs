//! `run --listen` takes runs by HTTP: what it said it took is counted once, whatever happens then.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::following::{Place, expected_spans, received_spans, tokens, usage, wait_until};
use crate::state_failures::{begun_at, beside, now_s, spends};
use crate::support::canaries;
use crate::support::client::{Serving, exchange, listening};
use crate::support::program::{agno_otel, run};
use crate::support::receiver::{Answer, Receiver};
use crate::support::runs::{run_of, with_own_ids};
use crate::wire::Authority;

const TEAM: &str = "agno/3.1.10/team_run.db";
/// The same runs, as the application has them.
const TEAM_RUN: &str = "agno/3.1.10/team_run.run.json";

fn serve(receiver: &Receiver, place: &Place, more: &[&str]) -> Serving {
    Serving::start(&mut listening(&receiver.url(), &place.state(), more))
}

/// The team's run, under ids of its own.
fn copy(number: u32) -> String {
    with_own_ids(&run_of(TEAM_RUN).to_string(), number)
}

#[test]
fn what_is_handed_over_is_counted_and_sent_once_however_often_it_comes() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let truth = tokens(&place.database);
    let serving = serve(&receiver, &place, &[]);
    let run = copy(0);
    assert_eq!(serving.post(&run).counts(), (1, 0, 0));
    wait_until("its spend", || usage(&receiver) == truth);
    wait_until("its spans", || received_spans(&receiver) == expected_spans(&place.database));
    let (spans, requests) = (receiver.spans().len(), receiver.metrics().len());
    // Alone, in a list, by lines, compressed, and as a row of a session.
    assert_eq!(serving.post(&run).counts(), (0, 1, 0));
    assert_eq!(serving.post(format!("[{run}, {run}]")).counts(), (0, 2, 0));
    assert_eq!(serving.post(format!("{run}\n{run}\n")).counts(), (0, 2, 0));
    for (name, body) in
        [("gzip", gzip(run.as_bytes())), ("zstd", zstd::encode_all(run.as_bytes(), 1).unwrap())]
    {
        let header = format!("content-encoding: {name}");
        assert_eq!(serving.ask("POST", "/v1/runs", &[&header], &body).counts(), (0, 1, 0), "{name}");
    }
    let members: Vec<Value> = run_of(TEAM_RUN)["member_responses"].as_array().unwrap().clone();
    assert!(!members.is_empty());
    assert_eq!(serving.post(json!(members).to_string()).counts().0, members.len() as u64);
    wait_until("more releases", || receiver.metrics().len() >= requests + 3);
    serving.stop();
    let serving = serve(&receiver, &place, &[]);
    assert_eq!(serving.post(&run).counts(), (0, 1, 0));
    assert_eq!(serving.post(copy(1)).counts(), (1, 0, 0));
    wait_until("the spend of another", || usage(&receiver) == 2 * truth);
    wait_until("its spans", || receiver.spans().len() >= 2 * spans);
    serving.stop();
    assert_eq!((usage(&receiver), receiver.spans().len()), (2 * truth, 2 * spans));
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_was_taken_survives_a_kill_right_after_the_answer() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let one = tokens(&place.database);
    let kills = 25;
    for number in 0..kills {
        let serving = serve(&receiver, &place, &[]);
        assert_eq!(serving.post(copy(number)).counts(), (1, 0, 0));
        serving.kill();
    }
    let serving = serve(&receiver, &place, &[]);
    let all: Vec<String> = (0..kills).map(copy).collect();
    assert_eq!(serving.post(all.join("\n")).counts(), (0, u64::from(kills), 0));
    wait_until("the whole spend", || usage(&receiver) == i64::from(kills) * one);
    let spans = expected_spans(&place.database).len() * kills as usize;
    wait_until("all spans", || received_spans(&receiver).len() == spans);
    serving.stop();
    assert_eq!((usage(&receiver), received_spans(&receiver).len()), (i64::from(kills) * one, spans));
}

#[test]
fn a_run_under_way_is_counted_as_it_grows_and_what_was_earlier_changes_nothing() {
    let (place, receiver) = (Place::of("agno/3.1.10/tools_multi.db"), Receiver::start());
    let whole: Value = {
        let database = Connection::open(&place.database).unwrap();
        let text: String =
            database.query_row("SELECT run_data FROM agno_runs", [], |row| row.get(0)).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let total = tokens(&place.database);
    let mut begun = whole.clone();
    begun["status"] = "RUNNING".into();
    begun["metrics"] = Value::Null;
    begun["tools"] = json!([]);
    let messages = begun["messages"].as_array_mut().unwrap();
    let first = messages.iter().position(|message| message["role"] == "assistant").unwrap();
    messages.truncate(first + 1);
    let serving = serve(&receiver, &place, &[]);
    assert_eq!(serving.post(begun.to_string()).counts(), (1, 0, 0));
    wait_until("what it spent so far", || (1..total).contains(&usage(&receiver)));
    assert!(receiver.spans().is_empty(), "it is not over");
    assert_eq!(serving.post(whole.to_string()).counts(), (1, 0, 0));
    assert_eq!(serving.post(begun.to_string()).counts(), (0, 1, 0));
    wait_until("all it spent", || usage(&receiver) == total);
    wait_until("its trace", || received_spans(&receiver) == expected_spans(&place.database));
    serving.stop();
}

#[test]
fn a_run_that_is_in_a_followed_database_too_counts_once() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let truth = tokens(&place.database);
    let database = place.database.to_str().unwrap();
    let serving = serve(&receiver, &place, &["--history", "count", database]);
    wait_until("its spend", || usage(&receiver) == truth);
    assert_eq!(serving.post(copy(0)).counts(), (1, 0, 0));
    // The other way round.
    assert_eq!(serving.post(copy(1)).counts(), (1, 0, 0));
    wait_until("the spend of a copy", || usage(&receiver) == 2 * truth);
    crate::following::add_copy(&place.database, 1);
    let requests = receiver.metrics().len();
    wait_until("more releases", || receiver.metrics().len() >= requests + 4);
    serving.stop();
    assert_eq!(usage(&receiver), 2 * truth);
    assert_eq!(received_spans(&receiver), expected_spans(&place.database));
}

#[test]
fn what_may_have_been_handed_over_before_an_older_state_file_was_put_back_is_sent_and_not_counted() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let truth = tokens(&place.database);
    let serving = serve(&receiver, &place, &[]);
    assert_eq!(serving.post(copy(0)).counts(), (1, 0, 0));
    wait_until("its spend", || spends(&receiver) == [truth]);
    serving.stop();
    // More was sent than this file knows of.
    let at_s = now_s();
    std::fs::write(beside(&place.state(), ".lock"), format!("another-instance {at_s}000000000\n")).unwrap();
    let serving = serve(&receiver, &place, &[]);
    let [before, after] = [(1, at_s), (2, at_s + 3600)].map(|(number, at_s)| begun_at(&copy(number), at_s));
    assert_eq!(serving.post(format!("{before}\n{after}")).counts(), (2, 0, 0));
    let all = 3 * expected_spans(&place.database).len();
    wait_until("the spans of all", || received_spans(&receiver).len() == all);
    wait_until("the spend of the later", || spends(&receiver).last() == Some(&truth));
    serving.stop();
    assert_eq!(spends(&receiver), [truth, truth]);
}

#[test]
fn each_record_is_taken_or_rejected_by_itself() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let serving = serve(&receiver, &place, &[]);
    let body = format!(
        "{}\nnot json\n{{\"status\": \"COMPLETED\", \"messages\": [{{}}]}}\n{{\"event\": \"RunContent\"}}\n",
        copy(0)
    );
    let answered = serving.post(&body);
    assert_eq!(answered.counts(), (1, 0, 3));
    let reasons: Vec<(u64, String)> = answered.json()["rejected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["index"].as_u64().unwrap(), one["reason"].as_str().unwrap().to_owned()))
        .collect();
    let expected = [(1, "not_json"), (2, "no_run_id"), (3, "stream_event")];
    assert_eq!(reasons, expected.map(|(index, reason)| (index, reason.to_owned())));
    for (expected, method, path, headers, body) in [
        (400, "POST", "/v1/runs", &[][..], &b"not json"[..]),
        (400, "POST", "/v1/runs", &[], b""),
        (400, "POST", "/v1/runs", &["content-encoding: gzip"], b"not gzip"),
        (415, "POST", "/v1/runs", &["content-encoding: br"], b"{}"),
        (405, "GET", "/v1/runs", &[], b""),
        (405, "POST", "/metrics", &[], b""),
        (404, "POST", "/v1/traces", &[], b"{}"),
        (404, "GET", "/metrics", &[], b""),
        (403, "POST", "/v1/runs", &["origin: https://example.com"], b"{}"),
        (200, "GET", "/healthz", &[], b""),
        (200, "GET", "/readyz", &[], b""),
    ] {
        let answered = serving.ask(method, path, headers, body);
        assert_eq!(answered.status, expected, "{method} {path} {headers:?}: {answered:?}");
    }
    wait_until("what was taken", || usage(&receiver) == tokens(&place.database));
    serving.stop();
}

#[test]
fn bodies_have_limits_before_and_after_they_are_decompressed() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let file = place.folder.path().join("agno-otel.toml");
    std::fs::write(&file, "[listen]\nbody_limit = \"200KiB\"\ndecompressed_limit = \"1MiB\"\n").unwrap();
    let serving = serve(&receiver, &place, &["--config", file.to_str().unwrap()]);
    let spaces = |count: usize| format!("{}{}", copy(0), " ".repeat(count));
    assert_eq!(serving.post(spaces(100 * 1024)).counts(), (1, 0, 0));
    assert_eq!(serving.post(spaces(200 * 1024)).status, 413);
    // A body that does not say how long it is.
    let chunk = "f".repeat(64 * 1024);
    let chunked = format!("{:x}\r\n{chunk}\r\n", chunk.len()).repeat(5) + "0\r\n\r\n";
    assert_eq!(
        serving.ask("POST", "/v1/runs", &["transfer-encoding: chunked"], chunked.as_bytes()).status,
        413
    );
    let bomb = spaces(10 * 1024 * 1024);
    for (name, body) in
        [("gzip", gzip(bomb.as_bytes())), ("zstd", zstd::encode_all(bomb.as_bytes(), 1).unwrap())]
    {
        assert!(body.len() < 200 * 1024, "{name}: {}", body.len());
        let header = format!("content-encoding: {name}");
        assert_eq!(serving.ask("POST", "/v1/runs", &[&header], &body).status, 413, "{name}");
    }
    assert_eq!(serving.post(copy(0)).counts(), (0, 1, 0));
    serving.stop();
}

#[test]
fn who_does_not_show_the_token_is_told_nothing() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let file = place.folder.path().join("token");
    std::fs::write(&file, "s3cret-of-the-test\n").unwrap();
    let token_file = ["--listen-token-file", file.to_str().unwrap(), "--metrics", "scrape"];
    let by_variable = {
        let mut command = listening(&receiver.url(), &place.state(), &["--metrics", "scrape"]);
        command.env("AGNO_OTEL_LISTEN_TOKEN", "s3cret-of-the-test");
        command
    };
    for mut command in [listening(&receiver.url(), &place.state(), &token_file), by_variable] {
        let serving = Serving::start(&mut command);
        let ask = |method: &str, path: &str, headers: &[&str]| {
            serving.ask(method, path, headers, if method == "POST" { b"{}" } else { b"" })
        };
        for wrong in [
            &[][..],
            &["authorization: Bearer s3cret-of-the-tesT"],
            &["authorization: s3cret-of-the-test"],
            &["authorization: Basic s3cret-of-the-test"],
            &["authorization: Bearer"],
            &["authorization: Bearer s3cret-of-the-test2"],
        ] {
            for (method, path) in [("POST", "/v1/runs"), ("GET", "/metrics")] {
                let answered = ask(method, path, wrong);
                assert_eq!(answered.status, 401, "{wrong:?}");
                assert!(answered.headers.contains("www-authenticate: bearer"), "{answered:?}");
            }
        }
        assert_eq!((ask("GET", "/healthz", &[]).status, ask("GET", "/readyz", &[]).status), (200, 200));
        let right = ["authorization: bearer s3cret-of-the-test"];
        assert_eq!(
            (ask("POST", "/v1/runs", &right).status, ask("GET", "/metrics", &right).status),
            (200, 200)
        );
        assert!(!serving.stop().contains("s3cret"));
    }
}

#[test]
fn what_cannot_be_listened_for_ends_with_2_and_advice() {
    let place = Place::of(TEAM);
    let state = place.state();
    std::fs::write(place.folder.path().join("empty"), "\n").unwrap();
    let empty = place.folder.path().join("empty").display().to_string();
    for (arguments, words) in [
        (&["--listen", "0.0.0.0:0"][..], &["0.0.0.0:0", "token", "127.0.0.1"][..]),
        (&["--listen", "[::]:0"], &["token"]),
        (&["--listen", "somewhere"], &["--listen", "somewhere", "127.0.0.1:4320"]),
        (&["--listen", "127.0.0.1:0", "--listen-token-file", "/nowhere/token"], &["/nowhere/token"]),
        (&["--listen", "127.0.0.1:0", "--listen-token-file", &empty], &["empty"]),
        (&["--listen", "127.0.0.1:0", "--listen-certificate", "a.pem"], &["its key"]),
        (
            &["--listen", "127.0.0.1:0", "--listen-certificate", "/nowhere/a.pem", "--listen-key", "b"],
            &["/nowhere/a.pem"],
        ),
        (&["--metrics", "scrape", "a.db"], &["--listen"]),
        (&[], &["nothing to read"]),
    ] {
        let mut command = agno_otel(["run", "--state"]);
        run(command.arg(&state).args(arguments)).expect_code(2).expect_words(words);
    }
    // A port that is taken is nobody's fault.
    let receiver = Receiver::start();
    let serving = serve(&receiver, &place, &[]);
    let mut command = agno_otel(["run", "--listen", &serving.address, "--state"]);
    run(command.arg(place.folder.path().join("other.db"))).expect_code(1).expect_words(&["cannot listen at"]);
    serving.stop();
}

#[test]
fn a_public_address_is_listened_at_with_a_token_and_a_warning() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let mut command = agno_otel(["run", "--listen", "0.0.0.0:0", "--endpoint", &receiver.url(), "--state"]);
    command.arg(place.state()).env("AGNO_OTEL_LISTEN_TOKEN", "t").stderr(std::process::Stdio::piped());
    let mut serving = Serving::start(&mut command);
    serving.address = serving.address.replace("0.0.0.0", "127.0.0.1");
    assert_eq!(
        serving.ask("POST", "/v1/runs", &["authorization: Bearer t"], copy(0).as_bytes()).counts(),
        (1, 0, 0)
    );
    assert!(serving.stop().contains("plain HTTP"));
}

#[test]
fn runs_come_over_tls_where_there_is_a_certificate() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let authority = Authority::new();
    authority.issue("localhost");
    let (certificate, key) = (authority.path("localhost.pem"), authority.path("localhost.key"));
    let serving = serve(&receiver, &place, &["--listen-certificate", &certificate, "--listen-key", &key]);
    let mut roots = rustls::RootCertStore::empty();
    let ca = std::fs::read(authority.path("ca.pem")).unwrap();
    roots.add(rustls::pki_types::pem::PemObject::from_pem_slice(&ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let over_tls = |body: &str| {
        let name = "localhost".try_into().unwrap();
        let connection = rustls::ClientConnection::new(Arc::clone(&config), name).unwrap();
        let stream = rustls::StreamOwned::new(connection, serving.connect());
        exchange(stream, "POST", "/v1/runs", &[], body.as_bytes())
    };
    assert_eq!(over_tls(&copy(0)).counts(), (1, 0, 0));
    // Who speaks plain HTTP is answered nothing, and does no harm.
    let mut plain = TcpStream::connect(&serving.address).unwrap();
    plain.write_all(b"POST /v1/runs HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(over_tls(&copy(0)).counts(), (0, 1, 0));
    serving.stop();
}

#[test]
fn nothing_is_taken_while_the_outbox_is_full_and_who_asks_is_told_so() {
    let place = Place::of(TEAM);
    let down = Receiver::answering(|_, _| Answer::status(503));
    let serving = serve(&down, &place, &["--outbox-limit", "1"]);
    assert_eq!(serving.post(copy(0)).counts(), (1, 0, 0));
    let ready = || serving.get("/readyz");
    wait_until("a full outbox", || ready().body.contains("outbox"));
    assert_eq!(ready().status, 503);
    wait_until("metrics that fail", || ready().body.contains("metrics"));
    let refused = serving.post(copy(1));
    assert_eq!(refused.status, 503);
    assert!(refused.headers.contains("retry-after: 5"), "{refused:?}");
    assert_eq!(serving.get("/healthz").status, 200);
    serving.stop();
    // With an endpoint that takes them there is room again, and nothing was lost.
    let up = Receiver::start();
    let serving = serve(&up, &place, &["--outbox-limit", "1"]);
    wait_until("room", || serving.post(copy(1)).status == 200);
    wait_until("both", || usage(&up) == 2 * tokens(&place.database));
    wait_until("readiness", || serving.get("/readyz").status == 200);
    serving.stop();
}

#[test]
fn who_comes_while_too_many_are_under_way_is_told_to_come_again() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let serving = serve(&receiver, &place, &[]);
    // Bodies that are begun, and not ended.
    let begun: Vec<TcpStream> = (0..32)
        .map(|_| {
            let mut stream = serving.connect();
            stream.write_all(b"POST /v1/runs HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{").unwrap();
            stream
        })
        .collect();
    let mut refused = serving.post("{}");
    wait_until("too many", || {
        refused = serving.post("{}");
        refused.status == 429
    });
    assert!(refused.headers.contains("retry-after: 1"), "{refused:?}");
    assert_eq!(serving.get("/healthz").status, 200);
    drop(begun);
    wait_until("a turn", || serving.post(copy(0)).status == 200);
    serving.stop();
}

#[test]
fn a_source_that_cannot_be_read_is_named() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let missing = place.folder.path().join("missing.db").display().to_string();
    let serving = serve(&receiver, &place, &[&missing]);
    wait_until("its problem", || serving.get("/readyz").body.contains("missing.db"));
    let answered = serving.get("/readyz");
    assert_eq!((answered.status, &answered.json()["failing"][0]["part"]), (503, &json!("source")));
    serving.stop();
}

/// What the state file, with all that lies beside it, has of these words.
fn state_holds(place: &Place, words: &str) -> bool {
    let folder = std::fs::read_dir(place.state().parent().unwrap()).unwrap();
    let texts = folder.map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    texts.into_iter().any(|text| String::from_utf8_lossy(&text).to_lowercase().contains(words))
}

#[test]
fn the_state_file_holds_nothing_of_what_was_said_unless_that_is_to_be_sent() {
    let records = canaries::every_run().map(|run| run.to_string()).join("\n");
    for (content, holds) in [("none", false), ("full", true)] {
        let place = Place::of(TEAM);
        // Spans are not delivered, so that they are in the file too.
        let down = Receiver::answering(|_, _| Answer::status(503));
        let serving = serve(&down, &place, &["--content", content]);
        assert_eq!(serving.post(&records).counts(), (5, 0, 0));
        let session = canaries::session(&json!([canaries::agent()])).to_string();
        assert_eq!(serving.post(session).status, 200);
        wait_until("an outbox", || {
            let status = run(agno_otel(["status", "--json", "--state"]).arg(place.state())).summary();
            // All but the paused run.
            status["outbox"]["requests"].as_u64() >= Some(4)
        });
        let said = serving.stop();
        assert_eq!(state_holds(&place, canaries::MARK), holds, "{content}");
        assert!(!said.to_lowercase().contains(canaries::MARK), "{said}");
    }
}

/// A series of the text, by its beginning.
fn series(text: &str, name: &str, labels: &[&str]) -> Option<i64> {
    let mut lines = text.lines().filter(|line| {
        line.split(['{', ' ']).next() == Some(name) && labels.iter().all(|label| line.contains(label))
    });
    lines
        .try_fold((0, false), |(sum, _), line| {
            let value = line.rsplit_once("} ").map(|(before, value)| {
                // An exemplar stands behind the value.
                before.rsplit_once("} ").map_or(value, |(_, rest)| rest).split(' ').next().unwrap()
            });
            Some((sum + value?.parse::<i64>().ok()?, true))
        })
        .and_then(|(sum, any)| any.then_some(sum))
}

#[test]
fn metrics_are_scraped_instead_of_sent_and_every_series_is_zero_first() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let truth = tokens(&place.database);
    let serving = serve(&receiver, &place, &["--metrics", "scrape"]);
    assert_eq!(serving.post(copy(0)).counts(), (1, 0, 0));
    wait_until("its spans", || !receiver.spans().is_empty());
    let metrics = || {
        let answered = serving.get("/metrics");
        assert!(
            answered.headers.contains("content-type: application/openmetrics-text; version=1.0.0"),
            "{answered:?}"
        );
        assert!(answered.body.ends_with("# EOF\n"));
        answered.body
    };
    let spend = |text: &str| series(text, "agno_token_usage_total", &[]);
    let first = metrics();
    assert_eq!(spend(&first), Some(0), "{first}");
    assert_eq!(series(&first, "agno_bridge_up_ratio", &["job=\"agno\""]), Some(1));
    wait_until("what was spent", || spend(&metrics()) == Some(truth));
    assert_eq!(series(&metrics(), "agno_runs_total", &["agno_run_status=\"COMPLETED\""]), Some(3));
    serving.stop();
    assert!(receiver.metrics().is_empty(), "metrics were sent too");
    // What a scraper knows already is not zero again.
    let serving = serve(&receiver, &place, &["--metrics", "scrape"]);
    assert_eq!(spend(&serving.get("/metrics").body), Some(truth));
    serving.stop();
    // Neither way: spans alone.
    let serving = serve(&receiver, &place, &["--metrics", "off"]);
    let before = receiver.spans().len();
    assert_eq!(serving.post(copy(1)).counts(), (1, 0, 0));
    wait_until("more spans", || receiver.spans().len() > before);
    assert_eq!(serving.get("/metrics").status, 404);
    let said = serving.stop();
    assert!(receiver.metrics().is_empty() && !said.contains("WARN"), "{said}");
}

#[test]
fn a_request_under_way_is_answered_before_the_end() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let serving = serve(&receiver, &place, &[]);
    let (mut stream, idle) = (serving.connect(), serving.connect());
    let body = copy(0);
    let (first, rest) = body.split_at(body.len() / 2);
    write!(stream, "POST /v1/runs HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{first}", body.len())
        .unwrap();
    // Once another is answered, that one was begun.
    assert_eq!(serving.get("/healthz").status, 200);
    let pid = serving.child.0.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    wait_until("nobody to listen", || TcpStream::connect(&serving.address).is_err());
    stream.write_all(rest.as_bytes()).unwrap();
    let mut answered = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answered).unwrap();
    assert!(answered.starts_with("HTTP/1.1 200") && answered.contains("\"accepted\":1"), "{answered}");
    drop(idle);
    let mut child = serving.child;
    assert_eq!(child.0.wait().unwrap().code(), Some(143));
    let status = run(agno_otel(["status", "--json", "--state"]).arg(place.state())).summary();
    assert_eq!(status["sources"], json!([{"name": "http", "records": 1}]));
}

#[test]
fn a_config_file_says_where_to_listen() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let write = |name: &str, text: &str| std::fs::write(place.folder.path().join(name), text).unwrap();
    write("token", "t-1\n");
    write(
        "agno-otel.toml",
        "[listen]\naddress = \"127.0.0.1:0\"\ntoken = { file = \"token\" }\n[run]\nmetrics = \"off\"\n",
    );
    let mut command = agno_otel(["run", "--endpoint", &receiver.url(), "--state"]);
    command.arg(place.state()).arg("--config").arg(place.folder.path().join("agno-otel.toml"));
    let serving = Serving::start(command.current_dir(Path::new("/")).stderr(std::process::Stdio::piped()));
    assert_eq!(serving.post(copy(0)).status, 401);
    assert_eq!(
        serving.ask("POST", "/v1/runs", &["authorization: Bearer t-1"], copy(0).as_bytes()).counts(),
        (1, 0, 0)
    );
    serving.stop();
}
