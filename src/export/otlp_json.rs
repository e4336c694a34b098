//! OTLP/JSON lines, as the Collector's file exporter writes them and its `otlp_json_file` receiver reads them.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use serde_json::Value;

use super::{Request, Signal};
use crate::otel::request::{Chunk, Halves};

/// The Collector's receiver cuts longer lines in two, and reads neither half (`max_log_size`, 1 MiB).
const LONGEST_LINE_BYTES: usize = 1_000_000;

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", if path.as_os_str() == "-" { "standard output".to_owned() } else { path.display().to_string() })]
pub struct Error {
    /// The file.
    pub path: PathBuf,
    /// Why not.
    pub source: io::Error,
}

/// Writes requests as lines. The file is opened with the first of them.
pub struct OtlpJson {
    path: PathBuf,
    begins_anew: bool,
    out: Option<BufWriter<Box<dyn Write + Send>>>,
}

impl std::fmt::Debug for OtlpJson {
    fn fmt(&self, text: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        text.debug_struct("OtlpJson").field("path", &self.path).finish_non_exhaustive()
    }
}

impl OtlpJson {
    /// To a new file, or in place of what an old one holds; `-` is standard output.
    pub fn create(path: &Path) -> Self {
        Self { path: path.to_owned(), begins_anew: true, out: None }
    }

    /// To a file, behind the lines it has.
    pub fn append(path: &Path) -> Self {
        Self { path: path.to_owned(), begins_anew: false, out: None }
    }

    fn out(&mut self) -> io::Result<&mut impl Write> {
        if self.out.is_none() {
            let out: Box<dyn Write + Send> = if self.path.as_os_str() == "-" {
                Box::new(io::stdout())
            } else {
                let (anew, mut options) = (self.begins_anew, File::options());
                let options = options.create(true).write(anew).truncate(anew).append(!anew);
                Box::new(options.open(&self.path)?)
            };
            self.out = Some(BufWriter::new(out));
        }
        self.out.as_mut().ok_or_else(|| io::Error::other("it was just opened"))
    }

    /// Where lines go, as shown to people.
    pub fn name(&self) -> String {
        if self.path.as_os_str() == "-" {
            "standard output".to_owned()
        } else {
            self.path.display().to_string()
        }
    }

    /// Writes one request, as one line where that is short enough, else as several.
    pub fn write(&mut self, request: &Request<'_>) -> Result<(), Error> {
        let written =
            match request.signal {
                Signal::Traces => decode(request.chunks)
                    .and_then(|message| self.lines::<ExportTraceServiceRequest>(message)),
                Signal::Metrics => decode(request.chunks)
                    .and_then(|message| self.lines::<ExportMetricsServiceRequest>(message)),
            };
        written.map_err(|source| Error { path: self.path.clone(), source })
    }

    fn lines<M: Halves + serde::Serialize>(&mut self, message: M) -> io::Result<()> {
        // JSON is never shorter than protobuf.
        let line = if message.encoded_len() < LONGEST_LINE_BYTES { line(&message)? } else { String::new() };
        if !line.is_empty() && line.len() < LONGEST_LINE_BYTES {
            return self.out()?.write_all(line.as_bytes());
        }
        match message.halves() {
            Ok((first, second)) => {
                self.lines(first)?;
                self.lines(second)
            }
            // One span alone is longer.
            Err(whole) => self.out()?.write_all(self::line(&whole)?.as_bytes()),
        }
    }

    /// Makes sure everything is written.
    pub fn flush(&mut self) -> Result<(), Error> {
        let Some(out) = &mut self.out else { return Ok(()) };
        out.flush().map_err(|source| Error { path: self.path.clone(), source })
    }
}

fn line(message: &impl serde::Serialize) -> io::Result<String> {
    let mut message = serde_json::to_value(message)?;
    drop_defaults(&mut message);
    Ok(format!("{message}\n"))
}

/// The chunks of a request as the one message they are.
fn decode<M: Halves>(chunks: &[Chunk]) -> io::Result<M> {
    let mut message = M::default();
    for chunk in chunks {
        message.merge(chunk.bytes.as_slice()).map_err(io::Error::other)?;
    }
    Ok(message)
}

/// Fields whose default is a value: of a oneof, or optional.
const SAID_EVEN_IF_DEFAULT: [&str; 9] =
    ["stringValue", "boolValue", "intValue", "doubleValue", "asInt", "asDouble", "sum", "min", "max"];

/// Leaves out what has its default, as protobuf's JSON does and the Collector expects: `opentelemetry-proto`
/// writes every field, with `null` for optional ones, which the Collector refuses.
fn drop_defaults(message: &mut Value) {
    match message {
        Value::Object(fields) => {
            fields.retain(|name, value| {
                let keeps = SAID_EVEN_IF_DEFAULT.contains(&name.as_str()) && !value.is_null();
                drop_defaults(value);
                keeps || !is_default(value)
            });
        }
        Value::Array(items) => items.iter_mut().for_each(drop_defaults),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_default(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) | Value::Object(_) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        // 64-bit numbers are strings in OTLP/JSON.
        Value::String(text) => text.is_empty() || text == "0",
        Value::Array(items) => items.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_are_left_out_and_values_are_kept() {
        let mut message = json!({
            "flags": 0, "traceState": "", "startTimeUnixNano": "0", "links": [], "max": null, "isMonotonic": false,
            "status": {"code": 0, "message": ""}, "bucketCounts": ["0", "3"], "asInt": "0", "sum": 0.0,
            "value": {"stringValue": ""}
        });
        drop_defaults(&mut message);
        let expected = json!({
            "status": {}, "bucketCounts": ["0", "3"], "asInt": "0", "sum": 0.0, "value": {"stringValue": ""}
        });
        assert_eq!(message, expected);
    }
}
