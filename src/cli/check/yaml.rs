//! Settings of other programs: YAML as a tree that knows its lines.

use std::collections::BTreeMap;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle};

/// Anchors can make much of little; settings are a few hundred values.
const MAX_NODES: usize = 100_000;
/// A tree this deep is no settings.
const MAX_DEPTH: usize = 64;

/// A value with where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    file: Rc<str>,
    line: usize,
    value: Value,
}

#[derive(Debug, Clone)]
enum Value {
    /// Text, numbers and flags as they are written; nothing is `None`.
    Scalar(Option<String>),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// Why settings cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{file}:{line}: {what}")]
    Syntax { file: Rc<str>, line: usize, what: String },
    #[error("{file}: holds no settings")]
    Empty { file: Rc<str> },
}

impl Node {
    /// The first document of a text.
    pub(super) fn parse(file: &str, text: &str) -> Result<Self, Error> {
        let mut tree = Tree { file: file.into(), open: Vec::new(), anchors: BTreeMap::new(), nodes: 0 };
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| Error::Syntax {
                file: Rc::clone(&tree.file),
                line: error.marker().line(),
                what: error.info().to_owned(),
            })?;
            let line = span.start.line();
            if let Some(root) =
                tree.take(event, line).map_err(|what| Error::Syntax { file: file.into(), line, what })?
            {
                return Ok(root);
            }
        }
        Err(Error::Empty { file: tree.file })
    }

    /// Where it stands: `collector.yaml:14`.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }

    /// What stands under a key.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().find(|(own, _)| *own == key).map(|(_, value)| value)
    }

    /// What stands under keys, one below the other.
    pub(super) fn at(&self, keys: &[&str]) -> Option<&Self> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    /// Keys and values; none of what is no map.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Self)> {
        let entries = if let Value::Map(entries) = &self.value { entries.as_slice() } else { &[] };
        entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// What a list holds; none of what is no list.
    pub(super) fn items(&self) -> impl Iterator<Item = &Self> {
        if let Value::List(items) = &self.value { items.as_slice() } else { &[] }.iter()
    }

    /// A value as it is written.
    pub(super) fn text(&self) -> Option<&str> {
        if let Value::Scalar(text) = &self.value { text.as_deref() } else { None }
    }

    /// What another file says wins, as the Collector merges its files: maps key by key, all else as a whole.
    pub(super) fn merge(&mut self, other: Self) {
        match (&mut self.value, other.value) {
            (Value::Map(own), Value::Map(others)) => {
                for (key, value) in others {
                    match own.iter_mut().find(|(known, _)| *known == key) {
                        Some((_, known)) => known.merge(value),
                        None => own.push((key, value)),
                    }
                }
            }
            // A key without a value leaves what was said.
            (Value::Map(_), Value::Scalar(None)) => {}
            (_, value) => *self = Self { value, ..other },
        }
    }

    /// Levels from itself down; there are never more than [`MAX_DEPTH`].
    fn depth(&self) -> usize {
        let below = match &self.value {
            Value::Scalar(_) => None,
            Value::List(items) => items.iter().map(Self::depth).max(),
            Value::Map(entries) => entries.iter().map(|(_, value)| value.depth()).max(),
        };
        below.unwrap_or(0) + 1
    }

    /// Itself and all below it.
    fn nodes(&self) -> usize {
        let below: usize = match &self.value {
            Value::Scalar(_) => 0,
            Value::List(items) => items.iter().map(Self::nodes).sum(),
            Value::Map(entries) => entries.iter().map(|(_, value)| value.nodes()).sum(),
        };
        below + 1
    }
}

/// A tree that is being read.
struct Tree {
    file: Rc<str>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
}

/// A list or a map whose end was not read yet.
struct Open {
    line: usize,
    anchor: usize,
    /// Of a map: keys and values by turns.
    nodes: Vec<Node>,
    is_map: bool,
}

impl Tree {
    /// The root, once it is read.
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<Option<Node>, String> {
        let (anchor, value, line) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let is_nothing = style == ScalarStyle::Plain
                    && matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL");
                (anchor, Value::Scalar((!is_nothing).then(|| text.into_owned())), line)
            }
            Event::Alias(anchor) => {
                let known = self.anchors.get(&anchor).ok_or("an alias of nothing")?;
                if self.open.len() + known.depth() > MAX_DEPTH {
                    return Err(format!("more than {MAX_DEPTH} levels"));
                }
                self.nodes += known.nodes();
                (0, known.value.clone(), line)
            }
            Event::SequenceStart(anchor, _) => return self.begin(line, anchor, false),
            Event::MappingStart(anchor, _) => return self.begin(line, anchor, true),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(ended) = self.open.pop() else { return Ok(None) };
                let value =
                    if ended.is_map { Value::Map(map(ended.nodes)) } else { Value::List(ended.nodes) };
                (ended.anchor, value, ended.line)
            }
            _ => return Ok(None),
        };
        let node = Node { file: Rc::clone(&self.file), line, value };
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(format!("more than {MAX_NODES} values"));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(above) = self.open.last_mut() else { return Ok(Some(node)) };
        above.nodes.push(node);
        Ok(None)
    }

    fn begin(&mut self, line: usize, anchor: usize, is_map: bool) -> Result<Option<Node>, String> {
        if self.open.len() >= MAX_DEPTH {
            return Err(format!("more than {MAX_DEPTH} levels"));
        }
        self.open.push(Open { line, anchor, nodes: Vec::new(), is_map });
        Ok(None)
    }
}

/// Entries of keys and values by turns; those of `<<` stand behind what the map says itself.
fn map(nodes: Vec<Node>) -> Vec<(String, Node)> {
    let (mut entries, mut merged) = (Vec::new(), Vec::new());
    let mut nodes = nodes.into_iter();
    while let (Some(key), Some(value)) = (nodes.next(), nodes.next()) {
        match (key.text().unwrap_or_default(), value.value) {
            ("<<", Value::Map(more)) => merged.extend(more),
            ("<<", Value::List(all)) => merged.extend(all.into_iter().flat_map(|one| match one.value {
                Value::Map(more) => more,
                _ => Vec::new(),
            })),
            // The line of a key is where one looks for it.
            (name, of) => {
                entries.push((name.to_owned(), Node { file: value.file, line: key.line, value: of }));
            }
        }
    }
    for (key, value) in merged {
        if !entries.iter().any(|(own, _)| *own == key) {
            entries.push((key, value));
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Node {
        Node::parse("a.yaml", text).unwrap()
    }

    #[test]
    fn values_are_found_with_their_lines() {
        let tree = tree("# first\na:\n  b: {c: 1, 'd/e': \"null\"}\n  f: [x, y]\n  g:\n");
        assert_eq!(
            tree.at(&["a", "b", "c"]).map(|node| (node.text(), node.place())),
            Some((Some("1"), "a.yaml:3".into()))
        );
        assert_eq!(tree.at(&["a", "b", "d/e"]).and_then(Node::text), Some("null"));
        let items: Vec<_> = tree.at(&["a", "f"]).unwrap().items().filter_map(Node::text).collect();
        assert_eq!(items, ["x", "y"]);
        let nothing = tree.at(&["a", "g"]).unwrap();
        assert_eq!((nothing.text(), nothing.place().as_str()), (None, "a.yaml:5"));
        assert!(tree.at(&["a", "f", "x"]).is_none());
    }

    #[test]
    fn aliases_of_aliases_make_no_tree_that_is_too_deep_to_walk() {
        let nested = |levels: usize| {
            let one = |at: usize| format!("a{at}: &a{at} {}*a{}{}\n", "[".repeat(20), at - 1, "]".repeat(20));
            "a0: &a0 1\n".to_owned() + &(1..=levels).map(one).collect::<String>()
        };
        assert!(Node::parse("a.yaml", &nested(3)).is_ok());
        let error = Node::parse("a.yaml", &nested(200)).unwrap_err().to_string();
        assert_eq!(error, "a.yaml:5: more than 64 levels");
    }

    #[test]
    fn anchors_and_merge_keys_are_followed() {
        let tree = tree("one: &one {a: 1, b: 2}\ntwo: {<<: *one, b: 3}\nthree: *one\n");
        let of = |keys: &[&str]| tree.at(keys).and_then(Node::text).map(str::to_owned);
        assert_eq!(of(&["two", "a"]).as_deref(), Some("1"));
        assert_eq!(of(&["two", "b"]).as_deref(), Some("3"));
        assert_eq!(of(&["three", "b"]).as_deref(), Some("2"));
    }

    #[test]
    fn a_later_file_is_merged_key_by_key_and_lists_as_a_whole() {
        let mut first = tree("a: {b: 1, c: [1, 2]}\nd: {e: 1}\n");
        first.merge(Node::parse("b.yaml", "a: {c: [3], x: 4}\nd:\n").unwrap());
        let of = |keys: &[&str]| first.at(keys).and_then(Node::text);
        assert_eq!((of(&["a", "b"]), of(&["a", "x"]), of(&["d", "e"])), (Some("1"), Some("4"), Some("1")));
        let items = first.at(&["a", "c"]).unwrap();
        assert_eq!((items.items().count(), items.place().as_str()), (1, "b.yaml:1"));
    }

    #[test]
    fn what_is_no_settings_is_refused_with_its_line() {
        let error = |text: &str| Node::parse("a.yaml", text).unwrap_err().to_string();
        assert!(error("a: 1\nb: [1, 2\nc: }\n").starts_with("a.yaml:"), "{}", error("a: [1"));
        assert_eq!(error(""), "a.yaml: holds no settings");
        assert!(error(&"[".repeat(MAX_DEPTH + 1)).contains("levels"));
        // Nine anchors, each ten times the one before: a thousand million values.
        let level = |level: usize| {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            format!("a{level}: &a{level} [{aliases}]\n")
        };
        let laughs = "a0: &a0 [x]\n".to_owned() + &(1..10).map(level).collect::<String>();
        assert!(error(&laughs).contains("more than 100000 values"));
    }
}
