//! Text taken apart into JSON values: one, one per line, or several one after the other over many lines.

use std::io::{self, Read};
use std::ops::Range;

use serde::de::IgnoredAny;

use crate::framework::agno::{Form, form};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 256 * 1024;

/// The values of a text, read as far as the next one needs.
///
/// One value per line needs the line. What is not whole by the end of its line may go on to the end of the text, and
/// all of that is then in memory.
#[derive(Debug)]
pub(super) struct Values<R> {
    reader: R,
    /// What was read and not yet taken apart begins at `at`.
    buffer: Vec<u8>,
    at: usize,
    /// How far the buffer was searched for the end of a line.
    searched: usize,
    /// Where the buffer begins in the text.
    offset: u64,
    ended: bool,
    /// How many values there were so far.
    pub(super) count: u64,
    /// How many of them are JSON. Lines that are none stand among them, for the decoder to count.
    pub(super) whole: u64,
    /// True if the text ends in the middle of a value, which is not among them.
    pub(super) cut: bool,
}

/// The values of a text in memory, and whether it ends in the middle of one more. Lines that are no JSON are among them.
pub fn split(text: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut values = Values::of(text, 0);
    let mut all = Vec::new();
    // Memory can always be read.
    while let Ok(Some(value)) = values.next() {
        all.push(value.json);
    }
    (all, values.cut)
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

/// One value of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    /// Where it begins in the text.
    pub(super) at: u64,
    /// Its bytes.
    pub(super) json: Vec<u8>,
}

impl<R: Read> Values<R> {
    /// The values of what a reader holds, which begins at this place of its text.
    pub(super) fn of(reader: R, offset: u64) -> Self {
        let buffer = Vec::new();
        Self { reader, buffer, at: 0, searched: 0, offset, ended: false, count: 0, whole: 0, cut: false }
    }

    /// Where the next value begins, or would.
    pub(super) fn position(&self) -> u64 {
        self.offset + self.at as u64
    }

    /// The next value; none at the end, or where the text is cut.
    pub(super) fn next(&mut self) -> io::Result<Option<Value>> {
        let Some(place) = self.next_place()? else { return Ok(None) };
        self.count += 1;
        let at = self.offset + place.start as u64;
        self.at = place.end;
        let is_last = self.ended && self.rest().trim_ascii().is_empty();
        let json = if is_last && place.start == 0 {
            // All of it, without a copy.
            self.buffer.truncate(place.end);
            self.at = 0;
            self.offset += place.end as u64;
            std::mem::take(&mut self.buffer)
        } else {
            self.buffer.get(place).unwrap_or_default().to_owned()
        };
        Ok(Some(Value { at, json }))
    }

    fn next_place(&mut self) -> io::Result<Option<Range<usize>>> {
        let line = loop {
            let blank = self.rest().iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            self.at += blank;
            self.searched = self.searched.max(self.at);
            let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
            match unsearched.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    self.searched += end;
                    break self.at..self.searched;
                }
                None => self.searched = self.buffer.len(),
            }
            if self.ended {
                break self.at..self.searched;
            }
            self.fill()?;
        };
        if line.is_empty() {
            return Ok(None);
        }
        let text = self.buffer.get(line).unwrap_or_default().trim_ascii_end();
        let (length, form) = (text.len(), form(text));
        let is_line = match form {
            Form::Whole => {
                self.whole += 1;
                return Ok(Some(self.at..self.at + length));
            }
            Form::Other => !starts_value(text),
            Form::Cut => false,
        };
        while !is_line && !self.ended {
            self.fill()?;
        }
        match if is_line { Next::Line } else { next(self.rest()) } {
            Next::Value(length) => {
                self.whole += 1;
                Ok(Some(self.at..self.at + length))
            }
            Next::Line => Ok(Some(self.at..self.at + length)),
            Next::Cut => {
                self.cut = true;
                Ok(None)
            }
        }
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    /// Reads more, and lets go of what was taken apart.
    fn fill(&mut self) -> io::Result<()> {
        let taken = self.at;
        self.buffer.drain(..taken);
        self.offset += taken as u64;
        self.searched -= taken;
        self.at = 0;
        let read = (&mut self.reader).take(CHUNK_BYTES as u64).read_to_end(&mut self.buffer)?;
        self.ended = read == 0;
        Ok(())
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

    /// Hands over a few bytes at a time.
    struct Slow<'t>(&'t [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            self.0.read(&mut buffer[..count])
        }
    }

    fn values(text: &str, pace: usize) -> (Vec<Value>, Values<Slow<'_>>) {
        let mut values = Values::of(Slow(text.as_bytes(), pace), 0);
        let mut found = Vec::new();
        while let Some(value) = values.next().unwrap() {
            let (start, length) = (usize::try_from(value.at).unwrap(), value.json.len());
            assert_eq!(value.json, &text.as_bytes()[start..start + length], "{text}");
            found.push(value);
        }
        (found, values)
    }

    fn pieces(text: &str) -> (Vec<&str>, usize, bool) {
        let (found, values) = values(text, usize::MAX);
        let piece = |value: &Value| {
            let start = usize::try_from(value.at).unwrap();
            text.get(start..start + value.json.len()).unwrap().trim()
        };
        (found.iter().map(piece).collect(), usize::try_from(values.whole).unwrap(), values.cut)
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
        fn any_bytes_are_taken_apart_in_order(text in "[\\[\\]{}\",:1aN \n]{0,80}") {
            let mut end = 0;
            for value in values(&text, 3).0 {
                proptest::prop_assert!(value.at >= end && !value.json.is_empty());
                end = value.at + value.json.len() as u64;
            }
        }
    }
}
