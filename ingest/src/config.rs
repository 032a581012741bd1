//! The configuration of `ingest`.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use common::config::{AdminConfig, DatabaseConfig, DatabaseUrl, LogConfig, Validate};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

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
    /// Work in the background.
    pub upkeep: UpkeepConfig,
    /// Metrics and probes.
    pub admin: AdminConfig,
    /// Logging.
    pub log: LogConfig,
    /// The section of `api`, left alone.
    #[serde(skip_serializing, rename = "http")]
    _http: IgnoredAny,
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self {
            kafka: KafkaConfig::default(),
            database: DatabaseConfig::default(),
            accept: AcceptConfig::default(),
            batch: BatchConfig::default(),
            upkeep: UpkeepConfig::default(),
            admin: AdminConfig {
                listen: ([127, 0, 0, 1], 9101).into(),
            },
            log: LogConfig::default(),
            _http: IgnoredAny,
        }
    }
}

/// The format of a topic's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a message.
    #[default]
    Json,
    /// Avro in the Confluent wire format, with a schema registry.
    Avro,
}

/// Where a tick's sequence comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SequenceSource {
    /// The message's field, the producer's trade number.
    #[default]
    Field,
    /// The Kafka offset, for producers without trade numbers: duplicates cannot be told.
    Offset,
}

/// Where ticks come from.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaConfig {
    /// Bootstrap servers, `host:port,host:port`.
    pub brokers: String,
    /// The topic, when there is one.
    pub topic: String,
    /// The format of `topic`.
    pub format: Format,
    /// Several topics, each with its format; replaces `topic` and `format` when not empty.
    pub topics: BTreeMap<String, Format>,
    /// Consumer group. Positions are kept in the database, never taken from the group.
    pub group: String,
    /// Base URL of a registry with the Confluent API, for Avro.
    #[serde(serialize_with = "masked")]
    pub schema_registry_url: String,
    /// Where the sequence comes from.
    pub sequence: SequenceSource,
    /// Time without a heartbeat after which the broker gives this worker's partitions away.
    #[serde(with = "humantime_serde")]
    pub session_timeout: Duration,
    /// Memory for messages fetched ahead, in KiB.
    pub prefetch_kib: u32,
}

/// A URL may hold a password.
fn masked<S: serde::Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    if url.is_empty() {
        serializer.serialize_str(url)
    } else {
        serializer.collect_str(&DatabaseUrl::new(url))
    }
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".into(),
            topic: "ticks".into(),
            format: Format::Json,
            topics: BTreeMap::new(),
            group: "ingest".into(),
            schema_registry_url: String::new(),
            sequence: SequenceSource::Field,
            session_timeout: Duration::from_secs(30),
            // librdkafka's own record of a small message is several times the message.
            prefetch_kib: 4 * 1024,
        }
    }
}

impl KafkaConfig {
    /// Each topic with its format.
    #[must_use]
    pub fn formats(&self) -> BTreeMap<String, Format> {
        if self.topics.is_empty() {
            BTreeMap::from([(self.topic.clone(), self.format)])
        } else {
            self.topics.clone()
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
        let mut require = |holds: bool, fault: &str| {
            if !holds {
                faults.push(fault.to_owned());
            }
        };
        let kafka = &self.kafka;
        let formats = kafka.formats();
        require(
            !kafka.brokers.is_empty(),
            "kafka.brokers is empty: give host:port",
        );
        require(
            !kafka.group.is_empty(),
            "kafka.group is empty: name a consumer group",
        );
        require(
            formats.keys().all(|topic| !topic.is_empty()),
            "kafka.topic is empty: name a topic",
        );
        require(
            !formats.values().any(|format| *format == Format::Avro)
                || !kafka.schema_registry_url.is_empty(),
            "a topic is avro but kafka.schema_registry_url is not set",
        );
        require(
            (1024..=1024 * 1024).contains(&kafka.prefetch_kib),
            "kafka.prefetch_kib must be 1024 to 1048576",
        );
        require(
            (Duration::from_secs(6)..=Duration::from_mins(5)).contains(&kafka.session_timeout),
            "kafka.session_timeout must be 6s to 300s: brokers accept no other by default",
        );
        require(
            (1..=500_000).contains(&self.batch.max_messages),
            "batch.max_messages must be 1 to 500000",
        );
        require(
            self.batch.max_bytes >= 1024,
            "batch.max_bytes must be at least 1024",
        );
        require(
            self.upkeep.refresh_interval >= Duration::from_millis(100)
                && self.upkeep.merge_interval >= Duration::from_millis(100),
            "upkeep.refresh_interval and upkeep.merge_interval must be at least 100ms",
        );
        faults
    }
}
