//! Where ticks come from: `kafka.*`.

use std::collections::BTreeMap;
use std::time::Duration;

use common::config::{DatabaseUrl, Password};
use serde::{Deserialize, Serialize};

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

    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut require = |holds: bool, fault: &str| {
            if !holds {
                faults.push(fault.to_owned());
            }
        };
        let formats = self.formats();
        require(
            are_addresses(&self.brokers),
            "kafka.brokers is not host:port,host:port with ports from 1 to 65535",
        );
        require(
            formats.keys().all(|topic| is_topic(topic)),
            "a topic has no name that Kafka allows: 1 to 249 letters, digits, dots, underscores and hyphens",
        );
        require(
            !self.group.is_empty(),
            "kafka.group is empty: name a consumer group",
        );
        require(
            !formats.values().any(|format| *format == Format::Avro)
                || !self.schema_registry_url.is_empty(),
            "a topic is avro but kafka.schema_registry_url is not set",
        );
        require(
            self.schema_registry_url.is_empty()
                || reqwest::Url::parse(&self.schema_registry_url)
                    .is_ok_and(|url| ["http", "https"].contains(&url.scheme())),
            "kafka.schema_registry_url is not http://… or https://…",
        );
        require(
            self.sequence == SequenceSource::Field || formats.len() == 1,
            "kafka.sequence is offset with several topics: ticks of two topics may have the same offset, \
             run one worker for each with a database of its own, or give ticks a sequence",
        );
        require(
            self.security_protocol.logs_in() != self.sasl_username.is_empty()
                && self.sasl_username.is_empty() == self.sasl_password.is_empty(),
            "kafka.security_protocol and the login disagree: sasl_ssl and sasl_plaintext need \
             kafka.sasl_username and kafka.sasl_password, the others take none",
        );
        for (key, file) in [
            ("kafka.ssl_ca_file", &self.ssl_ca_file),
            ("kafka.ssl_certificate_file", &self.ssl_certificate_file),
            ("kafka.ssl_key_file", &self.ssl_key_file),
        ] {
            let opened = std::fs::File::open(file);
            if let Some(error) = opened.err().filter(|_| !file.is_empty()) {
                require(false, &format!("{key}: {file} cannot be read: {error}"));
            }
        }
        require(
            (1024..=1024 * 1024).contains(&self.prefetch_kib),
            "kafka.prefetch_kib must be 1024 to 1048576",
        );
        require(
            (Duration::from_secs(6)..=Duration::from_mins(5)).contains(&self.session_timeout),
            "kafka.session_timeout must be 6s to 300s: brokers accept no other by default",
        );
        require(
            (self.session_timeout..=Duration::from_hours(24)).contains(&self.max_poll_interval),
            "kafka.max_poll_interval must be kafka.session_timeout to 24h",
        );
        faults
    }
}

/// Whether these are hosts, each with a port or without, and at least one.
fn are_addresses(brokers: &str) -> bool {
    let mut named = brokers
        .split(',')
        .map(str::trim)
        .filter(|broker| !broker.is_empty())
        .peekable();
    named.peek().is_some() && named.all(is_address)
}

/// The client would take a port above 65535 for another one.
fn is_address(broker: &str) -> bool {
    let broker = broker
        .split_once("://")
        .map_or(broker, |(_, address)| address);
    match broker.rsplit_once(':') {
        Some((host, port)) if !broker.ends_with(']') => {
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
        }
        _ => !broker.is_empty(),
    }
}

/// Whether Kafka allows the name, by `Topic.validate` of its clients.
fn is_topic(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=249).contains(&name.len()) && name.bytes().all(allowed) && name != "." && name != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_hosts_with_ports_and_topics_have_names_of_kafka() {
        for (broker, valid) in [
            ("127.0.0.1:9092", true),
            ("kafka", true),
            ("[::1]:9092", true),
            ("[::1]", true),
            ("SSL://kafka:9093", true),
            ("a:1,b:2,", true),
            ("a:1,b:0", false),
            (",", false),
            ("localhost:99999", false),
            ("localhost:0", false),
            (":9092", false),
            ("", false),
        ] {
            assert_eq!(are_addresses(broker), valid, "{broker}");
        }
        let long = "a".repeat(250);
        for (topic, valid) in [
            ("ticks-1.v_2", true),
            (&long[1..], true),
            (long.as_str(), false),
            ("a b/c", false),
            ("..", false),
            ("", false),
        ] {
            assert_eq!(is_topic(topic), valid, "{topic}");
        }
    }
}
