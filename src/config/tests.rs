use std::path::Path;

use super::*;
use crate::export::{Compression, Protocol};

fn with<T>(flags: &Flags, variables: &[(&str, &str)], ask: impl Fn(Config<'_>) -> T) -> T {
    with_file("", flags, variables, ask)
}

fn with_file<T>(text: &str, flags: &Flags, variables: &[(&str, &str)], ask: impl Fn(Config<'_>) -> T) -> T {
    let file = File::parse(Path::new("conf/c.toml"), text).unwrap();
    let get =
        |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    ask(Config { flags, environment: &get, file: &file })
}

fn config(flags: &Flags, variables: &[(&str, &str)]) -> Result<Destination, Error> {
    with(flags, variables, |config| config.destination())
}

fn attributes(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    with(&Flags::default(), variables, |config| config.resource("instance")).attributes
}

#[test]
fn the_default_is_a_local_collector() {
    let config = config(&Flags::default(), &[]).unwrap();
    assert_eq!(config.traces.url, "http://localhost:4318/v1/traces");
    assert_eq!(config.metrics.url, "http://localhost:4318/v1/metrics");
    assert!(!with(&Flags::default(), &[], |config| config.names_endpoint()));
    let agno = ("service.name".to_owned(), "agno".to_owned());
    assert!(attributes(&[]).contains(&agno));
    assert!(attributes(&[("OTEL_RESOURCE_ATTRIBUTES", "service.name=,=x,y")]).contains(&agno));
}

#[test]
fn a_flag_wins_over_a_signals_variable_and_that_over_the_general_one() {
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general:1/base/"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://own:2/as/is"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", ""),
    ];
    let of_variables = config(&Flags::default(), &variables).unwrap();
    assert_eq!(of_variables.traces.url, "https://own:2/as/is");
    assert_eq!(of_variables.metrics.url, "http://general:1/base/v1/metrics");
    let flags = Flags { endpoint: Some("http://flag:3".to_owned()), ..Flags::default() };
    assert_eq!(config(&flags, &variables).unwrap().traces.url, "http://flag:3/v1/traces");
}

#[test]
fn headers_are_percent_decoded_and_never_shown() {
    let variables = [("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc, x-team=a%2Cb")];
    let headers = config(&Flags::default(), &variables).unwrap().traces.headers;
    assert_eq!(headers["authorization"], "Bearer abc");
    assert_eq!(headers["x-team"], "a,b");
    assert!(!format!("{headers:?}").contains("abc"));
    let broken = config(&Flags::default(), &[("OTEL_EXPORTER_OTLP_HEADERS", "a=1,secret")]).unwrap_err();
    assert_eq!(broken.to_string(), "OTEL_EXPORTER_OTLP_HEADERS: entry 2 is no header; expected name=value");
}

#[test]
fn a_user_in_a_url_becomes_a_header_and_leaves_the_url() {
    let of = |url: &str, headers: &[&str]| {
        let headers = headers.iter().map(|&header| header.to_owned()).collect();
        let flags = Flags { endpoint: Some(url.to_owned()), headers, ..Flags::default() };
        config(&flags, &[]).unwrap().traces
    };
    let endpoint = of("https://Aladdin:open%20sesame@host:4318/otlp", &[]);
    assert_eq!(endpoint.url, "https://host:4318/otlp/v1/traces");
    assert_eq!(endpoint.headers["authorization"], "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert!(!format!("{endpoint:?}").contains("QWxh"));
    let named = of("http://user@host", &["Authorization=Bearer own"]);
    assert_eq!(named.headers["authorization"], "Bearer own");
    assert!(of("http://host/path@home", &[]).headers.is_empty());
}

#[test]
fn no_part_of_an_address_is_taken_for_another() {
    let ask = |url: &str| {
        let flags = Flags::default();
        let nothing = |_: &str| None;
        let config = Config { flags: &flags, environment: &nothing, file: &File::default() };
        config
            .server(("--prometheus", url), Service::Metrics, "a URL")
            .map(|endpoint| endpoint.url.to_string())
    };
    for url in ["http://here:1?tenant=a@foreign:2", "http://here:1/#a@foreign:2", "http://here:1/a@foreign:2"]
    {
        assert_eq!(ask(url).unwrap().parse::<http::Uri>().unwrap().host(), Some("here"), "{url}");
    }
    assert_eq!(ask("http://me:secret@[::1]:9090").unwrap(), "http://[::1]:9090/");
    for url in ["http://me:sec/ret@host:1", "http://me:1/ret@host:1?", "http://host:99999", "http://host:"] {
        let said = ask(url).map_err(|error| error.to_string());
        assert!(!format!("{said:?}").contains("sec"), "{said:?}");
        assert!(said.is_err() || url.contains("me:1/"), "{said:?}");
    }
}

#[test]
fn what_cannot_be_sent_to_is_said_by_name() {
    let wrong = [("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318")];
    assert!(
        config(&Flags::default(), &wrong).unwrap_err().to_string().starts_with("OTEL_EXPORTER_OTLP_ENDPOINT")
    );
    let json = [("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")];
    assert!(config(&Flags::default(), &json).unwrap_err().to_string().contains("http/protobuf"));
    let key = [("OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", "key.pem")];
    let error = config(&Flags::default(), &key).unwrap_err().to_string();
    assert!(error.contains("METRICS_CLIENT_KEY") && error.contains("certificate"), "{error}");
}

#[test]
fn grpc_has_a_port_of_its_own_and_no_path() {
    let of = |variables: &[(&str, &str)]| config(&Flags::default(), variables).unwrap();
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    assert_eq!(of(&[grpc]).traces.url, "http://localhost:4317");
    let bare = ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317");
    assert_eq!(of(&[grpc, bare]).metrics.url, "https://collector:4317");
    let insecure = ("OTEL_EXPORTER_OTLP_INSECURE", "true");
    assert_eq!(of(&[grpc, bare, insecure]).metrics.url, "http://collector:4317");
    let mixed = of(&[("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc")]);
    assert_eq!((mixed.traces.protocol, mixed.metrics.protocol), (Protocol::HttpProtobuf, Protocol::Grpc));
}

#[test]
fn bodies_are_compressed_unless_they_stay_on_this_machine() {
    let of = |url: &str, variables: &[(&str, &str)]| {
        let flags = Flags { endpoint: Some(url.to_owned()), ..Flags::default() };
        config(&flags, variables).unwrap().traces.compression
    };
    for near in ["http://localhost:4318", "http://127.0.0.1:4318", "http://[::1]:4318"] {
        assert_eq!(of(near, &[]), Compression::None, "{near}");
    }
    assert_eq!(of("https://collector", &[]), Compression::Gzip);
    assert_eq!(of("https://collector", &[("OTEL_EXPORTER_OTLP_COMPRESSION", "none")]), Compression::None);
    assert_eq!(
        of("http://localhost", &[("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd")]),
        Compression::Zstd
    );
}

#[test]
fn opentelemetrys_switch_for_content_is_understood_or_refused_by_name() {
    let of = |value: &str| with(&Flags::default(), &[(CAPTURE, value)], |config| config.content());
    for (value, mode) in [
        ("", Mode::None),
        ("NO_CONTENT", Mode::None),
        ("no_content", Mode::None),
        ("SPAN_ONLY", Mode::Full),
        (" Span_And_Event ", Mode::Full),
    ] {
        assert_eq!(of(value).unwrap(), mode, "{value}");
    }
    for value in ["EVENT_ONLY", "true", "masked"] {
        let said = of(value).unwrap_err().to_string();
        for word in [CAPTURE, value, "SPAN_ONLY", "--content"] {
            assert!(said.contains(word), "{said}");
        }
    }
}

#[test]
fn the_service_name_variable_wins_over_the_attributes() {
    let variables = [
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=listed,deployment.environment.name=pre%20prod"),
        ("OTEL_SERVICE_NAME", "own"),
    ];
    let attributes = attributes(&variables);
    let get = |name: &str| attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    assert_eq!((get("service.name"), get("deployment.environment.name")), (Some("own"), Some("pre prod")));
}

const FILE: &str = "[otlp]\nendpoint = 'http://file:1'\nprotocol = 'grpc'\ncompression = 'zstd'\ntimeout = '7s'\n\
                    certificate = 'ca.pem'\nheaders = { a = 'file', b = { env = 'B' } }\n\
                    [otlp.metrics]\nendpoint = 'http://file:2/as/is'\nprotocol = 'http/protobuf'\n\
                    headers = { c = 'metrics' }\n[service]\nname = 'file'\nenvironment = 'file'\n";

#[test]
fn the_file_wins_over_defaults_and_its_signals_over_the_rest_of_it() {
    let ask = |config: Config<'_>| config.destination().unwrap();
    let Destination { traces, metrics } = with_file(FILE, &Flags::default(), &[("B", "variable")], ask);
    assert_eq!((traces.url, traces.protocol), ("http://file:1".parse().unwrap(), Protocol::Grpc));
    assert_eq!((traces.compression, traces.timeout), (Compression::Zstd, Duration::from_secs(7)));
    assert_eq!(traces.tls.roots.as_deref(), Some(Path::new("conf/ca.pem")));
    assert_eq!(
        (&traces.headers["a"], &traces.headers["b"]),
        (&"file".parse().unwrap(), &"variable".parse().unwrap())
    );
    assert!(!format!("{:?}", traces.headers).contains("variable"));
    assert_eq!(metrics.url, "http://file:2/as/is");
    assert_eq!((metrics.protocol, metrics.timeout), (Protocol::HttpProtobuf, Duration::from_secs(7)));
    assert_eq!(metrics.headers.keys().collect::<Vec<_>>(), ["c"]);
}

#[test]
fn variables_and_flags_win_over_the_file() {
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://variable:1"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "8000"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "variable.pem"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=variable"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=listed"),
    ];
    let ask = |config: Config<'_>| (config.destination().unwrap(), config.resource("i").attributes);
    let (Destination { traces, metrics }, attributes) = with_file(FILE, &Flags::default(), &variables, ask);
    assert_eq!(
        (traces.url, traces.protocol),
        ("http://variable:1/v1/traces".parse().unwrap(), Protocol::HttpProtobuf)
    );
    assert_eq!(metrics.url, "http://variable:1/v1/metrics", "a general variable is over a signal's section");
    assert_eq!((traces.compression, traces.timeout), (Compression::None, Duration::from_secs(8)));
    assert_eq!(traces.tls.roots.as_deref(), Some(Path::new("variable.pem")));
    assert_eq!((&traces.headers["a"], traces.headers.get("b")), (&"variable".parse().unwrap(), None));
    let of = |name: &str| attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    assert_eq!((of("service.name"), of("deployment.environment.name")), (Some("listed"), Some("file")));

    let flags = Flags {
        endpoint: Some("http://flag:1".to_owned()),
        headers: vec!["c=flag".to_owned()],
        service_name: Some("flag".to_owned()),
        ..Flags::default()
    };
    let (Destination { traces, .. }, attributes) = with_file(FILE, &flags, &[("B", "b")], ask);
    assert_eq!(
        (traces.url, &traces.headers["a"]),
        ("http://flag:1".parse().unwrap(), &"file".parse().unwrap())
    );
    assert_eq!(traces.headers["c"], "flag");
    assert!(attributes.contains(&("service.name".to_owned(), "flag".to_owned())));
}

#[test]
fn what_is_wrong_with_a_value_of_the_file_is_said_with_its_line() {
    let of = |text: &str| {
        let error = with_file(text, &Flags::default(), &[], |config| config.destination()).unwrap_err();
        crate::error::Chain(&error).to_string()
    };
    for (text, expected) in [
        (
            "[otlp]\nendpoint = 'localhost:4318'",
            "c.toml:2: otlp.endpoint: \"localhost:4318\" is not an HTTP URL",
        ),
        ("[otlp.metrics]\nclient_key = 'key'", "c.toml:2: otlp.metrics.client_key is given without"),
        ("[otlp]\nheaders.a = { env = 'TOKEN' }", "c.toml:2: otlp.headers.a: variable TOKEN is unset"),
        (
            "[otlp.headers]\na = { file = 'token' }",
            "c.toml:2: otlp.headers.a: cannot read conf/token: No such file",
        ),
        ("[otlp.headers]\na = \"b\\nc\"", "c.toml:2: otlp.headers.a: its value cannot be a header's"),
    ] {
        let said = of(text);
        assert!(said.starts_with(&format!("conf/{expected}")), "{said}");
    }
}
