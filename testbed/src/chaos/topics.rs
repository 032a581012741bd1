//! Topics, their leaders and ends, and what a reader of committed records gets.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use rdkafka::admin::{AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

use crate::kafka;

const LIMIT: Duration = Duration::from_secs(30);

/// A partition of a topic.
pub(super) type Partition = (String, i32);

/// Creates a topic with settings of its own.
///
/// # Errors
///
/// When the brokers refuse.
pub(super) async fn create(
    brokers: &str,
    name: &str,
    partitions: i32,
    copies: i32,
    settings: &[(&str, &str)],
) -> Result<()> {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(copies));
    for (key, value) in settings {
        topic = topic.set(key, value);
    }
    let options = AdminOptions::new().operation_timeout(Some(LIMIT));
    let admin = kafka::admin(brokers)?;
    for result in admin.create_topics([&topic], &options).await? {
        result.map_err(|(topic, code)| anyhow!("the topic {topic} was refused: {code}"))?;
    }
    Ok(())
}

/// Gives a topic as many partitions.
///
/// # Errors
///
/// When the brokers refuse.
pub(super) async fn grow(brokers: &str, name: &str, partitions: i32) -> Result<()> {
    let count = usize::try_from(partitions)?;
    let options = AdminOptions::new().operation_timeout(Some(LIMIT));
    let wanted = NewPartitions::new(name, count);
    let admin = kafka::admin(brokers)?;
    for result in admin.create_partitions([&wanted], &options).await? {
        result.map_err(|(topic, code)| anyhow!("no partitions were added to {topic}: {code}"))?;
    }
    Ok(())
}

/// The leader of each partition of a topic; -1 where there is none.
///
/// # Errors
///
/// When no broker answers.
pub(super) async fn leaders(brokers: &str, topic: &str) -> Result<BTreeMap<i32, i32>> {
    let (admin, topic) = (kafka::admin(brokers)?, topic.to_owned());
    let asked = tokio::task::spawn_blocking(move || {
        let metadata = admin
            .inner()
            .fetch_metadata(Some(&topic), Duration::from_secs(5))?;
        let found = metadata
            .topics()
            .iter()
            .flat_map(rdkafka::metadata::MetadataTopic::partitions)
            .map(|partition| (partition.id(), partition.leader()));
        Ok::<_, KafkaError>(found.collect())
    });
    Ok(asked.await??)
}

/// Where each partition of these topics ends.
///
/// # Errors
///
/// When no broker answers, or a partition has no leader.
pub(super) async fn ends(
    brokers: &str,
    topics: &[&'static str],
) -> Result<BTreeMap<Partition, i64>> {
    let mut ends = BTreeMap::new();
    for topic in topics {
        let partitions = leaders(brokers, topic).await?;
        if partitions.is_empty() {
            bail!("the topic {topic} has no partitions");
        }
        let consumer = consumer(brokers)?;
        let topic = *topic;
        let asked = tokio::task::spawn_blocking(move || {
            let end = |partition| {
                let marks = consumer.fetch_watermarks(topic, partition, Duration::from_secs(5))?;
                Ok::<_, KafkaError>(((topic.to_owned(), partition), marks.1))
            };
            partitions
                .into_keys()
                .map(end)
                .collect::<Result<Vec<_>, _>>()
        });
        ends.extend(asked.await??);
    }
    Ok(ends)
}

fn consumer(brokers: &str) -> Result<BaseConsumer> {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "chaos-reader")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("enable.auto.commit", "false")
        .set("log_level", "0")
        .create()
        .context("cannot make a consumer")
}

/// Writes all committed records to a file, one JSON object a line as `oracle/chaos.py` reads them; returns how many there
/// are of each topic. Blocks.
///
/// # Errors
///
/// When the brokers do not deliver all of them in time, or the file cannot be written.
pub(super) fn dump(
    brokers: &str,
    ends: &BTreeMap<Partition, i64>,
    file: &Path,
) -> Result<BTreeMap<String, u64>> {
    let consumer = consumer(brokers)?;
    let mut list = TopicPartitionList::new();
    for (topic, partition) in ends.keys() {
        list.add_partition_offset(topic, *partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let (mut text, mut counts) = (String::new(), BTreeMap::new());
    let mut left = ends.len();
    let deadline = Instant::now() + Duration::from_mins(3);
    while left > 0 {
        if Instant::now() > deadline {
            bail!("{left} partitions could not be read to their ends in time");
        }
        match consumer.poll(Duration::from_millis(500)) {
            Some(Ok(message)) => {
                *counts.entry(message.topic().to_owned()).or_default() += 1;
                let line = serde_json::json!({
                    "topic": message.topic(),
                    "partition": message.partition(),
                    "offset": message.offset(),
                    "timestamp": message.timestamp().to_millis(),
                    "payload": message.payload().map(base64),
                });
                writeln!(text, "{line}")?;
            }
            Some(Err(KafkaError::PartitionEOF(_))) => left -= 1,
            Some(Err(error))
                if matches!(
                    error.rdkafka_error_code(),
                    Some(
                        RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure
                    )
                ) => {}
            Some(Err(error)) => return Err(error.into()),
            None => {}
        }
    }
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(counts)
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut bits = [0; 4];
        bits[1..=group.len()].copy_from_slice(group);
        let word = u32::from_be_bytes(bits);
        for place in 0..4_usize {
            let shift = 18 - 6 * u32::try_from(place).unwrap_or(0);
            let letter = LETTERS[usize::try_from((word >> shift) & 63).unwrap_or(0)];
            text.push(if place <= group.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xfe]), "//4=");
    }
}
