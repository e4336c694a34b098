//! What is shown, for machines: `docs/show.md` has the fields.

use serde_json::{Map, Value, json};

use super::one::OneRun;
use super::rows::{Figures, Newest, RunRow, SessionRow, Totals};
use crate::config::when;
use crate::intake::Unpriced;
use crate::model::Tokens;
use crate::model::cost::usd;
use crate::model::tokens::CLASSES;
use crate::money::TABLE;
use crate::otel::Line;
use crate::otel::ids::hex;

pub(super) fn sessions(rows: &Newest<SessionRow>, totals: &Totals) -> Value {
    let all: Vec<Value> = rows.oldest_first().rev().map(of_session).collect();
    let mut total = of_figures(&totals.figures);
    total.insert("sessions".to_owned(), json!(totals.sessions));
    total.insert("runs".to_owned(), json!(totals.runs));
    json!({"view": "sessions", "price_table": TABLE, "sessions": all, "total": total, "left_out": rows.left_out()})
}

pub(super) fn session(row: &SessionRow, runs: &Newest<RunRow>) -> Value {
    let all: Vec<Value> = runs.oldest_first().map(of_run).collect();
    json!({"view": "session", "price_table": TABLE, "session": of_session(row), "runs": all, "left_out": runs.left_out()})
}

pub(super) fn runs(rows: &Newest<RunRow>, totals: &Totals) -> Value {
    let all: Vec<Value> = rows.oldest_first().rev().map(of_run).collect();
    let mut total = of_figures(&totals.figures);
    total.insert("runs".to_owned(), json!(totals.runs));
    json!({"view": "runs", "price_table": TABLE, "runs": all, "total": total, "left_out": rows.left_out()})
}

pub(super) fn matches(sessions: &Newest<SessionRow>, runs: &Newest<RunRow>) -> Value {
    let of_sessions: Vec<Value> = sessions.oldest_first().rev().map(of_session).collect();
    let of_runs: Vec<Value> = runs.oldest_first().rev().map(of_run).collect();
    let left_out = sessions.left_out() + runs.left_out();
    json!({"view": "matches", "price_table": TABLE, "sessions": of_sessions, "runs": of_runs, "left_out": left_out})
}

pub(super) fn one(one: &OneRun) -> Value {
    let OneRun { row, root_run_id, lines, gist, user_id } = one;
    let spans: Vec<Value> = lines.iter().map(|line| of_line(line, lines)).collect();
    let mut run = of_run(row);
    if let Some(run) = run.as_object_mut() {
        run.insert("root_run_id".to_owned(), json!(root_run_id.as_deref().unwrap_or(row.run_id())));
        let said = [("input", &gist.input), ("output", &gist.output), ("error", &gist.error)];
        let said = said.into_iter().filter(|(_, text)| !text.is_empty());
        run.extend(said.map(|(name, text)| (name.to_owned(), json!(text))));
        run.extend(user_id.iter().map(|id| ("user_id".to_owned(), json!(id))));
    }
    json!({"view": "run", "price_table": TABLE, "run": run, "spans": spans})
}

fn of_tokens(tokens: &Tokens) -> Value {
    let of_class = |class: crate::model::tokens::Class| (class.as_str().to_owned(), json!(tokens.of(class)));
    let mut all: Map<String, Value> = CLASSES.into_iter().map(of_class).collect();
    all.insert("total".to_owned(), json!(tokens.total()));
    Value::Object(all)
}

fn of_unpriced(unpriced: &Unpriced) -> Vec<Value> {
    let of_model = |((provider, model), tokens): (&(String, String), &u64)| json!({"provider": provider, "model": model, "tokens": tokens});
    unpriced.iter().map(of_model).collect()
}

fn of_figures(figures: &Figures) -> Map<String, Value> {
    let Figures { runs, calls, tools, errors, tokens, cost, unpriced } = figures;
    let cost = cost.map(|cost| {
        json!({"nano_usd": cost.nano_usd, "usd": usd(cost.nano_usd), "source": cost.source, "is_estimate": cost.is_estimate})
    });
    let all = [
        ("all_runs", json!(runs)),
        ("model_calls", json!(calls)),
        ("tool_calls", json!(tools)),
        ("errors", json!(errors)),
        ("tokens", of_tokens(tokens)),
        ("cost", json!(cost)),
        ("unpriced", json!(of_unpriced(unpriced))),
    ];
    all.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
}

fn of_session(row: &SessionRow) -> Value {
    let SessionRow { id, names, runs, paused, running, start_ns, end_ns, figures, first: _ } = row;
    let mut all = of_figures(figures);
    let own = json!({
        "session_id": id,
        "names": names,
        "runs": runs,
        "paused": paused,
        "running": running,
        "started": when::text_ns(*start_ns),
        "ended": when::text_ns(*end_ns),
        "seconds": seconds(end_ns.saturating_sub(*start_ns)),
    });
    all.extend(own.as_object().cloned().unwrap_or_default());
    Value::Object(all)
}

fn of_run(row: &RunRow) -> Value {
    let mut all = of_figures(&row.figures);
    let own = json!({
        "run_id": row.run_id(),
        "trace_id": hex(&row.trace_id),
        "span_id": hex(&row.span_id),
        "session_id": row.session_id,
        "parent_run_id": row.parent_run_id,
        "kind": row.kind.as_str(),
        "name": row.label(),
        "id": row.entity_id,
        "status": row.status.as_str(),
        "error_type": row.error_type,
        "models": row.models,
        "tools": row.tool_names,
        "started": when::text_ns(row.start_ns),
        "ended": when::text_ns(row.end_ns),
        "seconds": seconds(row.length_ns()),
        "timing": row.timing.as_str(),
        "time_to_first_token_seconds": row.first_ns.map(seconds),
    });
    all.extend(own.as_object().cloned().unwrap_or_default());
    Value::Object(all)
}

/// Tokens and cost are those of model calls alone, so that spans add up to their run.
fn of_line(line: &Line, lines: &[Line]) -> Value {
    let spent = Some(line.spent).filter(|_| line.is_call);
    let cost = spent.and_then(|spent| spent.nano_usd);
    let begin_ns = lines.first().map_or(0, |root| root.start_ns);
    json!({
        "span_id": line.span_id,
        "parent_span_id": line.parent.and_then(|parent| lines.get(parent)).map(|parent| &parent.span_id),
        "name": line.name,
        "run_id": line.run_id,
        "started": when::text_ns(line.start_ns),
        "offset_seconds": seconds(line.start_ns.saturating_sub(begin_ns)),
        "seconds": seconds(line.end_ns.saturating_sub(line.start_ns)),
        "is_coarse": line.coarse,
        "tokens": spent.map(|spent| of_tokens(&spent.tokens)),
        "cost": cost.map(|nano_usd| json!({"nano_usd": nano_usd, "usd": usd(nano_usd)})),
        "is_unpriced": spent.is_some_and(|spent| spent.unpriced),
        "time_to_first_token_seconds": line.first_ns.map(seconds),
        "failed": line.failed,
        "error_type": line.error_type,
        "error": Some(&line.error).filter(|error| !error.is_empty()),
        "notes": line.notes,
    })
}

fn seconds(ns: u64) -> f64 {
    std::time::Duration::from_nanos(ns).as_secs_f64()
}
