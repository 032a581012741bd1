//! The configuration of `api`.

use std::net::SocketAddr;
use std::time::Duration;

use common::config::{AdminConfig, DatabaseConfig, LogConfig, Validate};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// Everything that `api` can be told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiConfig {
    /// Where candles are read. A statement never runs longer than `http.request_timeout`.
    pub database: DatabaseConfig,
    /// The public listener.
    pub http: HttpConfig,
    /// Caps on what one request may ask for.
    pub limits: LimitsConfig,
    /// Metrics and probes.
    pub admin: AdminConfig,
    /// Logging.
    pub log: LogConfig,
    /// The sections of `ingest`, left alone.
    #[serde(skip_serializing, rename = "kafka")]
    _kafka: IgnoredAny,
    #[serde(skip_serializing, rename = "accept")]
    _accept: IgnoredAny,
    #[serde(skip_serializing, rename = "batch")]
    _batch: IgnoredAny,
    #[serde(skip_serializing, rename = "poison")]
    _poison: IgnoredAny,
    #[serde(skip_serializing, rename = "upkeep")]
    _upkeep: IgnoredAny,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            database: DatabaseConfig::default(),
            http: HttpConfig::default(),
            limits: LimitsConfig::default(),
            admin: AdminConfig {
                listen: ([127, 0, 0, 1], 9102).into(),
            },
            log: LogConfig::default(),
            _kafka: IgnoredAny,
            _accept: IgnoredAny,
            _batch: IgnoredAny,
            _poison: IgnoredAny,
            _upkeep: IgnoredAny,
        }
    }
}

/// The public listener.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Its address.
    pub listen: SocketAddr,
    /// Longest time for one answer, over all its statements, such as `30s`; then 504.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// Longest wait for answers under way when the program is told to stop, such as `10s`.
    #[serde(with = "humantime_serde")]
    pub shutdown_timeout: Duration,
    /// Age from which on no corrections are expected, such as `30days`: caches may keep older ranges.
    #[serde(with = "humantime_serde")]
    pub correction_horizon: Duration,
    /// Most clients that are connected at once; further ones are told 503.
    pub max_connections: usize,
    /// Longest wait for the head of a request, also of the next one on a connection that is kept, such as `60s`.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// How long a client may leave an answer unread, or take less than 8 KiB a second of it, such as `30s`.
    #[serde(with = "humantime_serde")]
    pub write_timeout: Duration,
    /// Memory for answers that clients have not taken yet, in MiB, 1 to 1048576; further ones are 503. Answers up to
    /// 16 KiB do not count; one longer than all of it is sent when nothing else lies unread.
    pub unread_mib: u32,
    /// Origins whose pages may read answers in a browser (CORS), `https://a.example,https://b.example`,
    /// or `*` for all; empty: none but the own one.
    pub cors_origins: String,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 8000).into(),
            request_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(10),
            correction_horizon: Duration::from_hours(30 * 24),
            max_connections: 1_000,
            header_timeout: Duration::from_mins(1),
            write_timeout: Duration::from_secs(30),
            unread_mib: 64,
            cors_origins: String::new(),
        }
    }
}

/// Caps on what one request may ask for. `/v1/limits` tells them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Most rows of one page, 1 to 10000.
    pub max_rows: u32,
    /// Most symbols of one request, 1 to 1000.
    pub max_symbols: u32,
    /// Longest range from `from` to `to`, such as `366days`, and without `from` of as many candles as `limit` says; no
    /// cap unless set.
    #[serde(with = "humantime_serde")]
    pub max_span: Option<Duration>,
    /// Most requests whose answer is not sent yet, whoever asks; further ones are 429. No cap unless set.
    pub max_concurrent: Option<u32>,
    /// Most rows of an export: an answer of a whole range, which goes out as it is read. A longer one is broken off.
    pub max_export_rows: u64,
    /// Longest time for an export, such as `10m`; then it is broken off.
    #[serde(with = "humantime_serde")]
    pub export_timeout: Duration,
}

impl LimitsConfig {
    /// What `max_rows` may be at most.
    pub const MOST_ROWS: u32 = 10_000;
    /// What `max_symbols` may be at most.
    pub const MOST_SYMBOLS: u32 = 1_000;

    fn faults(&self) -> impl Iterator<Item = String> {
        let rows = (1..=Self::MOST_ROWS).contains(&self.max_rows);
        let symbols = (1..=Self::MOST_SYMBOLS).contains(&self.max_symbols);
        [
            (
                rows,
                format!("limits.max_rows must be 1 to {}", Self::MOST_ROWS),
            ),
            (
                symbols,
                format!("limits.max_symbols must be 1 to {}", Self::MOST_SYMBOLS),
            ),
            (
                self.max_span.is_none_or(|span| !span.is_zero()),
                "limits.max_span must be above 0; leave it out for no cap".into(),
            ),
            (
                self.max_concurrent != Some(0),
                "limits.max_concurrent must be above 0; leave it out for no cap".into(),
            ),
        ]
        .into_iter()
        .filter_map(|(holds, fault)| (!holds).then_some(fault))
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            max_rows: Self::MOST_ROWS,
            max_symbols: 100,
            max_span: None,
            max_concurrent: None,
            max_export_rows: 10_000_000,
            export_timeout: Duration::from_mins(10),
        }
    }
}

impl Validate for ApiConfig {
    fn faults(&self) -> Vec<String> {
        let mut faults = self.database.faults();
        faults.extend(self.log.faults());
        faults.extend(self.limits.faults());
        faults.extend(crate::cors::layer(&self.http.cors_origins).err());
        if self.http.request_timeout < Duration::from_millis(1) {
            faults.push("http.request_timeout must be at least 1ms".into());
        }
        for (name, time) in [
            ("header_timeout", self.http.header_timeout),
            ("write_timeout", self.http.write_timeout),
        ] {
            if time < Duration::from_millis(100) {
                faults.push(format!("http.{name} must be at least 100ms"));
            }
        }
        if !(1..=1_000_000).contains(&self.http.max_connections) {
            faults.push("http.max_connections must be 1 to 1000000".into());
        }
        if !(1..=1_048_576).contains(&self.http.unread_mib) {
            faults.push("http.unread_mib must be 1 to 1048576".into());
        }
        if self.http.listen == self.admin.listen && self.http.listen.port() != 0 {
            faults.push("http.listen and admin.listen must differ".into());
        }
        faults
    }
}
