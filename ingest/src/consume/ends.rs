//! Where partitions end: for the lag, and for positions past the last record.

use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use tracing::debug;

use super::{Consume, ConsumeError, WATERMARK};
use crate::batch::{Span, TopicPartition};

/// How often each partition's position is shown: the sum is cheap, a copy of all is not.
const SHOW_POSITIONS: Duration = Duration::from_secs(1);

impl Consume<'_> {
    /// The end of a partition may lie beyond its last record: control records and the messages of
    /// aborted transactions are not delivered. The consumer's position moves over them, and is the
    /// partition's own only when all that was delivered has been taken.
    pub(super) fn pass_control_records(&mut self) -> Result<(), ConsumeError> {
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

    pub(super) fn show_lag(&mut self) {
        let (context, metrics) = (self.consumer.context(), &self.links.metrics);
        let lag = context.lag(self.partitions.positions());
        metrics.lag.set(lag);
        self.links.health.lags(lag);
        if self.shown.elapsed() >= SHOW_POSITIONS {
            self.shown = Instant::now();
            let positions = self.partitions.positions();
            metrics.positions.show(
                positions
                    .map(|(partition, next)| (partition.clone(), next, context.end(partition))),
            );
        }
    }

    /// Asks Kafka where the partitions end: while they are paused nothing is fetched that would tell.
    pub(super) fn look_at_ends(&mut self) {
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

    /// Commits positions to Kafka, for dashboards of lag only: they are never read back.
    pub(super) fn show_in_group(&self, positions: &[(TopicPartition, Span)]) {
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
}
