//! The real binary as a server, and a small client that says exactly what a test wants said.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::program::agno_otel;
use crate::following::Running;

/// What the server answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: String,
}

impl Answered {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// How many were accepted, were there before, and were rejected.
    #[track_caller]
    pub(crate) fn counts(&self) -> (u64, u64, usize) {
        assert_eq!(self.status, 200, "{self:?}");
        let json = self.json();
        let number = |name: &str| json[name].as_u64().unwrap();
        (number("accepted"), number("duplicates"), json["rejected"].as_array().unwrap().len())
    }
}

/// `run --listen`, started.
pub(crate) struct Serving {
    pub(crate) child: Running,
    pub(crate) address: String,
    said: Arc<Mutex<String>>,
}

/// `run --listen` on a free port, to this endpoint.
pub(crate) fn listening(url: &str, state: &Path, more: &[&str]) -> Command {
    let mut command =
        agno_otel(["run", "--listen", "127.0.0.1:0", "--endpoint", url, "--metrics-every", "1"]);
    command.arg("--state").arg(state).args(more).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

impl Serving {
    /// Starts it, and waits until it listens.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = Running(command.spawn().unwrap());
        let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines();
        let said = Arc::new(Mutex::new(String::new()));
        let mut address = None;
        for line in lines.by_ref().map_while(Result::ok) {
            writeln!(said.lock().unwrap(), "{line}").unwrap();
            let url = line.split_once("listening url=\"").map(|(_, rest)| rest.trim_end_matches('"'));
            if let Some((_, found)) = url.and_then(|url| url.split_once("://")) {
                address = Some(found.to_owned());
                break;
            }
        }
        let address = address.unwrap_or_else(|| panic!("it does not listen: {}", said.lock().unwrap()));
        let rest = Arc::clone(&said);
        // Ends with the process.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                writeln!(rest.lock().unwrap(), "{line}").unwrap();
            }
        });
        Self { child, address, said }
    }

    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        stream
    }

    pub(crate) fn get(&self, path: &str) -> Answered {
        self.ask("GET", path, &[], b"")
    }

    pub(crate) fn post(&self, body: impl AsRef<[u8]>) -> Answered {
        self.ask("POST", "/v1/runs", &[], body.as_ref())
    }

    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answered {
        exchange(self.connect(), method, path, headers, body)
    }

    /// Ends it as Ctrl-C does not: at once.
    pub(crate) fn kill(mut self) {
        self.child.0.kill().unwrap();
        self.child.0.wait().unwrap();
    }

    /// Ends it, and returns what it said.
    pub(crate) fn stop(mut self) -> String {
        let pid = self.child.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert_eq!(self.child.0.wait().unwrap().code(), Some(143), "{}", self.said());
        self.said()
    }
}

/// One request on a connection, and its answer. A server may answer before it has read all.
pub(crate) fn exchange(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &[u8],
) -> Answered {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    for header in headers {
        write!(head, "{header}\r\n").unwrap();
    }
    if !headers.iter().any(|header| header.starts_with("transfer-encoding")) {
        write!(head, "content-length: {}\r\n", body.len()).unwrap();
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).and_then(|()| stream.flush()).ok();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).ok();
    let text = String::from_utf8_lossy(&text).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answered { status, headers: head.to_lowercase(), body: body.to_owned() }
}
