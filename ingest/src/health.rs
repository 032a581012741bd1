//! What the probes are told.
//!
//! Alive: the poll loop turns. A database that is down makes a worker not ready, never not alive: a
//! restart would not mend it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::admin::Probe;
use futures::FutureExt as _;
use futures::future::BoxFuture;

/// A poll loop that has not turned for this long hangs: its longest wait on purpose is a few seconds.
const STUCK_AFTER: Duration = Duration::from_mins(1);

/// The state of the worker as the probes see it.
#[derive(Debug)]
pub struct Health {
    last_poll: AtomicI64,
    database: Mutex<Option<String>>,
    kafka: Mutex<Option<String>>,
}

impl Default for Health {
    fn default() -> Self {
        let starting = || Mutex::new(Some("starting".to_owned()));
        Self {
            last_poll: AtomicI64::new(seconds()),
            database: starting(),
            kafka: starting(),
        }
    }
}

impl Health {
    /// The poll loop has turned.
    pub fn polled(&self) {
        self.last_poll.store(seconds(), Ordering::Relaxed);
    }

    /// The database answered, or why it did not.
    pub fn database_answers(&self, fault: Option<String>) {
        *self
            .database
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = fault;
    }

    /// The worker is a member of its group, or what it waits for.
    pub fn kafka_answers(&self, fault: Option<String>) {
        *self
            .kafka
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = fault;
    }
}

impl Probe for Health {
    fn live(&self) -> BoxFuture<'_, Result<(), String>> {
        let idle = seconds() - self.last_poll.load(Ordering::Relaxed);
        let stuck = u64::try_from(idle).is_ok_and(|idle| Duration::from_secs(idle) > STUCK_AFTER);
        let state = if stuck {
            Err(format!("the poll loop has not turned for {idle} s"))
        } else {
            Ok(())
        };
        futures::future::ready(state).boxed()
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), String>> {
        let fault = |part: &Mutex<Option<String>>| {
            part.lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .clone()
        };
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

fn seconds() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}
