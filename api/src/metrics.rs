//! What `/metrics` says of the HTTP side. Labels are bounded: route templates, known methods,
//! classes of status.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{HistogramOpts, HistogramVec, IntGauge, IntGaugeVec, Opts, Registry};
use sqlx::postgres::PgPool;

/// The metrics of this process.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: HistogramVec,
}

impl Metrics {
    pub(crate) fn new(pool: PgPool, max_connections: u32) -> Self {
        let buckets = vec![
            0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0,
        ];
        let options = HistogramOpts::new(
            "api_http_request_duration_seconds",
            "Time from request to answer.",
        )
        .buckets(buckets);
        let requests = HistogramVec::new(options, &["route", "method", "status"])
            .expect("constant names are valid");
        let registry = Registry::new();
        registry
            .register(Box::new(requests.clone()))
            .expect("registered once");
        registry
            .register(Box::new(PoolMetrics::new(pool, max_connections)))
            .expect("registered once");
        Self { registry, requests }
    }

    pub(crate) fn registry(&self) -> Registry {
        self.registry.clone()
    }

    pub(crate) fn observe(&self, route: &str, method: &Method, status: StatusCode, time: Duration) {
        let method = match *method {
            Method::GET => "GET",
            Method::HEAD => "HEAD",
            Method::OPTIONS => "OPTIONS",
            _ => "other",
        };
        let class = match status.as_u16() / 100 {
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        self.requests
            .with_label_values(&[route, method, class])
            .observe(time.as_secs_f64());
    }
}

/// The connection pool, read when it is asked for.
struct PoolMetrics {
    pool: PgPool,
    connections: IntGaugeVec,
    limit: IntGauge,
}

impl PoolMetrics {
    fn new(pool: PgPool, max_connections: u32) -> Self {
        let options = Opts::new("api_database_connections", "Connections to the database.");
        let connections = IntGaugeVec::new(options, &["state"]).expect("constant names are valid");
        let limit = IntGauge::new(
            "api_database_connections_max",
            "Most connections to the database.",
        );
        let limit = limit.expect("constant names are valid");
        limit.set(i64::from(max_connections));
        Self {
            pool,
            connections,
            limit,
        }
    }
}

impl Collector for PoolMetrics {
    fn desc(&self) -> Vec<&Desc> {
        let mut descriptions = self.connections.desc();
        descriptions.extend(self.limit.desc());
        descriptions
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let idle = i64::try_from(self.pool.num_idle()).unwrap_or(i64::MAX);
        self.connections.with_label_values(&["idle"]).set(idle);
        self.connections
            .with_label_values(&["used"])
            .set((i64::from(self.pool.size()) - idle).max(0));
        let mut families = self.connections.collect();
        families.extend(self.limit.collect());
        families
    }
}
