//! Runs in a body: what they are, and what is answered.

use serde_json::{Value, json};

use crate::follow::{Post, Taking};
use crate::framework::agno;
use crate::framework::{Keep, Oddity};
use crate::source;

/// Reasons an answer lists; of further ones it tells the number.
const MAX_REASONS: usize = 100;

/// What a body holds.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Each record with its place in the body.
    pub(super) posts: Vec<Post>,
    rejected: Vec<Rejected>,
    not_listed: u64,
    is_json: bool,
}

#[derive(Debug)]
struct Rejected {
    index: usize,
    reason: Oddity,
    count: u64,
}

impl Batch {
    /// Takes a body apart: a record, several of them, a list. What of it is not to be kept is gone then.
    pub(super) fn of(body: &[u8], keep: Keep) -> Self {
        let mut batch = Self::default();
        let (values, is_cut) = source::split(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body));
        // One list is several records, not a session: what stands where in it says nothing.
        let records = if let [single] = values.as_slice() { agno::items(single) } else { values };
        for (index, record) in records.iter().enumerate() {
            batch.add(index, Post::of(record, keep));
        }
        if is_cut {
            batch.reject(records.len(), Oddity::HalfLine, 1);
        }
        batch.is_json |= records.is_empty() && body.trim_ascii() == b"[]";
        batch
    }

    fn add(&mut self, index: usize, post: Post) {
        self.is_json |= !post.left_out.iter().any(|(reason, _)| *reason == Oddity::NotJson);
        for (reason, count) in &post.left_out {
            self.reject(index, *reason, *count);
        }
        self.posts.push(post);
    }

    fn reject(&mut self, index: usize, reason: Oddity, count: u64) {
        if self.rejected.len() < MAX_REASONS {
            self.rejected.push(Rejected { index, reason, count });
        } else {
            self.not_listed += count;
        }
    }

    /// True if anything in it is JSON.
    pub(super) fn is_json(&self) -> bool {
        self.is_json
    }

    /// What is answered of it.
    pub(super) fn answer(&self, takings: &[Taking]) -> Value {
        let sum = |figure: fn(&Taking) -> u64| takings.iter().map(figure).sum::<u64>();
        let rejected = self.rejected.iter().map(|Rejected { index, reason, count }| {
            let mut one = json!({"index": index, "reason": reason.as_str(), "detail": reason.meaning()});
            if let (Some(fields), true) = (one.as_object_mut(), *count > 1) {
                fields.insert("count".to_owned(), (*count).into());
            }
            one
        });
        let mut answer = json!({
            "accepted": sum(|taking| taking.accepted),
            "duplicates": sum(|taking| taking.duplicates),
            "rejected": rejected.collect::<Vec<_>>(),
        });
        if let (Some(fields), true) = (answer.as_object_mut(), self.not_listed > 0) {
            fields.insert("rejected_not_listed".to_owned(), self.not_listed.into());
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(body: &str) -> (Vec<usize>, bool, Value) {
        let batch = Batch::of(body.as_bytes(), Keep::Figures);
        let rejected = batch.answer(&[])["rejected"].clone();
        (batch.posts.iter().map(Post::len).collect(), batch.is_json(), rejected)
    }

    #[test]
    fn a_body_is_a_run_a_list_a_session_or_lines() {
        let run = r#"{"run_id": "r", "agent_id": "a"}"#;
        let pretty = run.replace(", ", ",\n");
        for (body, expected) in [
            (run.to_owned(), vec![1]),
            (pretty.clone(), vec![1]),
            (format!("[{run}, {pretty}]"), vec![1, 1]),
            (format!("{run}\n{run}\n"), vec![1, 1]),
            (format!("[{run}, {{\"run_id\": \"q\", \"agent_id\": \"a\", \"x\": NaN}}]"), vec![1, 1]),
            (
                format!("{{\"session_id\": \"s\", \"session_type\": \"agent\", \"runs\": [{run}, {run}]}}"),
                vec![2],
            ),
            ("[]".to_owned(), vec![]),
        ] {
            let (found, is_json, rejected) = runs(&body);
            assert_eq!((found, is_json, rejected), (expected, true, json!([])), "{body}");
        }
    }

    #[test]
    fn one_line_of_garbage_costs_that_line() {
        let run = r#"{"run_id": "r", "agent_id": "a"}"#;
        let (found, is_json, rejected) =
            runs(&format!("{run}\ngarbage\n{{\"event\": \"RunContent\"}}\n{run}\n{{\"run_id\""));
        assert_eq!((found, is_json), (vec![1, 0, 0, 1], true));
        let said: Vec<(u64, &str)> = rejected
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (one["index"].as_u64().unwrap(), one["reason"].as_str().unwrap()))
            .collect();
        assert_eq!(said, [(1, "not_json"), (2, "stream_event"), (4, "half_line")]);
    }

    #[test]
    fn what_is_no_json_at_all_is_told_from_what_is_no_run() {
        for body in ["", "garbage", "garbage\nmore", "{\"run_id\"", "{a: 1}"] {
            assert!(!runs(body).1, "{body}");
        }
        for body in ["{}", "7", "null", "garbage\n{}"] {
            assert!(runs(body).1, "{body}");
        }
    }

    #[test]
    fn an_answer_has_an_end() {
        let batch = Batch::of("{}\n".repeat(MAX_REASONS + 7).as_bytes(), Keep::Figures);
        let answer = batch.answer(&[]);
        assert_eq!(answer["rejected"].as_array().unwrap().len(), MAX_REASONS);
        assert_eq!(answer["rejected_not_listed"], 7);
    }
}
