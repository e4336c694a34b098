//! What of the runs that were there before we came is counted and sent: history, and what was counted in a state file that
//! is no longer there.

use super::{Error, State};
use crate::config::History;
use crate::framework::agno::DecodedRun;

/// What is known of a source as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    /// It was never read.
    None,
    /// It was read, by us alone as far as we know.
    Had,
    /// It was read, and another process stands by to read it when we do not.
    Shared,
    /// Another process reads it, or did after us.
    Lost,
}

/// What is wanted of runs that were there before a source was first looked at, by when they began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Past {
    /// Of those that began since then.
    pub history: History,
    /// Runs that began before, in Unix nanoseconds, are skipped.
    pub since_ns: u64,
    /// Runs that began before may have been counted elsewhere: they are not counted, only sent.
    counted_until_ns: u64,
}

impl From<History> for Past {
    fn from(history: History) -> Self {
        Self { history, since_ns: 0, counted_until_ns: 0 }
    }
}

impl Past {
    /// What began before is skipped.
    #[must_use]
    pub fn since(self, since_ns: u64) -> Self {
        Self { since_ns, ..self }
    }

    /// What is wanted of a run. One that does not say when it began, began before all times.
    pub fn of(&self, began_ns: Option<u64>) -> History {
        let began_ns = began_ns.unwrap_or(0);
        if began_ns < self.since_ns {
            History::Skip
        } else if began_ns < self.counted_until_ns && self.history == History::Count {
            History::Traces
        } else {
            self.history
        }
    }
}

/// When a run began, in Unix nanoseconds, as far as its record says.
pub fn began_ns(DecodedRun { run, .. }: &DecodedRun) -> Option<u64> {
    let began_s = run.created_at_s.into_iter().chain(run.first_message_s()).min()?;
    Some(u64::try_from(began_s).ok()?.saturating_mul(1_000_000_000))
}

/// Names a source that was read through once.
fn read(source: &str) -> String {
    format!("read {source}")
}

/// Names a source that was read, or was not there, when counters were older than they had been.
fn again(source: &str) -> String {
    format!("again {source}")
}

impl State {
    /// What is known of a source.
    pub fn contact(&self, source: &str) -> Result<Contact, Error> {
        Ok(match self.meta::<i64>(&read(source))? {
            None => Contact::None,
            Some(1) => Contact::Had,
            Some(2) => Contact::Shared,
            Some(_) => Contact::Lost,
        })
    }

    /// Notes what is known of a source.
    pub fn set_contact(&mut self, source: &str, contact: Contact) -> Result<(), Error> {
        let number = match contact {
            Contact::None => return Ok(()),
            Contact::Had => 1,
            Contact::Shared => 2,
            Contact::Lost => 3,
        };
        self.set_meta(&read(source), number)
    }

    /// What is wanted of what is new in a source, where `wanted` is asked for of what was there before us.
    pub fn past(&self, source: &str, wanted: Past) -> Result<Past, Error> {
        match self.contact(source)? {
            Contact::None => {}
            Contact::Had | Contact::Shared => return Ok(History::Count.into()),
            // What another process may have counted is not ours to count.
            Contact::Lost => return Ok(History::Skip.into()),
        }
        let counted_until_ns = self.number("counted_until_ns")?;
        let is_known = self.meta::<i64>(&again(source))?.is_some();
        let wanted = if is_known { History::Count.into() } else { wanted };
        Ok(Past { counted_until_ns, ..wanted })
    }

    /// Notes that there is nothing in a source yet: what it will hold was not there before us, unless it was counted
    /// elsewhere.
    pub fn met_nothing(&mut self, source: &str) -> Result<(), Error> {
        if self.contact(source)? != Contact::None {
            return Ok(());
        }
        if self.number("counted_until_ns")? > 0 {
            return self.set_meta(&again(source), 1);
        }
        self.set_contact(source, Contact::Had)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_began_before_is_skipped_and_what_was_counted_elsewhere_is_only_sent() {
        let past = |history, since_ns, counted_until_ns| Past { history, since_ns, counted_until_ns };
        for (past, began_ns, wanted) in [
            (past(History::Count, 5, 0), Some(4), History::Skip),
            (past(History::Count, 5, 0), Some(5), History::Count),
            (past(History::Traces, 5, 9), Some(7), History::Traces),
            (past(History::Count, 5, 9), Some(8), History::Traces),
            (past(History::Count, 5, 9), Some(9), History::Count),
            (past(History::Skip, 0, 9), Some(8), History::Skip),
            (past(History::Count, 0, 9), None, History::Traces),
            (past(History::Count, 0, 0), None, History::Count),
        ] {
            assert_eq!(past.of(began_ns), wanted, "{past:?} {began_ns:?}");
        }
    }
}
