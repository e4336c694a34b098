//! A record taken apart into the runs it holds, each to be kept by itself.

use std::fmt::Write as _;

use serde_json::value::RawValue;

use super::record::RunRecord;
use super::{Columns, Visit, bounded, json, lenient, strip, walk};
use crate::framework::{Keep, Oddities, Oddity};

/// What was taken out of a record.
#[derive(Debug, Default)]
pub struct Taken {
    /// Every run that stands in no other run, as JSON that decodes to the same as it did within the record.
    pub runs: Vec<Vec<u8>>,
    /// What was odd about the record as a whole, and what of it is no run.
    pub oddities: Oddities,
    keep: Keep,
}

/// Takes a record apart. Where content is not to be kept, it is not in what is returned.
pub fn take_apart(json: &[u8], keep: Keep) -> Taken {
    let mut taken = Taken { keep, ..Taken::default() };
    lenient::take_oddities();
    walk(json, &bounded(&Columns::default()), &mut taken, 0);
    // What is odd about fields is said again by whoever decodes the runs.
    lenient::take_oddities();
    taken
}

/// The items of a list, each a record; anything else is one record.
pub fn items(json: &[u8]) -> Vec<Vec<u8>> {
    let of = |text: &str| serde_json::from_str::<Vec<&RawValue>>(text).ok().map(owned);
    let standard = std::str::from_utf8(json).ok().and_then(of);
    let is_list = json.trim_ascii_start().first() == Some(&b'[');
    standard
        .or_else(|| if is_list { of(&json::repair(json)) } else { None })
        .unwrap_or_else(|| vec![json.to_vec()])
}

fn owned(items: Vec<&RawValue>) -> Vec<Vec<u8>> {
    items.into_iter().map(|item| item.get().as_bytes().to_vec()).collect()
}

impl Visit for Taken {
    fn oddities(&mut self) -> &mut Oddities {
        &mut self.oddities
    }

    fn run(&mut self, _record: &RunRecord<'_>, text: &str, columns: &Columns) {
        let run = match self.keep {
            Keep::Figures => strip::run(text),
            Keep::Content => text.to_owned(),
        };
        self.runs.push(in_row(run, columns).into_bytes());
    }
}

impl Taken {
    /// Why a record gave no run, or fewer than it was meant to.
    pub fn left_out(&self) -> impl Iterator<Item = (Oddity, u64)> + '_ {
        self.oddities.iter().filter(|(oddity, _)| oddity.leaves_out_record())
    }
}

/// A run with what its row said of it, as the row of a run that Agno 3 writes.
fn in_row(run: String, columns: &Columns) -> String {
    if *columns == Columns::default() {
        return run;
    }
    let Columns { session_id, user_id, stored_at_s, index } = columns;
    let mut row = String::with_capacity(run.len() + 128);
    let text = |text: &Option<String>| text.as_deref().map(|text| serde_json::Value::from(text).to_string());
    let number = |number: Option<i64>| number.map(|number| number.to_string());
    let fields = [
        ("session_id", text(session_id)),
        ("user_id", text(user_id)),
        ("updated_at", number(*stored_at_s)),
        ("run_index", number(*index)),
    ];
    row.push('{');
    for (name, value) in fields {
        if let Some(value) = value {
            write!(row, "\"{name}\":{value},").ok();
        }
    }
    write!(row, "\"run_data\":{run}}}").ok();
    row
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::framework::agno::{Decoded, decode};

    fn figures(json: &[u8]) -> Decoded {
        decode(json, &Columns::default(), Keep::Figures)
    }

    fn kept(record: &Value, keep: Keep) -> Vec<Vec<u8>> {
        take_apart(record.to_string().as_bytes(), keep).runs
    }

    #[test]
    fn each_run_of_a_session_is_kept_with_what_its_row_says() {
        let run = |id: &str| json!({"run_id": id, "agent_id": "a", "metrics": {"input_tokens": 3}});
        let row = json!({"session_id": "s", "user_id": "u", "session_type": "agent",
            "runs": json!([run("one"), run("two")]).to_string()});
        let whole = figures(row.to_string().as_bytes());
        assert_eq!(whole.runs.len(), 2);
        for keep in [Keep::Figures, Keep::Content] {
            let apart: Vec<_> = kept(&row, keep).iter().flat_map(|json| figures(json).runs).collect();
            assert_eq!(apart, whole.runs);
        }
    }

    #[test]
    fn what_is_no_run_is_named() {
        let records = json!([{"event": "RunContent"}, {"run_id": "r", "agent_id": "a"}, 7]);
        let taken = take_apart(records.to_string().as_bytes(), Keep::Figures);
        let left_out: Vec<_> = taken.left_out().collect();
        assert_eq!(taken.runs.len(), 1);
        assert_eq!(left_out, [(Oddity::NotARun, 1), (Oddity::StreamEvent, 1)]);
        assert_eq!(take_apart(b"{", Keep::Figures).left_out().collect::<Vec<_>>(), [(Oddity::NotJson, 1)]);
    }

    #[test]
    fn of_texts_nothing_is_left_but_hashes_of_those_that_are_compared() {
        let secret = "the secret";
        let delegation = json!({"tool_call_id": "c", "tool_name": "delegate_task_to_member", "result": secret,
            "tool_args": {"member_id": "Ann B", "task": secret}});
        let tool = json!({"tool_call_id": "d", "tool_name": "look_up", "result": secret, "tool_args": {"q": secret}});
        let message = json!({"id": "m", "role": "assistant", "content": secret, "reasoning_content": secret,
            "tool_calls": [{"id": "c", "function": {"name": "x", "arguments": secret}}]});
        let member = json!({"run_id": "m", "agent_name": "Ann B", "content": secret});
        let run = json!({"run_id": "r", "team_id": "t", "status": secret, "content": secret, "input": secret,
            "metadata": {"traceparent": secret, "x": secret}, "messages": [message], "tools": [delegation, tool],
            "metrics": {"provider_metrics": {"tier": "fast", "note": secret, secret: 1}, "details": {secret: [{"input_tokens": 1}]}},
            "member_responses": [member], "requirements": [secret, {"a": secret}],
            "step_results": [[{"step_name": "s", "error": secret, "content": secret}], secret]});
        let [stripped] = <[Vec<u8>; 1]>::try_from(kept(&run, Keep::Figures)).unwrap();
        let text = String::from_utf8(stripped.clone()).unwrap();
        assert!(!text.contains("secret"), "{text}");
        let (whole, left) = (figures(run.to_string().as_bytes()), figures(&stripped));
        assert_eq!(left.runs, whole.runs);
        let delegation = &left.runs[0].run.tools.iter().find(|tool| tool.delegates).unwrap();
        assert!(delegation.result_hash.is_some() && delegation.result_hash == left.runs[1].run.answer_hash);
        assert!(delegation.member_hash.is_some());
        // What was stripped once stays as it is.
        assert_eq!(take_apart(&stripped, Keep::Figures).runs, [stripped]);
    }
}
