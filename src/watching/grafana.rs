//! Dashboards as Grafana reads them: what a panel shows, and where it stands.

use serde_json::{Map, Value, json};

use super::Setup;
use super::query::label;
use crate::otel::names;

/// The layout of the JSON. Grafana moves older ones up by itself.
const SCHEMA_VERSION: u32 = 41;
const COLUMNS: u32 = 24;
/// The least that a bar or a point may stand for: four releases of metrics, by default.
const LEAST_RELEASES: u32 = 4;

/// The matchers of the dashboard's variables for series of anybody's.
pub(super) const JOB: &str = "job=~\"$job\",deployment_environment_name=~\"$environment\"";

/// A dashboard.
pub(super) struct Dashboard {
    pub(super) file: &'static str,
    pub(super) uid: &'static str,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    /// Rows below each other; the first has no title and is what one sees at once.
    pub(super) rows: Vec<Row>,
}

/// Panels beside and below each other.
pub(super) struct Row {
    pub(super) title: &'static str,
    /// Whether it has to be opened.
    pub(super) is_closed: bool,
    pub(super) panels: Vec<Panel>,
}

/// One picture.
pub(super) struct Panel {
    pub(super) title: &'static str,
    /// What it means, for whoever points at its corner.
    pub(super) description: &'static str,
    pub(super) shape: Shape,
    pub(super) unit: &'static str,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) targets: Vec<Target>,
}

/// How values are drawn.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    /// One number, with its past behind it or without.
    Number,
    /// A bar for each series, with the values at which it becomes orange and red.
    Gauges([f64; 2]),
    /// Bars on each other: their sum is the total.
    Bars,
    /// Lines, with marks at these values.
    Lines(&'static [f64]),
    /// How many values were how large.
    Heatmap,
    /// Rows of labels and values: columns by the names that they have and shall have, with their units.
    Table(Vec<Column>),
}

/// A column of a table.
#[derive(Debug, Clone)]
pub(super) struct Column {
    /// The label it shows; none: the value of the next target.
    pub(super) label: Option<String>,
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    /// The attribute by which Jaeger is searched for what stands in it.
    pub(super) search: Option<&'static str>,
}

/// One query.
pub(super) struct Target {
    pub(super) expression: String,
    pub(super) legend: String,
}

impl Target {
    pub(super) fn new(expression: impl Into<String>, legend: impl Into<String>) -> Self {
        Self { expression: expression.into(), legend: legend.into() }
    }

    /// Named by a label.
    pub(super) fn by(expression: impl Into<String>, name: &str) -> Self {
        Self::new(expression, format!("{{{{{}}}}}", label(name)))
    }
}

impl Column {
    pub(super) fn label(name: &'static str, title: &'static str) -> Self {
        Self { label: Some(label(name)), title, unit: "string", search: Some(name) }
    }

    pub(super) fn value(title: &'static str, unit: &'static str) -> Self {
        Self { label: None, title, unit, search: None }
    }
}

impl Dashboard {
    /// As Grafana's JSON.
    pub(super) fn json(&self, setup: &Setup) -> String {
        let mut place = Place::default();
        let mut panels = Vec::new();
        for row in &self.rows {
            if row.title.is_empty() {
                panels.extend(row.panels.iter().map(|panel| place.panel(panel, setup)));
                continue;
            }
            place.new_line();
            let (id, y) = (place.id(), place.y);
            place.y += 1;
            let own: Vec<Value> = row.panels.iter().map(|panel| place.panel(panel, setup)).collect();
            let (within, below) = if row.is_closed { (own, Vec::new()) } else { (Vec::new(), own) };
            panels.push(json!({
                "type": "row", "id": id, "title": row.title, "collapsed": row.is_closed,
                "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1}, "panels": within,
            }));
            panels.extend(below);
        }
        let links = [
            json!({"type": "dashboards", "tags": ["agno-otel"], "title": "agno-otel", "asDropdown": false,
                "keepTime": true, "includeVars": true}),
            json!({"type": "link", "title": "Runs in Jaeger", "url": "${jaeger}/search", "targetBlank": true}),
        ];
        let board = json!({
            "uid": self.uid, "title": self.title, "description": self.description, "tags": ["agno-otel"],
            "schemaVersion": SCHEMA_VERSION, "version": 1, "editable": true, "graphTooltip": 1, "refresh": "1m",
            "timezone": "browser", "time": {"from": "now-24h", "to": "now"}, "links": links,
            "templating": {"list": variables(setup)}, "annotations": {"list": []}, "panels": panels,
        });
        format!("{board:#}\n")
    }
}

/// Where the next panel goes.
#[derive(Default)]
struct Place {
    x: u32,
    y: u32,
    /// Of the highest panel of this line.
    height: u32,
    last_id: u32,
}

impl Place {
    fn id(&mut self) -> u32 {
        self.last_id += 1;
        self.last_id
    }

    fn new_line(&mut self) {
        self.y += self.height;
        (self.x, self.height) = (0, 0);
    }

    fn panel(&mut self, panel: &Panel, setup: &Setup) -> Value {
        if self.x + panel.width > COLUMNS {
            self.new_line();
        }
        let at = json!({"x": self.x, "y": self.y, "w": panel.width, "h": panel.height});
        self.x += panel.width;
        self.height = self.height.max(panel.height);
        panel.json(self.id(), &at, setup)
    }
}

impl Panel {
    fn json(&self, id: u32, at: &Value, setup: &Setup) -> Value {
        let (kind, options, custom) = self.shape.json();
        let interval = setup.metrics_every.as_secs().max(1) * u64::from(LEAST_RELEASES);
        let (overrides, transformations) = match &self.shape {
            Shape::Table(columns) => (columns.iter().map(Column::json).collect(), tidied(columns)),
            _ => (Vec::new(), json!([])),
        };
        json!({
            "type": kind, "id": id, "gridPos": at, "title": self.title, "description": self.description,
            "datasource": prometheus(), "interval": format!("{interval}s"), "options": options,
            "targets": self.targets(), "transformations": transformations,
            "fieldConfig": {"defaults": self.defaults(&custom), "overrides": overrides},
        })
    }

    /// What holds for every value.
    fn defaults(&self, custom: &Value) -> Value {
        match &self.shape {
            Shape::Number => json!({"unit": self.unit, "custom": custom, "noValue": "0"}),
            Shape::Gauges([orange, red]) => {
                let thresholds = steps(&[*orange, *red]);
                json!({"unit": self.unit, "custom": custom, "min": 0, "max": red, "thresholds": thresholds})
            }
            Shape::Lines(marks) if !marks.is_empty() => {
                json!({"unit": self.unit, "custom": custom, "thresholds": steps(marks)})
            }
            _ => json!({"unit": self.unit, "custom": custom}),
        }
    }

    fn targets(&self) -> Vec<Value> {
        let is_past = matches!(self.shape, Shape::Bars | Shape::Lines(_) | Shape::Heatmap);
        let format = match self.shape {
            Shape::Table(_) => "table",
            Shape::Heatmap => "heatmap",
            _ => "time_series",
        };
        let letters = ('A'..='Z').map(String::from);
        let json = |(letter, target): (String, &Target)| {
            json!({
                "refId": letter, "datasource": prometheus(), "expr": target.expression, "legendFormat": target.legend,
                "format": format, "range": is_past, "instant": !is_past, "exemplar": is_past, "editorMode": "code",
            })
        };
        letters.zip(&self.targets).map(json).collect()
    }
}

impl Shape {
    /// The kind of panel, its options and those of its fields.
    fn json(&self) -> (&'static str, Value, Value) {
        let all = json!({"calcs": ["lastNotNull"], "fields": "", "values": false});
        let legend = json!({"showLegend": true, "displayMode": "list", "placement": "bottom"});
        match self {
            Self::Number => {
                ("stat", json!({"reduceOptions": all, "colorMode": "value", "graphMode": "none"}), json!({}))
            }
            Self::Gauges(_) => (
                "bargauge",
                json!({"reduceOptions": all, "orientation": "horizontal", "displayMode": "basic"}),
                json!({}),
            ),
            Self::Bars => (
                "timeseries",
                json!({"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}),
                json!({"drawStyle": "bars", "fillOpacity": 70, "lineWidth": 0,
                    "stacking": {"mode": "normal", "group": "A"}}),
            ),
            Self::Lines(marks) => (
                "timeseries",
                json!({"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}),
                json!({"drawStyle": "line", "fillOpacity": 0, "lineWidth": 1, "showPoints": "auto",
                    "thresholdsStyle": {"mode": if marks.is_empty() { "off" } else { "dashed" }}}),
            ),
            Self::Heatmap => (
                "heatmap",
                json!({"calculate": false, "color": {"mode": "scheme", "scheme": "Oranges", "steps": 32},
                    "cellGap": 1, "yAxis": {"axisPlacement": "left"}, "tooltip": {"mode": "single", "yHistogram": true},
                    "exemplars": {"color": "rgba(255,0,255,0.7)"}}),
                json!({}),
            ),
            Self::Table(_) => ("table", json!({"showHeader": true, "cellHeight": "sm"}), json!({})),
        }
    }
}

impl Column {
    /// The unit, and the way to the runs.
    fn json(&self) -> Value {
        let mut properties = vec![json!({"id": "unit", "value": self.unit})];
        if let Some(search) = self.search {
            let tags = format!("%7B%22{search}%22%3A%22${{__value.text:percentencode}}%22%7D");
            let url = format!(
                "${{jaeger}}/search?service=${{__data.fields.service:percentencode}}&lookback=2d&tags={tags}"
            );
            let link = json!({"title": "Runs in Jaeger", "url": url, "targetBlank": true});
            properties.push(json!({"id": "links", "value": [link]}));
        }
        json!({"matcher": {"id": "byName", "options": self.title}, "properties": properties})
    }
}

/// One table of what the targets found, with the columns' names. The first value decides the order.
fn tidied(columns: &[Column]) -> Value {
    let mut letters = ('A'..='Z').map(|letter| format!("Value #{letter}"));
    let has_one_value = columns.iter().filter(|column| column.label.is_none()).count() == 1;
    let (mut renamed, mut order) = (Map::new(), Map::new());
    for (at, column) in columns.iter().enumerate() {
        let own = match &column.label {
            Some(label) => label.clone(),
            None if has_one_value => "Value".to_owned(),
            None => letters.next().unwrap_or_default(),
        };
        renamed.insert(own.clone(), json!(column.title));
        order.insert(own, json!(at));
    }
    let first = columns.iter().find(|column| column.label.is_none()).map_or("", |column| column.title);
    json!([
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": {"Time": true}, "indexByName": order, "renameByName": renamed}},
        {"id": "sortBy", "options": {"fields": {}, "sort": [{"field": first, "desc": true}]}},
    ])
}

fn steps(at: &[f64]) -> Value {
    let colors = ["orange", "red", "dark-red"];
    let marks = at.iter().zip(colors).map(|(value, color)| json!({"color": color, "value": value}));
    let steps: Vec<Value> = std::iter::once(json!({"color": "green", "value": null})).chain(marks).collect();
    json!({"mode": "absolute", "steps": steps})
}

fn prometheus() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

fn variables(setup: &Setup) -> Vec<Value> {
    let runs = super::query::series(&names::RUNS);
    let tokens = super::query::series(&names::TOKEN_USAGE);
    let [agent, model] = [names::AGENT_NAME, names::REQUEST_MODEL].map(label);
    let job = match &setup.job {
        Some(job) => json!({"text": [job], "value": [job]}),
        None => json!({"text": ["All"], "value": ["$__all"]}),
    };
    let all = json!({"text": ["All"], "value": ["$__all"]});
    vec![
        json!({"type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus",
            "current": {"text": "Prometheus", "value": "prometheus"}, "hide": 0}),
        query("job", "Service", &format!("label_values({runs}, job)"), &job),
        query(
            "environment",
            "Environment",
            &format!("label_values({runs}{{job=~\"$job\"}}, {})", label("deployment.environment.name")),
            &all,
        ),
        query("agent", "Agent or team", &format!("label_values({runs}{{{JOB}}}, {agent})"), &all),
        query("model", "Model", &format!("label_values({tokens}{{{JOB}}}, {model})"), &all),
        json!({"type": "textbox", "name": "jaeger", "label": "Jaeger", "query": setup.jaeger, "hide": 0,
            "current": {"text": setup.jaeger, "value": setup.jaeger}}),
    ]
}

/// A variable whose values Prometheus tells. All of them are any, none included.
fn query(name: &str, label: &str, of: &str, current: &Value) -> Value {
    json!({
        "type": "query", "name": name, "label": label, "datasource": prometheus(), "definition": of,
        "query": {"qryType": 1, "query": of, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "multi": true, "includeAll": true, "allValue": ".*", "refresh": 2, "sort": 1, "hide": 0, "current": current,
    })
}
