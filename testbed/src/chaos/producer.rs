//! Sends a feed: most of it as it comes, some in transactions of which some are aborted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rdkafka::ClientConfig;
use rdkafka::error::KafkaResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use tokio::runtime::Handle;

use super::feed::{AVRO, COMPACTED, Feed, Message, Plan, TICKS};
use crate::Publisher;

const LIMIT: Duration = Duration::from_mins(1);
/// So many messages come alone, then so many in a transaction.
const ALONE: u64 = 250;
const TOGETHER: usize = 12;

/// What the rest of the run tells the feed.
#[derive(Debug)]
pub(super) struct Shared {
    /// Ends it.
    pub(super) stop: AtomicBool,
    /// Partitions of [`TICKS`].
    pub(super) partitions: AtomicI32,
    /// The schema of Avro messages.
    pub(super) schema_id: AtomicU32,
}

impl Shared {
    /// A feed of so many partitions.
    pub(super) fn new(partitions: i32) -> Self {
        Self {
            stop: AtomicBool::new(false),
            partitions: AtomicI32::new(partitions),
            schema_id: AtomicU32::new(0),
        }
    }

    /// From now on Avro messages are written with that schema.
    pub(super) fn use_schema(&self, id: u32) {
        self.schema_id.store(id, Ordering::Relaxed);
    }
}

/// What was sent.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Messages by their kind.
    pub(super) kinds: BTreeMap<&'static str, u64>,
    /// Confirmed messages of each topic, those of transactions that were committed included.
    pub(super) confirmed: BTreeMap<&'static str, u64>,
    /// Messages of transactions whose end was not confirmed: they may be committed or not.
    pub(super) unsure: u64,
    pub(super) committed: u64,
    pub(super) aborted: u64,
}

/// Sends at `rate` messages a second until it is told to stop, then what is still due. Blocks.
///
/// # Errors
///
/// When the brokers lose a message.
pub(super) fn send(brokers: &str, plan: Plan, rate: f64, shared: &Shared) -> Result<Sent> {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?;
    let partitions = shared.partitions.load(Ordering::Relaxed);
    let mut feed = Feed::new(
        plan,
        now,
        partitions,
        shared.schema_id.load(Ordering::Relaxed),
    );
    let mut sender = Sender::connect(brokers, plan)?;
    let begun = Instant::now();
    let mut number = 0_u64;
    while !shared.stop.load(Ordering::Relaxed) {
        feed.schema_id = shared.schema_id.load(Ordering::Relaxed);
        let partitions = shared.partitions.load(Ordering::Relaxed);
        if partitions != feed.partitions {
            sender.reconnect()?;
            feed.partitions = partitions;
        }
        number += 1;
        if number.is_multiple_of(ALONE) {
            let together: Vec<Message> =
                (0..TOGETHER).map(|_| feed.next()).collect::<Result<_>>()?;
            sender.transact(&together)?;
        } else {
            sender.alone(&feed.next()?)?;
        }
        pace(begun, number, rate);
    }
    for message in feed.rest() {
        sender.alone(&message)?;
    }
    sender.finish()
}

/// Waits until it is time for message `number`; what an outage has held up is made up for.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52 messages")]
fn pace(begun: Instant, number: u64, rate: f64) {
    let due = Duration::from_secs_f64(number as f64 / rate);
    if let Some(early) = due.checked_sub(begun.elapsed()) {
        std::thread::sleep(early);
    }
}

struct Sender {
    brokers: String,
    publishers: BTreeMap<&'static str, Publisher>,
    transactions: BaseProducer,
    random: StdRng,
    sent: Sent,
}

impl Sender {
    fn connect(brokers: &str, plan: Plan) -> Result<Self> {
        let topics: &[&str] = if plan.avro {
            &[TICKS, COMPACTED, AVRO]
        } else {
            &[TICKS, COMPACTED]
        };
        let connect = |topic: &&'static str| Ok((*topic, Publisher::connect(brokers, topic)?));
        Ok(Self {
            brokers: brokers.to_owned(),
            publishers: topics.iter().map(connect).collect::<Result<_>>()?,
            transactions: transactions(brokers)?,
            random: StdRng::seed_from_u64(plan.seed),
            sent: Sent::default(),
        })
    }

    /// Forgets how many partitions there are.
    fn reconnect(&mut self) -> Result<()> {
        let publisher = Publisher::connect(&self.brokers, TICKS)?;
        let old = self.publishers.insert(TICKS, publisher);
        old.map_or(Ok(()), |old| self.settle(TICKS, &old))
    }

    fn alone(&mut self, message: &Message) -> Result<()> {
        *self.sent.kinds.entry(message.kind).or_default() += 1;
        let publisher = self
            .publishers
            .get(message.topic)
            .context("no such topic")?;
        let payload = message.payload.as_deref();
        publisher.send_raw(
            Some(message.key.as_bytes()),
            payload,
            Some(message.partition),
        )
    }

    fn transact(&mut self, messages: &[Message]) -> Result<()> {
        let commit = self.random.random_bool(0.6);
        match attempt(&self.transactions, messages, commit) {
            Ok(()) if commit => {
                self.sent.committed += 1;
                for message in messages {
                    *self.sent.kinds.entry(message.kind).or_default() += 1;
                    *self.sent.confirmed.entry(message.topic).or_default() += 1;
                }
            }
            Ok(()) => self.sent.aborted += 1,
            Err(_away) => {
                // A new producer of the same name ends what this one has begun, one way or the other.
                self.sent.unsure += u64::try_from(messages.len())?;
                self.transactions = transactions(&self.brokers)?;
            }
        }
        Ok(())
    }

    fn settle(&mut self, topic: &'static str, publisher: &Publisher) -> Result<()> {
        let delivered = Handle::current()
            .block_on(async { tokio::time::timeout(LIMIT, publisher.settle()).await })
            .context("messages are not confirmed")??;
        *self.sent.confirmed.entry(topic).or_default() += delivered.count;
        Ok(())
    }

    fn finish(mut self) -> Result<Sent> {
        for (topic, publisher) in std::mem::take(&mut self.publishers) {
            self.settle(topic, &publisher)?;
        }
        Ok(self.sent)
    }
}

fn transactions(brokers: &str) -> Result<BaseProducer> {
    let mut tries = 0;
    loop {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("transactional.id", "chaos")
            // Shorter than the default: one that was left open holds up every reader.
            .set("transaction.timeout.ms", "15000")
            .set("message.timeout.ms", "15000")
            .set("log_level", "0")
            .create()?;
        match producer.init_transactions(LIMIT) {
            Ok(()) => return Ok(producer),
            Err(error) if tries == 3 => return Err(error).context("no transactions"),
            Err(_) => tries += 1,
        }
    }
}

fn attempt(producer: &BaseProducer, messages: &[Message], commit: bool) -> KafkaResult<()> {
    producer.begin_transaction()?;
    for message in messages {
        let mut record = BaseRecord::<[u8], [u8]>::to(message.topic)
            .key(message.key.as_bytes())
            .partition(message.partition);
        record.payload = message.payload.as_deref();
        producer.send(record).map_err(|(error, _)| error)?;
    }
    producer.flush(LIMIT)?;
    if commit {
        producer.commit_transaction(LIMIT)
    } else {
        producer.abort_transaction(LIMIT)
    }
}
