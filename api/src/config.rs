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
    #[serde(skip_serializing, rename = "upkeep")]
    _upkeep: IgnoredAny,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            database: DatabaseConfig::default(),
            http: HttpConfig::default(),
            admin: AdminConfig {
                listen: ([127, 0, 0, 1], 9102).into(),
            },
            log: LogConfig::default(),
            _kafka: IgnoredAny,
            _accept: IgnoredAny,
            _batch: IgnoredAny,
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
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 8000).into(),
            request_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(10),
            correction_horizon: Duration::from_hours(30 * 24),
        }
    }
}

impl Validate for ApiConfig {
    fn faults(&self) -> Vec<String> {
        let mut faults = self.database.faults();
        faults.extend(self.log.faults());
        if self.http.request_timeout < Duration::from_millis(1) {
            faults.push("http.request_timeout must be at least 1ms".into());
        }
        if self.http.listen == self.admin.listen && self.http.listen.port() != 0 {
            faults.push("http.listen and admin.listen must differ".into());
        }
        faults
    }
}
