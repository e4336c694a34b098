//! What takes everything and keeps nothing but its size.

use crate::delivery::Report;
use crate::export::{Compression, Request, Signal};
use crate::otel::TraceView;
use crate::otel::census::Census;
use crate::otel::request::Chunk;

/// How an attempt ends that an endpoint takes.
const DELIVERED: &str = "delivered";

/// Requests of one signal.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Weight {
    pub(super) requests: u64,
    /// Their messages, as they are encoded.
    pub(super) bytes: u64,
    /// The same by gzip, as it is sent to another machine.
    pub(super) gzip_bytes: u64,
    /// The largest of them.
    pub(super) largest_bytes: u64,
}

/// A trace that is larger than others.
#[derive(Debug, Clone)]
pub(super) struct Largest {
    pub(super) run_id: String,
    pub(super) spans: u64,
    pub(super) bytes: u64,
}

/// Takes requests in place of an endpoint, and weighs them.
#[derive(Debug, Default)]
pub(in crate::cli) struct Scale {
    pub(super) census: Census,
    pub(super) largest: Option<Largest>,
    pub(super) traces: Weight,
    pub(super) metrics: Weight,
    /// What an endpoint that takes everything would make of them.
    pub(in crate::cli) report: Report,
}

impl Scale {
    /// Looks at a trace before it is put into requests.
    pub(in crate::cli) fn see(&mut self, trace: &TraceView<'_>, chunks: &[Chunk]) {
        self.census.add(trace);
        let bytes = bytes(chunks);
        if self.largest.as_ref().is_none_or(|largest| bytes > largest.bytes) {
            let spans = trace.spans.len() as u64;
            self.largest = Some(Largest { run_id: trace.run_id.to_owned(), spans, bytes });
        }
    }

    /// Takes a request.
    pub(in crate::cli) fn weigh(&mut self, request: &Request<'_>) {
        let sent = self.report.of_mut(request.signal);
        sent.delivered += 1;
        *sent.attempts.entry(DELIVERED).or_default() += 1;
        match request.signal {
            Signal::Traces => self.traces.add(request.chunks),
            Signal::Metrics => self.metrics.add(request.chunks),
        }
    }
}

impl Weight {
    pub(super) fn add(&mut self, chunks: &[Chunk]) {
        let bytes = bytes(chunks);
        self.requests += 1;
        self.bytes += bytes;
        // Into memory, so it cannot fail.
        self.gzip_bytes += Compression::Gzip.size(chunks).unwrap_or(bytes);
        self.largest_bytes = self.largest_bytes.max(bytes);
    }
}

pub(super) fn bytes(chunks: &[Chunk]) -> u64 {
    chunks.iter().map(|chunk| chunk.bytes.len() as u64).sum()
}
