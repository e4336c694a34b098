//! Alerts, as a file of Prometheus' rules.

mod rule;

use std::fmt::Write as _;

use rule::{Alert, Found, block, rule};

use super::Setup;
use super::query::{
    count_by, family, is, label, moved, moved_by, pattern, quoted, selected, selector, series, sum,
};
use super::search::Search;
use crate::model::RunKind;
use crate::model::budget::{Budget, Limit};
use crate::model::run::RunStatus;
use crate::model::tokens::Class;
use crate::otel::names::{self, Metric};

/// A budget is near its limit from here on.
const NEAR: f64 = 0.8;
/// So much of a window must be over before anything is said of its end.
const EARLY: f64 = 0.1;
/// Tokens of an hour below which nothing is a spike, and no ratio of caches is judged.
const MANY_TOKENS: u64 = 200_000;
/// How many times its own usual hour an agent must spend for a spike.
const SPIKE: u64 = 3;
/// The part of yesterday's cache ratio below which it has dropped.
const DROPPED: f64 = 0.5;
/// Model calls of one run that look like a loop; a bound of the histogram's buckets.
const LOOP_CALLS: u64 = 64;
/// The part of runs that may fail, where there are enough of them to tell.
const ERROR_RATIO: f64 = 0.05;
const ENOUGH_RUNS: u64 = 20;
/// Seconds for which sources may stay unread.
const STALE_SECONDS: u64 = 300;
/// A bridge that was there within this and is gone without having said so is down; longer ago, nobody asks for it.
const KNOWN: &str = "1d";
/// Of spans that were dropped: nobody could take them, near or far. Other reasons are the far side's.
const NO_ROOM: &str = "no_room";
/// Seconds for which spans may wait to be delivered.
const WAITING_SECONDS: u64 = 600;

const CRITICAL: &str = "critical";
const WARNING: &str = "warning";

/// Tokens of an hour by agent: the one rule that is recorded, for a week of it is looked at.
const TOKENS_OF_HOUR: &str = "agno:token_usage:moved1h";

/// The rules, as YAML.
pub fn alerts(setup: &Setup) -> String {
    let rules = Rules { setup };
    let mut text = "# Written by `agno-otel export alerts`, from the names that are sent. What is changed here is lost when it is\n\
                    # written again. What each alert is for: docs/watching.md.\ngroups:\n"
        .to_owned();
    let recorded = rules.tokens_of_hour();
    // Writing to a string cannot fail.
    write!(text, "  - name: agno-recorded\n    interval: 1m\n    rules:\n      - record: {TOKENS_OF_HOUR}\n")
        .ok();
    block(&mut text, "        expr", &recorded);
    let groups =
        [("agno-spend", rules.spend()), ("agno-runs", rules.runs()), ("agno-bridge", rules.bridge())];
    for (name, alerts) in groups {
        writeln!(text, "  - name: {name}\n    rules:").ok();
        for alert in alerts {
            rule(&mut text, &alert, setup);
        }
    }
    text
}

struct Rules<'s> {
    setup: &'s Setup,
}

impl Rules<'_> {
    /// Matchers for the series of this setup, and these.
    fn with(&self, matchers: &[String]) -> String {
        let job = self.setup.job.as_deref().map(|job| is("job", job));
        selector(&job.into_iter().chain(matchers.iter().cloned()).collect::<Vec<_>>())
    }

    /// Every series of a metric.
    fn all_of(&self, metric: &Metric) -> String {
        selected(&series(metric), &self.with(&[]))
    }

    fn tokens_of_hour(&self) -> String {
        moved_by(&["job", &label(names::AGENT_NAME)], &names::TOKEN_USAGE, &self.with(&[]), "1h")
    }

    fn spend(&self) -> Vec<Alert> {
        let mut alerts = self.budgets();
        alerts.extend([self.spike(), self.unexpected_model(), self.unpriced(), self.cache()]);
        alerts
    }

    fn budgets(&self) -> Vec<Alert> {
        let budget = label(names::BUDGET_NAME);
        let by = format!("max by (job, {budget})");
        let of = |metric| format!("{by} ({})", self.all_of(metric));
        let [usage, limit, used, start, end] = [
            &names::BUDGET_USAGE,
            &names::BUDGET_LIMIT,
            &names::BUDGET_UTILIZATION,
            &names::BUDGET_WINDOW_START,
            &names::BUDGET_WINDOW_END,
        ]
        .map(of);
        let hour = self.all_of(&names::BUDGET_USAGE);
        let burnt = format!("{by} ({hour} - min_over_time({hour}[1h]))");
        let over = format!("(time() - {start}) / ({end} - {start})");
        let name = format!("Budget {{{{ $labels.{budget} }}}} of {{{{ $labels.job }}}}");
        let search = || Found::Runs(search_budget(&self.setup.budgets));
        vec![
            Alert {
                name: "AgnoBudgetNear",
                expression: format!("{used} >= {NEAR} < 1"),
                hold: "",
                severity: WARNING,
                summary: format!("{name}: {{{{ $value | humanizePercentage }}}} are spent"),
                description: "The limit is near. The dashboard Spend tells when the window ends.".to_owned(),
                search: search(),
            },
            Alert {
                name: "AgnoBudgetSpent",
                expression: format!("{used} >= 1"),
                hold: "",
                severity: CRITICAL,
                summary: format!("{name} is spent: {{{{ $value | humanizePercentage }}}}"),
                description: "agno-otel only tells; it stops no agent.".to_owned(),
                search: search(),
            },
            Alert {
                name: "AgnoBudgetBurning",
                expression: format!(
                    "(\n  {usage}\n  + {burnt} / 3600 * ({end} - time())\n) / {limit} > 1\n\
                     and {used} / ({over}) > 1\nand {over} > {EARLY}\nand {used} < 1"
                ),
                hold: "15m",
                severity: WARNING,
                summary: format!(
                    "{name} will be {{{{ $value | humanizePercentage }}}} spent at the end of its window"
                ),
                description: "At the pace of the last hour and at that of the window so far.".to_owned(),
                search: search(),
            },
        ]
    }

    fn spike(&self) -> Alert {
        let agent = label(names::AGENT_NAME);
        let hour = selected(TOKENS_OF_HOUR, &self.with(&[]));
        Alert {
            name: "AgnoTokenSpike",
            // An agent that is new, where others are known, has a usual hour of nothing.
            expression: format!(
                "{hour} > {SPIKE} * (\n  quantile_over_time(0.95, {hour}[7d] offset 1h)\n  \
                 or 0 * {hour} and on (job) {hour} offset 1d\n)\nand {hour} > {MANY_TOKENS}"
            ),
            hold: "10m",
            severity: WARNING,
            summary: format!(
                "{{{{ $labels.{agent} }}}} of {{{{ $labels.job }}}} spent {{{{ $value | humanize }}}} tokens in an hour"
            ),
            description: format!(
                "More than {SPIKE} times its busiest hours of the last week (the 95th percentile)."
            ),
            search: Found::Runs(Search::as_labelled(&[names::AGENT_NAME])),
        }
    }

    fn unexpected_model(&self) -> Alert {
        let [provider, model] = [names::PROVIDER_NAME, names::REQUEST_MODEL].map(label);
        let any = format!("{model}!=\"\"");
        let models = &self.setup.models;
        let (matchers, unless, why) = if models.is_empty() {
            let known = format!("last_over_time({}[1h] offset 1d)", self.all_of(&names::TOKEN_USAGE));
            let unless = format!(
                "\nunless on (job, {model}) {}\nand on (job) {}",
                sum(&["job", &model], &known),
                sum(&["job"], &known)
            );
            (vec![any], unless, "It was not asked a day ago.")
        } else {
            let others = format!("{model}!~{}", pattern(models));
            (vec![any, others], String::new(), "It is not among the models that were said to be asked.")
        };
        let asked = moved_by(&["job", &provider, &model], &names::TOKEN_USAGE, &self.with(&matchers), "15m");
        Alert {
            name: "AgnoUnexpectedModel",
            expression: format!("{asked} > 0{unless}"),
            hold: "",
            severity: WARNING,
            summary: format!(
                "{{{{ $labels.job }}}} asks {{{{ $labels.{model} }}}} of {{{{ $labels.{provider} }}}}: {{{{ $value | humanize }}}} tokens in 15 minutes"
            ),
            description: why.to_owned(),
            search: Found::Runs(Search::as_labelled(&[names::REQUEST_MODEL])),
        }
    }

    fn unpriced(&self) -> Alert {
        let [provider, model] = [names::PROVIDER_NAME, names::REQUEST_MODEL].map(label);
        let unpriced = moved_by(&["job", &provider, &model], &names::TOKEN_UNPRICED, &self.with(&[]), "1h");
        Alert {
            name: "AgnoUnpricedTokens",
            expression: format!("{unpriced} > 0"),
            hold: "",
            severity: WARNING,
            summary: format!(
                "No price is known of {{{{ $labels.{model} }}}} of {{{{ $labels.{provider} }}}}: amounts in dollars of {{{{ $labels.job }}}} are too low"
            ),
            description: "{{ $value | humanize }} tokens of the last hour are in no amount and in no budget of dollars. \
                          Give it a [[price]] in the config file."
                .to_owned(),
            search: Found::Runs(Search::as_labelled(&[names::REQUEST_MODEL])),
        }
    }

    fn cache(&self) -> Alert {
        let agent = label(names::AGENT_NAME);
        let class = label(names::TOKEN_CLASS);
        let prompt = [Class::Input, Class::CacheRead, Class::CacheWrite].map(Class::as_str);
        let tokens = series(&names::TOKEN_USAGE);
        let of = |classes: &[&str], window: &str| {
            let selector = self.with(&[format!("{class}=~{}", pattern(classes))]);
            sum(&["job", &agent], &moved(&tokens, &selector, window))
        };
        let ratio = |window: &str| {
            format!("{}\n  / {}", of(&[Class::CacheRead.as_str()], window), of(&prompt, window))
        };
        // The offset belongs to what is looked back on, which stands in brackets.
        let yesterday = ratio("1d").replace("[1d]", "[1d] offset 1h");
        Alert {
            name: "AgnoCacheRatioDropped",
            expression: format!(
                "(\n  {}\n) < {DROPPED} * (\n  {yesterday}\n)\nand {} > {MANY_TOKENS}",
                ratio("1h"),
                of(&prompt, "1h")
            ),
            hold: "15m",
            severity: WARNING,
            summary: format!(
                "{{{{ $labels.{agent} }}}} of {{{{ $labels.job }}}} reads only {{{{ $value | humanizePercentage }}}} of its prompts from the cache"
            ),
            description: "Less than half of what it was the day before: something at the beginning of its prompts changes."
                .to_owned(),
            search: Found::Runs(Search::as_labelled(&[names::AGENT_NAME])),
        }
    }

    fn runs(&self) -> Vec<Alert> {
        let mut alerts = Vec::from_iter(self.runaway());
        alerts.extend([self.looping(), self.errors()]);
        alerts
    }

    /// None: no session is too large.
    fn runaway(&self) -> Option<Alert> {
        let worth = worth_waking_for(&self.setup.thresholds);
        if worth.is_empty() {
            return None;
        }
        let [agent, workflow, threshold] =
            [names::AGENT_NAME, names::WORKFLOW_NAME, names::SESSION_THRESHOLD].map(label);
        let by = ["job", &agent, &workflow, &threshold];
        let matcher = format!("{threshold}=~{}", pattern(&worth));
        let crossed = moved_by(&by, &names::SESSION_CROSSED, &self.with(&[matcher]), "10m");
        let number = format!("$labels.{threshold} | reReplaceAll \" .*\" \"\"");
        let search = Search::either(
            format!("match \"tokens$\" $labels.{threshold}"),
            Search::all().and(names::CROSSED_TOKENS, &number),
            Search::all().and(names::CROSSED_USD, &number),
        );
        Some(Alert {
            name: "AgnoRunawaySession",
            expression: format!("{crossed} > 0"),
            hold: "",
            severity: CRITICAL,
            summary: format!(
                "A session of {{{{ $labels.{agent} }}}}{{{{ $labels.{workflow} }}}} of {{{{ $labels.job }}}} passed {{{{ $labels.{threshold} }}}}"
            ),
            description: "It happens once to each session. agno-otel's log names it too.".to_owned(),
            search: Found::Runs(search),
        })
    }

    fn looping(&self) -> Alert {
        let agent = label(names::AGENT_NAME);
        let (by, metric) = (["job", agent.as_str()], &names::INVOKE_AGENT_INFERENCE_CALLS);
        let all = count_by(&by, metric, &self.with(&[]), "30m");
        // Prometheus writes a bound as 64, or as 64.0 where it was scraped.
        let within = moved(
            &format!("{}_bucket", family(metric)),
            &self.with(&[format!("le=~\"{LOOP_CALLS}(\\\\.0)?\"")]),
            "30m",
        );
        Alert {
            name: "AgnoLooping",
            expression: format!("{all}\n- {}\n> 0", sum(&by, &within)),
            hold: "",
            severity: WARNING,
            summary: format!(
                "Runs of {{{{ $labels.{agent} }}}} of {{{{ $labels.job }}}} with more than {LOOP_CALLS} model calls: {{{{ $value }}}}"
            ),
            description: "In half an hour. A run that asks its model so often usually goes in a circle. Of what is found, those with the most spans.".to_owned(),
            search: Found::Runs(Search::as_labelled(&[names::AGENT_NAME])),
        }
    }

    fn errors(&self) -> Alert {
        let [agent, workflow] = [names::AGENT_NAME, names::WORKFLOW_NAME].map(label);
        let by = ["job", agent.as_str(), workflow.as_str()];
        let failed = RunStatus::Error;
        let of = |matchers: &[String]| moved_by(&by, &names::RUNS, &self.with(matchers), "30m");
        let (some, all) = (of(&[is(names::RUN_STATUS, failed.as_str())]), of(&[]));
        let who = format!("{{{{ $labels.{agent} }}}}{{{{ $labels.{workflow} }}}}");
        let search = Search::either(
            format!("$labels.{agent}"),
            Search::as_labelled(&[names::AGENT_NAME]),
            Search::as_labelled(&[names::WORKFLOW_NAME]),
        );
        Alert {
            name: "AgnoErrorRate",
            expression: format!("{some}\n/ {all}\n> {ERROR_RATIO}\nand {all} >= {ENOUGH_RUNS}"),
            hold: "5m",
            severity: CRITICAL,
            summary: format!(
                "{{{{ $value | humanizePercentage }}}} of the runs of {who} of {{{{ $labels.job }}}} fail"
            ),
            description: format!("Of {ENOUGH_RUNS} or more in half an hour."),
            search: Found::Runs(search.and_is(names::RUN_STATUS, failed.as_str())),
        }
    }

    fn bridge(&self) -> Vec<Alert> {
        let up = self.all_of(&names::BRIDGE_UP);
        let read = self.all_of(&names::BRIDGE_READ);
        let reason = label(names::BRIDGE_REASON);
        let dropped = |by: &[&str], matcher: String| {
            moved_by(by, &names::BRIDGE_DROPPED, &self.with(&[matcher]), "10m")
        };
        let refused = dropped(&["job", &reason], format!("{reason}!={}", quoted(NO_ROOM)));
        let no_room = dropped(&["job"], is(names::BRIDGE_REASON, NO_ROOM));
        let waiting = self.all_of(&names::BRIDGE_OUTBOX_AGE);
        vec![
            Alert {
                name: "AgnoBridgeDown",
                // With its last release one that ends as it was asked to says 0.
                expression: format!(
                    "max by (job, instance) (last_over_time({up}[{KNOWN}])) == 1\n\
                     unless on (job, instance) {up}\nor absent_over_time({up}[{KNOWN}])"
                ),
                hold: "2m",
                severity: CRITICAL,
                summary: "{{ with $labels.instance }}agno-otel of {{ $labels.job }} ({{ . }}) sends no metrics any more, and did not say that it ends{{ else }}No agno-otel has sent metrics for a day{{ end }}".to_owned(),
                description: "What it does not count looks like a cheap day, and other alerts are blind to it. Nothing is lost while its database and its state file are there. One that is meant to be gone is told of for a day."
                    .to_owned(),
                search: Found::By("agno-otel check; agno-otel status"),
            },
            Alert {
                name: "AgnoBridgeStale",
                expression: format!("time() - max by (job, instance) ({read}) > {STALE_SECONDS}"),
                hold: "2m",
                severity: CRITICAL,
                summary: "agno-otel of {{ $labels.job }} has not read all its sources for {{ $value | humanizeDuration }}"
                    .to_owned(),
                description: "One cannot be read, or the outbox is full. What is spent meanwhile is counted later."
                    .to_owned(),
                search: Found::By("agno-otel check; agno-otel status"),
            },
            Alert {
                name: "AgnoBridgeRefused",
                expression: format!("{refused} > 0"),
                hold: "",
                severity: CRITICAL,
                summary: format!("{{{{ $value }}}} spans of {{{{ $labels.job }}}} were {{{{ $labels.{reason} }}}}"),
                description: "The far side does not take them. Refused ones are kept as dead letters.".to_owned(),
                search: Found::By("agno-otel dead-letters list"),
            },
            Alert {
                name: "AgnoBridgeNoRoom",
                expression: format!("{no_room} > 0"),
                hold: "",
                severity: CRITICAL,
                summary: "{{ $value }} spans of {{ $labels.job }} found no room and are lost".to_owned(),
                description: "The endpoint of traces has been away until the outbox was full, or the disk of the state file is too slow or fails. Tokens and amounts are counted on.".to_owned(),
                search: Found::By("agno-otel status"),
            },
            Alert {
                name: "AgnoBridgeWaiting",
                expression: format!("max by (job, instance) ({waiting}) > {WAITING_SECONDS}"),
                hold: "",
                severity: WARNING,
                summary: "Traces of {{ $labels.job }} have waited for {{ $value | humanizeDuration }}".to_owned(),
                description: "The endpoint of traces cannot be reached or says later. Nothing is lost; once the outbox is full, sources are read no further.".to_owned(),
                search: Found::By("agno-otel check; agno-otel status"),
            },
        ]
    }
}

/// Whose runs a budget is about, where the configuration says so.
fn search_budget(budgets: &[Budget]) -> Search {
    let Some((budget, others)) = budgets.split_first() else { return Search::all() };
    let mut own = Search::all();
    // Agents and teams first: every span has the one that did the work.
    if let Some((kind, name)) = budget.scope.spenders.first() {
        let attribute = if *kind == RunKind::Workflow { names::WORKFLOW_NAME } else { names::AGENT_NAME };
        own = own.and_is(attribute, name);
    }
    if let Some(model) = &budget.scope.model {
        own = own.and_is(names::REQUEST_MODEL, model);
    }
    let condition = format!("eq $labels.{} {}", label(names::BUDGET_NAME), quoted(&budget.name));
    Search::either(condition, own, search_budget(others))
}

/// Thresholds that somebody wants to be woken for. The lowest of several is passed every day; it is for the dashboard.
fn worth_waking_for(thresholds: &[Limit]) -> Vec<String> {
    let is_tokens = |limit: &Limit| matches!(limit, Limit::Tokens(_));
    let of_kind = |wanted: bool| {
        let mut of_kind: Vec<Limit> =
            thresholds.iter().copied().filter(|limit| is_tokens(limit) == wanted).collect();
        of_kind.sort_by_key(|limit| limit.amount());
        let skipped = usize::from(of_kind.len() > 1);
        of_kind.into_iter().skip(skipped).map(Limit::text)
    };
    of_kind(true).chain(of_kind(false)).collect()
}
