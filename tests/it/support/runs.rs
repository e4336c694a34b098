//! Many runs made of one: the same run again, with ids of its own.

use std::fmt::Write as _;

use serde_json::Value;

use super::fixtures;

/// A run file of the fixtures.
pub(crate) fn run_of(fixture: &str) -> Value {
    serde_json::from_slice(&std::fs::read(fixtures().join(fixture)).unwrap()).unwrap()
}

/// JSON lines: copies of a run with distinct ids, spread over so many agents.
pub(crate) fn lines(run: &Value, copies: u32, agents: u32) -> String {
    let mut lines = String::new();
    for copy in 0..copies {
        let mut run = run.clone();
        run["agent_name"] = Value::from(format!("Agent {}", copy % agents));
        run["agent_id"] = Value::from(format!("agent-{}", copy % agents));
        writeln!(lines, "{}", with_own_ids(&run.to_string(), copy)).unwrap();
    }
    lines
}

/// Every UUID of a text replaced by one that only this copy has. Copy 0 is the text itself.
pub(crate) fn with_own_ids(text: &str, copy: u32) -> String {
    const LENGTH: usize = 36;
    let mut changed = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(quote) = rest.find('"') {
        let (before, after) = rest.split_at(quote + 1);
        changed.push_str(before);
        rest = after;
        if let Some(id) = rest.get(..LENGTH).filter(|id| uuid::Uuid::try_parse(id).is_ok()) {
            let first = u32::from_str_radix(&id[..8], 16).unwrap() ^ copy;
            write!(changed, "{first:08x}{}", &id[8..]).unwrap();
            rest = &rest[LENGTH..];
        }
    }
    changed.push_str(rest);
    changed
}
