use super::*;
use crate::export::{Compression, Protocol};
use crate::money::{Factor, OwnRates};
use crate::otel::Mode;

fn said(text: &str) -> Sections {
    File::parse(Path::new("agno-otel.toml"), text).unwrap().sections
}

fn wrong(text: &str) -> String {
    let error = File::parse(Path::new("conf/agno-otel.toml"), text).unwrap_err();
    crate::error::Chain(&error).to_string()
}

#[test]
fn every_section_is_read() {
    let said = said(
        "[otlp]\nprotocol = 'grpc'\ntimeout = '1m 30s'\ncompression = 'zstd'\n[otlp.metrics]\ntimeout = '250ms'\n\
         [service]\nname = 'shop'\nattributes = { 'host.name' = 'a' }\n[content]\nmode = 'masked'\nlimit = '8 KiB'\n\
         [send]\ngive_up_after = '15m'\n[[source]]\npath = 'a.db'\n[[source]]\npath = 'b.db'\nruns_table = 'r'\n",
    );
    let [all, metrics] = [&said.otlp.all, &said.otlp.metrics];
    assert_eq!((all.protocol, metrics.protocol), (Some(Protocol::Grpc), None));
    assert_eq!((all.timeout.unwrap().as_secs(), metrics.timeout.unwrap().as_millis()), (90, 250));
    assert_eq!(all.compression, Some(Compression::Zstd));
    assert_eq!((said.service.name.as_deref(), &*said.service.attributes["host.name"]), (Some("shop"), "a"));
    assert_eq!((said.content.mode, said.content.limit_bytes), (Mode::Masked, 8_192));
    assert_eq!(said.send.give_up_after.as_secs(), 900);
    assert_eq!(said.source.len(), 2);
    assert_eq!(said.source[1].runs_table.as_deref(), Some("r"));
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_what_was_meant() {
    for (text, expected) in [
        ("[otpl]\n", "conf/agno-otel.toml:1: otpl: unknown key; did you mean \"otlp\"?"),
        (
            "# a\n[otlp]\nprotocl = 'grpc'\n",
            "conf/agno-otel.toml:3: otlp.protocl: unknown key; did you mean \"protocol\"?",
        ),
        (
            "[otlp.traces]\nend-point = ''",
            "conf/agno-otel.toml:2: otlp.traces.end-point: unknown key; did you mean \"endpoint\"?",
        ),
        ("\n\nobserve.on = true", "conf/agno-otel.toml:3: observe.on: unknown key; expected one of enabled"),
        (
            "[[source]]\npath = 'a'\n[[source]]\npath = 'b'\ntable = 'c'",
            "conf/agno-otel.toml:5: source.table: unknown key; expected one of path, sessions_table, runs_table",
        ),
    ] {
        assert_eq!(wrong(text), expected);
    }
}

#[test]
fn a_wrong_value_is_refused_with_its_line_and_key() {
    for (text, expected) in [
        (
            "[otlp]\n\nprotocol = 'grcp'",
            ":3: otlp.protocol: unknown protocol \"grcp\", expected \"http/protobuf\" or \"grpc\"",
        ),
        (
            "content.mode = 'all'",
            ":1: content.mode: unknown mode \"all\", expected \"none\", \"masked\" or \"full\"",
        ),
        (
            "[otlp]\ntimeout = 10",
            ":2: otlp.timeout: expected a length of time such as \"10s\", \"250ms\" or \"15m\", found a number",
        ),
        (
            "[otlp]\ntimeout = '10'",
            ":2: otlp.timeout: expected a length of time such as \"10s\", \"250ms\" or \"15m\", found \"10\"",
        ),
        (
            "[otlp]\ntimeout = '0s'",
            ":2: otlp.timeout: expected a length of time such as \"10s\", \"250ms\" or \"15m\", above 0",
        ),
        ("[content]\nlimit = 10", ":2: content.limit: expected 1024 to 1048576 bytes"),
        (
            "[content]\nlimit = '64 monkeys'",
            ":2: content.limit: expected a number of bytes, or a size such as \"64KiB\", found \"64 monkeys\"",
        ),
        ("[observe]\nenabled = 'yes'", ":2: observe.enabled: expected true or false, found text"),
        ("[otlp]\ncertificate = ''", ":2: otlp.certificate: expected the path of a file, found none"),
        ("otlp = 'http://h'", ":1: otlp: expected a table, found text"),
        ("[source]\npath = 'a'", ":1: source: expected a list, or tables in [[ ]], found a table"),
        ("[[source]]\nruns_table = 'a'", ":1: source: path is missing"),
        ("[otlp]\nheaders.'a b' = 'c'", ":2: otlp.headers.a b: this cannot be the name of a header"),
        ("[otlp]\nendpoint = 'a'\nendpoint = 'b'", ":3: duplicate key"),
    ] {
        assert_eq!(wrong(text), format!("conf/agno-otel.toml{expected}"));
    }
}

#[test]
fn sizes_have_units_or_none() {
    for (text, bytes) in
        [("2048", 2_048), ("'2048B'", 2_048), ("'2kB'", 2_000), ("'2 KiB'", 2_048), ("'1MiB'", 1_048_576)]
    {
        assert_eq!(said(&format!("content.limit = {text}")).content.limit_bytes, bytes, "{text}");
    }
    assert!(wrong("content.limit = '99999999999999999999GiB'").contains("content.limit"));
    assert!(wrong("content.limit = -1").contains("content.limit"));
}

#[test]
fn prices_are_read_with_their_dates_and_what_is_left_of_them() {
    let said = said(
        "[prices]\ndiscount = 0.9\n[[price]]\nmodel = 'a*'\nfrom = 2026-01-01\nuntil = '2026-01-02'\ninput = 2\noutput = 8.5\n\
         cache_read = 0\n[[price]]\nmodel = 'b'\nprovider = 'openai'\nbatch = true\ndiscount = 1\n",
    );
    let prices = said.prices();
    assert_eq!(prices.discount, Factor::of(0.9).unwrap());
    let [a, b] = &prices.own[..] else { panic!("{prices:?}") };
    assert_eq!((a.from_s, a.until_s), (Some(1_767_225_600), Some(1_767_312_000)));
    let rates = OwnRates { input: 2.0, output: 8.5, cache_read: Some(0.0), ..OwnRates::default() };
    assert_eq!((a.rates, a.discount, a.is_batch), (Some(rates), None, false));
    assert_eq!((b.provider.as_deref(), b.rates, b.is_batch), (Some("openai"), None, true));
    assert_eq!(b.discount, Some(Factor::NONE));
}

#[test]
fn a_price_that_cannot_be_one_is_refused_with_its_line() {
    for (text, expected) in [
        ("[[price]]\nmodle = 'a'", ":2: price.modle: unknown key; did you mean \"model\"?"),
        ("[[price]]\ninput = 1\noutput = 1", ": model is missing"),
        ("[[price]]\nmodel = 'a'\ninput = -1", ":3: price.input: expected dollars for a million tokens"),
        ("[[price]]\nmodel = 'a'\ninput = 'x'", ":3: price.input: expected f64, found text"),
        ("[[price]]\nmodel = 'a'\nfrom = 'soon'", ":3: price.from: expected a date such as \"2026-11-24\""),
        ("[[price]]\nmodel = 'a'\nfrom = 2026-01-01T10:00:00Z", ":3: price.from: expected a date"),
        (
            "[[price]]\nmodel = 'a'\ninput = 1",
            "the price of \"a\" has no output; give input and output, or neither",
        ),
        ("[[price]]\nmodel = 'a'\nreasoning = 1", "the price of \"a\" has no input"),
        (
            "[[price]]\nmodel = 'a'",
            "the price of \"a\" says nothing; give input and output, discount, or batch",
        ),
        ("[[price]]\nmodel = 'a'\ninput = 1\noutput = 1\nbatch = true", "has batch beside prices of its own"),
        (
            "[[price]]\nmodel = 'a'\nbatch = true\nfrom = '2026-01-02'\nuntil = '2026-01-02'",
            "ends before it begins",
        ),
        (
            "[prices]\ndiscount = 2000",
            ":2: prices.discount: expected what is left of a price, from 0 to 1000",
        ),
    ] {
        assert!(wrong(text).contains(expected), "{text}: {}", wrong(text));
    }
}

#[test]
fn no_message_and_no_debug_text_shows_a_secret() {
    let secret = "hunter2secret";
    for text in [
        format!("[otlp]\nheaders = 'authorization=Bearer {secret}'"),
        format!("[otlp]\nheaders = {{ a = ['{secret}'] }}"),
        format!("[otlp]\nheaders = {{ a = {{ text = '{secret}' }} }}"),
        format!("[otlp]\nheaders = {{ a = {{ env = 'A', file = '{secret}' }} }}"),
        format!("[otlp]\nheaders = {{ a = Bearer {secret} }}"),
        format!("[otlp]\nheaders.a = '{secret}"),
        format!("[otlp]\nheaders.a = \"{secret}\\q\""),
        format!("[otlp]\nendpoint = ['{secret}']"),
        format!("otlp = '{secret}'"),
        format!("source = '{secret}'"),
        format!("password = '{secret}'"),
    ] {
        let said = wrong(&text);
        assert!(!said.contains(secret), "{said}");
        assert!(said.starts_with("conf/agno-otel.toml:"), "{said}");
    }
    let text = format!(
        "[otlp]\nendpoint = 'http://user:{secret}@host'\nheaders = {{ a = '{secret}', b = {{ env = 'B' }} }}"
    );
    let shown = format!("{:?}", File::parse(Path::new("a.toml"), &text).unwrap());
    assert!(!shown.contains(secret) && shown.contains("Secret(env B)"), "{shown}");
}

#[test]
fn paths_are_beside_the_file() {
    let text = "[[source]]\npath = 'a.db'\n[[source]]\npath = '/b.db'\n[[source]]\npath = '-'";
    let paths = |file: &str| -> Vec<String> {
        let file = File::parse(Path::new(file), text).unwrap();
        let sources = file.sections.source.iter();
        sources.map(|source| file.source_path(source).display().to_string()).collect()
    };
    assert_eq!(paths("conf/c.toml"), ["conf/a.db", "/b.db", "-"]);
    assert_eq!(paths("c.toml"), ["a.db", "/b.db", "-"]);
}

#[test]
fn what_is_no_config_file_is_said_to_be_none() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("agno-otel.toml");
    let read = || File::read(&path).unwrap_err().to_string();
    assert!(read().starts_with("cannot read "), "{}", read());
    std::fs::write(&path, b"\xff").unwrap();
    assert!(read().ends_with("is not UTF-8"), "{}", read());
    std::fs::write(&path, vec![b' '; usize::try_from(MAX_BYTES).unwrap() + 1]).unwrap();
    assert!(read().contains("is larger than 1048576 bytes"), "{}", read());
}
