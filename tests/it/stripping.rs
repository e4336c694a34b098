//! What is kept of runs that were handed over holds nothing of what was said, and decodes to the same figures.

use agno_otel::framework::Keep;
use agno_otel::framework::agno::{Columns, DecodedRun, decode, take_apart};
use proptest::prelude::*;
use serde_json::json;

use crate::support::canaries;
use crate::support::mutation::mutated;
use crate::support::program::every_fixture;
use crate::support::records;

fn figures(json: &[u8]) -> Vec<DecodedRun> {
    decode(json, &Columns::default(), Keep::Figures).runs
}

/// Fails where what is kept of a record does not say the same. Returns bytes before and after.
#[track_caller]
fn expect_same(name: &str, json: &[u8]) -> (usize, usize) {
    let taken = take_apart(json, Keep::Figures);
    let (whole, kept) = (figures(json), taken.runs.iter().flat_map(|run| figures(run)));
    let kept: Vec<DecodedRun> = kept.collect();
    assert_eq!(kept.len(), whole.len(), "{name}");
    for (kept, whole) in kept.iter().zip(&whole) {
        assert_eq!(kept, whole, "{name}");
    }
    let again: Vec<Vec<u8>> = taken.runs.iter().flat_map(|run| take_apart(run, Keep::Figures).runs).collect();
    assert_eq!(again, taken.runs, "{name}: stripped twice");
    let whole_again: Vec<DecodedRun> =
        take_apart(json, Keep::Content).runs.iter().flat_map(|run| figures(run)).collect();
    assert_eq!(whole_again, whole, "{name}: kept whole");
    (json.len(), taken.runs.iter().map(Vec::len).sum())
}

#[test]
fn every_record_of_real_agno_decodes_to_the_same_without_what_was_said() {
    let (mut before, mut after, mut runs) = (0, 0, 0);
    for source in every_fixture() {
        for record in records(&[&source]).0 {
            let (whole, kept) = expect_same(&source.display().to_string(), &record.json);
            runs += take_apart(&record.json, Keep::Figures).runs.len();
            (before, after) = (before + whole, after + kept);
        }
    }
    println!("{runs} runs: {before} bytes, {after} of them kept");
    assert!(runs > 700 && after < before / 2, "{runs} runs: {after} of {before} bytes");
}

#[test]
fn of_every_field_with_content_nothing_is_kept() {
    let mut records = canaries::every_run().to_vec();
    records.push(canaries::session(&json!(canaries::every_run())));
    for record in records {
        expect_same("a canary", record.to_string().as_bytes());
        for run in take_apart(record.to_string().as_bytes(), Keep::Figures).runs {
            let text = String::from_utf8(run).unwrap();
            assert!(!text.to_lowercase().contains(canaries::MARK), "{text}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn records_nobody_should_write_decode_to_the_same_too(
        number: u8, changes in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        expect_same("a changed record", mutated(number, &changes).1.to_string().as_bytes());
    }
}
