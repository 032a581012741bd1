//! What the probes are told.
//!
//! Alive: the poll loop turns. A database that is down makes a worker not ready, never not alive: a
//! restart would not mend it.

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

fn seconds() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}
