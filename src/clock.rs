//! The only reader of the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time, so that tests can set it.
#[derive(Debug, Clone, Copy, Default)]
pub enum Clock {
    /// The system's clock.
    #[default]
    System,
    /// A time that stands still, in Unix nanoseconds.
    Fixed(u64),
}

impl Clock {
    /// Unix nanoseconds. A clock before 1970 reads as 0.
    pub fn now_ns(self) -> u64 {
        match self {
            Self::System => {
                #[expect(clippy::disallowed_methods, reason = "this is the one place")]
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
            }
            Self::Fixed(at_ns) => at_ns,
        }
    }
}
