//! Sources read twice: once to learn which records belong together, then family by family.
//!
//! So little is kept in memory however much there is to read: some bytes a run, and the runs of one family
//! (`docs/adr/0012-family-by-family.md`).

use std::sync::Arc;

use super::families::{Families, Family};
use super::{Gathered, Intake};
use crate::framework::agno;
use crate::framework::{Keep, Oddities};
use crate::money::Prices;
use crate::source::{Error, Record, Source, Spot};

/// A first reading of sources.
#[derive(Debug, Default)]
pub struct Survey {
    sources: Vec<Source>,
    /// Parts of the sources that were read whole.
    parts: u32,
    families: Families,
    decoded: u64,
    records: u64,
    oddities: Oddities,
}

impl Survey {
    /// Takes one record of the source that is being read.
    pub fn accept(&mut self, mut spot: Spot, record: Record) {
        let decoded = agno::decode_owned(record.json, &record.columns, Keep::Figures);
        self.records += 1;
        self.decoded += decoded.runs.len() as u64;
        self.oddities.merge(&decoded.oddities);
        spot.part += self.parts;
        self.families.add(spot, &decoded.runs);
    }

    /// Takes a source that was read whole.
    pub fn add(&mut self, source: Source) {
        self.oddities.merge(&source.oddities);
        self.parts += source.parts();
        self.sources.push(source);
    }

    /// How many runs were decoded so far, copies included.
    pub fn decoded(&self) -> u64 {
        self.decoded
    }

    /// What was odd so far.
    pub fn oddities(&self) -> &Oddities {
        &self.oddities
    }

    /// Ends the first reading.
    pub fn finish(mut self) -> Surveyed {
        self.families.sort();
        let Self { sources, families, records, oddities, .. } = self;
        Surveyed { sources, families, records, oddities, prices: Arc::default() }
    }
}

/// Sources, and which of their records belong together.
#[derive(Debug)]
pub struct Surveyed {
    sources: Vec<Source>,
    families: Families,
    /// Records read.
    pub records: u64,
    /// What was odd about them.
    pub oddities: Oddities,
    prices: Arc<Prices>,
}

impl Surveyed {
    /// Prices what was spent by these; by default, by the embedded table alone.
    #[must_use]
    pub fn priced(self, prices: &Arc<Prices>) -> Self {
        Self { prices: Arc::clone(prices), ..self }
    }

    /// How many records hold runs.
    pub fn len(&self) -> usize {
        self.families.records()
    }

    /// True if no record holds a run.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every family of records.
    pub fn families(&self) -> impl Iterator<Item = Family<'_>> {
        self.families.iter()
    }

    /// Reads the records of some families again, and puts their runs together. `received_ns` stands in where a run
    /// carries no time at all.
    ///
    /// Runs are taken as they are by now. Those that came since the first reading are left out: other families may
    /// hold something of theirs.
    pub async fn gather(
        &self,
        families: &[Family<'_>],
        keep: Keep,
        received_ns: u64,
    ) -> Result<Gathered, Error> {
        Ok(self.collect(families, keep).await?.finish(received_ns))
    }

    /// Reads the records of some families again.
    pub(super) async fn collect(&self, families: &[Family<'_>], keep: Keep) -> Result<Intake, Error> {
        let mut intake = Intake::keeping(keep).priced(&self.prices);
        let all = &self.families;
        let mut accept = |record: Record| {
            let decoded = agno::decode_owned(record.json, &record.columns, keep);
            let known = decoded.runs.into_iter().filter(|run| all.know(run, families));
            known.for_each(|run| intake.add(run));
        };
        let spots = families.iter().flat_map(Family::spots);
        let spots: Vec<(usize, Spot)> = spots.map(|spot| self.in_source(spot)).collect();
        for spots in spots.chunk_by(|(a, _), (b, _)| a == b) {
            let source = spots.first().and_then(|(source, _)| self.sources.get(*source));
            let spots: Vec<Spot> = spots.iter().map(|(_, spot)| *spot).collect();
            if let Some(source) = source {
                source.fetch_all(&spots, &mut accept).await?;
            }
        }
        Ok(intake)
    }

    /// Which source a spot is in, and where in that.
    fn in_source(&self, mut spot: Spot) -> (usize, Spot) {
        for (at, source) in self.sources.iter().enumerate() {
            if spot.part < source.parts() {
                return (at, spot);
            }
            spot.part -= source.parts();
        }
        (self.sources.len(), spot)
    }
}
