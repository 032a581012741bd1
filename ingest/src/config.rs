//! The configuration of `ingest`.

mod kafka;

use std::time::Duration;

use chrono::{DateTime, Datelike as _, Utc};
use common::config::{AdminConfig, DatabaseConfig, LogConfig, Validate};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

pub use self::kafka::{Format, KafkaConfig, SaslMechanism, SecurityProtocol, SequenceSource};

/// Everything that `ingest` can be told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IngestConfig {
    /// Where ticks come from.
    pub kafka: KafkaConfig,
    /// Where they go.
    pub database: DatabaseConfig,
    /// Which ticks are accepted.
    pub accept: AcceptConfig,
    /// When a batch is written.
    pub batch: BatchConfig,
    /// When bad messages stop the worker.
    pub poison: PoisonConfig,
    /// Work in the background.
    pub upkeep: UpkeepConfig,
    /// Metrics and probes.
    pub admin: AdminConfig,
    /// Logging.
    pub log: LogConfig,
    /// The sections of `api`, left alone.
    #[serde(skip_serializing, rename = "http")]
    _http: IgnoredAny,
    #[serde(skip_serializing, rename = "limits")]
    _limits: IgnoredAny,
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self {
            kafka: KafkaConfig::default(),
            database: DatabaseConfig::default(),
            accept: AcceptConfig::default(),
            batch: BatchConfig::default(),
            poison: PoisonConfig::default(),
            upkeep: UpkeepConfig::default(),
            admin: AdminConfig {
                listen: ([127, 0, 0, 1], 9101).into(),
            },
            log: LogConfig::default(),
            _http: IgnoredAny,
            _limits: IgnoredAny,
        }
    }
}

/// Which event times are accepted.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AcceptConfig {
    /// The earliest event time accepted.
    pub earliest: DateTime<Utc>,
    /// How far an event time may lie after its record's Kafka timestamp. Not measured against the
    /// clock: a replay decides as the first run did.
    #[serde(with = "humantime_serde")]
    pub ahead: Duration,
}

impl Default for AcceptConfig {
    fn default() -> Self {
        Self {
            earliest: DateTime::UNIX_EPOCH,
            ahead: Duration::from_hours(24),
        }
    }
}

/// When a batch is written: at the latest when one of these is reached, and at once when the
/// database is idle and the batch is `linger` old.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchConfig {
    /// Most messages in a batch.
    pub max_messages: usize,
    /// Most bytes of messages in a batch.
    pub max_bytes: usize,
    /// Age at which a batch is written when the database is idle.
    #[serde(with = "humantime_serde")]
    pub linger: Duration,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            max_messages: 25_000,
            max_bytes: 16 * 1024 * 1024,
            linger: Duration::from_millis(20),
        }
    }
}

/// When too many bad messages stop the worker, instead of becoming dead letters one and all.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoisonConfig {
    /// Messages of this time count.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// So many bad messages at least, before their share counts.
    pub min_count: u64,
    /// The largest share of bad messages, 0 to 1; 1: the worker never stops for it.
    pub max_share: f64,
}

impl Default for PoisonConfig {
    fn default() -> Self {
        Self {
            window: Duration::from_mins(5),
            min_count: 1000,
            max_share: 0.5,
        }
    }
}

/// Work in the background.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpkeepConfig {
    /// Time between refreshes of the weekly to yearly views, when something is to be refreshed.
    #[serde(with = "humantime_serde")]
    pub refresh_interval: Duration,
    /// Time between merges of small tick blocks.
    #[serde(with = "humantime_serde")]
    pub merge_interval: Duration,
}

impl Default for UpkeepConfig {
    fn default() -> Self {
        Self {
            refresh_interval: Duration::from_secs(30),
            merge_interval: Duration::from_secs(10),
        }
    }
}

impl Validate for IngestConfig {
    fn faults(&self) -> Vec<String> {
        let mut faults = self.database.faults();
        faults.extend(self.log.faults());
        faults.extend(self.kafka.faults());
        let mut require = |holds: bool, fault: &str| {
            if !holds {
                faults.push(fault.to_owned());
            }
        };
        require(
            (Duration::from_secs(1)..=Duration::from_hours(24)).contains(&self.poison.window)
                && self.poison.min_count >= 1
                && (0.0..=1.0).contains(&self.poison.max_share),
            "poison.window must be 1s to 24h, poison.min_count at least 1, poison.max_share 0 to 1",
        );
        require(
            (1..=500_000).contains(&self.batch.max_messages),
            "batch.max_messages must be 1 to 500000",
        );
        require(
            (1024..=256 * 1024 * 1024).contains(&self.batch.max_bytes),
            "batch.max_bytes must be 1024 to 268435456",
        );
        require(
            (Duration::from_millis(1)..=Duration::from_hours(1)).contains(&self.batch.linger),
            "batch.linger must be 1ms to 1h",
        );
        require(
            self.accept.earliest.year() >= 1,
            "accept.earliest must not be before the year 1",
        );
        require(
            self.upkeep.refresh_interval >= Duration::from_millis(100)
                && self.upkeep.merge_interval >= Duration::from_millis(100),
            "upkeep.refresh_interval and upkeep.merge_interval must be at least 100ms",
        );
        faults
    }
}
