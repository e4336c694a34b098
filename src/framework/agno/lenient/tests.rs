use super::*;

#[test]
fn a_field_of_another_type_is_absent_and_counted() {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Probe<'a> {
        #[serde(borrow)]
        name: Text<'a>,
        tokens: Number,
        done: Flag,
        items: List<IgnoredAny>,
    }
    take_oddities();
    let probe: Probe<'_> =
        serde_json::from_str(r#"{"name": {"x": 1}, "tokens": "7", "done": 3, "items": [1, {"a": 1}]}"#)
            .unwrap();
    assert_eq!(probe.name.as_str(), None);
    assert_eq!(probe.tokens, Number::Absent);
    assert_eq!(probe.done.0, None);
    assert_eq!(probe.items.0.len(), 1);
    assert_eq!(take_oddities().count(Oddity::FieldType), 4);
    assert!(take_oddities().is_empty());
}

#[test]
fn a_text_is_read_however_it_was_written_and_an_id_may_be_a_number() {
    let read = |json: &str| serde_json::from_str::<Text<'_>>(json).map(|text| text.owned()).unwrap();
    take_oddities();
    for (json, text) in [
        (r#""a""#, Some("a")),
        (r#""a\nb""#, Some("a\nb")),
        ("7", Some("7")),
        ("-7", Some("-7")),
        (r#""""#, None),
        ("null", None),
    ] {
        assert_eq!(read(json).as_deref(), text, "{json}");
    }
    assert!(take_oddities().is_empty());
    assert_eq!(read("1.5"), None);
    assert_eq!(take_oddities().count(Oddity::FieldType), 1);
}

#[test]
fn a_number_is_read_as_it_was_written() {
    take_oddities();
    for (json, number) in [
        ("7", Number::Natural(7)),
        ("18446744073709551615", Number::Natural(u64::MAX)),
        ("-7", Number::Negative(-7)),
        ("1.5", Number::Float(1.5)),
        ("[1, [2]]", Number::List),
        ("null", Number::Absent),
    ] {
        assert_eq!(serde_json::from_str::<Number>(json).unwrap(), number, "{json}");
    }
    assert!(take_oddities().is_empty());
}

#[test]
fn a_number_is_a_whole_one_where_it_can_be() {
    for (number, float, integer) in [
        (Number::Natural(7), Some(7.0), Some(7)),
        (Number::Natural(u64::MAX), Some(18_446_744_073_709_551_616.0), None),
        (Number::Negative(-7), Some(-7.0), Some(-7)),
        (Number::Float(1.5), Some(1.5), Some(1)),
        (Number::Float(-1.5), Some(-1.5), Some(-2)),
        (Number::Float(8.9e15), Some(8.9e15), Some(8_900_000_000_000_000)),
        (Number::Float(9e15), Some(9e15), None),
        (Number::Float(f64::INFINITY), Some(f64::INFINITY), None),
        (Number::Absent, None, None),
        (Number::List, None, None),
    ] {
        assert_eq!((number.float(), number.integer()), (float, integer), "{number:?}");
    }
}

#[test]
fn a_long_text_is_cut_and_stays_different_from_others() {
    let read = |text: &str| {
        let json = serde_json::to_string(text).unwrap();
        serde_json::from_str::<Text<'_>>(&json).map(|text| text.owned().unwrap())
    };
    take_oddities();
    let fits = "é".repeat(MAX_TEXT_BYTES / 2);
    assert_eq!(read(&fits).unwrap(), fits);
    assert!(take_oddities().is_empty());
    let [one, other] = ["1", "2"].map(|end| read(&format!("{fits}{end}")).unwrap());
    assert!((MAX_TEXT_BYTES - 32..=MAX_TEXT_BYTES).contains(&one.len()), "{} bytes", one.len());
    let digest = Sha256::digest(format!("{fits}1"));
    let hash = u64::from_be_bytes(digest[..8].try_into().unwrap());
    assert_eq!(one, format!("{}…{hash:016x}", "é".repeat((MAX_TEXT_BYTES - 32) / 2)));
    assert_ne!(one, other);
    assert_eq!(take_oddities().count(Oddity::LongText), 2);
}
