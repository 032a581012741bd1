//! Where reading begins, and the state of the partitions that are read.
//!
//! A stored position belongs to one incarnation of a topic. It is trusted only when Kafka still has
//! it and the last stored record still bears the timestamp it had.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use common::database::explain;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use super::{ConsumeError, Context, Links};
use crate::batch::TopicPartition;
use crate::config::Format;
use crate::failure::{Class, class};
use crate::store::positions::{self, Position};

/// How long Kafka may take to say where a partition begins and ends.
const WATERMARKS: Duration = Duration::from_secs(2);

/// How long the database may take to say where they stand: the loop does not poll meanwhile, and a
/// server that is cut off never answers.
const READ: Duration = Duration::from_secs(30);

/// What the group has decided.
#[derive(Debug)]
pub(super) enum Assigned {
    /// These partitions are ours.
    Given(Vec<TopicPartition>),
    /// None is.
    Taken,
}

/// Why positions cannot be had.
pub(super) enum PositionError {
    /// Try again.
    Database(String),
    /// Try again.
    Kafka(String),
    /// An operator must act.
    Fatal(String),
    /// The worker is told to stop.
    Stopped,
}

/// A stored position beside the first and next offset that Kafka has.
pub(super) struct Stored {
    partition: TopicPartition,
    position: Position,
    watermarks: (i64, i64),
}

/// The stored positions of partitions, and what Kafka has.
pub(super) fn positions(
    links: &Links,
    consumer: &BaseConsumer<Context>,
    partitions: &[TopicPartition],
) -> Result<Vec<Stored>, PositionError> {
    let read = links.runtime.block_on(async {
        tokio::select! {
            read = tokio::time::timeout(READ, positions::read(&links.database, &links.cluster, partitions)) => Some(read),
            () = links.stop.cancelled() => None,
        }
    });
    let mut stored = read
        .ok_or(PositionError::Stopped)?
        .map_err(|_| PositionError::Database(explain(&links.database.timed_out())))?
        .map_err(|error| match class(&error) {
            Class::Transient => PositionError::Database(explain(&error)),
            _ => PositionError::Fatal(format!("database: {}", explain(&error))),
        })?;
    partitions
        .iter()
        .map(|partition| {
            let watermarks = consumer
                .fetch_watermarks(&partition.topic, partition.partition, WATERMARKS)
                .map_err(|error| PositionError::Kafka(error.to_string()))?;
            let position = stored.remove(partition).unwrap_or_default();
            Ok(Stored {
                partition: partition.clone(),
                position,
                watermarks,
            })
        })
        .collect()
}

/// The sentence for a position that Kafka does not have.
pub(super) fn gone(what: &str) -> String {
    format!(
        "{what}. The topic was recreated or its messages expired before they were stored. Nothing is skipped silently: \
         see docs/offsets.md, then run `ingest offsets reset` to read the topic from its beginning"
    )
}

/// The sentence for a position outside of what Kafka has.
pub(super) fn outside(partition: &TopicPartition, next: i64, low: i64, high: i64) -> String {
    let TopicPartition { topic, partition } = partition;
    gone(&format!(
        "the stored position of {topic} [{partition}] is {next}, but Kafka has {low} to {high}"
    ))
}

/// Where to start reading, and the state of each partition.
///
/// # Errors
/// When Kafka no longer has a stored position, or does not have it yet.
pub(super) fn plan(stored: &[Stored]) -> Result<(TopicPartitionList, Vec<State>), ConsumeError> {
    let mut list = TopicPartitionList::with_capacity(stored.len());
    let mut states = Vec::with_capacity(stored.len());
    for Stored {
        partition,
        position,
        watermarks: (low, high),
    } in stored
    {
        let mut check = None;
        let start = match position.next {
            None => Offset::Beginning,
            Some(next) if next < *low || next > *high => {
                return Err(ConsumeError::Fatal(outside(partition, next, *low, *high)));
            }
            // Start at the last stored record, where Kafka still has it, to see that it is the same.
            Some(next) => match position.last.filter(|(last, _)| last >= low) {
                Some((last, timestamp)) => {
                    check = Some((last, timestamp));
                    Offset::Offset(last)
                }
                None => Offset::Offset(next),
            },
        };
        list.add_partition_offset(&partition.topic, partition.partition, start)?;
        states.push(State {
            partition: partition.clone(),
            first: *low,
            next: position.next,
            check,
        });
    }
    Ok((list, states))
}

/// The state of a partition.
#[derive(Debug)]
pub(super) struct State {
    partition: TopicPartition,
    /// The first offset that Kafka had when the partition was assigned.
    first: i64,
    /// The next offset to take; `None`: nothing is stored yet.
    next: Option<i64>,
    /// Offset and timestamp that the last stored record must have.
    check: Option<(i64, Option<i64>)>,
}

/// The partitions that are read, by their index in the batch.
#[derive(Debug)]
pub(super) struct Partitions {
    formats: BTreeMap<String, Format>,
    states: Vec<State>,
    by_number: HashMap<i32, Vec<u16>>,
}

impl Partitions {
    pub(super) fn new(formats: BTreeMap<String, Format>) -> Self {
        Self {
            formats,
            states: Vec::new(),
            by_number: HashMap::new(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.assign(Vec::new());
    }

    pub(super) fn assign(&mut self, states: Vec<State>) {
        self.by_number.clear();
        for (index, state) in (0_u16..).zip(&states) {
            self.by_number
                .entry(state.partition.partition)
                .or_default()
                .push(index);
        }
        self.states = states;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    pub(super) fn names(&self) -> Vec<TopicPartition> {
        self.states
            .iter()
            .map(|state| state.partition.clone())
            .collect()
    }

    /// Each partition with the next offset to take.
    pub(super) fn positions(&self) -> impl Iterator<Item = (&TopicPartition, i64)> {
        self.states
            .iter()
            .map(|state| (&state.partition, state.next.unwrap_or(state.first)))
    }

    pub(super) fn index(&self, topic: &str, partition: i32) -> Option<u16> {
        let candidates = self.by_number.get(&partition)?;
        candidates
            .iter()
            .copied()
            .find(|index| *self.states[usize::from(*index)].partition.topic == *topic)
    }

    /// Whether a message is to be taken, as the index of its partition and its format.
    ///
    /// # Errors
    /// When it is not the record that was stored at its offset.
    pub(super) fn accept(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        timestamp: Option<i64>,
    ) -> Result<Option<(u16, Format)>, ConsumeError> {
        let Some(index) = self.index(topic, partition) else {
            return Ok(None);
        };
        let state = &mut self.states[usize::from(index)];
        if let Some((last, stored)) = state.check.take()
            && offset == last
            && timestamp != stored
        {
            return Err(ConsumeError::Fatal(gone(&format!(
                "the record of {topic} [{partition}] at offset {offset} is not the one that was stored"
            ))));
        }
        if state.next.is_some_and(|next| offset < next) {
            return Ok(None);
        }
        Ok(self.formats.get(topic).map(|format| (index, *format)))
    }

    /// Moves a partition on; returns where it was.
    pub(super) fn advance(&mut self, index: u16, next: i64) -> Option<i64> {
        self.states[usize::from(index)].next.replace(next)
    }

    pub(super) fn is_behind(&self, index: u16, end: i64) -> bool {
        self.states[usize::from(index)]
            .next
            .is_none_or(|next| next < end)
    }
}
