//! What is told once and never again, by whoever did it.

use super::{Exemplar, Measurement, SessionShare};

/// Something that was done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Told {
    /// What it counts.
    pub measurements: Vec<Measurement>,
    /// What it adds to a session.
    pub session: Option<ToldOfSession>,
}

/// What something adds to a session.
#[derive(Debug, Clone, PartialEq)]
pub struct ToldOfSession {
    /// The session's id.
    pub id: String,
    /// What is added.
    pub more: SessionShare,
    /// What names the session, if this is the first of it.
    pub attributes: Vec<(&'static str, String)>,
    /// Where to look for it.
    pub exemplar: Option<Exemplar>,
}
