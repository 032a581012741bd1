//! The poll loop: one thread owns the consumer and all partition state.
//!
//! Positions come from the database, never from the group. Callbacks of the consumer only leave a
//! note; assignment happens here, once, with the stored offsets. One batch is being stored while the
//! next one fills; when that is full too the loop waits, and pauses the partitions if the wait is long,
//! so that it stays in its group through any outage with bounded memory.

mod assignment;
mod context;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use sqlx::PgPool;
use tokio::runtime::Handle;
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::assignment::{Assigned, Partitions};
pub use self::context::Context;
pub(crate) use self::context::client_config;
use crate::batch::{Batch, DeadLetter, Fault, Reason, Source, Span, TopicPartition};
use crate::config::{Format, IngestConfig};
use crate::decode::registry::{Lookup, Registry};
use crate::decode::{self, Decoded, RecordInfo, Rules, avro, json};
use crate::health::Health;
use crate::metrics::Metrics;
use crate::writer::Verdict;

/// How long the loop waits for the database before it pauses the partitions and polls on.
const PAUSE_AFTER: Duration = Duration::from_secs(1);
/// How long a stop or a revocation waits for the batch that is being stored.
const DRAIN: Duration = Duration::from_secs(3);
/// How long leaving the group may take at least: the client waits for a broker that is away.
const LEAVE: Duration = Duration::from_millis(500);
/// How often the ends of paused partitions are asked for, and how long each may take.
const LOOK_AT_ENDS: Duration = Duration::from_secs(5);
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
    pub pool: PgPool,
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
    /// The topics, for a sentence.
    topics: String,
    /// Why one of them cannot be read, in the client's words.
    unavailable: Option<String>,
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
            topics,
            unavailable: None,
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
            // The verdict of the batch that is being stored must not meet the next consumer.
            let _verdict = self.links.verdicts.recv_timeout(DRAIN);
        }
        // From here on the consumer gives its partitions back by itself.
        self.consumer.context().close();
        leave(self.consumer, deadline);
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
            .filter(|millis| *millis >= 0);
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
        match (decoded, message.payload()) {
            (Ok(decoded), Some(payload)) => self.batch.push(
                &decoded.symbol,
                decoded.tick,
                source,
                message.key(),
                payload,
            ),
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

    /// Decodes Avro, waiting for the registry where a schema is not known yet.
    fn decode_avro(
        &mut self,
        payload: &[u8],
        record: RecordInfo,
    ) -> Result<Result<Result<Decoded<'static>, Fault>, Interrupted>, ConsumeError> {
        let (id, body) = match avro::split(payload) {
            Ok(parts) => parts,
            Err(fault) => return Ok(Ok(Err(fault))),
        };
        let Some(mut registry) = self.registry.take() else {
            return Err(ConsumeError::Fatal(
                "a topic is avro but kafka.schema_registry_url is not set".into(),
            ));
        };
        let lookup = match registry.remembered(id) {
            Some(lookup) => Ok(lookup),
            None => self.ask_registry(&mut registry, id)?,
        };
        self.registry = Some(registry);
        Ok(lookup.map(|lookup| match lookup {
            Lookup::Known(schema) => avro::decode(&schema, body, record, &self.rules),
            Lookup::Unknown(detail) => Err(decode::fault(Reason::UnknownSchema, &detail)),
        }))
    }

    fn ask_registry(
        &mut self,
        registry: &mut Registry,
        id: u32,
    ) -> Result<Result<Lookup, Interrupted>, ConsumeError> {
        let links = self.links;
        // A registry that hangs must not hold up a stop.
        let mut ask = || {
            links.runtime.block_on(async {
                tokio::select! {
                    answer = registry.ask(id) => Some(answer),
                    () = links.stop.cancelled() => None,
                }
            })
        };
        if let Some(Ok(lookup)) = ask() {
            return Ok(Ok(lookup));
        }
        // What came before does not wait with this message.
        if !self.batch.is_empty() {
            if self.wait_for_writer()?.is_err() {
                return Ok(Err(Interrupted));
            }
            self.flush();
        }
        let mut attempt = 0;
        let mut ask_again_at = Instant::now();
        let outcome = self.while_paused(|_| {
            if ask_again_at > Instant::now() {
                return None;
            }
            match ask()? {
                Ok(lookup) => Some(lookup),
                Err(error) => {
                    warn!(%error, "waiting for the schema registry");
                    links.health.kafka_answers(Some(error.to_string()));
                    attempt += 1;
                    ask_again_at = Instant::now()
                        + crate::failure::backoff(attempt, 0.5).min(Duration::from_secs(1));
                    None
                }
            }
        })?;
        if outcome.is_ok() {
            links.health.kafka_answers(None);
        }
        Ok(outcome)
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

    /// Commits positions to Kafka, for dashboards of lag only: they are never read back.
    fn show_in_group(&self, positions: &[(TopicPartition, Span)]) {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (partition, span) in positions {
            let added = list.add_partition_offset(
                &partition.topic,
                partition.partition,
                Offset::Offset(span.next),
            );
            if added.is_err() {
                return;
            }
        }
        if let Err(error) = self.consumer.commit(&list, CommitMode::Async) {
            debug!(%error, "cannot show positions in the group");
        }
    }

    /// Waits until the writer is idle.
    fn wait_for_writer(&mut self) -> Result<Result<(), Interrupted>, ConsumeError> {
        if !self.in_flight {
            return Ok(Ok(()));
        }
        match self.links.verdicts.recv_timeout(PAUSE_AFTER) {
            Ok(verdict) => return self.on_verdict(verdict).map(Ok),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(ConsumeError::Fatal("the writer is gone".into()));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        let answer = self.while_paused(|consume| match consume.links.verdicts.try_recv() {
            Err(TryRecvError::Empty) => None,
            answer => Some(answer),
        })?;
        match answer {
            Ok(Ok(verdict)) => self.on_verdict(verdict).map(Ok),
            Ok(Err(_)) => Err(ConsumeError::Fatal("the writer is gone".into())),
            Err(Interrupted) => Ok(Err(Interrupted)),
        }
    }

    /// Pauses all partitions and polls on until `ready` gives a value, the partitions are taken away,
    /// or the loop is told to stop.
    fn while_paused<T>(
        &mut self,
        mut ready: impl FnMut(&Self) -> Option<T>,
    ) -> Result<Result<T, Interrupted>, ConsumeError> {
        let consumer = self.consumer.clone();
        let assigned = consumer.assignment()?;
        consumer.pause(&assigned)?;
        let mut look_at_ends = Instant::now();
        let value = loop {
            self.links.health.polled();
            if look_at_ends <= Instant::now() {
                self.look_at_ends();
                look_at_ends = Instant::now() + LOOK_AT_ENDS;
            }
            match consumer.poll(Duration::from_millis(50)) {
                Some(Ok(message)) => self.held.push_back(message.detach()),
                Some(Err(error)) => self.on_error(&error)?,
                None => {}
            }
            if self.links.stop.is_cancelled() {
                return Ok(Err(Interrupted));
            }
            if consumer.context().rebalanced() {
                // A partition stays paused even when it is taken away and given back.
                consumer.resume(&assigned)?;
                self.rebalance()?;
                return Ok(Err(Interrupted));
            }
            if let Some(value) = ready(self) {
                break value;
            }
        };
        consumer.resume(&assigned)?;
        Ok(Ok(value))
    }

    /// Without partitions the worker is not ready, and says what it waits for.
    fn wait_for_partitions(&self) {
        let waiting = || format!("waiting for partitions of {}", self.topics);
        let reason = self.unavailable.clone().unwrap_or_else(waiting);
        self.links.health.kafka_answers(Some(reason));
    }

    fn show_lag(&self) {
        let lag = self.consumer.context().lag(self.partitions.positions());
        self.links.metrics.lag.set(lag);
    }

    /// Asks Kafka where the partitions end: while they are paused nothing is fetched that would tell.
    fn look_at_ends(&self) {
        for partition in self.partitions.names() {
            let (topic, number) = (&partition.topic, partition.partition);
            match self.consumer.fetch_watermarks(topic, number, WATERMARK) {
                Ok((_, end)) => self.consumer.context().saw_end(partition, end),
                Err(error) => {
                    debug!(%error, "cannot ask where partitions end");
                    break;
                }
            }
        }
        self.show_lag();
    }

    /// Carries out what the group has decided, if anything.
    fn rebalance(&mut self) -> Result<(), ConsumeError> {
        while let Some(assigned) = self.consumer.context().next_rebalance() {
            match assigned {
                Assigned::Given(partitions) => {
                    info!(?partitions, "partitions assigned");
                    self.assign(&partitions)?;
                }
                Assigned::Taken => {
                    info!("partitions revoked");
                    if self.in_flight
                        && let Ok(verdict) = self.links.verdicts.recv_timeout(DRAIN)
                    {
                        // Lost or not, the partitions go; only a fault for the operator counts.
                        match self.on_verdict(verdict) {
                            Err(ConsumeError::Lost) => {}
                            other => other?,
                        }
                    }
                    self.forget();
                    self.consumer.unassign()?;
                    self.wait_for_partitions();
                }
            }
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.partitions.clear();
        self.batch = Batch::default();
        self.held.clear();
        self.ends.clear();
        self.consumer.context().forget_ends();
    }

    /// Assigns partitions at their stored positions; waits, polling on, while the database or Kafka
    /// cannot say where that is.
    fn assign(&mut self, partitions: &[TopicPartition]) -> Result<(), ConsumeError> {
        self.forget();
        self.unavailable = None;
        let links = self.links;
        // It has just given us partitions.
        links.health.kafka_answers(None);
        let mut attempt = 0;
        loop {
            match assignment::positions(links, &self.consumer, partitions) {
                Ok(stored) => {
                    let (list, state) = assignment::plan(&stored)?;
                    self.partitions.assign(state);
                    self.batch = Batch::new(self.partitions.names());
                    self.consumer.assign(&list)?;
                    links.health.database_answers(None);
                    links.health.kafka_answers(None);
                    return Ok(());
                }
                Err(assignment::PositionError::Fatal(reason)) => {
                    return Err(ConsumeError::Fatal(reason));
                }
                Err(assignment::PositionError::Stopped) => return Ok(()),
                Err(assignment::PositionError::Database(reason)) => {
                    links.health.database_answers(Some(reason));
                }
                Err(assignment::PositionError::Kafka(reason)) => {
                    links.health.kafka_answers(Some(reason));
                }
            }
            attempt += 1;
            let until = Instant::now() + crate::failure::backoff(attempt, 0.5);
            while Instant::now() < until {
                links.health.polled();
                if let Some(Err(error)) = self.consumer.poll(Duration::from_millis(50)) {
                    self.on_error(&error)?;
                }
                if links.stop.is_cancelled() || self.consumer.context().rebalanced() {
                    return Ok(());
                }
            }
        }
    }

    /// The end of a partition may lie beyond its last record: control records and the messages of
    /// aborted transactions are not delivered. The consumer's position moves over them, and is the
    /// partition's own only when all that was delivered has been taken.
    fn pass_control_records(&mut self) -> Result<(), ConsumeError> {
        if self.ends.is_empty() || !self.held.is_empty() {
            return Ok(());
        }
        let ends = std::mem::take(&mut self.ends);
        for element in self.consumer.position()?.elements() {
            if ends.contains(&element.partition())
                && let Some(index) = self.partitions.index(element.topic(), element.partition())
                && let Offset::Offset(end) = element.offset()
                && self.partitions.is_behind(index, end)
            {
                self.begin_batch();
                self.advance(index, end, None);
            }
        }
        Ok(())
    }

    fn on_error(&mut self, error: &KafkaError) -> Result<(), ConsumeError> {
        match error {
            KafkaError::PartitionEOF(partition) => {
                self.ends.insert(*partition);
                Ok(())
            }
            KafkaError::MessageConsumption(
                RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange,
            ) => Err(ConsumeError::Fatal(self.what_is_gone(error))),
            KafkaError::MessageConsumption(
                RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::SaslAuthenticationFailed,
            )
            | KafkaError::MessageConsumptionFatal(_) => {
                Err(ConsumeError::Fatal(format!("kafka: {error}")))
            }
            _ => {
                let unavailable = self.consumer.context().unavailable();
                warn!(%error, unavailable, "kafka");
                if unavailable.is_some() {
                    self.unavailable = unavailable;
                    if self.partitions.is_empty() {
                        self.wait_for_partitions();
                    }
                }
                Ok(())
            }
        }
    }

    /// Kafka does not have a position: which one, where it can be told.
    fn what_is_gone(&self, error: &KafkaError) -> String {
        for (partition, next) in self.partitions.positions() {
            let (topic, number) = (&partition.topic, partition.partition);
            match self.consumer.fetch_watermarks(topic, number, WATERMARK) {
                Ok((low, high)) if next < low || next > high => {
                    return assignment::outside(partition, next, low, high);
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        assignment::gone(&format!("a position of {}: {error}", self.topics))
    }

    /// Stores what is in hand before the worker leaves, within a bound.
    fn drain(&mut self, deadline: Instant) {
        let mut stored = 0;
        while self.in_flight || !self.batch.is_empty() {
            if !self.in_flight {
                stored += self.batch.len();
                self.flush();
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self
                .links
                .verdicts
                .recv_timeout(left)
                .map(|verdict| self.on_verdict(verdict))
            {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    return warn!(%error, "the last batch was not stored; the next worker will");
                }
                Err(_) => {
                    return warn!("the last batch was not stored in time; the next worker will");
                }
            }
        }
        info!(messages = stored, "stored the last batch");
    }
}

/// Leaves the group, or at least has tried to.
fn leave(consumer: Arc<BaseConsumer<Context>>, deadline: Instant) {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        drop(consumer);
        // Nobody may be waiting any more.
        let _waiting = tell.send(());
    });
    let left = deadline.saturating_duration_since(Instant::now());
    if told.recv_timeout(left.max(LEAVE)).is_err() {
        warn!("kafka does not answer: the group will notice by itself that this worker is gone");
    }
}
