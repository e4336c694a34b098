//! Python's JSON made standard: the cold path for records `serde_json` refuses.
//!
//! `json.dumps` writes `NaN`, `Infinity` and `-Infinity` as bare words and lone surrogates as escapes. Both are
//! data here, never a reason to refuse a run.

/// Rewrites what Python writes and JSON forbids: bare `NaN`, infinities and numbers beyond a float's become `null`, lone surrogate
/// escapes become the replacement character, raw control characters in strings are escaped, invalid UTF-8 is
/// replaced. Text that is standard JSON comes back as it was.
pub(super) fn repair(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut repaired = String::with_capacity(text.len());
    let mut rest: &str = &text;
    while let Some(next) = rest.chars().next() {
        let taken = match next {
            '"' => copy_string(rest, &mut repaired),
            'N' | 'I' | '-' | '0'..='9' => copy_word(rest, &mut repaired),
            other => {
                repaired.push(other);
                other.len_utf8()
            }
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    repaired
}

/// Copies a number, or a bare word Python uses for one. What no float can hold becomes `null`, a word or a
/// number that the text ends in the middle of is left out; anything else is copied by its first character.
fn copy_word(text: &str, repaired: &mut String) -> usize {
    for word in ["NaN", "-Infinity", "Infinity"] {
        if text.starts_with(word) {
            repaired.push_str("null");
            return word.len();
        }
        if word.starts_with(text) {
            return text.len();
        }
    }
    let is_of_number =
        |letter: char| letter.is_ascii_digit() || matches!(letter, '+' | '-' | '.' | 'e' | 'E');
    let number = text.split(|letter| !is_of_number(letter)).next().unwrap_or_default();
    if number.is_empty() {
        let first = text.chars().next().unwrap_or(' ');
        repaired.push(first);
        return first.len_utf8();
    }
    if number.len() == text.len() && !number.ends_with(|letter: char| letter.is_ascii_digit()) {
        return number.len();
    }
    let fits = number.parse::<f64>().is_ok_and(f64::is_finite);
    repaired.push_str(if fits { number } else { "null" });
    number.len()
}

/// Copies a string literal including its quotes and returns how many bytes it took.
fn copy_string(text: &str, repaired: &mut String) -> usize {
    repaired.push('"');
    let mut at = 1;
    while let Some(next) = text.get(at..).and_then(|rest| rest.chars().next()) {
        at += next.len_utf8();
        match next {
            '"' => {
                repaired.push('"');
                return at;
            }
            '\\' => at += copy_escape(text.get(at..).unwrap_or_default(), repaired),
            control if control < ' ' => escape(u32::from(control), repaired),
            other => repaired.push(other),
        }
    }
    at
}

fn escape(unit: u32, repaired: &mut String) {
    use std::fmt::Write as _;
    // Writing to a string cannot fail.
    write!(repaired, "\\u{unit:04x}").ok();
}

/// Copies what follows a backslash and returns how many bytes it took.
fn copy_escape(text: &str, repaired: &mut String) -> usize {
    let Some(first) = text.chars().next() else {
        return 0;
    };
    if first != 'u' {
        repaired.push('\\');
        repaired.push(first);
        return first.len_utf8();
    }
    let unit = |from: usize| text.get(from..from + 4).and_then(|hex| u16::from_str_radix(hex, 16).ok());
    match unit(1) {
        Some(high @ 0xD800..=0xDBFF) => {
            let low = text.get(5..7).filter(|mark| *mark == "\\u").and_then(|_| unit(7));
            if let Some(low @ 0xDC00..=0xDFFF) = low {
                escape(high.into(), repaired);
                escape(low.into(), repaired);
                return 11;
            }
            repaired.push('\u{FFFD}');
            5
        }
        Some(0xDC00..=0xDFFF) => {
            repaired.push('\u{FFFD}');
            5
        }
        Some(unit) => {
            escape(unit.into(), repaired);
            5
        }
        None => {
            repaired.push_str("\\\\u");
            1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_python_become_null_outside_strings_only() {
        let repaired = repair(br#"{"a": NaN, "b": [-Infinity, Infinity, -1.5], "c": "NaN -Infinity"}"#);
        assert_eq!(repaired, r#"{"a": null, "b": [null, null, -1.5], "c": "NaN -Infinity"}"#);
    }

    #[test]
    fn a_number_no_float_can_hold_becomes_null() {
        let long = "9".repeat(400);
        let repaired =
            repair(format!(r#"{{"a": {long}, "b": -1e999, "c": 1e-999, "d": [1.5e3,-2]}}"#).as_bytes());
        assert_eq!(repaired, r#"{"a": null, "b": null, "c": 1e-999, "d": [1.5e3,-2]}"#);
    }

    #[test]
    fn a_number_the_text_ends_with_is_kept_if_it_is_one() {
        for (text, repaired) in
            [("[1, 20", "[1, 20"), ("[1.5", "[1.5"), ("[1, -", "[1, "), ("[1.", "["), ("[1e", "[")]
        {
            assert_eq!(repair(text.as_bytes()), repaired);
        }
    }

    #[test]
    fn what_a_string_may_not_hold_is_escaped_or_replaced_and_the_rest_is_as_it_was() {
        assert_eq!(
            repair(b"{\"a\tb\": \"\x01\n\xff\\\\\\n\"}"),
            "{\"a\\u0009b\": \"\\u0001\\u000a\u{FFFD}\\\\\\n\"}"
        );
        assert_eq!(repair("\"a é €\", 1".as_bytes()), "\"a é €\", 1");
        assert_eq!(repair(br#""\u00e9 \u12 \""#), r#""\u00e9 \\u12 \""#);
    }

    #[test]
    fn a_lone_surrogate_is_replaced_and_a_pair_is_kept() {
        assert_eq!(repair(br#""x\ud83d y""#), "\"x\u{FFFD} y\"");
        assert_eq!(repair(br#""\ud83d\ude00""#), r#""\ud83d\ude00""#);
        assert_eq!(repair(br#""\ude00\"""#), "\"\u{FFFD}\\\"\"");
    }

    proptest::proptest! {
        #[test]
        fn standard_json_keeps_its_meaning(text in "\\PC*") {
            let json = serde_json::json!({"k": text, "n": [1, -2.5, null]}).to_string();
            let repaired: serde_json::Value = serde_json::from_str(&repair(json.as_bytes())).unwrap();
            let original: serde_json::Value = serde_json::from_str(&json).unwrap();
            proptest::prop_assert_eq!(repaired, original);
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _text = repair(&bytes);
        }
    }
}
