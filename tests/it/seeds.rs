//! The fuzz targets' seeds and their like, without a fuzzer: whatever is read, everything said of it holds.

use std::path::Path;

use proptest::prelude::*;

use crate::support::invariants::Extent;
use crate::support::{mutation, targets};

type Check = fn(&[u8], Extent);

/// Seeds of one target, by name.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut seeds: Vec<(String, Vec<u8>)> = files
        .map(|file| file.unwrap().path())
        .map(|path| (path.display().to_string(), std::fs::read(path).unwrap()))
        .collect();
    seeds.sort();
    seeds
}

#[test]
fn every_seed_of_the_fuzz_targets_holds() {
    let all: [(&str, Check, usize); 3] = [
        ("decode", targets::decode, 40),
        ("mutated", targets::mutated, 40),
        ("json", |bytes, _| targets::json(bytes), 10),
    ];
    for (target, check, least) in all {
        let seeds = seeds(target);
        assert!(seeds.len() >= least, "{target}: seeds are missing");
        for (name, bytes) in seeds {
            println!("{name}");
            check(&bytes, Extent::Whole);
            // As the fuzzer would.
            check(&bytes, Extent::part_for(&bytes));
        }
    }
}

/// Any JSON, of the decoder's own names and of others.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        let name = prop_oneof![
            4 => proptest::sample::select(&mutation::FIELDS[..]).prop_map(str::to_owned),
            1 => "\\PC{0,6}".prop_map(String::from)
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(name, inner, 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_json_is_survived_and_what_is_said_of_it_holds(value in any_json()) {
        let mut run = value.clone();
        if let Some(fields) = run.as_object_mut() {
            fields.insert("run_id".to_owned(), "r".into());
            fields.insert("agent_id".to_owned(), "a".into());
        }
        targets::decode(&[value.to_string().as_bytes(), run.to_string().as_bytes()].join(&0xFF), Extent::Whole);
        targets::json(value.to_string().as_bytes());
    }

    #[test]
    fn whatever_becomes_of_a_real_record_sums_ids_and_times_hold_in_any_order(
        number in any::<u8>(), changes in proptest::collection::vec(any::<u8>(), 0..48),
    ) {
        let mut bytes = vec![number];
        bytes.extend(changes);
        targets::mutated(&bytes, Extent::Whole);
    }

    #[test]
    fn sums_do_not_depend_on_the_order_of_mutated_records(
        number in any::<u8>(),
        changes in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..16), 3),
        order in Just([0, 1, 2, 3]).prop_shuffle(),
    ) {
        let mut records = vec![mutation::records()[usize::from(number) % mutation::records().len()].clone()];
        records.extend(changes.iter().map(|change| mutation::mutated(number, change).1));
        let read = |order: [usize; 4]| {
            let records = order.map(|at| agno_otel::Record {
                json: records[at].to_string().into_bytes(),
                columns: agno_otel::framework::agno::Columns::default(),
            });
            let gathered = crate::support::gather_records(&records, agno_otel::framework::Oddities::default());
            let spans = gathered.spans(agno_otel::Settings::default());
            (crate::support::counted(&gathered), spans)
        };
        prop_assert_eq!(read(order), read([0, 1, 2, 3]));
    }
}
