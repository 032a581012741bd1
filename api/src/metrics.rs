//! What `/metrics` says of the HTTP side. Labels are bounded: route templates, known methods, the
//! statuses that this program answers with.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus::{HistogramOpts, HistogramVec, IntGauge, Registry};
use sqlx::postgres::PgPool;

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
}

impl Metrics {
    pub(crate) fn new(pool: PgPool, max_connections: u32) -> Self {
        let options = HistogramOpts::new(
            "api_http_request_duration_seconds",
            "Time from request to answer",
        )
        .buckets(DURATIONS.to_vec());
        let requests = HistogramVec::new(options, &["route", "method", "status"])
            .expect("constant names are valid");
        let in_flight = IntGauge::new(
            "api_http_requests_in_flight",
            "Requests that are not answered yet",
        )
        .expect("constant names are valid");
        let registry = Registry::new();
        registry
            .register(Box::new(requests.clone()))
            .expect("registered once");
        registry
            .register(Box::new(in_flight.clone()))
            .expect("registered once");
        common::telemetry::metrics::register(&registry, "api", pool, max_connections)
            .expect("registered once");
        Self {
            registry,
            requests,
            in_flight,
        }
    }

    pub(crate) fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// A request is under way until what is returned is dropped, as it is when the client goes away.
    pub(crate) fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
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

/// See [`Metrics::begin`].
pub(crate) struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
