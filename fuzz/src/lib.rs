//! What the fuzz targets do with their bytes. `tests/it/seeds.rs` does the same with the seeds, without a fuzzer.

#[path = "../../tests/it/support/invariants.rs"]
mod invariants;
#[path = "../../tests/it/support/mutation.rs"]
mod mutation;
#[path = "../../tests/it/support/targets.rs"]
mod targets;

use invariants::Extent;

/// Any bytes, as one record or two.
pub fn decode(bytes: &[u8]) {
    targets::decode(bytes, extent(bytes));
}

/// A real record and what the bytes make of it, in one session.
pub fn mutated(bytes: &[u8]) {
    targets::mutated(bytes, extent(bytes));
}

/// Any bytes as a value in a record that Python wrote.
pub fn json(bytes: &[u8]) {
    targets::json(bytes);
}

/// A part of the checks, drawn by the bytes; of one input in 64 everything.
fn extent(bytes: &[u8]) -> Extent {
    match Extent::part_for(bytes) {
        Extent::Part(63) => Extent::Whole,
        part => part,
    }
}
