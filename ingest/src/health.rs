//! What the probes are told.
//!
//! Alive: the poll loop turns, an attempt to store a batch ends, and what lags behind is stored while
//! nothing is known to be in its way. A database or a broker that is down makes a worker not ready,
//! never not alive: a restart would not mend it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::admin::Probe;
use common::lock::lock;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts, Registry};

/// A poll loop that has not turned for this long hangs: its longest wait on purpose is a few seconds.
const STUCK_AFTER: Duration = Duration::from_mins(1);

/// An attempt to store a batch ends within two minutes, see `transaction`, whatever the database does.
const STORING_AT_MOST: Duration = Duration::from_mins(5);
/// A worker that lags and could store, and has stored nothing for this long, has lost its way.
const IDLE_AT_MOST: Duration = Duration::from_mins(10);

/// The state of the worker as the probes see it.
#[derive(Debug)]
pub struct Health {
    last_poll: AtomicI64,
    /// When the attempt to store a batch began that is under way; [`NEVER`]: none is.
    storing_since: AtomicI64,
    /// Since when there are messages to store and none was stored; [`NEVER`]: there are none.
    behind_since: AtomicI64,
    database: Mutex<Option<String>>,
    kafka: Mutex<Option<String>>,
}

impl Default for Health {
    fn default() -> Self {
        let starting = || Mutex::new(Some("starting".to_owned()));
        Self {
            last_poll: AtomicI64::new(seconds()),
            storing_since: AtomicI64::new(NEVER),
            behind_since: AtomicI64::new(NEVER),
            database: starting(),
            kafka: starting(),
        }
    }
}

impl Health {
    /// Shows the state among the metrics too.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn register(self: &Arc<Self>, registry: &Registry) -> prometheus::Result<()> {
        let ready = IntGaugeVec::new(
            Opts::new(
                "ingest_ready",
                "Whether the worker can work, by what it needs: 1, or 0 while it waits",
            ),
            &["part"],
        )?;
        registry.register(Box::new(Ready {
            health: self.clone(),
            ready,
        }))
    }

    /// The poll loop has turned.
    pub fn polled(&self) {
        self.last_poll.store(seconds(), Ordering::Relaxed);
    }

    /// An attempt to store a batch begins.
    pub fn storing(&self) {
        self.storing_since.store(seconds(), Ordering::Relaxed);
    }

    /// It has ended; with `stored` the worker has made progress.
    pub fn storing_ended(&self, stored: bool) {
        self.storing_since.store(NEVER, Ordering::Relaxed);
        if stored {
            self.behind_since.store(NEVER, Ordering::Relaxed);
        }
    }

    /// The messages that are not stored yet, as the poll loop knows them.
    pub fn lags(&self, messages: i64) {
        if messages == 0 {
            self.behind_since.store(NEVER, Ordering::Relaxed);
        } else {
            // Since the first time that it is told.
            self.behind_since.fetch_min(seconds(), Ordering::Relaxed);
        }
    }

    /// Why the worker is not alive at a time in seconds since 1970.
    fn stuck(&self, now: i64) -> Option<String> {
        let since = |time: &AtomicI64| {
            let passed = now.saturating_sub(time.load(Ordering::Relaxed));
            Duration::from_secs(u64::try_from(passed).unwrap_or(0))
        };
        let idle = since(&self.last_poll);
        if idle > STUCK_AFTER {
            return Some(format!(
                "the poll loop has not turned for {} s",
                idle.as_secs()
            ));
        }
        let storing = since(&self.storing_since);
        if storing > STORING_AT_MOST {
            let time = storing.as_secs();
            return Some(format!(
                "an attempt to store a batch has not ended for {time} s"
            ));
        }
        let behind = since(&self.behind_since);
        let free = lock(&self.database).is_none() && lock(&self.kafka).is_none();
        (free && behind > IDLE_AT_MOST).then(|| {
            let time = behind.as_secs();
            format!("messages wait, nothing is in their way, and none was stored for {time} s")
        })
    }

    /// The database answered, or why it did not.
    pub fn database_answers(&self, fault: Option<String>) {
        *lock(&self.database) = fault;
    }

    /// The worker is a member of its group, or what it waits for.
    pub fn kafka_answers(&self, fault: Option<String>) {
        *lock(&self.kafka) = fault;
    }
}

impl Probe for Health {
    fn live(&self) -> BoxFuture<'_, Result<(), String>> {
        let state = self.stuck(seconds()).map_or(Ok(()), Err);
        futures::future::ready(state).boxed()
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), String>> {
        let fault = |part: &Mutex<Option<String>>| lock(part).clone();
        let faults: Vec<String> = [
            ("database", fault(&self.database)),
            ("kafka", fault(&self.kafka)),
        ]
        .into_iter()
        .filter_map(|(part, fault)| fault.map(|fault| format!("{part}: {fault}")))
        .collect();
        let state = if faults.is_empty() {
            Ok(())
        } else {
            Err(faults.join("; "))
        };
        futures::future::ready(state).boxed()
    }
}

/// The gauge, set when it is asked for.
struct Ready {
    health: Arc<Health>,
    ready: IntGaugeVec,
}

impl Collector for Ready {
    fn desc(&self) -> Vec<&Desc> {
        self.ready.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let parts = [
            ("database", &self.health.database),
            ("kafka", &self.health.kafka),
        ];
        for (part, fault) in parts {
            let fault = lock(fault);
            self.ready
                .with_label_values(&[part])
                .set(i64::from(fault.is_none()));
        }
        self.ready.collect()
    }
}

/// Later than any time: nothing has lasted since then.
const NEVER: i64 = i64::MAX;

fn seconds() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker that has begun and has what it needs, and its clock.
    fn working() -> (Health, i64) {
        let health = Health::default();
        health.database_answers(None);
        health.kafka_answers(None);
        (health, seconds())
    }

    fn minutes(number: i64) -> i64 {
        60 * number
    }

    #[test]
    fn a_loop_that_turns_no_more_is_not_alive() {
        let (health, now) = working();
        assert_eq!(health.stuck(now + 60), None);
        let stuck = health.stuck(now + 63).unwrap();
        assert!(stuck.contains("poll loop"), "{stuck}");
    }

    #[test]
    fn an_attempt_that_does_not_end_is_not_alive() {
        let (health, now) = working();
        health.last_poll.store(now + minutes(6), Ordering::Relaxed);
        health.storing();
        assert_eq!(health.stuck(now + minutes(5)), None);
        let stuck = health.stuck(now + minutes(6)).unwrap();
        assert!(stuck.contains("attempt"), "{stuck}");
        health.storing_ended(false);
        assert_eq!(health.stuck(now + minutes(6)), None);
    }

    #[test]
    fn a_worker_that_lags_and_could_store_and_does_not_is_not_alive() {
        // GIVEN a worker that lags, and turns
        let (health, now) = working();
        health.lags(5);
        health.last_poll.store(now + minutes(11), Ordering::Relaxed);
        assert_eq!(health.stuck(now + minutes(9)), None);
        // WHEN it has stored nothing for long THEN it is not alive
        let stuck = health.stuck(now + minutes(11)).unwrap();
        assert!(stuck.contains("messages wait"), "{stuck}");
        // BUT it is while the database or the broker is away, and once it has stored something
        health.database_answers(Some("away".into()));
        assert_eq!(health.stuck(now + minutes(11)), None);
        health.database_answers(None);
        health.kafka_answers(Some("away".into()));
        assert_eq!(health.stuck(now + minutes(11)), None);
        health.kafka_answers(None);
        health.storing_ended(true);
        assert_eq!(health.stuck(now + minutes(11)), None);
        // AND without a lag there is nothing to store
        health.lags(5);
        health.lags(0);
        assert_eq!(health.stuck(now + minutes(11)), None);
    }
}
