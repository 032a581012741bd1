//! What `ingest` counts. Names have base units; labels are closed sets, or what is configured.

mod pending;
mod positions;

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, exponential_buckets,
};

pub use self::pending::{Pending, Storing};
pub use self::positions::Positions;

use crate::batch::Batch;
use crate::dead_letter::Reason;
use crate::store::marks;

/// All metrics of the process.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Where they are gathered.
    pub registry: Registry,
    /// Messages by what became of them.
    pub messages: IntCounterVec,
    /// Dead letters by reason.
    pub dead_letters: IntCounterVec,
    /// Candles written.
    pub candles: IntCounter,
    /// Batches committed.
    pub batches: IntCounter,
    /// Attempts to store a batch that failed and were repeated, by cause.
    pub retries: IntCounterVec,
    /// Batches that were halved because the database refuses a value.
    pub halved: IntCounter,
    /// Times another worker had stored a batch's partition.
    pub fenced: IntCounter,
    /// From the first statement of a batch to its commit.
    pub batch_seconds: Histogram,
    /// The same, by phase of the transaction.
    pub phase_seconds: HistogramVec,
    /// Messages of a batch.
    pub batch_size: Histogram,
    /// From a message's Kafka timestamp to its commit.
    pub message_delay: Histogram,
    /// The age of what is being stored now.
    pub pending: Pending,
    /// The greatest Kafka timestamp stored by this process.
    pub newest_message: Gauge,
    /// The time of the last commit.
    pub last_commit: Gauge,
    /// Messages not yet taken, over the partitions of this worker.
    pub lag: IntGauge,
    /// Where each partition of this worker stands.
    pub positions: Positions,
    /// Blocks of ticks that were merged into larger ones.
    pub blocks_merged: IntCounter,
    /// Refreshes of views.
    pub refreshes: IntCounter,
    /// Time of the refreshes of one turn.
    pub refresh_seconds: Histogram,
    /// When each view was last refreshed, by whichever worker.
    pub view_refreshed: GaugeVec,
    /// Marks of each view.
    pub view_marks: IntGaugeVec,
    /// Turns of the work in the background that failed.
    pub upkeep_failures: IntCounterVec,
}

/// What becomes of a message.
pub const OUTCOMES: [&str; 8] = [
    "added",
    "late",
    "duplicate",
    "stale",
    "correction",
    "cancel_first",
    "dead_letter",
    "tombstone",
];

/// Why an attempt to store a batch is repeated, see [`cause`].
pub const CAUSES: [&str; 5] = ["connection", "lock", "resources", "shutdown", "other"];

/// The phases of a transaction, see [`crate::transaction::Outcome::phases`].
pub const PHASES: [&str; 4] = ["begin", "lock", "write", "commit"];

/// Work in the background.
pub const TASKS: [&str; 2] = ["merge", "refresh"];

/// Seconds; the objective for freshness is one of them.
const DELAYS: [f64; 15] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0,
];

impl Metrics {
    /// Registers every metric, each label value of a closed set at zero.
    ///
    /// # Errors
    /// When two have one name, which a test would show.
    #[expect(clippy::too_many_lines, reason = "one entry a metric")]
    pub fn new() -> prometheus::Result<Self> {
        let make = Make(Registry::new());
        let metrics = Self {
            messages: make.counters(
                "ingest_messages_total",
                "Kafka messages stored, by outcome; late ones are not counted as added",
                "outcome",
                &OUTCOMES,
            )?,
            dead_letters: make.counters(
                "ingest_dead_letters_total",
                "Dead letters, by reason",
                "reason",
                &Reason::ALL.map(Reason::as_str),
            )?,
            candles: make.counter("ingest_candles_written_total", "Candles written")?,
            batches: make.counter("ingest_batches_total", "Batches committed")?,
            retries: make.counters(
                "ingest_batch_retries_total",
                "Attempts to store a batch that were repeated, by cause",
                "cause",
                &CAUSES,
            )?,
            halved: make.counter(
                "ingest_batches_halved_total",
                "Batches halved to find a message that the database refuses",
            )?,
            fenced: make.counter(
                "ingest_fenced_batches_total",
                "Batches refused because another worker has the partition",
            )?,
            batch_seconds: make.histogram(
                "ingest_batch_duration_seconds",
                "Time to store one batch",
                exponential_buckets(0.001, 2.0, 14)?,
            )?,
            phase_seconds: {
                let phases = HistogramVec::new(
                    HistogramOpts::new(
                        "ingest_batch_phase_duration_seconds",
                        "Time to store one batch, by phase of its transaction",
                    )
                    .buckets(exponential_buckets(0.001, 4.0, 7)?),
                    &["phase"],
                )?;
                for phase in PHASES {
                    let _at_zero = phases.with_label_values(&[phase]);
                }
                make.register(phases)?
            },
            batch_size: make.histogram(
                "ingest_batch_size_messages",
                "Messages of one batch",
                exponential_buckets(1.0, 4.0, 10)?,
            )?,
            message_delay: make.histogram(
                "ingest_message_delay_seconds",
                "Time from a message's Kafka timestamp to its commit",
                DELAYS.to_vec(),
            )?,
            pending: make.register(Pending::new()?)?,
            newest_message: make.register(Gauge::new(
                "ingest_newest_message_timestamp_seconds",
                "The greatest Kafka timestamp that this worker has stored, 0 before the first",
            )?)?,
            last_commit: make.register(Gauge::new(
                "ingest_last_commit_timestamp_seconds",
                "When this worker last committed a batch, 0 before the first",
            )?)?,
            lag: make.register(IntGauge::new(
                "ingest_lag_messages",
                "Messages in Kafka that this worker has not taken yet, over its partitions",
            )?)?,
            positions: make.register(Positions::new()?)?,
            blocks_merged: make.counter(
                "ingest_tick_blocks_merged_total",
                "Small blocks of ticks merged into larger ones",
            )?,
            refreshes: make.counter(
                "ingest_view_refreshes_total",
                "Refreshes of the weekly to yearly views by this worker",
            )?,
            refresh_seconds: make.histogram(
                "ingest_view_refresh_duration_seconds",
                "Time of one turn that refreshed views",
                exponential_buckets(0.01, 4.0, 10)?,
            )?,
            view_refreshed: make.register(GaugeVec::new(
                Opts::new(
                    "ingest_view_refreshed_timestamp_seconds",
                    "When a view was last refreshed by any worker, by the database's clock",
                ),
                &["view"],
            )?)?,
            view_marks: make.register(IntGaugeVec::new(
                Opts::new(
                    "ingest_view_marks",
                    "Changed periods that wait for a refresh of their view, counted up to 100000",
                ),
                &["view"],
            )?)?,
            upkeep_failures: make.counters(
                "ingest_upkeep_failures_total",
                "Turns of the work in the background that failed, by task",
                "task",
                &TASKS,
            )?,
            registry: make.0,
        };
        for (view, _) in marks::VIEWS {
            metrics.view_marks.with_label_values(&[view]).set(0);
        }
        Ok(metrics)
    }

    /// A batch is committed: how large it was and how old its messages are.
    pub fn committed(&self, batch: &Batch) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64();
        self.batches.inc();
        self.last_commit.set(now);
        #[expect(clippy::cast_precision_loss, reason = "no batch has 2^52 messages")]
        self.batch_size.observe(batch.len() as f64);
        let delays = self.message_delay.local();
        let mut newest = self.newest_message.get();
        for timestamp in batch.timestamps() {
            let time = seconds(timestamp);
            delays.observe((now - time).max(0.0));
            newest = newest.max(time);
        }
        delays.flush();
        self.newest_message.set(newest);
    }
}

/// Kafka's milliseconds, as Prometheus has times.
fn seconds(milliseconds: i64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds below 2^52 are exact"
    )]
    let milliseconds = milliseconds as f64;
    milliseconds / 1000.0
}

/// Why an attempt is repeated, by SQLSTATE class where the server gave one; one of [`CAUSES`].
#[must_use]
pub fn cause(error: &sqlx::Error) -> &'static str {
    let Some(error) = error.as_database_error() else {
        return match error {
            sqlx::Error::PoolTimedOut => "resources",
            sqlx::Error::RowNotFound => "other",
            _ => "connection",
        };
    };
    match error.code().as_deref() {
        // Lock not available, deadlock, serialization.
        Some("55P03" | "40P01" | "40001") => "lock",
        // Shutdowns, and a server that starts.
        Some("57P01" | "57P02" | "57P03") => "shutdown",
        Some(code) if code.starts_with("08") => "connection",
        // 53: disk, memory, connections; 58: the disk itself; 57014: a statement that took too long.
        Some(code) if code.starts_with("53") || code.starts_with("58") || code == "57014" => {
            "resources"
        }
        _ => "other",
    }
}

/// Makes and registers.
struct Make(Registry);

impl Make {
    fn register<C: Collector + Clone + 'static>(&self, collector: C) -> prometheus::Result<C> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.register(IntCounter::new(name, help)?)
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
        for value in values {
            counters.with_label_values(&[value]).reset();
        }
        self.register(counters)
    }

    fn histogram(
        &self,
        name: &str,
        help: &str,
        buckets: Vec<f64>,
    ) -> prometheus::Result<Histogram> {
        self.register(Histogram::with_opts(
            HistogramOpts::new(name, help).buckets(buckets),
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_without_a_sqlstate_have_a_cause() {
        let io = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        for (error, expected) in [
            (sqlx::Error::Io(io), "connection"),
            (sqlx::Error::PoolTimedOut, "resources"),
            (sqlx::Error::RowNotFound, "other"),
        ] {
            assert_eq!(cause(&error), expected);
            assert!(CAUSES.contains(&expected));
        }
    }
}
