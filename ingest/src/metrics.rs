//! What `ingest` counts. Names have base units; labels are closed sets.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    exponential_buckets,
};

use crate::batch::Reason;

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
    /// Attempts to store a batch that failed and were repeated.
    pub retries: IntCounter,
    /// Times another worker had stored a batch's partition.
    pub fenced: IntCounter,
    /// From the first statement of a batch to its commit.
    pub batch_seconds: Histogram,
    /// Messages not yet taken, over the partitions of this worker.
    pub lag: IntGauge,
    /// Blocks of ticks that were merged into larger ones.
    pub blocks_merged: IntCounter,
    /// Refreshes of views.
    pub refreshes: IntCounter,
}

/// What becomes of a message.
pub const OUTCOMES: [&str; 7] = [
    "added",
    "late",
    "duplicate",
    "stale",
    "correction",
    "dead_letter",
    "tombstone",
];

impl Metrics {
    /// Registers every metric, each label value at zero.
    ///
    /// # Errors
    /// When two have one name, which a test would show.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| -> prometheus::Result<IntCounter> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let messages = IntCounterVec::new(
            Opts::new(
                "ingest_messages_total",
                "Kafka messages stored, by outcome; late ones are not counted as added",
            ),
            &["outcome"],
        )?;
        let dead_letters = IntCounterVec::new(
            Opts::new("ingest_dead_letters_total", "Dead letters, by reason"),
            &["reason"],
        )?;
        for outcome in OUTCOMES {
            messages.with_label_values(&[outcome]).reset();
        }
        for reason in Reason::ALL {
            dead_letters.with_label_values(&[reason.as_str()]).reset();
        }
        let batch_seconds = Histogram::with_opts(
            HistogramOpts::new("ingest_batch_duration_seconds", "Time to store one batch")
                .buckets(exponential_buckets(0.001, 2.0, 14)?),
        )?;
        let lag = IntGauge::new(
            "ingest_lag_messages",
            "Messages in Kafka that this worker has not taken yet, over its partitions",
        )?;
        let metrics = Self {
            messages,
            dead_letters,
            candles: counter("ingest_candles_written_total", "Candles written")?,
            batches: counter("ingest_batches_total", "Batches committed")?,
            retries: counter(
                "ingest_batch_retries_total",
                "Attempts to store a batch that were repeated",
            )?,
            fenced: counter(
                "ingest_fenced_batches_total",
                "Batches refused because another worker has the partition",
            )?,
            batch_seconds,
            lag,
            blocks_merged: counter(
                "ingest_tick_blocks_merged_total",
                "Small blocks of ticks merged into larger ones",
            )?,
            refreshes: counter(
                "ingest_view_refreshes_total",
                "Refreshes of the weekly to yearly views",
            )?,
            registry: registry.clone(),
        };
        registry.register(Box::new(metrics.messages.clone()))?;
        registry.register(Box::new(metrics.dead_letters.clone()))?;
        registry.register(Box::new(metrics.batch_seconds.clone()))?;
        registry.register(Box::new(metrics.lag.clone()))?;
        Ok(metrics)
    }
}
