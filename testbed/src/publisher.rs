//! A producer that loses nothing and says how far it got.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, Message as _};

use crate::avro;
use crate::tick::Tick;

/// How a tick becomes a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// A JSON object.
    Json,
    /// Confluent's wire format, with the id of the registered [`avro::SCHEMA`].
    Avro {
        /// The schema's id at the registry.
        schema_id: u32,
    },
}

impl Encoding {
    /// The message of a tick.
    ///
    /// # Errors
    ///
    /// When a number or the time cannot be written so.
    pub fn encode(self, tick: &Tick) -> Result<Vec<u8>> {
        match self {
            Self::Json => tick.to_json(),
            Self::Avro { schema_id } => avro::message(schema_id, tick),
        }
    }
}

/// What the broker has confirmed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// How many messages.
    pub count: u64,
    /// For each partition the offset after the last one.
    pub ends: BTreeMap<i32, i64>,
}

#[derive(Default)]
struct Confirmations {
    delivered: Mutex<Delivered>,
    fault: Mutex<Option<String>>,
}

impl ClientContext for Confirmations {
    fn error(&self, error: KafkaError, reason: &str) {
        // Connections that fail are tried again until messages time out; that is what gets told.
        if matches!(error, KafkaError::Global(RDKafkaErrorCode::Fatal)) {
            self.fail(format!("{error}: {reason}"));
        }
    }
}

impl ProducerContext for Confirmations {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(message) => {
                let mut delivered = self
                    .delivered
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                delivered.count += 1;
                let end = delivered.ends.entry(message.partition()).or_default();
                *end = (*end).max(message.offset() + 1);
            }
            Err((error, _)) => self.fail(error.to_string()),
        }
    }
}

impl Confirmations {
    fn fail(&self, fault: String) {
        self.fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(fault);
    }
}

/// Publishes to one topic: idempotent, confirmed by all replicas, keyed by symbol, partitioned as Java's producers do.
pub struct Publisher {
    producer: BaseProducer<Confirmations>,
    brokers: String,
    topic: String,
}

impl Publisher {
    /// Connects to `brokers` and finds the topic. Blocks for up to ten seconds.
    ///
    /// # Errors
    ///
    /// When the brokers cannot be reached or the topic does not exist.
    pub fn connect(brokers: &str, topic: &str) -> Result<Self> {
        let producer: BaseProducer<Confirmations> = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "5")
            .set("message.timeout.ms", "60000")
            .set("partitioner", "murmur2_random")
            .create_with_context(Confirmations::default())
            .context("cannot make a Kafka producer")?;
        // Asked for by its name, a missing topic would be made by a broker that makes topics by itself.
        let metadata = producer
            .client()
            .fetch_metadata(None, Duration::from_secs(10))
            .with_context(|| {
                format!("the broker {brokers} does not answer: check its address and that it runs")
            })?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let fault = match found.map(MetadataTopic::error) {
            None => Some("it does not exist".to_owned()),
            Some(error) => error.map(|code| RDKafkaErrorCode::from(code).to_string()),
        };
        if let Some(fault) = fault {
            bail!("the broker {brokers} has no usable topic `{topic}` ({fault}): create it first");
        }
        Ok(Self {
            producer,
            brokers: brokers.to_owned(),
            topic: topic.to_owned(),
        })
    }

    /// Sends a tick under its symbol; waits while the queue is full.
    ///
    /// # Errors
    ///
    /// When it cannot be encoded, or any message before it was lost.
    pub fn send(&self, tick: &Tick, encoding: Encoding) -> Result<()> {
        self.send_raw(
            Some(tick.symbol.as_bytes()),
            Some(&encoding.encode(tick)?),
            None,
        )
    }

    /// Sends any message, to a partition of choice or to the key's.
    ///
    /// # Errors
    ///
    /// When any message before it was lost.
    pub fn send_raw(
        &self,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
        partition: Option<i32>,
    ) -> Result<()> {
        self.check()?;
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.topic);
        record.key = key;
        record.payload = payload;
        record.partition = partition;
        loop {
            match self.producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.producer.poll(Duration::from_millis(100));
                    self.check()?;
                }
                Err((error, _)) => return Err(self.lost(&error.to_string())),
            }
        }
        self.producer.poll(Duration::ZERO);
        Ok(())
    }

    /// Handles what the brokers have answered in the meantime.
    ///
    /// # Errors
    ///
    /// When any message was lost.
    pub fn serve(&self) -> Result<()> {
        self.producer.poll(Duration::ZERO);
        self.check()
    }

    /// Waits until everything sent is confirmed, without blocking the thread. Returns what was confirmed so far.
    ///
    /// # Errors
    ///
    /// When any message was lost.
    pub async fn settle(&self) -> Result<Delivered> {
        loop {
            self.serve()?;
            if self.producer.in_flight_count() == 0 {
                return Ok(self.delivered());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// What was confirmed so far.
    pub fn delivered(&self) -> Delivered {
        self.producer
            .context()
            .delivered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn check(&self) -> Result<()> {
        let fault = self
            .producer
            .context()
            .fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        fault.map_or(Ok(()), |fault| Err(self.lost(&fault)))
    }

    fn lost(&self, reason: &str) -> anyhow::Error {
        let (brokers, topic) = (&self.brokers, &self.topic);
        anyhow!(
            "the broker {brokers} did not take a message for `{topic}` ({reason}): publish again, duplicates do no harm"
        )
    }
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher")
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}
