//! Which records must be understood together.
//!
//! What a run spent may depend on other runs: those of its session, those a session was copied from, those it
//! started. Sessions that hang together so are a family, and families do not depend on each other. So one family
//! after the other can be read, counted and forgotten.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use crate::framework::agno::DecodedRun;
use crate::framework::agno::Link;
use crate::source::Spot;

/// Families of records, found from what their runs name.
///
/// Some forty bytes a run: ids are kept as hashes. Two ids of one hash would make one family of two, which costs
/// memory and changes no result.
#[derive(Debug, Default)]
pub(super) struct Families {
    hasher: RandomState,
    /// Sessions and runs by the hash of their ids.
    nodes: HashMap<u64, u32>,
    /// What each node hangs together with: an earlier node, or itself for the first of a family.
    before: Vec<u32>,
    records: Vec<Entry>,
}

/// A record with runs in it.
#[derive(Debug, Clone, Copy)]
struct Entry {
    spot: Spot,
    /// Any node of its family; its first one after sorting.
    node: u32,
}

/// Records that must be understood together.
#[derive(Debug, Clone, Copy)]
pub struct Family<'f> {
    entries: &'f [Entry],
}

impl Family<'_> {
    fn node(&self) -> Option<u32> {
        self.entries.first().map(|entry| entry.node)
    }

    /// Where its records stand.
    pub fn spots(&self) -> impl ExactSizeIterator<Item = Spot> + '_ {
        self.entries.iter().map(|entry| entry.spot)
    }
}

impl Families {
    /// Adds a record by what was decoded from it. One without runs is of no family.
    pub(super) fn add(&mut self, spot: Spot, runs: &[DecodedRun]) {
        let mut of_record = None;
        for link in runs.iter().flat_map(DecodedRun::links) {
            let node = self.node(link);
            let first = *of_record.get_or_insert(node);
            self.join(first, node);
        }
        if let Some(node) = of_record {
            self.records.push(Entry { spot, node });
        }
    }

    /// How many records there are.
    pub(super) fn records(&self) -> usize {
        self.records.len()
    }

    /// Puts records of one family beside each other. To be done once all are added.
    pub(super) fn sort(&mut self) {
        let mut records = std::mem::take(&mut self.records);
        for entry in &mut records {
            entry.node = self.first(entry.node);
        }
        records.sort_unstable_by_key(|entry| (entry.node, entry.spot.part, entry.spot.at));
        self.records = records;
    }

    /// Every family, in the order in which their first runs came; within one, records in the order they were read.
    pub(super) fn iter(&self) -> impl Iterator<Item = Family<'_>> {
        self.records.chunk_by(|a, b| a.node == b.node).map(|entries| Family { entries })
    }

    /// True if this run was in a record of one of these families when records were added.
    pub(super) fn know(&self, run: &DecodedRun, families: &[Family<'_>]) -> bool {
        let id = Link::Run(&run.run.key.run_id);
        let node = self.nodes.get(&self.hasher.hash_one(id)).map(|node| self.first_of(*node));
        node.is_some() && families.iter().any(|family| family.node() == node)
    }

    fn first_of(&self, mut node: u32) -> u32 {
        while let Some(earlier) = self.before.get(node as usize).filter(|earlier| **earlier != node) {
            node = *earlier;
        }
        node
    }

    fn node(&mut self, link: Link<'_>) -> u32 {
        let next = u32::try_from(self.before.len()).unwrap_or(u32::MAX);
        let node = *self.nodes.entry(self.hasher.hash_one(link)).or_insert(next);
        if node == next {
            self.before.push(node);
        }
        node
    }

    fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.first(a), self.first(b));
        if let Some(before) = self.before.get_mut(a.max(b) as usize) {
            *before = a.min(b);
        }
    }

    /// The first node of a node's family. Shortens the way there for the next time.
    fn first(&mut self, mut node: u32) -> u32 {
        let before = |all: &[u32], node: u32| all.get(node as usize).copied().unwrap_or(node);
        loop {
            let earlier = before(&self.before, node);
            if earlier == node {
                return node;
            }
            let earliest = before(&self.before, earlier);
            if let Some(slot) = self.before.get_mut(node as usize) {
                *slot = earliest;
            }
            node = earlier;
        }
    }
}
