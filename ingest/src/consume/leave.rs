//! The end of a consumer: what is in hand is stored, and the group is left, each within a bound.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::BaseConsumer;
use tracing::{info, warn};

use super::{Consume, Context};

/// How long leaving the group may take at least: the client waits for a broker that is away.
const LEAVE: Duration = Duration::from_millis(500);

impl Consume<'_> {
    /// Stores what is in hand before the worker leaves, within a bound.
    pub(super) fn drain(&mut self, deadline: Instant) {
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
pub(super) fn leave(consumer: Arc<BaseConsumer<Context>>, deadline: Instant) {
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
