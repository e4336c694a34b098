//! Trace and span ids computed from run ids, so that a resend is the same span.

use twox_hash::XxHash3_128;

use crate::model::RunKey;

/// Names the scheme; a change of scheme changes every id.
const SCHEME: &str = "agno-otel/1";

/// Sixteen bytes, not all zero.
pub type TraceId = [u8; 16];
/// Eight bytes, not all zero.
pub type SpanId = [u8; 8];

/// The trace of a root run: the run id's own bytes if it is a UUID, so that the run id finds the trace; else a
/// hash.
pub fn trace_id(root: &RunKey) -> TraceId {
    root.uuid().unwrap_or_else(|| IdsOfRun::of(root).hash("trace", ""))
}

/// Makes the ids of a run's spans.
#[derive(Debug)]
pub struct IdsOfRun {
    /// What is hashed: this much of it is the run, the rest is replaced.
    text: Vec<u8>,
    run_bytes: usize,
}

impl IdsOfRun {
    /// For this run.
    pub fn of(run: &RunKey) -> Self {
        let mut ids = Self { text: Vec::with_capacity(192), run_bytes: 0 };
        for part in [SCHEME, &run.run_id, &run.reuse] {
            ids.add(part);
        }
        ids.run_bytes = ids.text.len();
        ids
    }

    /// The span of a part of the run: `kind` says what it is, `key` which of them.
    pub fn span_id(&mut self, kind: &str, key: &str) -> SpanId {
        self.hash(kind, key)
    }

    /// Each part is preceded by its length, so that no two lists of parts are alike.
    fn add(&mut self, part: &str) {
        self.text.extend_from_slice(&part.len().to_be_bytes());
        self.text.extend_from_slice(part.as_bytes());
    }

    fn hash<const N: usize>(&mut self, kind: &str, key: &str) -> [u8; N] {
        self.text.truncate(self.run_bytes);
        self.add(kind);
        self.add(key);
        let mut id = [0; N];
        for (byte, digit) in id.iter_mut().zip(XxHash3_128::oneshot(&self.text).to_be_bytes()) {
            *byte = digit;
        }
        if id.iter().all(|byte| *byte == 0) {
            id = [1; N];
        }
        id
    }
}

/// W3C trace context as an application hands it over: the caller's trace and span.
pub fn parse_traceparent(text: &str) -> Option<(TraceId, SpanId)> {
    let mut parts = text.trim().split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let has_shape =
        version.len() == 2 && is_hex(version) && version != "ff" && flags.len() == 2 && is_hex(flags);
    if !has_shape || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let trace: TraceId = from_hex(trace)?;
    let span: SpanId = from_hex(span)?;
    (trace != TraceId::default() && span != SpanId::default()).then_some((trace, span))
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    if text.len() != 2 * N || !text.as_bytes().iter().all(is_hex) {
        return None;
    }
    let mut bytes = [0; N];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// Lowercase hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(run_id: &str) -> RunKey {
        RunKey { run_id: run_id.to_owned(), reuse: String::new() }
    }

    fn span_id(run: &RunKey, kind: &str, key: &str) -> SpanId {
        IdsOfRun::of(run).span_id(kind, key)
    }

    #[test]
    fn a_uuid_run_id_is_the_trace_id() {
        let id = trace_id(&key("50cf60f9-f6d0-47a6-b373-57a95a88129d"));
        assert_eq!(hex(&id), "50cf60f9f6d047a6b37357a95a88129d");
    }

    #[test]
    fn ids_differ_by_run_kind_and_key_and_never_change() {
        let run = key("job-1");
        assert_eq!(hex(&trace_id(&run)), "ca46eb2c50bb99d822c099db5e7d45f7");
        assert_ne!(span_id(&run, "call", "a"), span_id(&run, "tool", "a"));
        assert_ne!(span_id(&run, "call", "ab"), span_id(&run, "calla", "b"));
        assert_ne!(span_id(&key("job-2"), "call", "a"), span_id(&run, "call", "a"));
    }

    #[test]
    fn trace_context_is_read_or_refused() {
        let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        let read = parse_traceparent(&format!("00-{trace}-{span}-01")).unwrap();
        assert_eq!((hex(&read.0).as_str(), hex(&read.1).as_str()), (trace, span));
        for wrong in [
            "",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(parse_traceparent(wrong), None, "{wrong}");
        }
    }
}
