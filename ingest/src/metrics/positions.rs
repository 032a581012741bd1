//! Where each partition of this worker stands. Those that another worker has are not shown.

use std::sync::{Arc, Mutex};

use common::lock::lock;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts};

use crate::batch::TopicPartition;

type Position = (TopicPartition, i64, Option<i64>);

/// The partitions of this worker, each with its next offset and its end in Kafka.
#[derive(Debug, Clone)]
pub struct Positions {
    shown: Arc<Mutex<Vec<Position>>>,
    position: IntGaugeVec,
    end: IntGaugeVec,
}

impl Positions {
    pub(super) fn new() -> prometheus::Result<Self> {
        let of_partition =
            |name, help| IntGaugeVec::new(Opts::new(name, help), &["topic", "partition"]);
        Ok(Self {
            shown: Arc::default(),
            position: of_partition(
                "ingest_partition_position",
                "The next offset that this worker takes from a partition of its own",
            )?,
            end: of_partition(
                "ingest_partition_end",
                "The offset after the last message of a partition of this worker",
            )?,
        })
    }

    /// Replaces all that is shown.
    pub fn show(&self, positions: impl Iterator<Item = Position>) {
        *lock(&self.shown) = positions.collect();
    }
}

impl Collector for Positions {
    fn desc(&self) -> Vec<&Desc> {
        [self.position.desc(), self.end.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Partitions that went to another worker must go. The lock keeps a second scrape out.
        let shown = lock(&self.shown);
        self.position.reset();
        self.end.reset();
        for (partition, next, end) in shown.iter() {
            let number = partition.partition.to_string();
            let labels = [&*partition.topic, &*number];
            self.position.with_label_values(&labels).set(*next);
            if let Some(end) = end {
                // It was seen earlier than the position.
                self.end.with_label_values(&labels).set(*end.max(next));
            }
        }
        [self.position.collect(), self.end.collect()].concat()
    }
}
