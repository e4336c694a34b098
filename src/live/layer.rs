//! Where guards find who counts, and the runs they are in.
//!
//! Guards know `tracing` alone. When one makes its span, this layer, if there is one, leaves it beside the span and tells
//! it which of our runs it is in: through what is kept here for the thread, for both happen within one call.

use std::cell::RefCell;
use std::sync::{Arc, OnceLock};

use tracing::span::{Attributes, Id};
use tracing::{Span, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::run::Core;
use super::way::Way;

/// A run, from the moment its span is made.
pub(super) type Node = Arc<OnceLock<Core>>;

/// Keeps the runs of a subscriber, and knows who counts them. Made by [`direct`](super::direct::direct),
/// [`metrics`](super::direct::metrics) or [`Durable::layer`](super::Durable::layer).
#[derive(Debug)]
pub struct Runs {
    way: Arc<Way>,
}

/// What a span was found in.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) way: Arc<Way>,
    pub(super) parent: Option<Node>,
}

#[derive(Debug)]
enum Introduction {
    Made(Node),
    Found(Option<Node>),
}

thread_local! {
    static INTRODUCTION: RefCell<Option<Introduction>> = const { RefCell::new(None) };
}

/// Makes a run's span with what is to be left beside it. `None`: nobody counts.
pub(super) fn introduce(node: &Node, make: impl FnOnce() -> Span) -> (Span, Option<Found>) {
    let set = |next| INTRODUCTION.with(|place| place.replace(next));
    set(Some(Introduction::Made(Arc::clone(node))));
    let span = make();
    let Some(Introduction::Found(parent)) = set(None) else { return (span, None) };
    let of_layer = |(_, dispatch): (&Id, &tracing::Dispatch)| {
        dispatch.downcast_ref::<Runs>().map(|runs| Arc::clone(&runs.way))
    };
    let way = span.with_subscriber(of_layer).flatten();
    (span, way.map(|way| Found { way, parent }))
}

impl Runs {
    pub(super) fn of(way: Arc<Way>) -> Self {
        Self { way }
    }
}

impl<S> Layer<S> for Runs
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    fn on_new_span(&self, _attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        // Nothing in here may make a span, or it would take what is not its own.
        INTRODUCTION.with(|place| {
            let Ok(mut place) = place.try_borrow_mut() else { return };
            // Of several such layers the first counts.
            let Some(Introduction::Made(node)) = &*place else { return };
            let node = Arc::clone(node);
            let Some(span) = context.span(id) else { return };
            let parent =
                span.scope().skip(1).find_map(|outer| outer.extensions().get::<Node>().map(Arc::clone));
            span.extensions_mut().insert(node);
            *place = Some(Introduction::Found(parent));
        });
    }
}
