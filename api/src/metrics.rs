//! What `/metrics` says of the HTTP side. Labels are bounded: route templates, known methods, the
//! statuses that this program answers with.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};
use sqlx::postgres::PgPool;

use crate::unread::Memory;

/// Seconds; the objective for latency is one of them.
const DURATIONS: [f64; 14] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0,
];

/// The metrics of this process.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: HistogramVec,
    in_flight: IntGauge,
    ready: IntGauge,
    exports: IntCounterVec,
    /// Public connections that are open.
    connections: IntGauge,
    /// Those that there was no room for.
    refused: IntCounter,
}

/// How an export ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Complete,
    /// Broken off above `limits.max_export_rows`.
    RowLimit,
    /// Broken off after `limits.export_timeout`.
    Deadline,
    SlowClient,
    ClientGone,
    /// Broken off by a fault of the database or of this program.
    Failed,
}

impl Outcome {
    const ALL: [Self; 6] = [
        Self::Complete,
        Self::RowLimit,
        Self::Deadline,
        Self::SlowClient,
        Self::ClientGone,
        Self::Failed,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::RowLimit => "row_limit",
            Self::Deadline => "deadline",
            Self::SlowClient => "slow_client",
            Self::ClientGone => "client_gone",
            Self::Failed => "failed",
        }
    }
}

impl Metrics {
    pub(crate) fn new(pool: PgPool, max_connections: u32, unread: Memory) -> Self {
        let options = HistogramOpts::new(
            "api_http_request_duration_seconds",
            "Time from request to answer",
        )
        .buckets(DURATIONS.to_vec());
        let requests = HistogramVec::new(options, &["route", "method", "status"])
            .expect("constant names are valid");
        let gauge =
            |name: &str, help: &str| IntGauge::new(name, help).expect("constant names are valid");
        let in_flight = gauge(
            "api_http_requests_in_flight",
            "Requests that are not answered yet",
        );
        let ready = gauge(
            "api_ready",
            "1 when the database answers, as /readyz says, else 0",
        );
        let connections = gauge("api_connections", "Clients that are connected");
        let exports = IntCounterVec::new(
            Opts::new("api_exports_total", "Exports that ended, by how"),
            &["outcome"],
        )
        .expect("constant names are valid");
        for outcome in Outcome::ALL {
            exports.with_label_values(&[outcome.label()]);
        }
        let refused = IntCounter::new(
            "api_connections_refused_total",
            "Connections that there was no room for",
        )
        .expect("constant names are valid");
        let registry = Registry::new();
        let unread = Unread {
            memory: unread,
            bytes: gauge(
                "api_unread_bytes",
                "Memory of answers that clients have not taken yet",
            ),
        };
        let all: [Box<dyn Collector>; 7] = [
            Box::new(requests.clone()),
            Box::new(in_flight.clone()),
            Box::new(ready.clone()),
            Box::new(exports.clone()),
            Box::new(connections.clone()),
            Box::new(refused.clone()),
            Box::new(unread),
        ];
        for metric in all {
            registry.register(metric).expect("registered once");
        }
        common::telemetry::metrics::register(&registry, "api", pool, max_connections)
            .expect("registered once");
        Self {
            registry,
            requests,
            in_flight,
            ready,
            exports,
            connections,
            refused,
        }
    }

    pub(crate) fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// A request is under way until what is returned is dropped, as it is when the client goes away.
    pub(crate) fn begin(&self) -> InFlight {
        InFlight::of(&self.in_flight)
    }

    /// The same of a connection.
    pub(crate) fn connect(&self) -> InFlight {
        InFlight::of(&self.connections)
    }

    pub(crate) fn refuse(&self) {
        self.refused.inc();
    }

    pub(crate) fn tell_ready(&self, ready: bool) {
        self.ready.set(ready.into());
    }

    pub(crate) fn end_export(&self, outcome: Outcome) {
        self.exports.with_label_values(&[outcome.label()]).inc();
    }

    pub(crate) fn observe(&self, route: &str, method: &Method, status: StatusCode, time: Duration) {
        let method = match *method {
            Method::GET => "GET",
            Method::HEAD => "HEAD",
            Method::OPTIONS => "OPTIONS",
            _ => "other",
        };
        self.requests
            .with_label_values(&[route, method, status.as_str()])
            .observe(time.as_secs_f64());
    }
}

/// What answers fill, as it is when it is asked for.
struct Unread {
    memory: Memory,
    bytes: IntGauge,
}

impl Collector for Unread {
    fn desc(&self) -> Vec<&Desc> {
        self.bytes.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let taken = i64::try_from(self.memory.taken());
        self.bytes.set(taken.unwrap_or(i64::MAX));
        self.bytes.collect()
    }
}

/// See [`Metrics::begin`].
pub(crate) struct InFlight(IntGauge);

impl InFlight {
    fn of(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
