//! A state file that is older than what was sent: a backup that was restored, a `-wal` that was lost.
//!
//! Its counters would fall, and what was counted since would be counted again. It can be told by a mark beside it: with
//! each release, before it is sent, the lock file is told whose series they are and their newest stamp. Where the mark is
//! ahead, counters start anew under another `service.instance.id`, and no run that may have been counted is counted again.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use tracing::warn;

use super::posted::POSTED;
use super::{Error, State, lock_path};

/// How far the clock of an application may be ahead of ours: a run that seems to have begun so much later than the last
/// release may have been in it.
const SLACK_NS: u64 = 60 * 1_000_000_000;
/// A mark is shorter; what is longer is something else.
const MAX_MARK_BYTES: u64 = 256;

/// What was released last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// Whose series.
    instance_id: String,
    /// Their newest stamp, in Unix nanoseconds.
    stamp_ns: u64,
}

impl Mark {
    /// None: nothing was released yet, or by a version that left no mark.
    fn read(mut file: &File) -> io::Result<Option<Self>> {
        let mut text = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.take(MAX_MARK_BYTES).read_to_end(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        let (line, _) = text.split_once('\n').unwrap_or_default();
        let mark = line.split_once(' ').and_then(|(instance_id, stamp)| {
            Some(Self { instance_id: instance_id.to_owned(), stamp_ns: stamp.parse().ok()? })
        });
        Ok(mark)
    }

    /// That beside a state file which another process may have.
    pub(super) fn beside(path: &Path) -> Option<Self> {
        File::open(lock_path(path)).and_then(|file| Self::read(&file)).ok()?
    }

    pub(super) fn is_ahead_of(&self, instance_id: &str, stamp_ns: u64) -> bool {
        self.instance_id != instance_id || self.stamp_ns > stamp_ns
    }

    /// Written over the one before, at once. It need not reach the disk: what it guards against is not a loss of power, of
    /// which SQLite takes care.
    fn write(&self, file: &File) -> io::Result<()> {
        let Self { instance_id, stamp_ns } = self;
        file.write_all_at(format!("{instance_id} {stamp_ns}\n").as_bytes(), 0)
    }
}

impl State {
    /// Marks what is about to be sent.
    pub(super) fn mark(&self) -> Result<(), Error> {
        let mark = Mark { instance_id: self.instance_id.clone(), stamp_ns: self.number("last_stamp_ns")? };
        mark.write(&self.lock).map_err(|source| Error::Mark { path: self.path.clone(), source })
    }

    /// Starts counters anew where the file is older than what was sent.
    pub(super) fn expect_newest(&mut self) -> Result<(), Error> {
        let failed = |source| Error::Mark { path: self.path.clone(), source };
        let Some(sent) = Mark::read(&self.lock).map_err(failed)? else { return Ok(()) };
        let own_ns = self.number("last_stamp_ns")?;
        if !sent.is_ahead_of(&self.instance_id, own_ns) {
            return Ok(());
        }
        let instance_id = uuid::Uuid::new_v4().to_string();
        let counted_until_ns = sent.stamp_ns.max(own_ns).saturating_add(SLACK_NS);
        let counted_until_ns = counted_until_ns.max(self.number("counted_until_ns")?);
        warn!(
            path = %self.path.display(), before = sent.instance_id, now = instance_id,
            "{}; counters start anew under another service.instance.id, and runs that began before {} are not counted \
             again, whether they were counted or not",
            if self.is_new { "the state file was lost" } else { "the state file is older than what was sent" },
            crate::config::when::text(counted_until_ns),
        );
        self.commit(|state| {
            state.set_meta("instance", &instance_id)?;
            state.set_meta("counted_until_ns", counted_until_ns.cast_signed())?;
            state.execute("DELETE FROM meta WHERE name = 'released'", [])?;
            // Every source is met anew; what of it is as it was is still known.
            let sources = "UPDATE OR REPLACE meta SET name = 'again ' || substr(name, 6) WHERE name LIKE 'read %' AND value = 1";
            state.execute(sources, [])?;
            // What was due then was counted since: it is read anew. Nobody else keeps what was posted.
            let posted = "DELETE FROM records WHERE family IN (SELECT family FROM due)
                AND source IN (SELECT id FROM sources WHERE name = ?1)";
            state.execute(posted, [POSTED])?;
            let others = "UPDATE records SET length = 0, mark = 0 WHERE family IN (SELECT family FROM due)";
            state.execute(others, [])?;
            // As were sessions that had not been quiet.
            let sessions =
                "UPDATE sessions SET is_open = 0, stored = json_set(stored, '$.recorded', stored -> '$.totals')";
            state.execute(sessions, [])?;
            state.ledger.restart();
            state.store_series()
        })?;
        (self.instance_id, self.is_new) = (instance_id, false);
        self.mark()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_anything_else_is_none() {
        let file = unnamed();
        assert_eq!(Mark::read(&file).unwrap(), None);
        for (instance_id, stamp_ns) in [("a-longer-one", u64::MAX), ("short", 7)] {
            let mark = Mark { instance_id: instance_id.to_owned(), stamp_ns };
            mark.write(&file).unwrap();
            assert_eq!(Mark::read(&file).unwrap(), Some(mark));
        }
        file.write_all_at(b"x y\n", 0).unwrap();
        assert_eq!(Mark::read(&file).unwrap(), None);
    }

    fn unnamed() -> File {
        let path = std::env::temp_dir().join(format!("agno-otel-{}", uuid::Uuid::new_v4()));
        let file = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }
}
