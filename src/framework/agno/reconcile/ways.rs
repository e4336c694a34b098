//! The ways in which Agno's releases add up a session.

/// A way in which Agno's releases differ.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub(super) members: Members,
    pub(super) pauses: Pauses,
    /// Up to 2.1 a paused run is added when it goes on.
    pub(super) adds_waiting: bool,
    /// From 2.5: a run of another user is stored, if at all, beside its session.
    pub(super) adds_other_users: bool,
}

/// Which members of a team are added to its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Members {
    All,
    /// Up to 2.3: those that have rows, which members of a team within a team have not.
    OfTheOutermost,
    /// 2.4.0 to 2.5.3.
    None,
}

/// When a run is added besides its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pauses {
    Added,
    /// A team that pauses for a member, without what the member spent.
    AddedWithoutMembers,
    /// Up to 2.1.
    NotAdded,
}

impl Way {
    /// Every way, those of today first.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let members = [Members::All, Members::OfTheOutermost, Members::None];
        let pauses = [Pauses::Added, Pauses::AddedWithoutMembers, Pauses::NotAdded];
        let both = [true, false];
        members.into_iter().flat_map(move |members| {
            pauses.into_iter().flat_map(move |pauses| {
                both.into_iter().flat_map(move |adds_waiting| {
                    let way =
                        move |adds_other_users| Self { members, pauses, adds_waiting, adds_other_users };
                    both.into_iter().map(way)
                })
            })
        })
    }
}
