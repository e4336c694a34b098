//! Text taken apart into JSON values: one, one per line, or several one after the other over many lines.

use std::ops::Range;

use serde::de::IgnoredAny;

use crate::framework::agno::{Form, form};

/// The values of a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Values {
    /// Where each value is, in order. Lines that are no JSON stand among them, for the decoder to count.
    pub(super) places: Vec<Range<usize>>,
    /// How many of them are JSON.
    pub(super) whole: usize,
    /// True if the text ends in the middle of a value, which is not among them.
    pub(super) cut: bool,
}

/// What a text begins with.
enum Next {
    /// A value, of so many bytes.
    Value(usize),
    /// A line that is no value.
    Line,
    /// A value that does not end.
    Cut,
}

impl Values {
    pub(super) fn of(text: &[u8]) -> Self {
        let mut values = Self::default();
        let mut at = 0;
        while let Some(rest) = text.get(at..) {
            at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) else { break };
            let length = match next(rest) {
                Next::Value(length) => {
                    values.whole += 1;
                    length
                }
                Next::Line => first_line(rest).len(),
                Next::Cut => {
                    values.cut = true;
                    break;
                }
            };
            values.places.push(at..at + length);
            at += length;
        }
        values
    }
}

fn next(text: &[u8]) -> Next {
    let line = first_line(text);
    match form(line) {
        Form::Whole => Next::Value(line.len()),
        Form::Cut | Form::Other if starts_value(text) => over_lines(text),
        Form::Cut if line.len() == text.trim_ascii_end().len() => Next::Cut,
        Form::Cut | Form::Other => Next::Line,
    }
}

/// An object or a list that is not alone on its line, or not in JSON's own form.
fn over_lines(text: &[u8]) -> Next {
    let mut stream = serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>();
    match stream.next() {
        Some(Ok(_)) => Next::Value(stream.byte_offset()),
        // The end of the text, but not for want of more of it: a line was cut, and whole ones follow.
        Some(Err(error)) if error.is_eof() => {
            let mut later = later_lines(text).filter(|line| starts_value(line));
            if later.any(|line| form(line.trim_ascii()) == Form::Whole) { Next::Line } else { Next::Cut }
        }
        Some(Err(_)) | None => in_pythons_form(text),
    }
}

/// A value over several lines with `NaN` and the like in it: `serde_json` cannot say where it ends, its
/// indentation can.
fn in_pythons_form(text: &[u8]) -> Next {
    let mut length = first_line(text).len() + 1;
    for line in later_lines(text) {
        if starts_value(line) {
            return Next::Line;
        }
        length += line.len() + 1;
        if matches!(line.first(), Some(b'}' | b']')) {
            let length = length.min(text.len());
            let is_whole = text.get(..length).is_some_and(|value| form(value) == Form::Whole);
            return if is_whole { Next::Value(length) } else { Next::Line };
        }
    }
    match form(text) {
        Form::Whole => Next::Value(text.len()),
        Form::Cut => Next::Cut,
        Form::Other => Next::Line,
    }
}

fn starts_value(text: &[u8]) -> bool {
    matches!(text.first(), Some(b'{' | b'['))
}

fn first_line(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end()
}

/// The lines behind the first, indented as they are.
fn later_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').skip(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> (Vec<&str>, usize, bool) {
        let values = Values::of(text.as_bytes());
        let pieces = values.places.iter().map(|place| text.get(place.clone()).unwrap().trim()).collect();
        (pieces, values.whole, values.cut)
    }

    #[test]
    fn a_value_is_found_however_it_is_written() {
        let one = "{\n  \"a\": [\n    1\n  ]\n}";
        let python = "{\n  \"a\": NaN,\n  \"b\": {}\n}";
        assert_eq!(pieces(one), (vec![one], 1, false));
        assert_eq!(pieces("{\"a\": 1}\r\n\n{\"b\": NaN}"), (vec!["{\"a\": 1}", "{\"b\": NaN}"], 2, false));
        assert_eq!(pieces(&format!("{one}\n{one}{one}")), (vec![one; 3], 3, false));
        assert_eq!(pieces(&format!("{python}\n{one}\n{python}\n")), (vec![python, one, python], 3, false));
        assert_eq!(pieces("{\"a\":\nNaN}"), (vec!["{\"a\":\nNaN}"], 1, false));
        assert_eq!(pieces("{\"a\": 1}{\"b\": 2}"), (vec!["{\"a\": 1}", "{\"b\": 2}"], 2, false));
        assert_eq!(pieces(" \n\n"), (vec![], 0, false));
    }

    #[test]
    fn what_is_no_json_costs_its_own_line_alone() {
        let fine = "{\"a\": 1}";
        for odd in ["# comment", "{\"a\": 1, \"b", "[1, 2", "}", "[info] started", "{", "\"half"] {
            for text in [format!("{odd}\n{fine}"), format!("{fine}\n{odd}\n{fine}\n")] {
                let (found, whole, cut) = pieces(&text);
                assert_eq!(found.iter().filter(|piece| **piece == fine).count(), whole, "{text}");
                assert!(found.contains(&odd) && !cut, "{text}: {found:?}");
            }
        }
    }

    #[test]
    fn an_end_in_the_middle_of_a_value_is_told() {
        for text in ["{\"a\": 1}\n{\"b", "{\n  \"a\": [\n    {}", "[", "{\n\"a\": NaN,\n\"b", "\"half"] {
            assert!(pieces(text).2, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_taken_apart_in_order(bytes in "[\\[\\]{}\",:1aN \n]{0,80}") {
            let values = Values::of(bytes.as_bytes());
            let mut end = 0;
            for place in &values.places {
                proptest::prop_assert!(place.start >= end && place.end > place.start && place.end <= bytes.len());
                end = place.end;
            }
        }
    }
}
