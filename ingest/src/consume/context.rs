//! What librdkafka calls back: it only leaves notes for the poll loop.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::lock::lock;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use rdkafka::{ClientContext, Statistics, TopicPartitionList};
use tracing::{debug, warn};

use super::assignment::Assigned;
use crate::batch::TopicPartition;
use crate::config::KafkaConfig;

/// The log is told of faults of the connection no more often.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The settings of the consumer.
pub(crate) fn client_config(kafka: &KafkaConfig) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &kafka.brokers)
        .set("group.id", &kafka.group)
        .set("client.id", "ingest")
        .set(
            "session.timeout.ms",
            kafka.session_timeout.as_millis().to_string(),
        )
        .set(
            "max.poll.interval.ms",
            kafka.max_poll_interval.as_millis().to_string(),
        )
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        // A topic or a partition that is made later is seen soon; the default is five minutes.
        .set("topic.metadata.refresh.interval.ms", "10000")
        // A stored offset that Kafka does not have is an operator's decision, never a silent skip.
        .set("auto.offset.reset", "error")
        .set("queued.max.messages.kbytes", kafka.prefetch_kib.to_string())
        // A fetch holds this much of each partition beside the queue; a larger message comes alone.
        .set("fetch.message.max.bytes", "524288")
        // The default of a second idles the fetcher each time the queue is full: measured, a poll
        // loop goes from 0.42 to 2.2 million messages/s.
        .set("fetch.queue.backoff.ms", "5")
        .set("statistics.interval.ms", "5000")
        .set("security.protocol", kafka.security_protocol.as_str())
        .set_log_level(RDKafkaLogLevel::Warning);
    // An empty file name would be looked for.
    for (key, file) in [
        ("ssl.ca.location", &kafka.ssl_ca_file),
        ("ssl.certificate.location", &kafka.ssl_certificate_file),
        ("ssl.key.location", &kafka.ssl_key_file),
    ] {
        if !file.is_empty() {
            config.set(key, file);
        }
    }
    if !kafka.sasl_username.is_empty() {
        config
            .set("sasl.mechanisms", kafka.sasl_mechanism.as_str())
            .set("sasl.username", &kafka.sasl_username)
            .set("sasl.password", kafka.sasl_password.expose());
    }
    config
}

/// The id of the cluster, or why it is not told within that time. Blocks.
pub(crate) fn cluster_id(kafka: &KafkaConfig, within: Duration) -> Result<String, String> {
    let consumer: BaseConsumer<Context> = client_config(kafka)
        .create_with_context(Context::default())
        .map_err(|error| error.to_string())?;
    if let Some(cluster) = consumer.client().fetch_cluster_id(within) {
        return Ok(cluster);
    }
    // The client has put its reasons where a poll finds them.
    while consumer.poll(Duration::ZERO).is_some() {}
    let reason = consumer.context().unreachable();
    let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
    Err(format!("no answer from {}{reason}", kafka.brokers))
}

/// Notes for the poll loop.
#[derive(Debug, Default)]
pub struct Context {
    rebalances: Mutex<VecDeque<Assigned>>,
    ends: Mutex<HashMap<TopicPartition, i64>>,
    /// Why a topic cannot be read, in the client's words.
    unavailable: Mutex<Option<String>>,
    /// Why no broker can be talked to, in the client's words.
    unreachable: Mutex<Option<String>>,
    /// When the log was last told of a fault: while brokers are away there are dozens a second.
    told: Mutex<Option<Instant>>,
    closing: AtomicBool,
}

impl Context {
    /// The oldest decision of the group that has not been carried out.
    pub(super) fn next_rebalance(&self) -> Option<Assigned> {
        lock(&self.rebalances).pop_front()
    }

    /// Whether there is one.
    pub(super) fn rebalanced(&self) -> bool {
        !lock(&self.rebalances).is_empty()
    }

    /// Messages between these positions and the ends of their partitions, as last seen.
    pub(super) fn lag<'a>(
        &self,
        positions: impl Iterator<Item = (&'a TopicPartition, i64)>,
    ) -> i64 {
        let ends = lock(&self.ends);
        positions
            .filter_map(|(partition, next)| Some((ends.get(partition)? - next).max(0)))
            .sum()
    }

    /// The end of a partition, as last seen.
    pub(super) fn end(&self, partition: &TopicPartition) -> Option<i64> {
        lock(&self.ends).get(partition).copied()
    }

    /// A partition reaches at least this far: statistics of paused partitions are old.
    pub(super) fn saw_end(&self, partition: TopicPartition, end: i64) {
        let mut ends = lock(&self.ends);
        let known = ends.entry(partition).or_insert(end);
        *known = end.max(*known);
    }

    /// Forgets the ends of all partitions.
    pub(super) fn forget_ends(&self) {
        lock(&self.ends).clear();
    }

    /// Why a topic cannot be read, when that is new.
    pub(super) fn unavailable(&self) -> Option<String> {
        lock(&self.unavailable).take()
    }

    /// Why no broker can be talked to.
    fn unreachable(&self) -> Option<String> {
        lock(&self.unreachable).take()
    }

    fn is_time_to_tell(&self) -> bool {
        let mut told = lock(&self.told);
        let due = told.is_none_or(|told| told.elapsed() >= TELL_EVERY);
        if due {
            *told = Some(Instant::now());
        }
        due
    }

    /// From now on partitions are given back without asking the poll loop, which has ended.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }
}

impl ClientContext for Context {
    fn stats(&self, statistics: Statistics) {
        for (name, topic) in statistics.topics {
            for (partition, state) in topic.partitions {
                if state.ls_offset >= 0 {
                    let topic = name.as_str().into();
                    self.saw_end(TopicPartition { topic, partition }, state.ls_offset);
                }
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // What concerns the consumer comes from its poll, too: the end of a partition is no fault.
        match error {
            KafkaError::Global(RDKafkaErrorCode::PartitionEOF) => {}
            KafkaError::Global(RDKafkaErrorCode::UnknownTopicOrPartition) => {
                *lock(&self.unavailable) = Some(reason.to_owned());
            }
            error => {
                if self.is_time_to_tell() {
                    warn!(%error, reason, "kafka client");
                }
                // That all brokers are down is what follows from the reason.
                if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
                    *lock(&self.unreachable) = Some(reason.to_owned());
                }
            }
        }
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        error: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        if self.closing.load(Ordering::Acquire) {
            if let Err(error) = consumer.unassign() {
                debug!(%error, "giving partitions back");
            }
            return;
        }
        let note = if error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let of = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
                TopicPartition {
                    topic: element.topic().into(),
                    partition: element.partition(),
                }
            };
            Assigned::Given(partitions.elements().iter().map(of).collect())
        } else {
            Assigned::Taken
        };
        lock(&self.rebalances).push_back(note);
    }
}
