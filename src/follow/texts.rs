//! Files that are followed: what in them is new.

use std::collections::BTreeSet;
use std::path::Path;

use super::Following;
use super::follower::{Error, Follower, LOOK_RECORDS, Look, is_same, known};
use crate::source::{self, Location, Record, Source, Spot};
use crate::state::past::Past;

/// Files that were rotated away and are still looked at: their writer may not have let go of the last one yet.
const MOST_ROTATED: usize = 4;

impl Follower {
    /// Files. A folder's are read whole; one alone, where it has grown, behind what is known of it.
    pub(super) async fn look_at_texts(
        &mut self,
        following: &Following,
        whole: &str,
        past: Past,
        look: &mut Look,
    ) -> Result<(), Error> {
        let mut texts = Texts::default();
        match &self.location {
            Location::Path(path) if path.is_file() => {
                // What was written last into a file that was rotated away is read where it lies now.
                self.rotated.extend(self.watch.take_rotated());
                self.rotated.retain(|path| path.is_file());
                let surplus = self.rotated.len().saturating_sub(MOST_ROTATED);
                self.rotated.drain(..surplus);
                for path in [path].into_iter().chain(&self.rotated) {
                    texts.read_behind(path, following, whole).await?;
                }
            }
            location => {
                let mut accept = |spot, record| texts.found.push((spot, record));
                texts.source = source::read(location, &self.tables, &mut accept).await?;
            }
        }
        let Texts { mut found, source, as_before } = texts;
        let mut parts = Vec::new();
        for (number, file) in (0..).zip(source.part_names()) {
            // A file is told by its values alone.
            let part = following.state.borrow_mut().part(&format!("{whole}\n{file}"), "")?;
            parts.push(part);
            let seen = following.state.borrow().seen(part)?;
            let mut of_part: Vec<(Spot, Record)> =
                found.extract_if(.., |(spot, _)| spot.part == number).collect();
            let mut places: BTreeSet<u64> = of_part.iter().map(|(spot, _)| spot.at).collect();
            if as_before.contains(&number) {
                places.extend(seen.iter().map(|seen| seen.at));
            }
            of_part.retain(|(spot, _)| !known(&seen, spot.at).is_some_and(|seen| is_same(seen, spot)));
            look.known += (places.len() - of_part.len()) as u64;
            while !of_part.is_empty() {
                let page = of_part.drain(..of_part.len().min(LOOK_RECORDS)).collect();
                following.see(part, page, &[], (past, false), look)?;
                tokio::task::yield_now().await;
            }
            let gone = seen.into_iter().filter(|seen| !places.contains(&seen.at));
            following.forget(&gone.map(|seen| (part, seen)).collect::<Vec<_>>())?;
        }
        if look.records > 0 {
            look.oddities.merge(&source.oddities);
        }
        (self.source, self.parts) = (Some(source), parts);
        Ok(())
    }
}

/// What a look found in files.
#[derive(Default)]
struct Texts {
    found: Vec<(Spot, Record)>,
    source: Source,
    /// The parts of which only what is new was found: all that was known of them is as it was.
    as_before: Vec<u32>,
}

impl Texts {
    async fn read_behind(&mut self, path: &Path, following: &Following, whole: &str) -> Result<(), Error> {
        let part = following.state.borrow_mut().part(&format!("{whole}\n{}", path.display()), "")?;
        let seen = following.state.borrow().seen(part)?;
        let spots: Vec<Spot> = seen.iter().map(|seen| Spot::new(seen.at, seen.length, seen.mark)).collect();
        let number = self.source.parts();
        let found = &mut self.found;
        let mut accept = |mut spot: Spot, record| {
            spot.part = number;
            found.push((spot, record));
        };
        let (source, is_as_before) = source::read_behind(path, &spots, &mut accept).await?;
        self.source.extend(source);
        self.as_before.extend(is_as_before.then_some(number));
        Ok(())
    }
}
