//! The transaction of one batch: positions, ticks, candles, marks, changed hours and dead letters change
//! together or not at all. At every commit each candle is the aggregate of its ticks.
//!
//! Order of locks, the same in every writer: positions by (topic, partition), symbols by id, then
//! rows by key. Statements that wait for a lock read nothing else: under READ COMMITTED they would
//! see other tables as they were before the wait.

mod ticks;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use common::database::Database;
use common::tick::{Symbol, TickKey};
use sqlx::{Acquire as _, PgConnection};

use self::ticks::{insert_fresh, merge_late};
use crate::batch::Batch;
use crate::dead_letter::{DeadLetter, Fault, Reason};
use crate::floor;
use crate::fold::Buckets;
use crate::levels::{SymbolWork, bring_up_to_date};
use crate::merge::{Arrival, Effects};
use crate::recent::{Changes, Recent};
use crate::store::positions::{Fence, fence};
use crate::store::symbols::{Ids, Locked};
use crate::store::{self, days, letters, symbols};

/// Longest time for one transaction: a server that is gone without a word would never answer. Marks of
/// views count on this bound, see `store::marks`.
const LONGEST: Duration = Duration::from_mins(2);

/// What a transaction did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The batch was committed before; nothing was done.
    pub already_stored: bool,
    /// Ticks that are new.
    pub added: u64,
    /// New ticks at or below their symbol's high-water mark.
    pub late: u64,
    /// Messages equal to a stored tick.
    pub duplicates: u64,
    /// Messages of a lower revision than the stored tick's.
    pub stale: u64,
    /// Messages that corrected or cancelled a tick that came before.
    pub corrections: u64,
    /// Cancels that came before their tick.
    pub cancels_first: u64,
    /// Candles written.
    pub candles: u64,
    /// Dead letters by reason.
    pub letters: BTreeMap<&'static str, u64>,
    /// One of them in a few words, when there are any but those that retention refuses.
    pub example: Option<String>,
    /// How long each phase took, see [`crate::metrics::PHASES`].
    pub phases: Vec<(&'static str, Duration)>,
}

/// Why a batch was not stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// Another worker has a partition of the batch.
    #[error("another worker has stored a partition of this batch")]
    Lost,
    /// The database failed or refused.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// The commit was sent and not answered with a yes: this is what was done, if it was done.
    #[error("no answer to the commit: {error}")]
    Unanswered {
        /// Why there is no answer.
        error: sqlx::Error,
        /// What the transaction did.
        outcome: Box<Outcome>,
    },
}

/// Stores a batch.
///
/// # Errors
/// When the fence refuses the batch, or the database fails; nothing is stored then, unless the
/// commit had been sent: storing the same batch again finds out.
pub async fn store(
    database: &Database,
    cluster: &str,
    known: &mut Known,
    batch: &Batch,
) -> Result<Outcome, TransactionError> {
    let begun = Instant::now();
    let prepare = async {
        let mut connection = database.acquire().await?;
        let id_of = known.ids.of(&mut connection, &batch.symbols).await?;
        Ok::<_, sqlx::Error>((id_of, connection))
    };
    let Ok(prepared) = tokio::time::timeout(LONGEST, prepare).await else {
        return Err(no_answer().into());
    };
    let (id_of, mut connection) = prepared?;
    let left = LONGEST.saturating_sub(begun.elapsed());
    let mut committing = None;
    let stored = store_by(
        &mut connection,
        cluster,
        &id_of,
        &mut known.candles,
        batch,
        &mut committing,
    );
    let stored = tokio::time::timeout(left, stored).await;
    let stored = stored.unwrap_or_else(|_| {
        // Nobody would answer a rollback either.
        drop(connection.detach());
        Err(no_answer().into())
    });
    match (stored, committing) {
        // Whatever it is: a session may be ended between a commit and its answer.
        (Err(TransactionError::Database(error)), Some(outcome)) => {
            Err(TransactionError::Unanswered { error, outcome })
        }
        (Err(TransactionError::Database(error @ sqlx::Error::RowNotFound)), None) => {
            known.ids.forget();
            Err(error.into())
        }
        (stored, _) => stored,
    }
}

/// What a worker knows without asking the database.
#[derive(Debug, Default)]
pub struct Known {
    ids: Ids,
    candles: Recent,
}

fn no_answer() -> sqlx::Error {
    let reason = format!("no answer within {LONGEST:?}");
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, reason))
}

/// Stores a batch; leaves in `committing` what was done, when the commit is sent and until it is answered.
async fn store_by(
    connection: &mut PgConnection,
    cluster: &str,
    id_of: &[i32],
    recent: &mut Recent,
    batch: &Batch,
    committing: &mut Option<Box<Outcome>>,
) -> Result<Outcome, TransactionError> {
    let mut begun = Instant::now();
    let mut phases = Vec::new();
    let mut end_of = |phase| {
        let now = Instant::now();
        phases.push((phase, now - begun));
        begun = now;
    };
    let mut tx = connection.begin().await?;
    end_of("begin");
    match fence(&mut tx, cluster, batch).await? {
        Fence::Passed => {}
        Fence::AlreadyStored => {
            return Ok(Outcome {
                already_stored: true,
                ..Outcome::default()
            });
        }
        Fence::Lost => return Err(TransactionError::Lost),
    }
    let mut outcome = Outcome::default();
    let (mut conflicting, mut changes) = (Vec::new(), Changes::default());
    if !batch.records.is_empty() {
        let locked = lock(&mut tx, id_of, batch).await?;
        end_of("lock");
        let arrivals = arrivals(batch, id_of);
        let (conflicts, changed) = apply(&mut tx, arrivals, locked, recent, &mut outcome).await?;
        changes = changed;
        conflicting = batch.letters_of(&conflicts);
    }
    let dead: Vec<&DeadLetter> = batch.letters.iter().chain(&conflicting).collect();
    for letter in &dead {
        *outcome
            .letters
            .entry(letter.fault.reason.as_str())
            .or_default() += 1;
    }
    outcome.example = dead
        .iter()
        .find(|letter| letter.fault.reason != Reason::BelowFloor)
        .map(|letter| batch.describe(letter));
    letters::write(&mut tx, cluster, &batch.partitions, &dead).await?;
    end_of("write");
    *committing = Some(Box::new(outcome.clone()));
    tx.commit().await?;
    *committing = None;
    end_of("commit");
    outcome.phases = phases;
    recent.keep(changes);
    Ok(outcome)
}

/// Stores the records of a batch in the caller's transaction, whatever its positions; returns those that
/// are no ticks after all.
///
/// # Errors
/// When the database fails.
pub async fn store_records(
    tx: &mut PgConnection,
    id_of: &[i32],
    batch: &Batch,
    outcome: &mut Outcome,
) -> sqlx::Result<Conflicts> {
    let locked = lock(tx, id_of, batch).await?;
    let arrivals = arrivals(batch, id_of);
    let (conflicts, _) = apply(tx, arrivals, locked, &Recent::default(), outcome).await?;
    Ok(conflicts)
}

/// Locks the batch's symbols.
async fn lock(
    tx: &mut PgConnection,
    id_of: &[i32],
    batch: &Batch,
) -> sqlx::Result<BTreeMap<i32, Locked>> {
    let mut all = id_of.to_vec();
    all.sort_unstable();
    let locked = symbols::lock(tx, &all).await?;
    // After a failover that lost commits an id may be gone, or another symbol's.
    let known = |(id, name): (&i32, &Symbol)| {
        locked
            .get(id)
            .is_some_and(|symbol| symbol.name == name.as_str())
    };
    if id_of.iter().zip(&batch.symbols).all(known) {
        Ok(locked)
    } else {
        Err(sqlx::Error::RowNotFound)
    }
}

/// The batch's ticks by symbol, each symbol's in order of their keys, then of arrival.
fn arrivals<'a>(batch: &'a Batch, id_of: &[i32]) -> BTreeMap<i32, Vec<Arrival<'a>>> {
    let mut by_symbol: BTreeMap<i32, Vec<Arrival<'_>>> = BTreeMap::new();
    for (index, record) in batch.records.iter().enumerate() {
        by_symbol
            .entry(id_of[record.symbol as usize])
            .or_default()
            .push(Arrival {
                index,
                tick: &record.tick,
            });
    }
    for arrivals in by_symbol.values_mut() {
        // Stable: arrivals of one key stay in order of arrival.
        arrivals.sort_by_key(|arrival| arrival.tick.key);
    }
    by_symbol
}

/// Records that are no ticks after all, by their index in the batch.
pub type Conflicts = BTreeMap<usize, Fault>;

/// Stores the ticks of locked symbols and brings their candles up to date.
async fn apply(
    tx: &mut PgConnection,
    mut arrivals: BTreeMap<i32, Vec<Arrival<'_>>>,
    mut locked: BTreeMap<i32, Locked>,
    recent: &Recent,
    outcome: &mut Outcome,
) -> sqlx::Result<(Conflicts, Changes)> {
    let mut conflicts = floor::refuse(&mut arrivals, &locked);
    let now = store::now(tx).await?;
    let high_before: BTreeMap<i32, Option<TickKey>> = locked
        .iter()
        .map(|(id, symbol)| (*id, symbol.high))
        .collect();

    let mut effects: BTreeMap<i32, Effects> = BTreeMap::new();
    let late = insert_fresh(tx, arrivals, &mut locked, &mut effects).await?;
    let first_above: u64 = effects.values().map(|effects| effects.first).sum();
    let mut changed: BTreeSet<i32> = locked
        .iter()
        .filter(|(id, symbol)| symbol.high != high_before[id])
        .map(|(id, _)| *id)
        .collect();
    merge_late(tx, &late, &mut effects, &mut changed).await?;

    locked.retain(|id, _| changed.contains(id));
    for (id, symbol) in &mut locked {
        let (price, size) = effects[id].scales;
        symbol.price_scale = symbol.price_scale.max(price.into());
        symbol.size_scale = symbol.size_scale.max(size.into());
    }
    let mut changes = Changes::default();
    for (id, symbol) in &locked {
        changes.begin(*id, symbol.stamp);
    }
    let mut work = Vec::new();
    for (id, mut effects) in effects {
        outcome.added += effects.first;
        outcome.cancels_first += effects.cancels_first;
        outcome.duplicates += effects.duplicates;
        outcome.stale += effects.stale;
        outcome.corrections += effects.corrections;
        conflicts.append(&mut effects.conflicts);
        if let Some(symbol) = locked.get(&id) {
            effects.added.sort_unstable_by_key(|tick| tick.key);
            work.push(SymbolWork {
                id,
                buckets: Buckets::new(symbol.zone),
                high: high_before[&id],
                stamp: symbol.stamp,
                effects,
            });
        }
    }
    outcome.late = outcome.added - first_above;
    outcome.candles = bring_up_to_date(tx, &work, now, recent, &mut changes)
        .await
        .map_err(|error| days::moved_day(error, &locked))?;
    if !locked.is_empty() {
        // After its candles: a symbol has changed no earlier than any of them.
        for (id, after) in symbols::raise(tx, &locked).await? {
            changes.raise(id, after);
        }
    }
    Ok((conflicts, changes))
}
