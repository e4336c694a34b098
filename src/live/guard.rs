//! What the guards of a run's parts have in common: those of a model call and of a tool.

use std::sync::Arc;
use std::thread::panicking;

use tracing::Span;

use super::layer::Node;
use super::run::Core;
use super::span::Started;
use super::{CANCELLED, PANIC};

/// A part of a run, until it ends.
#[derive(Debug)]
pub(super) struct Guard<T> {
    span: Span,
    /// `None`: nobody counts, or it has ended.
    part: Option<Box<Part<T>>>,
}

/// A part of a run, under way.
#[derive(Debug)]
pub(super) struct Part<T> {
    pub(super) started: Started,
    /// The run it is in.
    pub(super) node: Node,
    pub(super) known: T,
}

impl<T> Guard<T> {
    /// From now on it is under way.
    pub(super) fn of(span: Span, node: Option<&Node>, known: impl FnOnce(&Started) -> T) -> Self {
        let part = node.filter(|node| node.get().is_some()).map(|node| {
            let started = Started::of(span.clone());
            let known = known(&started);
            Box::new(Part { started, node: Arc::clone(node), known })
        });
        Self { span, part }
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    pub(super) fn traceparent(&self) -> Option<String> {
        self.part.as_ref()?.started.traceparent()
    }

    /// Sets what has become known.
    pub(super) fn set(&mut self, set: impl FnOnce(&mut Part<T>)) {
        if let Some(part) = &mut self.part {
            set(part);
        }
    }

    /// Keeps what was said, where that was asked for.
    pub(super) fn keep(&mut self, keep: impl FnOnce(&mut T)) {
        self.set(|part| {
            if part.node.get().is_some_and(Core::keeps_content) {
                keep(&mut part.known);
            }
        });
    }

    /// Takes the part, the first time.
    pub(super) fn end(&mut self) -> Option<Box<Part<T>>> {
        self.part.take()
    }
}

/// The error type of what was given up.
pub(super) fn given_up() -> &'static str {
    if panicking() { PANIC } else { CANCELLED }
}
