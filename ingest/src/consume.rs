//! The poll loop: one thread owns the consumer and all partition state.
//!
//! Positions come from the database, never from the group. Callbacks of the consumer only leave a
//! note; assignment happens here, once, with the stored offsets. One batch is being stored while the
//! next one fills; when that is full too the loop waits, and pauses the partitions if the wait is long,
//! so that it stays in its group through any outage with bounded memory.

mod assignment;
mod callers;
mod context;
mod ends;
mod fault;
mod leave;
mod rebalance;
mod schema;
mod wait;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use common::database::Database;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{Message, OwnedMessage};
use tokio::runtime::Handle;
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::assignment::Partitions;
pub use self::context::Context;
use self::context::client_config;
pub(crate) use self::context::cluster_id;
use crate::batch::{Batch, Source};
use crate::config::{Format, IngestConfig, SequenceSource};
use crate::dead_letter::{DeadLetter, Fault, Reason};
use crate::decode::registry::Registry;
use crate::decode::{RecordInfo, Rules, json};
use crate::health::Health;
use crate::metrics::Metrics;
use crate::store::record_time;
use crate::writer::Verdict;

/// How long a stop or a revocation waits for the batch that is being stored.
const DRAIN: Duration = Duration::from_secs(3);
/// How long Kafka may take to say where one partition ends.
const WATERMARK: Duration = Duration::from_secs(1);
/// Longest poll: how late a stop or a decision of the group may be seen.
const POLL: Duration = Duration::from_millis(100);

/// Why the loop ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumeError {
    /// An operator must act; the sentence names the way out.
    #[error("{0}")]
    Fatal(String),
    /// The consumer must be made anew: another worker stored a partition of ours.
    #[error("another worker has stored a partition that was ours")]
    Lost,
    /// Kafka refuses the consumer.
    #[error("kafka: {0}")]
    Kafka(#[from] KafkaError),
}

/// What the loop needs beside Kafka.
#[derive(Debug)]
pub struct Links {
    /// For positions, when partitions are assigned.
    pub database: Database,
    /// The cluster's id.
    pub cluster: String,
    /// To the writer: it holds one batch at a time.
    pub batches: Sender<Batch>,
    /// From the writer, one for each batch.
    pub verdicts: Receiver<Verdict>,
    /// What is counted.
    pub metrics: Metrics,
    /// What the probes see.
    pub health: Arc<Health>,
    /// Ends the loop.
    pub stop: CancellationToken,
    /// Runs what is async.
    pub runtime: Handle,
}

/// The poll loop of one consumer.
pub struct Consume<'a> {
    config: &'a IngestConfig,
    links: &'a Links,
    consumer: Arc<BaseConsumer<Context>>,
    rules: Rules,
    registry: Option<Registry>,
    partitions: Partitions,
    batch: Batch,
    batch_since: Instant,
    in_flight: bool,
    /// Messages that came while the partitions were being paused.
    held: VecDeque<OwnedMessage>,
    /// Numbers of partitions whose end has been seen, and not yet compared with their positions.
    ends: BTreeSet<i32>,
    /// When positions were last shown.
    shown: Instant,
    /// The topics, for a sentence.
    topics: String,
    /// Why one of them cannot be read, in the client's words.
    unavailable: Option<String>,
    /// Whether the warning about keys has been given.
    warned_of_keys: bool,
}

/// The loop was told to stop or its partitions are gone: what is in hand is dropped, not lost.
struct Interrupted;

impl<'a> Consume<'a> {
    /// Joins the group.
    ///
    /// # Errors
    /// When Kafka refuses the configuration.
    pub fn join(config: &'a IngestConfig, links: &'a Links) -> Result<Self, ConsumeError> {
        let formats = config.kafka.formats();
        let consumer: BaseConsumer<Context> =
            client_config(&config.kafka).create_with_context(Context::default())?;
        let topics: Vec<&str> = formats.keys().map(String::as_str).collect();
        consumer.subscribe(&topics)?;
        let topics = topics.join(", ");
        let registry = match config.kafka.schema_registry_url.as_str() {
            "" => None,
            url => Some(Registry::new(url).map_err(|error| {
                ConsumeError::Fatal(format!("schema registry: {}", error.without_url()))
            })?),
        };
        let joined = Self {
            config,
            links,
            consumer: Arc::new(consumer),
            rules: Rules::new(config.accept, config.kafka.sequence),
            registry,
            partitions: Partitions::new(formats),
            batch: Batch::default(),
            batch_since: Instant::now(),
            in_flight: false,
            held: VecDeque::new(),
            ends: BTreeSet::new(),
            shown: Instant::now(),
            topics,
            unavailable: None,
            warned_of_keys: false,
        };
        joined.wait_for_partitions();
        Ok(joined)
    }

    /// Polls until it is told to stop.
    ///
    /// # Errors
    /// When an operator must act, or the consumer must be made anew.
    pub fn run(mut self) -> Result<(), ConsumeError> {
        let result = self.poll_until_stopped();
        let deadline = Instant::now() + DRAIN;
        if result.is_ok() {
            self.drain(deadline);
        } else if self.in_flight {
            // The program ends with this error: what is being stored gets a moment to be.
            let _verdict = self.links.verdicts.recv_timeout(DRAIN);
        }
        // From here on the consumer gives its partitions back by itself.
        self.consumer.context().close();
        leave::leave(self.consumer, deadline);
        result
    }

    fn poll_until_stopped(&mut self) -> Result<(), ConsumeError> {
        let consumer = self.consumer.clone();
        let linger = self.config.batch.linger;
        let mut turns = 0_u32;
        loop {
            turns = turns.wrapping_add(1);
            let held = self.held.pop_front();
            let quiet = if let Some(message) = held {
                self.take(&message)?.is_err()
            } else {
                match consumer.poll(if self.batch.is_empty() {
                    POLL
                } else {
                    linger.min(POLL)
                }) {
                    Some(Ok(message)) => self.take(&message)?.is_err(),
                    Some(Err(error)) => {
                        self.on_error(&error)?;
                        true
                    }
                    None => true,
                }
            };
            if quiet || turns.is_multiple_of(64) {
                self.links.health.polled();
                if self.links.stop.is_cancelled() {
                    return Ok(());
                }
                self.rebalance()?;
                self.collect()?;
                self.pass_control_records()?;
                self.show_lag();
                if !self.in_flight && !self.batch.is_empty() && self.batch_since.elapsed() >= linger
                {
                    self.flush();
                }
            }
            let limits = &self.config.batch;
            if self.batch.len() >= limits.max_messages || self.batch.bytes() >= limits.max_bytes {
                if self.wait_for_writer()?.is_ok() {
                    self.flush();
                } else if self.links.stop.is_cancelled() {
                    return Ok(());
                }
            }
        }
    }

    /// Adds one message to the batch. One that is not taken is read again from the stored position.
    fn take(&mut self, message: &impl Message) -> Result<Result<(), Interrupted>, ConsumeError> {
        let timestamp = message
            .timestamp()
            .to_millis()
            // A producer may count in nanoseconds, which no column holds: it would not read back as the same time.
            .filter(|millis| *millis >= 0 && record_time(*millis).is_some());
        let offset = message.offset();
        let Some((index, format)) =
            self.partitions
                .accept(message.topic(), message.partition(), offset, timestamp)?
        else {
            return Ok(Ok(()));
        };
        let source = Source {
            partition: index,
            offset,
            timestamp,
        };
        let record = RecordInfo { offset, timestamp };
        let decoded = match (message.payload(), format) {
            (None, _) => {
                self.begin_batch();
                self.batch.tombstones += 1;
                self.advance(index, offset + 1, Some((offset, timestamp)));
                return Ok(Ok(()));
            }
            (Some([]), _) => Err(Fault {
                reason: Reason::Empty,
                detail: "a value of no bytes".into(),
            }),
            (Some(payload), Format::Json) => json::decode(payload, record, &self.rules),
            (Some(payload), Format::Avro) => match self.decode_avro(payload, record)? {
                Ok(decoded) => decoded,
                Err(Interrupted) => return Ok(Err(Interrupted)),
            },
        };
        self.begin_batch();
        self.note_caller(message);
        match (decoded, message.payload()) {
            (Ok(decoded), Some(payload)) => {
                if self.rules.sequence == SequenceSource::Offset
                    && message.key() != Some(decoded.symbol.as_bytes())
                    && !std::mem::replace(&mut self.warned_of_keys, true)
                {
                    warn!(
                        symbol = &*decoded.symbol,
                        offset,
                        "the key is not the symbol, and kafka.sequence is offset: trades of one symbol and instant in two \
                         partitions cannot be told apart"
                    );
                }
                self.batch.push(
                    &decoded.symbol,
                    decoded.tick,
                    source,
                    message.key(),
                    payload,
                );
            }
            (Err(fault), payload) => {
                let (key, payload) = (
                    message.key().map(<[u8]>::to_vec),
                    payload.map(<[u8]>::to_vec),
                );
                self.batch.push_letter(DeadLetter {
                    source,
                    key,
                    payload,
                    fault,
                });
            }
            (Ok(_), None) => {}
        }
        self.advance(index, offset + 1, Some((offset, timestamp)));
        Ok(Ok(()))
    }

    fn begin_batch(&mut self) {
        if self.batch.is_empty() {
            self.batch_since = Instant::now();
        }
    }

    fn advance(&mut self, index: u16, next: i64, last: Option<(i64, Option<i64>)>) {
        let from = self.partitions.advance(index, next);
        self.batch.advance(index, from, next, last);
    }

    /// Hands the batch to the writer, which is idle.
    fn flush(&mut self) {
        let next = self.batch.successor(self.partitions.names());
        let batch = std::mem::replace(&mut self.batch, next);
        if self.links.batches.blocking_send(batch).is_ok() {
            self.in_flight = true;
        }
    }

    /// Takes the writer's verdict when there is one.
    fn collect(&mut self) -> Result<(), ConsumeError> {
        match self.links.verdicts.try_recv() {
            Ok(verdict) => self.on_verdict(verdict),
            Err(TryRecvError::Empty) => Ok(()),
            Err(TryRecvError::Disconnected) => {
                Err(ConsumeError::Fatal("the writer is gone".into()))
            }
        }
    }

    fn on_verdict(&mut self, verdict: Verdict) -> Result<(), ConsumeError> {
        self.in_flight = false;
        match verdict {
            Verdict::Stored(positions) => {
                self.show_in_group(&positions);
                Ok(())
            }
            Verdict::Lost => Err(ConsumeError::Lost),
            Verdict::Fatal(reason) => Err(ConsumeError::Fatal(reason)),
            Verdict::Stopped => Ok(()),
        }
    }
}
