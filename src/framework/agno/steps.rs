//! Workflow steps: Agno's nested lists into a flat list that points to parents.

use super::message::duration;
use super::record::{StepNode, StepNodes, StepRecord};
use super::usage::Detail;
use crate::framework::Oddities;
use crate::model::step::Spender;
use crate::model::{RunKind, Step};

/// Reads `step_results`. Returns the steps, and what steps state of their executors' spend; it counts only
/// where the executor's run was not kept (`store_executor_outputs=False`).
pub(super) fn read(nodes: &StepNodes<'_>, oddities: &mut Oddities) -> (Vec<Step>, Vec<Detail>) {
    let mut reader = Reader { steps: Vec::new(), details: Vec::new(), oddities };
    reader.nodes(nodes, None, "");
    (reader.steps, reader.details)
}

/// The path of a step: its place in the list, behind the path of what contains it.
pub(super) fn path(prefix: &str, place: usize) -> String {
    if prefix.is_empty() { place.to_string() } else { format!("{prefix}/{place}") }
}

struct Reader<'o> {
    steps: Vec<Step>,
    details: Vec<Detail>,
    oddities: &'o mut Oddities,
}

impl Reader<'_> {
    fn nodes(&mut self, nodes: &StepNodes<'_>, parent: Option<usize>, prefix: &str) {
        for (place, node) in nodes.0.iter().enumerate() {
            let path = path(prefix, place);
            match node {
                StepNode::One(step) => self.step(step, parent, &path),
                StepNode::Several(nodes) => self.nodes(nodes, parent, &path),
            }
        }
    }

    fn step(&mut self, record: &StepRecord<'_>, parent: Option<usize>, path: &str) {
        let kind = record.step_type.owned();
        let parallel = kind.as_deref() == Some("Parallel");
        let seconds = record.metrics.0.as_ref().and_then(|metrics| metrics.duration.float());
        let place = self.steps.len();
        let is_leaf = record.steps.0.is_empty();
        self.steps.push(Step {
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
        if is_leaf {
            self.spend(record, place);
        }
        self.nodes(&record.steps, Some(place), path);
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
            self.details.push(detail);
        }
    }
}
