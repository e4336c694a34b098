//! How often it is said that a state file cannot be used, and when that is over.

use std::time::Duration;

use tokio::time::Instant;

/// What goes on is said again, but no more often than this.
const SAY_EVERY: Duration = Duration::from_mins(1);

/// A state file that could not be used, now or before.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    said_at: Option<Instant>,
    /// How often it failed since that was said.
    failures: u64,
    /// It was said, and that it is over was not.
    is_open: bool,
}

impl Trouble {
    /// It failed. Returns how often it did since that was said, if it is to be said now.
    pub(super) fn failed(&mut self, now: Instant) -> Option<u64> {
        self.failures += 1;
        if self.said_at.is_some_and(|said_at| now.saturating_duration_since(said_at) < SAY_EVERY) {
            return None;
        }
        (self.said_at, self.is_open) = (Some(now), true);
        Some(std::mem::take(&mut self.failures))
    }

    /// It works. True: that is to be said.
    pub(super) fn is_over(&mut self) -> bool {
        std::mem::take(&mut self.is_open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_said_once_a_minute_with_how_often_it_failed_and_once_when_it_is_over() {
        let (mut trouble, start) = (Trouble::default(), Instant::now());
        assert!(!trouble.is_over(), "nothing was said");
        let failed = |trouble: &mut Trouble, second| trouble.failed(start + Duration::from_secs(second));
        let said: Vec<_> = (0..=120).filter_map(|second| failed(&mut trouble, second)).collect();
        assert_eq!(said, [1, 60, 60]);
        assert_eq!([trouble.is_over(), trouble.is_over()], [true, false]);
        // Soon again: neither is said, but how often it failed is not forgotten.
        assert_eq!(failed(&mut trouble, 130), None);
        assert!(!trouble.is_over());
        assert_eq!(failed(&mut trouble, 200), Some(2));
    }
}
