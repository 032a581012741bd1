//! What the running programs tell of themselves: metrics with base units and bounded labels, and spans
//! that continue the traces of callers and producers.
//!
//! With `MONITORING_EXPOSITION=<folder>` the text of both `/metrics` stays there for
//! `testbed/ops/monitoring.sh`, which checks the rules and dashboards against it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use testbed::process::tail;
use testbed::{Process, eventually};

use crate::api::Api;
use crate::pipeline::{PATIENCE, Pipeline};
use crate::program::Program;
use crate::stand_in;
use crate::worker::Worker;

/// A piece of what must never be the value of a label: it is in a symbol, a path and a request id.
const UNBOUNDED: &str = "UNBOUNDED";
/// The labels there are. A new one belongs here and in docs/monitoring.md, and has few values.
const LABELS: [&str; 15] = [
    "outcome",
    "reason",
    "cause",
    "phase",
    "part",
    "task",
    "view",
    "topic",
    "partition",
    "state",
    "route",
    "method",
    "status",
    "version",
    "revision",
];
/// Most values of one label.
const MOST_VALUES: usize = 32;
/// What a histogram may be measured in.
const UNITS: [&str; 3] = ["_seconds", "_bytes", "_messages"];
/// Units that are no base units.
const NO_UNITS: [&str; 7] = [
    "_ms",
    "_millis",
    "_milliseconds",
    "_microseconds",
    "_minutes",
    "_kb",
    "_percent",
];

#[tokio::test]
async fn metrics_have_base_units_and_bounded_labels() {
    // GIVEN a worker and an api that have done all that they do: good and bad messages, answers of
    // several statuses, a refresh of each view
    let pipeline = Pipeline::new("metrics").await;
    let worker = Worker::start(&pipeline, &[("FDA_UPKEEP__REFRESH_INTERVAL", "100ms")]);
    let api = Api::start(&pipeline, &[]);
    api.ready().await;
    send(&pipeline, &[(&tick(1), None), ("nonsense", None)]);
    pipeline.caught_up().await;
    for path in [
        &format!("/v1/candles/{UNBOUNDED}?interval=1m"),
        &format!("/v1/candles/{UNBOUNDED}?interval=nonsense"),
        &format!("/v1/candles/{UNBOUNDED}.2?interval=1m"),
        &format!("/{UNBOUNDED}"),
        "/v1/symbols",
        "/_healthcheck",
    ] {
        api.ask(path, &[("x-request-id", UNBOUNDED)]).await.unwrap();
    }

    // WHEN they are scraped
    let scrape = async |program: &Program| {
        let (status, text) = program.admin("/metrics").await?;
        assert_eq!(status, 200, "{text}");
        reqwest::Result::Ok(text)
    };
    let of_ingest = eventually(
        "each view was refreshed, and positions are shown",
        PATIENCE,
        async || {
            let text = scrape(&worker).await.map_err(|error| error.to_string())?;
            let shown = [
                "ingest_view_refreshed_timestamp_seconds{",
                "ingest_partition_end{",
            ]
            .map(|metric| text.matches(metric).count());
            if shown == [4, 3] {
                Ok(text)
            } else {
                Err(format!("{shown:?}"))
            }
        },
    )
    .await
    .unwrap();
    let of_api = scrape(&api).await.unwrap();

    // THEN what was done is counted
    for (text, sample) in [
        (&of_ingest, "ingest_messages_total{outcome=\"added\"} 1"),
        (
            &of_ingest,
            "ingest_dead_letters_total{reason=\"not-json\"} 1",
        ),
        (&of_ingest, "ingest_message_delay_seconds_count 2"),
        (&of_ingest, "ingest_ready{part=\"database\"} 1"),
        (&of_ingest, "ingest_lag_messages 0"),
        (&of_api, "route=\"/v1/candles/{symbol}\",status=\"200\"} 1"),
        (&of_api, "route=\"/v1/candles/{symbol}\",status=\"400\"} 1"),
        (&of_api, "route=\"unmatched\",status=\"404\"} 1"),
        (&of_api, "api_http_requests_in_flight 0"),
    ] {
        assert!(text.contains(sample), "no {sample} in\n{text}");
    }
    // AND names, units and labels keep the rules
    for (program, text) in [("ingest", &of_ingest), ("api", &of_api)] {
        assert_eq!(faults(program, text), Vec::<String>::new());
        if let Some(folder) = std::env::var_os("MONITORING_EXPOSITION") {
            let file = std::path::Path::new(&folder).join(format!("{program}.prom"));
            std::fs::write(file, text).unwrap();
        }
    }
}

#[test]
fn a_metric_that_breaks_the_rules_is_found() {
    for (text, fault) in [
        (
            "# HELP x_a A.\n# TYPE x_a gauge\nx_a 1\n",
            "another program's",
        ),
        ("# TYPE ingest_a gauge\ningest_a 1\n", "no help"),
        (
            "# HELP ingest_a A.\n# TYPE ingest_a counter\ningest_a 1\n",
            "_total",
        ),
        (
            "# HELP ingest_a_total A.\n# TYPE ingest_a_total gauge\ningest_a_total 1\n",
            "_total",
        ),
        (
            "# HELP ingest_a_ms A.\n# TYPE ingest_a_ms gauge\ningest_a_ms 1\n",
            "no base unit",
        ),
        (
            "# HELP ingest_a A.\n# TYPE ingest_a histogram\ningest_a_count 1\n",
            "no base unit",
        ),
        (
            "# HELP ingest_a A.\n# TYPE ingest_a gauge\ningest_a{symbol=\"A\"} 1\n",
            "label symbol",
        ),
        (
            "# HELP ingest_a A.\n# TYPE ingest_a gauge\ningest_a{reason=\"UNBOUNDED\"} 1\n",
            "unbounded",
        ),
    ] {
        let found = faults("ingest", text);
        assert!(
            found.iter().any(|found| found.contains(fault)),
            "{fault}: {found:?}"
        );
    }
    let many: Vec<String> = (0..=MOST_VALUES)
        .map(|value| format!("ingest_a{{reason=\"{value}\"}} 1\n"))
        .collect();
    let many = many.concat();
    let many = format!("# HELP ingest_a A.\n# TYPE ingest_a gauge\n{many}");
    assert!(faults("ingest", &many)[0].contains("33 values"));
}

#[tokio::test]
async fn a_request_continues_its_callers_trace() {
    // GIVEN an api that sends its spans to a collector
    let pipeline = Pipeline::new("traces_http").await;
    let collector = Collector::start().await;
    let mut api = Api::start(&pipeline, &collector.settings());
    api.ready().await;

    // WHEN a request comes from within a trace, another one from one that is not sampled, a third from none
    let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let unsampled = "1bf7651916cd43dd8448eb211c80319c";
    api.ask(
        "/v1/symbols",
        &[("traceparent", &format!("00-{unsampled}-{parent}-00"))],
    )
    .await
    .unwrap();
    api.ask("/v1/symbols", &[("traceparent", "nonsense")])
        .await
        .unwrap();
    api.ask(
        "/v1/symbols?limit=1",
        &[("traceparent", &format!("00-{trace}-{parent}-01"))],
    )
    .await
    .unwrap();

    // THEN the collector sees the first as a child of the caller's span, with what was answered
    let span = collector
        .span("of the caller's trace", api.process(), |span| {
            hex(&span.trace_id) == trace
        })
        .await;
    assert_eq!(hex(&span.parent_span_id), parent);
    assert_eq!(span.name, "GET /v1/symbols");
    assert_eq!(span.kind, 2, "a server's");
    let status = span
        .attributes
        .iter()
        .find(|attribute| attribute.key == "http.response.status_code")
        .and_then(|attribute| attribute.value.clone()?.value);
    assert_eq!(status, Some(Value::IntValue(200)));
    // AND never the one that its caller does not sample
    assert!(
        collector
            .spans()
            .iter()
            .all(|span| hex(&span.trace_id) != unsampled)
    );
}

#[tokio::test]
async fn a_batch_is_linked_to_the_traces_of_its_messages() {
    // GIVEN a worker that sends its spans to a collector
    let pipeline = Pipeline::new("traces_kafka").await;
    let collector = Collector::start().await;
    let worker = pipeline.ingest(&collector.settings());

    // WHEN a tick comes from within a trace, among others
    let (trace, parent) = ("2af7651916cd43dd8448eb211c80319c", "c7ad6b7169203331");
    let header = format!("00-{trace}-{parent}-01");
    send(
        &pipeline,
        &[
            (&tick(1), None),
            (&tick(2), Some(&header)),
            (&tick(3), Some("nonsense")),
        ],
    );
    pipeline.caught_up().await;

    // THEN the collector sees a batch that is linked to the producer's span
    let linked = |span: &Span| {
        span.links
            .iter()
            .any(|link| hex(&link.trace_id) == trace && hex(&link.span_id) == parent)
    };
    let span = collector
        .span("linked to the producer's", &worker, linked)
        .await;
    assert_eq!(span.name, "store");
}

/// What is wrong with the text of a program's `/metrics`.
fn faults(program: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut values: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').unwrap();
            let mut require = |holds: bool, fault: &str| {
                if !holds {
                    faults.push(format!("{name}: {fault}"));
                }
            };
            let ours = [format!("{program}_"), "process_".to_owned()];
            require(
                ours.iter().any(|ours| name.starts_with(ours)),
                "another program's name",
            );
            require(text.contains(&format!("# HELP {name} ")), "no help");
            require(
                (kind == "counter") == name.ends_with("_total"),
                "_total is for counters and all of them",
            );
            let wrong = NO_UNITS.iter().any(|unit| name.ends_with(unit));
            let unit = kind != "histogram" || UNITS.iter().any(|unit| name.ends_with(unit));
            require(!wrong && unit, "no base unit");
        } else if !line.starts_with('#') {
            for (name, label, value) in labels(line) {
                values.entry((name, label)).or_default().insert(value);
            }
        }
    }
    for ((name, label), values) in values {
        if label != "le" && !LABELS.contains(&label.as_str()) {
            faults.push(format!(
                "{name}: the label {label} is not known to have few values"
            ));
        }
        if values.len() > MOST_VALUES {
            faults.push(format!(
                "{name}: the label {label} has {} values",
                values.len()
            ));
        }
        if values.iter().any(|value| value.contains(UNBOUNDED)) {
            faults.push(format!(
                "{name}: the label {label} is unbounded: {values:?}"
            ));
        }
    }
    faults
}

/// The labels of a sample's line, as (metric, label, value).
fn labels(line: &str) -> Vec<(String, String, String)> {
    let Some((name, rest)) = line.split_once('{') else {
        return Vec::new();
    };
    let (labels, _) = rest.rsplit_once('}').unwrap();
    labels
        .split("\",")
        .filter_map(|pair| pair.split_once("=\""))
        .map(|(label, value)| {
            let value = value.strip_suffix('"').unwrap_or(value);
            (name.to_owned(), label.to_owned(), value.to_owned())
        })
        .collect()
}

/// A collector of spans: OTLP over HTTP with protobuf.
struct Collector {
    endpoint: String,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    async fn start() -> Self {
        let spans = Arc::default();
        let router = Router::new()
            .route("/v1/traces", post(receive))
            .with_state(Arc::clone(&spans));
        let endpoint = stand_in::serve(router).await;
        Self { endpoint, spans }
    }

    /// What makes a program send its spans here, and soon.
    fn settings(&self) -> [(&str, &str); 2] {
        [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &self.endpoint),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ]
    }

    fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }

    /// Waits for a span.
    async fn span(&self, what: &str, sender: &Process, matches: impl Fn(&Span) -> bool) -> Span {
        let seen = eventually(what, Duration::from_secs(20), async || {
            let spans = self.spans();
            let found = spans.iter().find(|span| matches(span)).cloned();
            found.ok_or_else(|| format!("{spans:?}"))
        });
        seen.await
            .unwrap_or_else(|error| panic!("{error:#}\n{}", tail(sender.log(), 20)))
    }
}

async fn receive(State(received): State<Arc<Mutex<Vec<Span>>>>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let scopes = request
        .resource_spans
        .into_iter()
        .flat_map(|of| of.scope_spans);
    received
        .lock()
        .unwrap()
        .extend(scopes.flat_map(|scope| scope.spans));
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

fn tick(sequence: u32) -> String {
    format!(
        r#"{{"symbol":"{UNBOUNDED}","event_time":"2024-01-15T12:00:00Z","sequence":{sequence},"price":"10","size":"1"}}"#
    )
}

/// Publishes messages, some with a header `traceparent`.
fn send(pipeline: &Pipeline, messages: &[(&str, Option<&str>)]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", pipeline.brokers())
        .create()
        .unwrap();
    for (payload, traceparent) in messages {
        let mut record = BaseRecord::<str, str>::to(pipeline.topic())
            .key(UNBOUNDED)
            .payload(payload);
        if let Some(value) = traceparent {
            let header = Header {
                key: "traceparent",
                value: Some(*value),
            };
            record = record.headers(OwnedHeaders::new().insert(header));
        }
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
}
