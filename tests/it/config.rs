//! The config file: below flags and variables, above defaults; its example says every key and its default.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use agno_otel::config::file::Error;
use agno_otel::config::{Config, File, Flags};
use tempfile::TempDir;

use crate::support::fixtures;
use crate::support::program::{Ended, agno_otel, run};
use crate::support::receiver::Receiver;
use crate::wire::Authority;

fn tools() -> PathBuf {
    fixtures().join("agno/3.1.10/tools_multi.db")
}

/// A folder with a config file.
struct Written {
    folder: TempDir,
}

impl Written {
    fn new(text: &str) -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("agno-otel.toml"), text).unwrap();
        Self { folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("agno-otel.toml")
    }

    /// `send` of one database, as the file says.
    fn send(&self) -> Command {
        let mut command = agno_otel(["send", "--json", "--config"]);
        command.arg(self.file()).arg(tools());
        command
    }
}

/// A command that ends with 2, and what it says.
#[track_caller]
fn refused(command: &mut Command) -> Ended {
    let ended = run(command).expect_code(2);
    assert_eq!(ended.stdout, "");
    ended
}

/// What all spans of a receiver say of their resource.
fn resource(receiver: &Receiver, name: &str) -> Option<String> {
    let requests = receiver.traces();
    let resource = requests[0].resource_spans[0].resource.as_ref().unwrap();
    let found = resource.attributes.iter().find(|attribute| attribute.key == name)?;
    Some(serde_json::to_value(&found.value).unwrap()["stringValue"].as_str().unwrap().to_owned())
}

#[test]
fn flags_win_over_variables_and_those_over_the_file() {
    let [by_flag, by_variable, by_file] = [Receiver::start(), Receiver::start(), Receiver::start()];
    let counts = || [&by_flag, &by_variable, &by_file].map(|receiver| receiver.received().len());
    let written = Written::new(&format!(
        "[otlp]\nendpoint = '{}'\n[otlp.headers]\nx-who = 'file'\nx-file = 'file'\n[service]\nname = 'file'\n",
        by_file.url()
    ));
    let header = |receiver: &Receiver, name: &str| {
        let received = receiver.received();
        received[0].headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    let some = |text: &str| Some(text.to_owned());

    run(&mut written.send()).expect_code(0);
    assert_eq!(counts(), [0, 0, 2]);
    assert_eq!(resource(&by_file, "service.name"), some("file"));
    assert_eq!([header(&by_file, "x-who"), header(&by_file, "x-file")], [some("file"), some("file")]);

    let with_variables = || {
        let mut command = written.send();
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", by_variable.url());
        command.env("OTEL_EXPORTER_OTLP_HEADERS", "x-who=variable").env("OTEL_SERVICE_NAME", "variable");
        command
    };
    run(&mut with_variables()).expect_code(0);
    assert_eq!(counts(), [0, 2, 2]);
    assert_eq!(resource(&by_variable, "service.name"), some("variable"));
    assert_eq!([header(&by_variable, "x-who"), header(&by_variable, "x-file")], [some("variable"), None]);

    let mut command = with_variables();
    command.args(["--endpoint", &by_flag.url(), "--header", "x-who=flag", "--service-name", "flag"]);
    run(&mut command).expect_code(0);
    assert_eq!(counts(), [2, 2, 2]);
    assert_eq!(resource(&by_flag, "service.name"), some("flag"));
    assert_eq!(header(&by_flag, "x-who"), some("flag"));

    let by_default = Receiver::start();
    run(agno_otel(["send", "--json", "--endpoint", &by_default.url()]).arg(tools())).expect_code(0);
    assert_eq!(resource(&by_default, "service.name"), some("agno"));
    assert_eq!(header(&by_default, "x-file"), None);
}

#[test]
fn content_is_asked_for_by_file_variable_and_flag() {
    let written = Written::new("[content]\nmode = 'full'\nuser_id = true\n");
    let said = |command: &mut Command| {
        let ended = run(command.args(["--to", "otlp-json:-"])).expect_code(0);
        (ended.stdout.contains("gen_ai.input.messages"), ended.stdout.contains("\"user.id\""))
    };
    let capture = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT";
    assert!(said(&mut written.send()).0, "by the file");
    assert!(!said(written.send().env(capture, "NO_CONTENT")).0, "the variable wins");
    let flag = ["--content", "full"];
    assert!(said(written.send().env(capture, "NO_CONTENT").args(flag)).0, "the flag wins");
    let off = said(written.send().args(["--content", "none", "--user-id=false"]));
    assert_eq!(off, (false, false), "what the file turns on, flags turn off");
}

#[test]
fn secrets_are_looked_up_in_variables_and_beside_the_file_and_never_shown() {
    let secret = "hunter2secret";
    let receiver = Receiver::start();
    let written = Written::new(&format!(
        "[otlp]\nendpoint = {{ env = 'WHERE' }}\n[otlp.headers]\n\
         authorization = {{ env = 'TOKEN' }}\nx-key = {{ file = 'key' }}\nx-text = '{secret} text'\n"
    ));
    let key = written.folder.path().join("key");
    std::fs::write(&key, format!("{secret} file\n")).unwrap();
    let send = || {
        let mut command = written.send();
        command.arg("-vv").env("RUST_LOG", "trace").env("WHERE", receiver.url());
        command
    };
    let ended = run(send().env("TOKEN", format!("{secret} variable"))).expect_code(0);
    assert!(!ended.stderr.contains(secret) && !ended.stdout.contains(secret));
    let headers = &receiver.received()[0].headers;
    for (name, place) in [("authorization", "variable"), ("x-key", "file"), ("x-text", "text")] {
        assert_eq!(headers[name], format!("{secret} {place}"));
    }
    let missing = refused(&mut send());
    assert!(!missing.stderr.contains(secret));
    missing.expect_words(&["agno-otel.toml:4: otlp.headers.authorization: variable TOKEN is unset"]);
    std::fs::remove_file(&key).unwrap();
    let missing = refused(send().env("TOKEN", "token"));
    missing.expect_words(&["agno-otel.toml:5: otlp.headers.x-key: cannot read", "/key: No such file"]);
    // What sends nothing needs none.
    run(agno_otel(["show", "--config"]).arg(written.file()).arg(tools())).expect_code(0);
}

#[test]
fn certificates_are_beside_the_file_and_variables_win() {
    let (authority, other) = (Authority::new(), Authority::new());
    let receiver = Receiver::over_tls(authority.server(false));
    let text = format!(
        "[otlp]\nendpoint = '{}'\ncertificate = 'ca.pem'\n[send]\ngive_up_after = '0s'\n",
        receiver.https_url()
    );
    let file = authority.path("agno-otel.toml");
    std::fs::write(&file, text).unwrap();
    let send = || {
        let mut command = agno_otel(["send", "--json", "--config", &file]);
        command.arg(tools()).current_dir("/");
        command
    };
    run(&mut send()).expect_code(0);
    assert_eq!(receiver.received().len(), 2);
    run(send().env("OTEL_EXPORTER_OTLP_CERTIFICATE", other.path("ca.pem"))).expect_code(4);
    run(send().args(["--certificate", &other.path("ca.pem")])).expect_code(4);
    assert_eq!(receiver.received().len(), 2);
}

#[test]
fn sources_of_the_file_are_read_where_no_path_is_given() {
    let written = Written::new(
        "[[source]]\npath = 'a.db'\nsessions_table = 'agno_sessions'\n[[source]]\npath = 'sub/b.db'\n",
    );
    let folder = written.folder.path();
    std::fs::create_dir(folder.join("sub")).unwrap();
    std::fs::copy(tools(), folder.join("a.db")).unwrap();
    std::fs::copy(fixtures().join("agno/3.1.10/team_run.db"), folder.join("sub/b.db")).unwrap();
    let summary = |paths: &[&Path]| {
        let mut command = agno_otel(["send", "--json", "--to", "otlp-json:/dev/null", "--config"]);
        command.arg(written.file()).args(paths).current_dir("/");
        run(&mut command).expect_code(0).summary()
    };
    let of_file = summary(&[]);
    assert_eq!(of_file, summary(&[&folder.join("a.db"), &folder.join("sub/b.db")]));
    let one = summary(&[&folder.join("a.db")]);
    assert!(one["spans"].as_u64() < of_file["spans"].as_u64(), "a PATH is read instead");
    let shown = run(agno_otel(["show", "--json", "--config"]).arg(written.file())).expect_code(0).summary();
    assert_eq!(shown["total"]["runs"], of_file["traces"]);

    let written = Written::new("[[source]]\npath = 'a.db'\nsessions_table = 'nowhere'\n");
    std::fs::copy(tools(), written.folder.path().join("a.db")).unwrap();
    run(agno_otel(["show", "--config"]).arg(written.file())).expect_code(3).expect_words(&["nowhere"]);
    // It is the source's, so that a file to write must not be one of them.
    let own = written.folder.path().join("a.db");
    let to = format!("otlp-json:{}", own.display());
    let written = Written::new(&format!("[[source]]\npath = '{}'\n", own.display()));
    refused(agno_otel(["send", "--to", &to, "--config"]).arg(written.file())).expect_words(&["a.db"]);
    refused(agno_otel(["show", "--runs-table", "a", "--config"]).arg(written.file()))
        .expect_words(&["SOURCE"]);
}

#[test]
fn what_is_wrong_with_the_file_is_said_by_every_command_before_anything_is_done() {
    for (text, expected) in [
        (
            "[otlp]\nprotocl = 'grpc'",
            "agno-otel.toml:2: otlp.protocl: unknown key; did you mean \"protocol\"?",
        ),
        ("[otlp]\nprotocol = 'grcp'", "agno-otel.toml:2: otlp.protocol: unknown protocol \"grcp\""),
        ("[otlp", "agno-otel.toml:1: "),
    ] {
        let written = Written::new(text);
        for command in ["send", "show", "demo"] {
            let by_flag = &mut agno_otel([command, "--config"]);
            refused(by_flag.arg(written.file())).expect_words(&[expected]);
            let by_variable = &mut agno_otel([command]);
            refused(by_variable.env("AGNO_OTEL_CONFIG", written.file())).expect_words(&[expected]);
        }
    }
    let missing = run(&mut agno_otel(["demo", "--config", "/nowhere/agno-otel.toml"])).expect_code(2);
    missing.expect_words(&["cannot read /nowhere/agno-otel.toml: No such file"]);
}

#[test]
fn only_a_file_that_was_named_is_read() {
    let written = Written::new("no TOML at all");
    for variable in [None, Some("")] {
        let mut command = agno_otel(["show"]);
        command.arg(tools()).current_dir(&written.folder);
        if let Some(value) = variable {
            command.env("AGNO_OTEL_CONFIG", value);
        }
        run(&mut command).expect_code(0);
    }
    let fine = Written::new("");
    let mut command = agno_otel(["show", "--config"]);
    command.arg(fine.file()).arg(tools()).env("AGNO_OTEL_CONFIG", written.file());
    run(&mut command).expect_code(0);
}

#[test]
fn the_bridge_is_observed_as_the_file_says() {
    let receiver = Receiver::start();
    let written = Written::new(&format!(
        "[otlp]\nendpoint = '{}'\n[service]\nname = 'shop'\nenvironment = 'file'\n[observe]\nenabled = true\n",
        receiver.url()
    ));
    run(&mut written.send()).expect_code(0);
    let own: Vec<_> = receiver.logs().into_iter().flat_map(|request| request.resource_logs).collect();
    let said = format!("{:?}", own[0].resource);
    assert!(said.contains("agno-otel") && said.contains("\"file\"") && !said.contains("shop"), "{said}");
    let before = receiver.logs().len();
    run(written.send().arg("--observe=false")).expect_code(0);
    run(written.send().env("AGNO_OTEL_OBSERVE", "false")).expect_code(0);
    assert_eq!(receiver.logs().len(), before);
}

#[test]
fn the_help_says_the_defaults() {
    let sections = File::default().sections;
    let help = run(&mut agno_otel(["send", "--help"])).expect_code(0).stdout;
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for (flag, default) in [
        ("--content-limit ", sections.content.limit_bytes.to_string()),
        ("--give-up-after ", sections.send.give_up_after.as_secs().to_string()),
    ] {
        let (_, rest) = help.split_once(flag).unwrap();
        let (_, said) = rest.split_once("[default: ").unwrap();
        assert!(said.starts_with(&format!("{default}]")), "{flag}: {said}");
    }
}

const EXAMPLE: &str = include_str!("../../examples/agno-otel.toml");

fn parsed(text: &str) -> Result<File, Error> {
    File::parse(Path::new("agno-otel.toml"), text)
}

/// The example with everything in it said: a hash and a key is a setting, a hash and a space a comment.
fn uncommented() -> String {
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') => setting,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_says_the_defaults() {
    let flags = Flags { observe: Some(true), ..Flags::default() };
    let (example, none) = (parsed(EXAMPLE).unwrap(), File::default());
    let config = |file| Config { flags: &flags, environment: &|_| None, file };
    let [of_example, of_none] = [config(&example), config(&none)];
    assert_eq!(of_example.observed().unwrap(), of_none.observed().unwrap());
    assert_eq!(of_example.destination().unwrap(), of_none.destination().unwrap());
    assert_eq!(of_example.resource("instance"), of_none.resource("instance"));
    let [said, default] = [&example.sections, &none.sections];
    assert_eq!((&said.content, said.names), (&default.content, default.names));
    assert_eq!((&said.send, said.observe, &said.source), (&default.send, default.observe, &default.source));
    assert_eq!((&said.run, &said.state), (&default.run, &default.state));
    let limits = |listen: &agno_otel::config::file::Listen| {
        (listen.address.is_none(), listen.body_limit_bytes, listen.decompressed_limit_bytes)
    };
    assert_eq!(limits(&said.listen), limits(&default.listen));
    assert_eq!((said.prices, &said.price), (default.prices, &default.price));
    assert_eq!((&said.session, &said.budget), (&default.session, &default.budget));
}

#[test]
fn the_example_says_every_key_and_no_other() {
    let text = uncommented();
    parsed(&text).unwrap_or_else(|error| panic!("{error}"));
    let table: toml::Table = text.parse().unwrap();
    let sections: Vec<&str> = text.lines().filter(|line| line.starts_with('[')).collect();
    assert!(sections.len() >= 12, "{sections:?}");
    for section in ["", "otlp", "otlp.traces", "otlp.metrics", "otlp.logs"]
        .into_iter()
        .chain(table.keys().map(String::as_str))
    {
        let said = section.split('.').filter(|part| !part.is_empty()).fold(&table, |table, part| {
            let value = &table[part];
            value.as_array().map_or(value, |entries| &entries[0]).as_table().unwrap()
        });
        // What the code knows there, it says of a key that it does not.
        let header = match section {
            "" => String::new(),
            "source" | "price" | "budget" => format!("[[{section}]]\n"),
            section => format!("[{section}]\n"),
        };
        let known = match parsed(&format!("{header}no-such-key = 1\n")) {
            Err(Error::UnknownKey { known, .. }) => known,
            other => panic!("[{section}]: {other:?}"),
        };
        let said: BTreeSet<&str> = said.keys().map(String::as_str).collect();
        assert_eq!(said, known.iter().map(String::as_str).collect(), "[{section}]");
    }
}
