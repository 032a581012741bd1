//! How old the messages are that wait for a commit. The age is taken when it is asked for, so that it grows while the
//! database is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::Gauge;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::seconds;
use crate::batch::Batch;

/// The oldest message of the batch that is being stored; its age is told when it is asked for, so
/// that it grows while the database is away.
#[derive(Debug, Clone)]
pub struct Pending {
    /// Milliseconds since 1970; `i64::MAX`: nothing is being stored.
    oldest: Arc<AtomicI64>,
    delay: Gauge,
}

impl Pending {
    pub(super) fn new() -> prometheus::Result<Self> {
        Ok(Self {
            oldest: Arc::new(AtomicI64::new(i64::MAX)),
            delay: Gauge::new(
                "ingest_delay_seconds",
                "Age of the oldest message of the batch being stored, by its Kafka timestamp; 0 between batches",
            )?,
        })
    }

    /// A batch is being stored until what is returned is dropped.
    #[must_use]
    pub fn storing(&self, batch: &Batch) -> Storing {
        let oldest = batch.timestamps().min().unwrap_or(i64::MAX);
        self.oldest.store(oldest, Ordering::Relaxed);
        Storing(self.oldest.clone())
    }
}

/// See [`Pending::storing`].
#[derive(Debug)]
pub struct Storing(Arc<AtomicI64>);

impl Drop for Storing {
    fn drop(&mut self) {
        self.0.store(i64::MAX, Ordering::Relaxed);
    }
}

impl Collector for Pending {
    fn desc(&self) -> Vec<&Desc> {
        self.delay.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64();
        let oldest = self.oldest.load(Ordering::Relaxed);
        self.delay.set((now - seconds(oldest)).max(0.0));
        self.delay.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_batch_grows_old_until_it_is_stored() {
        // GIVEN a batch whose oldest message is a minute old
        let pending = Pending::new().unwrap();
        let delay = || pending.collect()[0].get_metric()[0].get_gauge().get_value();
        let minute_ago = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_millis();
        let minute_ago = i64::try_from(minute_ago).unwrap() - 60_000;
        pending.oldest.store(minute_ago, Ordering::Relaxed);

        // THEN its age shows until it is stored
        assert!((60.0..70.0).contains(&delay()), "{}", delay());
        drop(Storing(pending.oldest.clone()));
        assert!(delay().abs() < f64::EPSILON);
    }
}
