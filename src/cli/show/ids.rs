//! Ids as people have them: in any case, with dashes or without, and their beginnings.

use crate::model::run::uuid_bytes;

/// What stands for the id of the runs without a session.
pub(super) const NO_SESSION: &str = "-";
/// Digits of an id that are shown at least.
const SHORT_DIGITS: usize = 8;

/// How well an id answers; the better one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Match {
    Beginning,
    /// But for case and dashes.
    Same,
    Exact,
}

/// How well an id answers to the one that was asked for.
pub(super) fn matched(own: &str, wanted: &str) -> Option<Match> {
    let bare = |id: &str| id.to_lowercase().replace('-', "");
    if own == wanted {
        return Some(Match::Exact);
    }
    let (own, wanted) = (bare(own), bare(wanted));
    if wanted.is_empty() {
        None
    } else if own == wanted {
        Some(Match::Same)
    } else {
        own.starts_with(&wanted).then_some(Match::Beginning)
    }
}

/// The ids there are, so that each can be shown by a beginning that finds it again. Sixteen bytes an id.
#[derive(Debug, Default)]
pub(super) struct Ids {
    digits: Vec<u128>,
}

impl Ids {
    /// Takes an id. Only UUIDs are shortened; any other is shown as it is, and found so.
    pub(super) fn add(&mut self, id: &str) {
        self.digits.extend(digits(id));
    }

    /// To be called once all are added.
    pub(super) fn sort(&mut self) {
        self.digits.sort_unstable();
        self.digits.dedup();
    }

    /// As much of an id as finds it.
    pub(super) fn shown<'i>(&self, id: &'i str) -> &'i str {
        let Some(own) = digits(id) else { return id };
        let at = self.digits.partition_point(|other| *other < own);
        let before = at.checked_sub(1).and_then(|at| self.digits.get(at));
        let after = self.digits.get(at..).and_then(|rest| rest.iter().find(|other| **other != own));
        let same = |other: &u128| (own ^ other).leading_zeros() as usize / 4;
        let shared = before.into_iter().chain(after).map(same).max().unwrap_or(0);
        let needed = SHORT_DIGITS.max(shared + 1);
        let end = id.char_indices().filter(|(_, letter)| letter.is_ascii_hexdigit()).nth(needed);
        end.and_then(|(end, _)| id.get(..end)).unwrap_or(id).trim_end_matches('-')
    }
}

/// The digits of a UUID.
fn digits(id: &str) -> Option<u128> {
    uuid_bytes(id).map(u128::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_shown_by_a_beginning_that_no_other_has() {
        let all = [
            "d0811b89-aaaa-4aaa-8aaa-aaaaaaaaaaaa",
            "dc898186-1111-4111-8111-111111111111",
            "dc898186-1121-4111-8111-111111111111",
            "DC898187111141118111111111111111",
            "s-tr",
        ];
        let mut ids = Ids::default();
        all.iter().chain(&all).for_each(|id| ids.add(id));
        ids.sort();
        let shown: Vec<&str> = all.iter().map(|id| ids.shown(id)).collect();
        assert_eq!(shown, ["d0811b89", "dc898186-111", "dc898186-112", "DC898187", "s-tr"]);
        for (id, shown) in all.iter().zip(shown) {
            let found: Vec<&&str> = all.iter().filter(|own| matched(own, shown).is_some()).collect();
            assert_eq!(found, [id], "{shown}");
        }
    }

    #[test]
    fn the_better_match_is_the_greater() {
        let id = "d0811b89-AAAA";
        let matches = [id, "D0811B89AAAA", "d0811b89-a"].map(|wanted| matched(id, wanted));
        assert_eq!(matches, [Some(Match::Exact), Some(Match::Same), Some(Match::Beginning)]);
        assert!(matches.is_sorted_by(|a, b| a > b));
        assert_eq!([matched(id, "0811"), matched(id, ""), matched(id, "-")], [None; 3]);
        assert_eq!(matched("-", "-"), Some(Match::Exact));
    }
}
