//! Workflow steps: Agno's nested lists into a flat list that points to parents.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::content::error_text;
use super::message::duration;
use super::record::StepRecord;
use super::usage::Detail;
use crate::framework::{Keep, Oddities, Oddity};
use crate::model::step::Spender;
use crate::model::{RunKind, Step};

/// Steps within steps, lists within lists: a nested workflow in a loop in a condition is five.
pub(super) const MAX_DEPTH: usize = 64;

/// What `step_results` says.
#[derive(Debug, Default)]
pub(super) struct Results {
    pub(super) steps: Vec<Step>,
    /// What steps state of their executors' spend; it counts only where the executor's run was not kept
    /// (`store_executor_outputs=False`).
    pub(super) details: Vec<Detail>,
    /// The texts of steps' errors by path, where content is kept.
    pub(super) errors: BTreeMap<String, String>,
}

pub(super) fn read(nodes: Option<&RawValue>, keep: Keep, oddities: &mut Oddities) -> Results {
    let mut reader = Reader { found: Results::default(), keep, oddities };
    reader.nodes(nodes, None, "", 0);
    reader.found
}

struct Reader<'o> {
    found: Results,
    keep: Keep,
    oddities: &'o mut Oddities,
}

impl Reader<'_> {
    /// A list of steps, in which a list stands for steps that ran together.
    fn nodes(&mut self, nodes: Option<&RawValue>, parent: Option<usize>, prefix: &str, depth: usize) {
        let Some(nodes) = nodes.filter(|nodes| nodes.get().starts_with('[')) else {
            return;
        };
        if depth == MAX_DEPTH {
            return self.oddities.add(Oddity::TooDeep);
        }
        // A step that does not parse is left out; the run it executed is still a run.
        for (place, node) in items(nodes).into_iter().enumerate() {
            let path = if prefix.is_empty() { place.to_string() } else { format!("{prefix}/{place}") };
            if node.get().starts_with('[') {
                self.nodes(Some(node), parent, &path, depth + 1);
            } else if let Ok(step) = serde_json::from_str(node.get()) {
                self.step(&step, parent, &path, depth);
            } else {
                self.oddities.add(Oddity::FieldType);
            }
        }
    }

    fn step(&mut self, record: &StepRecord<'_>, parent: Option<usize>, path: &str, depth: usize) {
        let kind = record.step_type.owned();
        let parallel = kind.as_deref() == Some("Parallel");
        let seconds = record.metrics.0.as_ref().and_then(|metrics| metrics.duration.float());
        let place = self.found.steps.len();
        let is_leaf = record.steps.is_none_or(|steps| items(steps).is_empty());
        self.found.steps.push(Step {
            parent,
            name: record.step_name.as_str().unwrap_or("step").to_owned(),
            id: record.step_id.owned(),
            executor_kind: record.executor_type.owned(),
            executor_name: record.executor_name.owned(),
            run_id: record.step_run_id.owned(),
            failed: record.success.0 == Some(false),
            paused: record.is_paused.is_true(),
            // A container states the sum of its children, which is no wall time.
            duration_ns: if is_leaf { duration(seconds, self.oddities) } else { None },
            parallel,
            kind,
            path: path.to_owned(),
        });
        if let Some(error) = record.error.filter(|_| self.keep == Keep::Content).and_then(error_text) {
            self.found.errors.insert(path.to_owned(), error);
        }
        if is_leaf {
            self.spend(record, place);
        }
        self.nodes(record.steps, Some(place), path, depth + 1);
    }

    fn spend(&mut self, record: &StepRecord<'_>, step: usize) {
        let Some(metrics) = record.metrics.0.as_ref() else {
            return;
        };
        let kind = if record.executor_type.as_str() == Some("team") { RunKind::Team } else { RunKind::Agent };
        let name = record.executor_name.as_str().or(record.step_name.as_str()).unwrap_or("step").to_owned();
        for mut detail in super::run::details(metrics, None, None, self.oddities) {
            detail.usage.spender = Some(Spender { kind, name: name.clone(), step });
            detail.step_run_id = record.step_run_id.owned();
            self.found.details.push(detail);
        }
    }
}

fn items(list: &RawValue) -> Vec<&RawValue> {
    serde_json::from_str(list.get()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn results(steps: &Value) -> (Results, Oddities) {
        let raw = serde_json::value::to_raw_value(steps).unwrap();
        let mut oddities = Oddities::default();
        (read(Some(&raw), Keep::default(), &mut oddities), oddities)
    }

    #[test]
    fn what_a_step_spent_is_under_its_executors_name_and_kind() {
        let metrics = json!({"input_tokens": 3});
        let steps = json!([
            {"step_name": "one", "executor_type": "agent", "executor_name": "Ann", "metrics": metrics},
            {"step_name": "two", "executor_type": "team", "metrics": metrics},
        ]);
        let (Results { details, .. }, _) = results(&steps);
        let spenders: Vec<Spender> = details.into_iter().filter_map(|detail| detail.usage.spender).collect();
        let spender = |kind, name: &str, step| Spender { kind, name: name.to_owned(), step };
        assert_eq!(spenders, [spender(RunKind::Agent, "Ann", 0), spender(RunKind::Team, "two", 1)]);
    }

    #[test]
    fn a_container_states_neither_a_duration_nor_a_spend_of_its_own() {
        let leaf = json!({"step_name": "leaf", "metrics": {"duration": 2.0, "input_tokens": 3}});
        let loops =
            json!({"step_name": "loop", "metrics": {"duration": 5.0, "input_tokens": 3}, "steps": [leaf]});
        let (Results { steps, details, .. }, _) = results(&json!([loops]));
        let said: Vec<_> = steps.iter().map(|step| (step.parent, step.duration_ns)).collect();
        assert_eq!(said, [(None, None), (Some(0), Some(2_000_000_000))]);
        assert_eq!(details.len(), 1);
    }

    #[test]
    fn steps_and_lists_are_read_to_their_limit_of_depth_and_no_further() {
        let nested = |depth: usize, wrap: fn(Value) -> Value| {
            let steps = (0..depth).fold(json!([{"step_name": "inmost"}]), |inner, _| json!([wrap(inner)]));
            let (Results { steps, .. }, oddities) = results(&steps);
            let inmost = steps.iter().any(|step| step.name == "inmost");
            (inmost, oddities.count(Oddity::TooDeep))
        };
        for wrap in [|inner| inner, |inner| json!({"steps": inner})] {
            assert_eq!(nested(MAX_DEPTH - 1, wrap), (true, 0));
            assert_eq!(nested(MAX_DEPTH, wrap), (false, 1));
        }
    }
}
