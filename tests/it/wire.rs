//! Both transports, whatever the server answers: the same bytes, each span once, nothing taken for delivered that
//! may not be.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use agno_otel::clock::Clock;
use agno_otel::otel::names;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::Value;
use tempfile::TempDir;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::support::fixtures;
use crate::support::points::{by_series, points};
use crate::support::program::{Ended, agno_otel, run, run_with_input, send_to};
use crate::support::receiver::{Answer, Receiver};
use crate::support::runs::{lines, run_of};

fn tools() -> [PathBuf; 1] {
    [fixtures().join("agno/3.1.10/tools_multi.db")]
}

fn send(receiver: &Receiver, protocol: &str) -> Command {
    let mut command = send_to(&receiver.url(), &tools());
    command.args(["--protocol", protocol]);
    command
}

const PROTOCOLS: [&str; 2] = ["http/protobuf", "grpc"];

#[test]
fn both_transports_carry_the_same_bytes() {
    let bodies = PROTOCOLS.map(|protocol| {
        let receiver = Receiver::start();
        run(&mut send(&receiver, protocol)).expect_code(0);
        assert_eq!(receiver.received().len(), 2, "{protocol}");
        assert!(!receiver.metrics().is_empty(), "{protocol}");
        receiver.received_at("traces").remove(0).body
    });
    assert!(!bodies[0].is_empty());
    assert_eq!(bodies[0], bodies[1]);
}

#[test]
fn a_compressed_body_is_smaller_and_means_the_same() {
    let plain = Receiver::start();
    run(&mut send(&plain, "grpc")).expect_code(0);
    let plain = plain.received_at("traces").remove(0);
    assert_eq!(plain.wire_bytes, plain.body.len() + 5);
    for protocol in PROTOCOLS {
        for compression in ["gzip", "zstd"] {
            let receiver = Receiver::start();
            let mut command = send(&receiver, protocol);
            command.env("OTEL_EXPORTER_OTLP_COMPRESSION", compression);
            run(&mut command).expect_code(0);
            let received = receiver.received_at("traces").remove(0);
            assert_eq!(received.body, plain.body, "{protocol} {compression}");
            assert!(
                received.wire_bytes < plain.wire_bytes / 2,
                "{protocol} {compression}: {}",
                received.wire_bytes
            );
            assert_eq!(receiver.received_at("metrics").len(), 1);
        }
    }
}

#[test]
fn grpc_codes_that_pass_are_tried_again_with_the_same_bytes() {
    for code in [Code::Unavailable, Code::DeadlineExceeded, Code::Aborted, Code::DataLoss, Code::Cancelled] {
        let receiver = Receiver::answering(move |number, _| {
            if number % 2 == 0 { Answer::grpc(Status::new(code, "not now")) } else { Answer::taken() }
        });
        let summary = run(&mut send(&receiver, "grpc")).expect_code(0).summary();
        let received = receiver.received();
        assert_eq!(received.len(), 4, "{code:?}");
        assert_eq!((&received[0].body, &received[2].body), (&received[1].body, &received[3].body));
        assert_eq!(summary["attempts"], serde_json::json!({"delivered": 2, "later": 2}), "{code:?}");
    }
}

#[test]
fn grpc_codes_that_never_pass_are_final() {
    for code in [Code::InvalidArgument, Code::Unimplemented, Code::PermissionDenied, Code::Internal] {
        let receiver = Receiver::answering(move |_, _| Answer::grpc(Status::new(code, "will not do")));
        let ended = run(&mut send(&receiver, "grpc")).expect_code(4);
        assert_eq!(receiver.received().len(), 2, "{code:?}: each request once");
        ended.expect_words(&["refused everything", "will not do", &receiver.authority()]);
    }
}

#[test]
fn a_delay_in_grpc_details_is_honoured() {
    let receiver = Receiver::answering(|number, _| {
        let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(1_100)));
        let busy = Status::with_error_details(Code::ResourceExhausted, "busy", details);
        if number == 0 { Answer::grpc(busy) } else { Answer::taken() }
    });
    run(&mut send(&receiver, "grpc")).expect_code(0);
    let received = receiver.received();
    let waited = received[1].at - received[0].at;
    assert!(waited >= Duration::from_millis(1_090), "{waited:?}");
}

#[test]
fn a_date_in_retry_after_is_honoured() {
    let receiver = Receiver::answering(|number, _| match number {
        // Dates are whole seconds: two from now are more than one.
        0 => {
            let date = httpdate::fmt_http_date(
                UNIX_EPOCH + Duration::from_nanos(Clock::System.now_ns()) + Duration::from_secs(2),
            );
            Answer::status(503).header("retry-after", &date)
        }
        _ => Answer::taken(),
    });
    run(&mut send(&receiver, "http/protobuf")).expect_code(0);
    let received = receiver.received();
    let waited = received[1].at - received[0].at;
    assert!(waited >= Duration::from_millis(900), "{waited:?}");
}

#[test]
fn what_a_server_rejects_within_a_request_is_counted_and_kept_and_never_sent_again() {
    let partial = ExportTracePartialSuccess { rejected_spans: 3, error_message: "too old".to_owned() };
    let response = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    for protocol in PROTOCOLS {
        let response = response.clone();
        let receiver = Receiver::answering(move |number, _| match number {
            0 => Answer::taken().body(response.clone()),
            _ => Answer::taken(),
        });
        let folder = TempDir::new().unwrap();
        let letters = folder.path().join("refused.jsonl");
        let mut command = send(&receiver, protocol);
        let ended = run(command.arg("--dead-letters").arg(&letters)).expect_code(5);
        assert_eq!(ended.summary()["items_rejected"], 3, "{protocol}");
        assert_eq!(ended.summary()["reasons"], serde_json::json!(["too old"]), "{protocol}");
        assert_eq!(receiver.received_at("traces").len(), 1, "{protocol}");
        assert_eq!(spans_in(&letters), 7, "{protocol}");
    }
}

/// How many spans a file of OTLP/JSON lines holds.
fn spans_in(path: &std::path::Path) -> usize {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| serde_json::to_string(&line).unwrap().matches("\"spanId\"").count()).sum()
}

#[test]
fn no_answer_is_never_a_delivery() {
    let cut: fn() -> Answer = Answer::none;
    let slow: fn() -> Answer = || Answer::taken().after(Duration::from_secs(8));
    for protocol in PROTOCOLS {
        for (name, first) in [("cut", cut), ("slow", slow)] {
            let receiver =
                Receiver::answering(move |number, _| if number == 0 { first() } else { Answer::taken() });
            let mut command = send(&receiver, protocol);
            let ended = run(command.args(["--timeout", "2"])).expect_code(0);
            let received = receiver.received_at("traces");
            assert_eq!(received.len(), 2, "{protocol} {name}");
            assert_eq!(received[0].body, received[1].body, "{protocol} {name}: the same request again");
            assert_eq!(ended.summary()["attempts"]["later"], 1, "{protocol} {name}");
        }
    }
}

#[test]
fn an_answer_without_a_grpc_status_is_no_delivery() {
    let receiver =
        Receiver::answering(
            |number, _| {
                if number == 0 { Answer::without_grpc_status() } else { Answer::taken() }
            },
        );
    let summary = run(&mut send(&receiver, "grpc")).expect_code(0).summary();
    assert_eq!(receiver.received_at("traces").len(), 2);
    assert_eq!(summary["attempts"], serde_json::json!({"delivered": 2, "later": 1}));
}

/// A server that takes no more than this many bytes at once, and how it says so.
fn small(protocol: &str, most: usize, sizes: &'static AtomicUsize) -> Receiver {
    let refusal = match protocol {
        "http/protobuf" => Answer::status(413),
        "grpc" => {
            Answer::grpc(Status::new(Code::ResourceExhausted, "grpc: received message larger than max"))
        }
        _ => Answer::grpc(Status::new(Code::OutOfRange, "Error, decoded message length too large")),
    };
    Receiver::judging(move |_, _, message| {
        if message.len() > most {
            sizes.fetch_add(1, Ordering::Relaxed);
            return refusal.clone();
        }
        Answer::taken()
    })
}

#[test]
fn a_request_too_large_for_the_server_arrives_in_parts_each_span_once() {
    static REFUSED: AtomicUsize = AtomicUsize::new(0);
    const MOST: usize = 40_000;
    let input = lines(&run_of("agno/3.1.10/team_run.run.json"), 60, 60);
    for protocol in ["http/protobuf", "grpc", "grpc of tonic"] {
        REFUSED.store(0, Ordering::Relaxed);
        let receiver = small(protocol, MOST, &REFUSED);
        let spoken = protocol.split(' ').next().unwrap();
        let mut command =
            agno_otel(["send", "--json", "--endpoint", &receiver.url(), "--protocol", spoken, "-"]);
        let summary = run_with_input(&mut command, input.as_bytes()).expect_code(0).summary();
        let spans = receiver.spans();
        let ids: BTreeSet<_> = spans.iter().map(|span| (&span.trace_id, &span.span_id)).collect();
        assert_eq!((ids.len(), spans.len()), (spans.len(), 60 * 11), "{protocol}");
        assert_eq!(summary["spans"], spans.len(), "{protocol}");
        assert_eq!((&summary["requests_refused"], &summary["items_rejected"]), (&0.into(), &0.into()));
        // Once it is known what the server takes, nothing larger is tried.
        let refused = REFUSED.load(Ordering::Relaxed);
        assert!((2..=12).contains(&refused), "{protocol}: {refused} requests were too large");
        for (series, points) in by_series(&points(&receiver.metrics())) {
            let requests: BTreeSet<usize> = points.iter().map(|point| point.request).collect();
            assert_eq!(requests.len(), 1, "{protocol}: {series:?} is spread over requests");
        }
    }
}

#[test]
fn a_span_too_large_with_its_content_arrives_without_and_says_so() {
    static REFUSED: AtomicUsize = AtomicUsize::new(0);
    let database = fixtures().join("agno/3.1.10/unicode_large.db");
    for protocol in PROTOCOLS {
        let receiver = small(protocol, 20_000, &REFUSED);
        let mut command = agno_otel(["send", "--json", "--content", "full", "--endpoint", &receiver.url()]);
        run(command.args(["--protocol", protocol]).arg(&database)).expect_code(0);
        let has = |span: &&Span, name| span.attributes.iter().any(|attribute| attribute.key == name);
        let spans = receiver.spans();
        assert_eq!(spans.len(), 4, "{protocol}");
        let bare = spans.iter().filter(|span| has(span, names::CONTENT_LEFT_OUT)).count();
        let whole = spans.iter().filter(|span| has(span, names::OUTPUT_MESSAGES)).count();
        // An answer of 200 kB is cut to 32 KiB, which is still too much: it stands on a run and its model call.
        assert_eq!((bare, whole), (2, 2), "{protocol}");
    }
}

#[test]
fn a_span_too_large_by_itself_is_refused_counted_and_kept() {
    for protocol in PROTOCOLS {
        let receiver =
            Receiver::judging(
                |_, path, _| {
                    if path.contains("etrics") { Answer::taken() } else { Answer::status(413) }
                },
            );
        let folder = TempDir::new().unwrap();
        let letters = folder.path().join("refused.jsonl");
        let mut command = send(&receiver, protocol);
        let ended = run(command.arg("--dead-letters").arg(&letters)).expect_code(5);
        assert_eq!(ended.summary()["requests_refused"], 7, "{protocol}: every span for itself");
        assert_eq!(ended.summary()["items_refused"], 7, "{protocol}");
        assert_eq!(spans_in(&letters), 7, "{protocol}");
        let single = receiver.received_at("traces").into_iter().filter(|received| {
            let message = ExportTraceServiceRequest::decode(received.body.clone()).unwrap();
            message
                .resource_spans
                .iter()
                .flat_map(|spans| &spans.scope_spans)
                .map(|scope| scope.spans.len())
                .sum::<usize>()
                == 1
        });
        assert!(single.count() >= 7, "{protocol}: it was not tried span by span");
    }
}

/// A certificate authority of the test, with files a user would have.
pub(crate) struct Authority {
    folder: TempDir,
    certificate: rcgen::Certificate,
    parameters: rcgen::CertificateParams,
    key: rcgen::KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = parameters.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        Self { folder, certificate, parameters, key }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Writes `NAME.pem` and `NAME.key`.
    pub(crate) fn issue(&self, name: &str) -> (rustls::pki_types::CertificateDer<'static>, rcgen::KeyPair) {
        let key = rcgen::KeyPair::generate().unwrap();
        let issuer = rcgen::Issuer::from_params(&self.parameters, &self.key);
        let parameters = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &issuer).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        (certificate.der().clone(), key)
    }

    /// A server called `localhost`, that may ask who is calling.
    pub(crate) fn server(&self, asks: bool) -> rustls::ServerConfig {
        let (certificate, key) = self.issue("localhost");
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(std::sync::Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = if asks {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(self.certificate.der().clone()).unwrap();
            let verifier =
                rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
                    .build()
                    .unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = builder.with_single_cert(vec![certificate], key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }
}

fn send_tls(receiver: &Receiver, protocol: &str, arguments: &[String]) -> Ended {
    let mut command = send_to(&receiver.https_url(), &tools());
    run(command.args(["--protocol", protocol, "--give-up-after", "0"]).args(arguments))
}

#[test]
fn a_server_is_trusted_by_the_certificate_named_and_by_no_other() {
    let (authority, other) = (Authority::new(), Authority::new());
    for protocol in PROTOCOLS {
        let receiver = Receiver::over_tls(authority.server(false));
        let trust = |authority: &Authority| ["--certificate".to_owned(), authority.path("ca.pem")];
        send_tls(&receiver, protocol, &trust(&other)).expect_code(4).expect_words(&["certificate"]);
        assert!(receiver.received().is_empty(), "{protocol}");
        send_tls(&receiver, protocol, &trust(&authority)).expect_code(0);
        let mut by_variable = send_to(&receiver.https_url(), &tools());
        by_variable
            .args(["--protocol", protocol])
            .env("OTEL_EXPORTER_OTLP_CERTIFICATE", authority.path("ca.pem"));
        run(&mut by_variable).expect_code(0);
        assert_eq!(receiver.received().len(), 4, "{protocol}");
    }
}

#[test]
fn a_server_that_asks_who_we_are_is_told_by_our_certificate() {
    let authority = Authority::new();
    authority.issue("client");
    let trust = ["--certificate".to_owned(), authority.path("ca.pem")];
    for protocol in PROTOCOLS {
        let receiver = Receiver::over_tls(authority.server(true));
        send_tls(&receiver, protocol, &trust).expect_code(4);
        assert!(receiver.received().is_empty(), "{protocol}: it was taken without a certificate");
        let mut command = send_to(&receiver.https_url(), &tools());
        command.args(["--protocol", protocol]).args(&trust);
        command.env("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", authority.path("client.pem"));
        command.env("OTEL_EXPORTER_OTLP_CLIENT_KEY", authority.path("client.key"));
        run(&mut command).expect_code(0);
        assert_eq!(receiver.received().len(), 2, "{protocol}");
    }
}

#[test]
fn certificates_that_cannot_be_used_are_named_before_anything_is_read() {
    let authority = Authority::new();
    authority.issue("client");
    std::fs::write(authority.path("empty.pem"), "no certificate").unwrap();
    let (ca, pem, key, empty) = (
        authority.path("ca.pem"),
        authority.path("client.pem"),
        authority.path("client.key"),
        authority.path("empty.pem"),
    );
    let cases: [(&[&str], &str); 5] = [
        (&["--certificate", "/nowhere/ca.pem"], "/nowhere/ca.pem"),
        (&["--certificate", &empty], "empty.pem holds no certificates"),
        (&["--certificate", &ca, "--client-certificate", &pem, "--client-key", &empty], "empty.pem"),
        (&["--client-certificate", &pem], "--client-certificate"),
        (&["--client-certificate", &ca, "--client-key", &key], "cannot be used with the key"),
    ];
    for (arguments, words) in cases {
        let mut command = agno_otel(["send", "--endpoint", "https://localhost:1", "/nowhere.db"]);
        run(command.args(arguments)).expect_code(2).expect_words(&[words]);
    }
}
