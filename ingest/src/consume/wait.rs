//! Waiting without leaving the group: partitions are paused while the loop polls on.

use std::sync::mpsc::{RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;

use super::{Consume, ConsumeError, Interrupted};

/// How long the loop waits for the database before it pauses the partitions and polls on.
const PAUSE_AFTER: Duration = Duration::from_secs(1);
/// How often the ends of paused partitions are asked for.
const LOOK_AT_ENDS: Duration = Duration::from_secs(5);

impl Consume<'_> {
    /// Waits until the writer is idle.
    pub(super) fn wait_for_writer(&mut self) -> Result<Result<(), Interrupted>, ConsumeError> {
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
    pub(super) fn while_paused<T>(
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
}
