//! Files of runs: one run, a list, one per line, or one after the other.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::described::{SQLITE, described};
use super::values::Values;
use super::{Error, REREAD_DELAY, REREADS, Record, Source, Spot, mark};
use crate::framework::agno::Columns;
use crate::framework::{Oddities, Oddity};

/// Bytes that tell what a file is.
const BEGINNING_BYTES: u64 = 64 * 1024;
/// Some editors begin UTF-8 with a byte order mark.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A text of values that can be read again.
#[derive(Debug)]
pub(super) struct Text {
    path: PathBuf,
    /// What could be read only once, in a file without a name.
    copy: Option<File>,
}

pub(super) async fn read(
    path: &Path,
    accept: &mut (dyn FnMut(Spot, Record) + Send),
) -> Result<Source, Error> {
    let text = Text { path: path.to_owned(), copy: None };
    let oddities = text.read(0, accept).await?;
    Ok(Source::of(text, oddities))
}

/// Reads what stands in a file behind `known` values, if these are as they were; else all of it. True: they are.
pub(super) async fn read_behind(
    path: &Path,
    known: &[Spot],
    accept: &mut (dyn FnMut(Spot, Record) + Send),
) -> Result<(Source, bool), Error> {
    let text = Text { path: path.to_owned(), copy: None };
    let end = text.end_of(known).map_err(|error| text.failed(error))?;
    let oddities = text.read_from(end.unwrap_or(0), 0, accept).await?;
    Ok((Source::of(text, oddities), end.is_some()))
}

/// Reads what cannot be read again, such as a pipe: through a copy that is gone when it is closed.
pub(super) async fn read_once(
    path: &Path,
    mut pipe: impl Read,
    accept: &mut (dyn FnMut(Spot, Record) + Send),
) -> Result<Source, Error> {
    let mut copy = tempfile::tempfile().map_err(|source| Error::Copy { path: path.to_owned(), source })?;
    let mut bytes = vec![0; 256 * 1024];
    loop {
        let count = pipe.read(&mut bytes).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let Some(read) = bytes.get(..count).filter(|read| !read.is_empty()) else { break };
        let written = io::Write::write_all(&mut copy, read);
        written.map_err(|source| Error::Copy { path: path.to_owned(), source })?;
    }
    let text = Text { path: path.to_owned(), copy: Some(copy) };
    let oddities = text.read(0, accept).await?;
    Ok(Source::of(text, oddities))
}

pub(super) fn load(path: &Path) -> Result<Vec<u8>, Error> {
    let mut text = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    if text.starts_with(BYTE_ORDER_MARK) {
        text.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(text)
}

impl Text {
    pub(super) fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), copy: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn failed(&self, source: io::Error) -> Error {
        Error::Read { path: self.path.clone(), source }
    }

    /// Where the last of these values ends, if each stands where it stood, byte for byte. None: one does not, or there is
    /// none.
    fn end_of(&self, known: &[Spot]) -> io::Result<Option<u64>> {
        let Some(last) = known.last() else { return Ok(None) };
        let file = self.open()?;
        let mut json = Vec::new();
        for spot in known {
            json.resize(spot.length as usize, 0);
            match file.read_exact_at(&mut json, spot.at) {
                Ok(()) if mark(&json) == spot.mark => {}
                Ok(()) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(last.at + u64::from(last.length)))
    }

    /// Hands over every value. Lines that are no JSON too: the decoder counts them.
    pub(super) async fn read(
        &self,
        part: u32,
        accept: &mut (dyn FnMut(Spot, Record) + Send),
    ) -> Result<Oddities, Error> {
        self.read_from(0, part, accept).await
    }

    async fn read_from(
        &self,
        offset: u64,
        part: u32,
        accept: &mut (dyn FnMut(Spot, Record) + Send),
    ) -> Result<Oddities, Error> {
        let mut values = self.values(offset)?;
        let (mut count, mut whole) = (0, 0);
        for reread in 0..=REREADS {
            while let Some(value) = values.next().map_err(|error| self.failed(error))? {
                let spot = Spot::of_text(part, value.at, &value.json);
                accept(spot, Record { json: value.json, columns: Columns::default() });
            }
            (count, whole) = (count + values.count, whole + values.whole);
            // Its writer may be about to finish. What was read only once has no writer any more.
            if !values.cut || reread == REREADS || self.copy.is_some() {
                break;
            }
            tokio::time::sleep(REREAD_DELAY).await;
            values = self.values(values.position())?;
        }
        if offset == 0 {
            self.expect_values(count, whole, values.cut)?;
        }
        let mut oddities = Oddities::default();
        oddities.add_many(Oddity::HalfLine, u64::from(values.cut));
        Ok(oddities)
    }

    /// The values from a place on; from the beginning, behind its byte order mark.
    pub(super) fn values(&self, offset: u64) -> Result<Values<File>, Error> {
        let open = || {
            let mut file = self.open()?;
            let mut start = [0; BYTE_ORDER_MARK.len()];
            let is_marked =
                offset == 0 && file.read_exact_at(&mut start, 0).is_ok() && start == *BYTE_ORDER_MARK;
            let offset = if is_marked { start.len() as u64 } else { offset };
            file.seek(SeekFrom::Start(offset))?;
            Ok(Values::of(file, offset))
        };
        open().map_err(|error| self.failed(error))
    }

    fn open(&self) -> io::Result<File> {
        match &self.copy {
            Some(copy) => copy.try_clone(),
            None => File::open(&self.path),
        }
    }

    fn expect_values(&self, count: u64, whole: u64, cut: bool) -> Result<(), Error> {
        if whole > 0 {
            return Ok(());
        }
        let path = || self.path.clone();
        let (start, length) = self.beginning().map_err(|error| self.failed(error))?;
        if start.starts_with(SQLITE) {
            return Err(Error::SqlitePiped { path: path() });
        }
        if cut && count == 0 {
            return Err(Error::HalfWritten { path: path() });
        }
        Err(Error::NotAgno { path: path(), found: described(&start, length) })
    }

    fn beginning(&self) -> io::Result<(Vec<u8>, u64)> {
        let mut file = self.open()?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(0))?;
        let mut start = Vec::new();
        file.take(BEGINNING_BYTES).read_to_end(&mut start)?;
        Ok((start, length))
    }

    /// Reads one value again.
    pub(super) fn fetch(&self, spot: Spot) -> Result<Record, Error> {
        let mut json = vec![0; spot.length as usize];
        let read = self.open().and_then(|file| file.read_exact_at(&mut json, spot.at));
        match read {
            Ok(()) if mark(&json) == spot.mark => Ok(Record { json, columns: Columns::default() }),
            Ok(()) => Err(Error::Changed { path: self.path.clone() }),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(Error::Changed { path: self.path.clone() })
            }
            Err(error) => Err(self.failed(error)),
        }
    }
}
