//! What the group decides is carried out here, by the poll loop, once.
//!
//! Partitions are assigned at their stored positions; a batch of revoked ones is finished or dropped.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use tracing::{info, warn};

use super::assignment::{self, Assigned};
use super::{Consume, ConsumeError, DRAIN};
use crate::batch::{Batch, TopicPartition};

impl Consume<'_> {
    /// Carries out what the group has decided, if anything.
    pub(super) fn rebalance(&mut self) -> Result<(), ConsumeError> {
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

    pub(super) fn forget(&mut self) {
        self.partitions.clear();
        self.batch = Batch::default();
        self.held.clear();
        self.ends.clear();
        self.consumer.context().forget_ends();
    }

    /// Assigns partitions at their stored positions; waits, polling on, while the database or Kafka
    /// cannot say where that is.
    pub(super) fn assign(&mut self, partitions: &[TopicPartition]) -> Result<(), ConsumeError> {
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
                    if attempt == 0 {
                        warn!(reason, "waiting for the database to say where to start");
                    }
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

    /// Without partitions the worker is not ready, and says what it waits for.
    pub(super) fn wait_for_partitions(&self) {
        let waiting = || format!("waiting for partitions of {}", self.topics);
        let reason = self.unavailable.clone().unwrap_or_else(waiting);
        self.links.health.kafka_answers(Some(reason));
    }
}
