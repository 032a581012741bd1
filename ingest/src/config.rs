//! The configuration of `ingest`.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Datelike as _, Utc};
use common::config::{AdminConfig, DatabaseConfig, DatabaseUrl, LogConfig, Password, Validate};
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

/// How to talk to the brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecurityProtocol {
    /// Neither TLS nor a login.
    #[default]
    Plaintext,
    /// TLS.
    Ssl,
    /// A login without TLS.
    SaslPlaintext,
    /// A login over TLS.
    SaslSsl,
}

impl SecurityProtocol {
    /// As Kafka's clients spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Ssl => "ssl",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslSsl => "sasl_ssl",
        }
    }

    const fn logs_in(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

/// How to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SaslMechanism {
    /// The password as it is.
    #[serde(rename = "PLAIN")]
    Plain,
    /// RFC 7677.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// The same with SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl SaslMechanism {
    /// As Kafka's clients spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
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
    /// How to talk to the brokers.
    pub security_protocol: SecurityProtocol,
    /// PEM file of the authorities that sign the brokers' certificates; the system's where empty.
    pub ssl_ca_file: String,
    /// PEM files of this client's own certificate and key, where the brokers ask for one.
    pub ssl_certificate_file: String,
    /// See `ssl_certificate_file`.
    pub ssl_key_file: String,
    /// How to log in, with `sasl_plaintext` and `sasl_ssl`.
    pub sasl_mechanism: SaslMechanism,
    /// The login's name.
    pub sasl_username: String,
    /// The login's password.
    pub sasl_password: Password,
    /// Time without a heartbeat after which the broker gives this worker's partitions away.
    #[serde(with = "humantime_serde")]
    pub session_timeout: Duration,
    /// Longest time between two polls; a worker that exceeds it leaves its group. It polls on through any
    /// outage, several times a second.
    #[serde(with = "humantime_serde")]
    pub max_poll_interval: Duration,
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
            security_protocol: SecurityProtocol::Plaintext,
            ssl_ca_file: String::new(),
            ssl_certificate_file: String::new(),
            ssl_key_file: String::new(),
            sasl_mechanism: SaslMechanism::ScramSha512,
            sasl_username: String::new(),
            sasl_password: Password::default(),
            session_timeout: Duration::from_secs(30),
            max_poll_interval: Duration::from_mins(5),
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
            kafka.schema_registry_url.is_empty()
                || reqwest::Url::parse(&kafka.schema_registry_url)
                    .is_ok_and(|url| ["http", "https"].contains(&url.scheme())),
            "kafka.schema_registry_url is not http://… or https://…",
        );
        require(
            kafka.sequence == SequenceSource::Field || formats.len() == 1,
            "kafka.sequence is offset with several topics: ticks of two topics may have the same offset, \
             run one worker for each with a database of its own, or give ticks a sequence",
        );
        require(
            kafka.security_protocol.logs_in() != kafka.sasl_username.is_empty()
                && kafka.sasl_username.is_empty() == kafka.sasl_password.is_empty(),
            "kafka.security_protocol and the login disagree: sasl_ssl and sasl_plaintext need \
             kafka.sasl_username and kafka.sasl_password, the others take none",
        );
        for (key, file) in [
            ("kafka.ssl_ca_file", &kafka.ssl_ca_file),
            ("kafka.ssl_certificate_file", &kafka.ssl_certificate_file),
            ("kafka.ssl_key_file", &kafka.ssl_key_file),
        ] {
            let opened = std::fs::File::open(file);
            if let Some(error) = opened.err().filter(|_| !file.is_empty()) {
                require(false, &format!("{key}: {file} cannot be read: {error}"));
            }
        }
        require(
            (1024..=1024 * 1024).contains(&kafka.prefetch_kib),
            "kafka.prefetch_kib must be 1024 to 1048576",
        );
        require(
            (Duration::from_secs(6)..=Duration::from_mins(5)).contains(&kafka.session_timeout),
            "kafka.session_timeout must be 6s to 300s: brokers accept no other by default",
        );
        require(
            (kafka.session_timeout..=Duration::from_hours(24)).contains(&kafka.max_poll_interval),
            "kafka.max_poll_interval must be kafka.session_timeout to 24h",
        );
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
