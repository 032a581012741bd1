//! Stores batches, one after another, until each is stored or cannot be.
//!
//! A transient failure is repeated with backoff for as long as it takes. A batch whose values the
//! database refuses is halved until the message at fault is alone, and that one becomes a dead letter.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::database::{Database, explain, sqlstate};
use common::telemetry::traces;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, info, warn};

use crate::batch::{Batch, Span, TopicPartition};
use crate::breaker::{Breaker, Counts};
use crate::config::PoisonConfig;
use crate::dead_letter::{Fault, Reason};
use crate::failure::{Class, backoff, class};
use crate::health::Health;
use crate::letters_told::LettersTold;
use crate::metrics::{Metrics, cause};
use crate::store::{positions, sessions};
use crate::transaction::{Known, Outcome, TransactionError, store};

/// How long it may take to look for frozen sessions, and to end them.
const END_FROZEN: Duration = Duration::from_secs(30);

/// What became of a batch.
#[derive(Debug)]
pub enum Verdict {
    /// It is stored; its partitions stand at these positions.
    Stored(Vec<(TopicPartition, Span)>),
    /// Another worker has a partition of it; nothing was stored.
    Lost,
    /// Only an operator can help.
    Fatal(String),
    /// The worker is stopping; the batch may or may not be stored.
    Stopped,
}

/// The database's side of a worker.
#[derive(Debug)]
pub struct Writer {
    database: Database,
    cluster: String,
    known: Known,
    breaker: Breaker,
    poison: PoisonConfig,
    told: LettersTold,
    metrics: Metrics,
    health: Arc<Health>,
    stop: CancellationToken,
}

impl Writer {
    /// A writer for the topics of `cluster`. It gives up waiting for a failed database when `stop` is
    /// cancelled.
    #[must_use]
    pub fn new(
        database: Database,
        cluster: String,
        poison: PoisonConfig,
        metrics: Metrics,
        health: Arc<Health>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            database,
            cluster,
            known: Known::default(),
            breaker: Breaker::new(poison),
            poison,
            told: LettersTold::default(),
            metrics,
            health,
            stop,
        }
    }

    /// Stores one batch.
    pub async fn write(&mut self, batch: Batch) -> Verdict {
        let span = traces::batch(&batch.callers, batch.len());
        self.write_or_halve(batch).instrument(span).await
    }

    async fn write_or_halve(&mut self, batch: Batch) -> Verdict {
        let positions = batch
            .spans
            .iter()
            .map(|(index, span)| (batch.partitions[usize::from(*index)].clone(), span.clone()))
            .collect();
        // What could not be decoded is known before it is stored: a batch that is too bad stays in Kafka.
        let known = Counts {
            messages: batch.len() as u64,
            poison: batch.letters.len() as u64,
        };
        if let Some(verdict) = self.too_much_poison(known, batch.example().as_deref()) {
            return verdict;
        }
        let _storing = self.metrics.pending.storing(&batch);
        // A stack, first half on top: halves are stored in order of offsets.
        let mut pending = vec![batch];
        while let Some(batch) = pending.pop() {
            match self.write_whole(&batch).await {
                Whole::Stored => {
                    if let Some(verdict) = self.too_much_poison(Counts::default(), None) {
                        return verdict;
                    }
                }
                Whole::Refused(error) if batch.records.len() == 1 => {
                    debug!(%error, "the database refuses a message; it becomes a dead letter");
                    pending.push(batch.into_letters(&Fault {
                        reason: Reason::Refused,
                        detail: explain(&error),
                    }));
                }
                Whole::Refused(error) if batch.records.is_empty() => {
                    let example = batch.example().unwrap_or_else(|| "a position alone".into());
                    return Verdict::Fatal(format!(
                        "the database refuses {example} as a dead letter: {}",
                        explain(&error)
                    ));
                }
                Whole::Refused(error) => {
                    debug!(%error, records = batch.records.len(), "the database refuses a batch; halving it");
                    self.metrics.halved.inc();
                    let (first, second) = batch.split();
                    pending.extend([second, first]);
                }
                Whole::Ended(verdict) => return verdict,
            }
        }
        Verdict::Stored(positions)
    }

    /// The end of the worker, when too much of what it was sent is poison, `next` included.
    fn too_much_poison(&mut self, next: Counts, example: Option<&str>) -> Option<Verdict> {
        let PoisonConfig {
            window, max_share, ..
        } = self.poison;
        let Counts { messages, poison } = self.breaker.trips(Instant::now(), next)?;
        let example = example.map_or_else(String::new, |example| format!(", such as {example}"));
        Some(Verdict::Fatal(format!(
            "{poison} of {messages} messages of the last {window:?} are no ticks{example}: more than poison.max_share, \
             {max_share}. The topic is not drained into the dead letters: see `ingest dead-letters list` and \
             docs/dead-letters.md, mend the producer or kafka.format, or raise poison.max_share (1: never stop)"
        )))
    }

    /// Stores a batch as a whole, however long that takes.
    async fn write_whole(&mut self, batch: &Batch) -> Whole {
        let mut attempt = 0;
        // What an attempt did whose commit was not answered.
        let mut unanswered = None;
        loop {
            let begun = Instant::now();
            self.health.storing();
            let stored = store(&self.database, &self.cluster, &mut self.known, batch).await;
            self.health.storing_ended(stored.is_ok());
            let error = match stored {
                Ok(mut outcome) => {
                    if outcome.already_stored
                        && let Some(earlier) = unanswered.take()
                    {
                        outcome = earlier;
                    }
                    self.metrics
                        .batch_seconds
                        .observe(begun.elapsed().as_secs_f64());
                    self.count(batch, &outcome);
                    self.health.database_answers(None);
                    return Whole::Stored;
                }
                Err(TransactionError::Lost) => {
                    self.metrics.fenced.inc();
                    return Whole::Ended(Verdict::Lost);
                }
                Err(TransactionError::Unanswered { error, outcome }) => {
                    unanswered = Some(*outcome);
                    error
                }
                Err(TransactionError::Database(error)) => error,
            };
            attempt += 1;
            match class(&error) {
                Class::Data => return Whole::Refused(error),
                Class::Fatal => {
                    return Whole::Ended(Verdict::Fatal(format!("database: {}", explain(&error))));
                }
                // Too much for one statement, perhaps.
                Class::Transient
                    if sqlstate(&error).is_some_and(|code| code == "57014")
                        && attempt > 1
                        && batch.records.len() > 1 =>
                {
                    return Whole::Refused(error);
                }
                Class::Transient => {}
            }
            self.metrics
                .retries
                .with_label_values(&[cause(&error)])
                .inc();
            let error_text = explain(&error);
            self.health.database_answers(Some(error_text.clone()));
            warn!(
                error = error_text,
                attempt, "cannot store a batch; trying again"
            );
            let lock_timeout = sqlstate(&error).is_some_and(|code| code == "55P03");
            if lock_timeout && self.end_frozen(batch).await.unwrap_or(false) {
                info!("ended the session of a frozen worker that held what this batch needs");
            }
            tokio::select! {
                () = tokio::time::sleep(backoff(attempt, jitter())) => {}
                () = self.stop.cancelled() => return Whole::Ended(Verdict::Stopped),
            }
        }
    }

    /// Ends the session of a worker that holds a position of the batch, or else of any that stands
    /// still inside a transaction: it may hold a symbol that the batch needs.
    async fn end_frozen(&self, batch: &Batch) -> sqlx::Result<bool> {
        let end = async {
            Ok(
                positions::end_frozen_holder(&self.database, &self.cluster, batch).await?
                    || sessions::end_frozen(&self.database).await?,
            )
        };
        // A server that is cut off would never answer.
        tokio::time::timeout(END_FROZEN, end)
            .await
            .unwrap_or_else(|_| Err(self.database.timed_out()))
    }

    fn count(&mut self, batch: &Batch, outcome: &Outcome) {
        let old = Reason::BelowFloor.as_str();
        let bad = |(reason, _): &(&&str, &u64)| **reason != old;
        let poison = outcome.letters.iter().filter(bad).map(|(_, number)| number);
        let counts = Counts {
            messages: batch.len() as u64,
            poison: poison.sum(),
        };
        self.breaker.count(Instant::now(), counts);
        self.told
            .tell(Instant::now(), counts.poison, outcome.example.as_deref());
        let count = |label: &str, number: u64| {
            self.metrics
                .messages
                .with_label_values(&[label])
                .inc_by(number);
        };
        self.metrics.committed(batch);
        for (phase, time) in &outcome.phases {
            self.metrics
                .phase_seconds
                .with_label_values(&[phase])
                .observe(time.as_secs_f64());
        }
        self.metrics.candles.inc_by(outcome.candles);
        count("added", outcome.added - outcome.late);
        count("late", outcome.late);
        count("duplicate", outcome.duplicates);
        count("stale", outcome.stale);
        count("correction", outcome.corrections);
        count("cancel_first", outcome.cancels_first);
        count("tombstone", batch.tombstones);
        for (reason, number) in &outcome.letters {
            self.metrics
                .dead_letters
                .with_label_values(&[reason])
                .inc_by(*number);
            count("dead_letter", *number);
        }
    }
}

enum Whole {
    Stored,
    Refused(sqlx::Error),
    Ended(Verdict),
}

/// 0 to 1, different from worker to worker: enough to spread retries.
fn jitter() -> f64 {
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |now| now.subsec_nanos());
    f64::from(nanos % 1000) / 1000.0
}
