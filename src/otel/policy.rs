//! How much of what was said may leave: text and JSON, masked or whole, within limits.
//!
//! Sizes are those of the JSON that is sent, escapes included, so that a limit on a value is a limit on its bytes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// Bytes of an attribute with content by default: a long conversation, and far below what backends cut or refuse.
pub const DEFAULT_LIMIT_BYTES: usize = 65_536;
/// The least that can be asked for: room for the notes that say what was left out.
pub const MIN_LIMIT_BYTES: usize = 1_024;
/// The most: a span has at most three such attributes of its own, and they fit into one request.
pub const MAX_LIMIT_BYTES: usize = 1_048_576;
/// One text gets at most this part of its attribute, so that a long one leaves room for others.
const TEXT_SHARE: usize = 2;
/// Bytes below which a text is not cut further, and that every value may have: more than any note takes.
pub(super) const MIN_TEXT_BYTES: usize = 64;
/// Bytes of a name, an id or a key: those of providers have 64 at most.
const MAX_NAME_BYTES: usize = 128;
/// Levels of objects and lists in arguments and results: nobody reads deeper, and some backends stop at 20.
pub(super) const MAX_DEPTH: usize = 16;
/// Bytes of the note behind a text that was cut.
const CUT_NOTE_BYTES: usize = 40;
/// Characters from which on a masked text carries a hash. Whoever can list all likely texts finds one by its hash;
/// numbers of phones, cards and accounts, dates, names and most addresses are shorter than this.
const MIN_HASHED_CHARS: usize = 32;
/// Bytes of a SHA-256 that are shown: enough to tell thousands of prompts apart.
const HASH_BYTES: usize = 4;

/// What of content may leave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    #[default]
    None,
    /// Its shape: the length of every text and a short hash of long ones.
    Masked,
    /// All of it, within limits.
    Full,
}

/// What of content may leave, and how much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    mode: Mode,
    limit_bytes: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self::new(Mode::default(), DEFAULT_LIMIT_BYTES)
    }
}

impl Policy {
    /// A policy. The limit is of one attribute's value, from [`MIN_LIMIT_BYTES`] to [`MAX_LIMIT_BYTES`].
    pub fn new(mode: Mode, limit_bytes: usize) -> Self {
        Self { mode, limit_bytes: limit_bytes.clamp(MIN_LIMIT_BYTES, MAX_LIMIT_BYTES) }
    }

    /// What may leave.
    pub fn mode(self) -> Mode {
        self.mode
    }

    /// Bytes of one attribute's value.
    pub fn limit_bytes(self) -> usize {
        self.limit_bytes
    }

    /// Bytes of one text, where there is room.
    pub(super) fn text_bytes(self) -> usize {
        self.limit_bytes / TEXT_SHARE
    }

    /// A text in at most so many bytes of JSON, or [`MIN_TEXT_BYTES`].
    pub(super) fn text(self, text: &str, bytes: usize) -> String {
        match self.mode {
            Mode::None => String::new(),
            Mode::Masked => mask(text),
            Mode::Full => cut(text, bytes),
        }
    }

    /// A name or an id. Masked, what looks like neither is content in the wrong place.
    pub(super) fn name(self, name: &str) -> String {
        if self.mode == Mode::Masked && !is_name(name) { mask(name) } else { cut(name, MAX_NAME_BYTES) }
    }

    /// A value in at most so many bytes of JSON, or [`MIN_TEXT_BYTES`].
    pub(super) fn json(self, value: &Value, bytes: usize) -> Value {
        let mut budget = bytes;
        loop {
            let fitted = self.fit(value, 0, &mut Room { left: budget, text: budget / TEXT_SHARE });
            if budget == 0 || fitted.to_string().len() <= bytes {
                return fitted;
            }
            // Notes and brackets are not all accounted for: try with less until they fit too.
            budget /= 2;
        }
    }

    fn fit(self, value: &Value, depth: usize, room: &mut Room) -> Value {
        let fitted = match (value, self.mode) {
            (Value::Array(_) | Value::Object(_), _) if depth == MAX_DEPTH => Value::from("… (nested deeper)"),
            (Value::Array(items), _) => return self.list(items, depth, room),
            (Value::Object(fields), _) => return self.object(fields, depth, room),
            (Value::String(text), _) => Value::from(self.text(text, room.text.min(room.left))),
            (Value::Number(_), Mode::Masked) => Value::from("<number>"),
            (Value::Bool(_), Mode::Masked) => Value::from("<boolean>"),
            (scalar, _) => scalar.clone(),
        };
        room.take(fitted.to_string().len());
        fitted
    }

    fn list(self, items: &[Value], depth: usize, room: &mut Room) -> Value {
        let mut fitted = Vec::new();
        for (at, item) in items.iter().enumerate() {
            if room.left < MIN_TEXT_BYTES {
                fitted.push(Value::from(format!("… (+{} items)", items.len() - at)));
                break;
            }
            fitted.push(self.fit(item, depth + 1, room));
            room.take(1);
        }
        Value::Array(fitted)
    }

    /// Masked, every key is masked too: a model may put anything there, and no record says which keys a tool knows.
    fn object(self, fields: &Map<String, Value>, depth: usize, room: &mut Room) -> Value {
        let mut fitted = Map::new();
        let mut names = Names::default();
        for (at, (key, value)) in fields.iter().enumerate() {
            if room.left < MIN_TEXT_BYTES {
                let note = format!("(+{} fields)", fields.len() - at);
                fitted.insert(names.unused("…".to_owned()), Value::from(note));
                break;
            }
            let key = names.unused(self.text(key, MAX_NAME_BYTES));
            room.take(key.len() + 4);
            let value = self.fit(value, depth + 1, room);
            fitted.insert(key, value);
        }
        Value::Object(fitted)
    }
}

/// The keys of an object so far. Keys that were masked or cut may have become equal; they are numbered.
#[derive(Default)]
struct Names(BTreeMap<String, u64>);

impl Names {
    fn unused(&mut self, key: String) -> String {
        loop {
            let count = self.0.entry(key.clone()).or_default();
            *count += 1;
            if *count == 1 {
                return key;
            }
            let numbered = format!("{key} #{count}");
            if !self.0.contains_key(&numbered) {
                self.0.insert(numbered.clone(), 1);
                return numbered;
            }
        }
    }
}

/// What is left of a value's bytes, and how much of it one text may take.
struct Room {
    left: usize,
    text: usize,
}

impl Room {
    fn take(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }
}

/// Says how long a text is, and of long ones a short hash: equal texts are seen to be equal, and none can be read.
fn mask(text: &str) -> String {
    let characters = text.chars().count();
    if characters < MIN_HASHED_CHARS {
        return format!("<{characters} chars>");
    }
    let mut masked = format!("<{characters} chars, ");
    for byte in Sha256::digest(text).iter().take(HASH_BYTES) {
        // Writing to a string cannot fail.
        write!(masked, "{byte:02x}").ok();
    }
    masked.push('>');
    masked
}

/// The beginning of a text that is longer than so many bytes of JSON, and how many characters follow.
fn cut(text: &str, bytes: usize) -> String {
    let room = bytes.saturating_sub(CUT_NOTE_BYTES);
    let (mut used, mut kept) = (0, 0);
    for (at, letter) in text.char_indices() {
        used += bytes_in_json(letter);
        if used <= room {
            kept = at + letter.len_utf8();
        }
        if used > bytes {
            let (head, tail) = text.split_at(kept);
            return format!("{head}… (+{} characters)", tail.chars().count());
        }
    }
    text.to_owned()
}

/// Bytes of a character in a JSON string, as `serde_json` writes it.
fn bytes_in_json(letter: char) -> usize {
    match letter {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        control if control < ' ' => 6,
        other => other.len_utf8(),
    }
}

/// An identifier as providers and programs make them.
fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:/#".contains(&byte);
    text.len() <= MAX_NAME_BYTES && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn full() -> Policy {
        Policy::new(Mode::Full, DEFAULT_LIMIT_BYTES)
    }

    fn masked() -> Policy {
        Policy::new(Mode::Masked, DEFAULT_LIMIT_BYTES)
    }

    #[test]
    fn a_text_at_its_limit_is_whole_and_one_beyond_it_says_what_is_missing() {
        let text = "é".repeat(100);
        assert_eq!(full().text(&text, 200), text);
        let shorter = full().text(&text, 199);
        assert_eq!(shorter, format!("{}… (+21 characters)", "é".repeat(79)));
        assert!(shorter.len() <= 199);
        let quotes = "\"".repeat(100);
        assert_eq!(full().text(&quotes, 200), quotes);
        assert_ne!(full().text(&quotes, 199), quotes);
    }

    #[test]
    fn a_masked_text_tells_its_length_and_a_hash_only_where_it_is_too_long_to_guess() {
        let long = "What is the weather in Oslo today?";
        assert_eq!(long.len(), 34);
        assert_eq!(mask(long), mask(long));
        assert_ne!(mask(long), mask("What is the weather in Lima today?"));
        assert!(mask(long).starts_with("<34 chars, ") && mask(long).len() == "<34 chars, 12345678>".len());
        assert_eq!(mask(&"x".repeat(MIN_HASHED_CHARS - 1)), "<31 chars>");
        assert!(mask(&"x".repeat(MIN_HASHED_CHARS)).starts_with("<32 chars, "));
        assert_eq!(mask("日本"), "<2 chars>");
        // What `printf %s … | sha256sum` says, so that a known prompt can be found.
        assert_eq!(mask(&"a".repeat(64)), "<64 chars, ffe054fe>");
    }

    #[test]
    fn masked_json_keeps_its_shape_and_nothing_else() {
        let value = json!({"name": "Ann", "size": 41, "list": [true, null, 2.5], "same": "x", "alsö": {}});
        assert_eq!(
            masked().json(&value, 1_000),
            json!({"<4 chars>": {}, "<4 chars> #2": ["<boolean>", null, "<number>"], "<4 chars> #3": "<3 chars>",
                "<4 chars> #4": "<1 chars>", "<4 chars> #5": "<number>"})
        );
        assert_eq!(full().json(&value, 1_000), value);
    }

    #[test]
    fn masked_names_are_names_or_masked() {
        assert_eq!(masked().name("get_weather"), "get_weather");
        assert_eq!(masked().name("my bank is"), "<10 chars>");
        assert_eq!(masked().name(&"x".repeat(MAX_NAME_BYTES)), "x".repeat(MAX_NAME_BYTES));
        assert!(masked().name(&"x".repeat(MAX_NAME_BYTES + 1)).starts_with("<129 chars"));
        assert_eq!(full().name("my bank is"), "my bank is");
    }

    #[test]
    fn keys_that_became_equal_stay_different() {
        let long = "k".repeat(MAX_NAME_BYTES);
        let cut_short = full().text(&format!("{long}a"), MAX_NAME_BYTES);
        let fields = json!({format!("{long}a"): 1, format!("{long}b"): 2, format!("{cut_short} #2"): 3});
        assert_eq!(full().json(&fields, 2_000).as_object().unwrap().len(), 3);
        let fields: Map<String, Value> = (0..20_000).map(|at| (format!("{at:05}"), Value::Null)).collect();
        let size = masked().json(&Value::Object(fields), MAX_LIMIT_BYTES).as_object().unwrap().len();
        assert_eq!(size, 20_000);
    }

    #[test]
    fn nesting_ends_at_its_limit() {
        let nested = |depth| (0..depth).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(full().json(&nested(MAX_DEPTH), 1_000), nested(MAX_DEPTH));
        let deeper = full().json(&nested(MAX_DEPTH + 1), 1_000).to_string();
        assert!(deeper.contains("nested deeper"), "{deeper}");
    }

    #[test]
    fn a_value_at_its_limit_is_whole_and_one_beyond_it_says_what_is_missing() {
        let list = json!((0..100).map(|_| "four").collect::<Vec<_>>());
        let size = list.to_string().len();
        let shorter = full().json(&list, size / 2);
        assert!(shorter.to_string().len() <= size / 2, "{shorter}");
        assert!(shorter.to_string().contains("… (+"), "{shorter}");
        let object: Map<String, Value> = (0..100).map(|at| (format!("key {at}"), json!(at))).collect();
        let shorter = full().json(&Value::Object(object), 300).to_string();
        assert!(shorter.len() <= 300 && shorter.contains(" fields)"), "{shorter}");
    }

    /// Any JSON, not too deep for a test.
    fn any_json() -> impl proptest::strategy::Strategy<Value = Value> {
        use proptest::prelude::*;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,80}|[\\x00-\\x1f\"\\\\]{0,40}".prop_map(Value::from),
        ];
        leaf.prop_recursive(20, 200, 8, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                proptest::collection::btree_map("\\PC{0,12}", inner, 0..8)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest::proptest! {
        #[test]
        fn any_value_fits_any_limit(value in any_json(), bytes in 0_usize..3_000) {
            for policy in [full(), masked()] {
                let fitted = policy.json(&value, bytes).to_string();
                proptest::prop_assert!(fitted.len() <= bytes.max(MIN_TEXT_BYTES), "{} of {bytes}: {fitted}", fitted.len());
                serde_json::from_str::<Value>(&fitted).unwrap();
            }
        }

        #[test]
        fn any_text_fits_any_limit(text in "(\\PC|[\\x00-\\x1f\"\\\\]){0,300}", bytes in 0_usize..400) {
            for policy in [full(), masked()] {
                let said = policy.text(&text, bytes);
                let quoted = Value::from(said.clone()).to_string().len() - 2;
                proptest::prop_assert!(quoted <= bytes.max(MIN_TEXT_BYTES), "{quoted} of {bytes}: {said}");
            }
        }

        #[test]
        fn a_masked_text_says_nothing_it_was_made_of(text in "[g-z]{2,200}") {
            let said = masked().text(&text, 10_000);
            proptest::prop_assert!(!said.contains(&text) || "chars".contains(&text), "{said}");
        }
    }
}
