//! What to do about what is found around agno-otel. `docs/check.md` has each; a test compares the two.

// The Collector.
pub(super) const CONFIG_FILE: &str = "give the files the Collector is started with, in their order";
pub(super) const PIPELINE: &str = "add it to service.pipelines, with receivers: [otlp]";
pub(super) const LOGS: &str =
    "add a pipeline for logs, or what --observe says of itself is lost there, with a warning";
pub(super) const PROTOCOL: &str =
    "add the protocol to receivers.otlp.protocols, or choose the other with --protocol";
pub(super) const PORT: &str =
    "is a proxy or a container's port between? else set --endpoint, or the receiver's endpoint";
pub(super) const ONE_CONSUMER: &str = "sending_queue: {num_consumers: 1}";
pub(super) const ORDER_UNKNOWN: &str = "see in its documentation that one request is sent after the other, oldest first; sending_queue: {num_consumers: 1} does it where it has that key";
pub(super) const EXPIRATION: &str = "metric_expiration: 192h; better: an otlp_http exporter to Prometheus' own receiver (collector-config/jaeger-prometheus.yaml)";
pub(super) const LAST_POINT: &str = "an otlp_http exporter to Prometheus' own receiver (collector-config/jaeger-prometheus.yaml), or run --metrics scrape without the Collector";
pub(super) const TEMPORALITY: &str = "take it out of the pipeline of metrics";
pub(super) const REWRITES: &str =
    "see that it neither drops metrics nor takes labels from them; docs/mapping.md has all names";
pub(super) const ON_DISK: &str = "sending_queue: {storage: file_storage}, retry_on_failure: {max_elapsed_time: 0s} (collector-config/queue.yaml)";
pub(super) const NO_RETRY: &str = "retry_on_failure: {max_elapsed_time: 0s}";
pub(super) const BATCH: &str = "sending_queue: {batch: {}} on the exporter instead";
pub(super) const MEMORY_LIMITER: &str =
    "memory_limiter as the first processor of each pipeline; what it turns away is sent again";
pub(super) const SAMPLING: &str =
    "nothing, if that is meant: counters do not come from spans, and stay exact";

// Prometheus.
pub(super) const PROMETHEUS: &str = "give the URL of its API, such as http://localhost:9090";
pub(super) const VERSION: &str = "Prometheus 3 or newer";
pub(super) const NOT_SHOWN: &str =
    "of a service see its documentation; what is checked there is in collector-config/prometheus.yaml";
pub(super) const RECEIVER: &str = "start it with --web.enable-otlp-receiver";
pub(super) const EXEMPLARS: &str =
    "start it with --enable-feature=exemplar-storage, for the way from a counter to the run";
pub(super) const WINDOW: &str = "storage: {tsdb: {out_of_order_time_window: 30m}} in its configuration";
pub(super) const PROMOTE: &str = "otlp: {promote_resource_attributes: [service.name, service.namespace, service.instance.id, deployment.environment.name]}";
pub(super) const PROMOTE_FEWER: &str = "promote those four and no more: where another changes, each series becomes a new one, and sums count both";
pub(super) const TRANSLATION: &str = "otlp: {translation_strategy: UnderscoreEscapingWithSuffixes}";
pub(super) const RETENTION: &str =
    "start it with --storage.tsdb.retention.time=15d or longer, or leave that alert out";
pub(super) const NO_TARGET: &str = "add it to scrape_configs (docs/http.md)";
pub(super) const TARGET_DOWN: &str =
    "does agno-otel run with --metrics scrape, is the token right, the address reachable?";
pub(super) const HONOR_LABELS: &str =
    "honor_labels: true in its scrape_config: job and instance are the application's and the state file's";
pub(super) const NO_DATA: &str = "has run released metrics (agno-otel status)? is this the Prometheus they end in, and the service's name the same?";
pub(super) const LOST: &str = "see the log of what is between, and agno-otel status; then the settings above, and that it is this Prometheus they end in";
pub(super) const INSTANCES: &str = "let one run read a source; what one-shot sends have sent is of an instance each. Where they read different sources, all is well";
pub(super) const DOUBLES: &str = "let metrics go one way: otlp or scrape, by one Collector, from one run; sums over a window that holds both count twice";

// Jaeger.
pub(super) const JAEGER: &str = "give the URL of its UI, such as http://localhost:16686";
pub(super) const NO_TRACES: &str = "a run is shown when it is over; does the endpoint lead to this Jaeger, and is the service's name the same?";
pub(super) const INSTRUMENTED: &str = "turn one off, or sum tokens over one alone: spans of otel.scope.name=agno-otel, or agno_token_usage_total, which knows no spans";

// Either.
pub(super) const SLOW: &str = "ask again; if it stays so, it is overloaded, or the network between";

// Files, and what was counted.
pub(super) const CHMOD: &str = "chmod o-rwx";
pub(super) const RENEW: &str = "renew it, and start run anew: certificates are read when it starts";
pub(super) const PLAIN_HTTP: &str = "--listen-certificate and --listen-key, or a proxy with TLS before it";
pub(super) const MANY_VALUES: &str = "give agents, tools and models fixed names; beyond 1,000 values what comes new is counted as \"other\", and no tokens are lost";
