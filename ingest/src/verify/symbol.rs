//! One symbol: its blocks stream by in order, and each bucket is compared when it is complete.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::calendar::Bucket;
use common::candle::Candle;
use common::tick::{EventTime, Tick, TickKey};
use sqlx::PgConnection;

use super::{Report, Scope, Wrong};
use crate::fold::{Buckets, Level, gather};
use crate::store::block::BlockRow;
use crate::store::symbols::Entry;
use crate::store::{blocks, candles, days, symbols, timestamp};

/// Blocks in memory at a time.
const BLOCKS_A_STEP: i64 = 50;
/// Stored candles in memory at a time.
const CANDLES_A_STEP: i64 = 20_000;
/// Before and after all buckets that can be stored, in microseconds: years 1 and 10000, and room for zones.
pub(crate) const BEFORE_ALL: i64 = -62_135_596_800_000_000 - DAYS;
/// See [`BEFORE_ALL`].
pub(crate) const AFTER_ALL: i64 = 253_402_300_800_000_000 + DAYS;
const DAYS: i64 = 2 * 86_400_000_000;

/// The share that is done: whole symbols, and a part of one more.
#[expect(
    clippy::cast_precision_loss,
    reason = "numbers of symbols; it is for a progress bar"
)]
pub(super) fn share(symbols: u64, part: f64, of: usize) -> f64 {
    (symbols as f64 + part) / of.max(1) as f64
}

/// A symbol under way.
pub(super) struct Check<'a> {
    entry: &'a Entry,
    buckets: Buckets,
    /// What is compared: buckets that lie within these instants.
    from: i64,
    to: i64,
    /// The first blocks, not yet looked at.
    first: Vec<BlockRow>,
    after: (DateTime<Utc>, i64),
    /// Time of the first tick, in microseconds, and key of the last one.
    began: Option<i64>,
    last: Option<TickKey>,
    /// How far each level has been compared, and its bucket that may go on in the next blocks.
    levels: [(i64, Option<(Bucket, Candle)>); 3],
    wrong: Vec<Wrong>,
}

impl<'a> Check<'a> {
    pub(super) async fn begin(
        db: &mut PgConnection,
        entry: &'a Entry,
        buckets: Buckets,
        scope: &Scope,
    ) -> sqlx::Result<Self> {
        let day = |time: DateTime<Utc>| buckets.bucket(Level::Day, time.timestamp_micros());
        let floor = entry.floor_time.map(|floor| floor.timestamp_micros());
        let from = scope.from.map(|time| day(time).start);
        let from = from.max(floor).unwrap_or(BEFORE_ALL);
        let to = scope.to.map_or(AFTER_ALL, |time| {
            // The day that begins at `to` itself is not meant.
            day(time - chrono::Duration::microseconds(1)).end
        });
        let key = TickKey {
            event_time: EventTime::from_micros(from),
            sequence: i64::MIN,
        };
        let owner = blocks::owners(db, &[(entry.id, key)]).await?.remove(0);
        let (first, after) = match owner {
            Some(owner) => (
                blocks::read(db, &[(entry.id, owner)]).await?,
                (owner.event_time.to_utc(), owner.sequence),
            ),
            None => (Vec::new(), (timestamp(BEFORE_ALL), i64::MIN)),
        };
        Ok(Self {
            entry,
            buckets,
            from,
            to,
            first,
            after,
            began: None,
            last: None,
            levels: [const { None }; 3].map(|open| (from, open)),
            wrong: Vec::new(),
        })
    }

    /// Looks at the next blocks; false when there are none left.
    pub(super) async fn step(
        &mut self,
        db: &mut PgConnection,
        report: &mut Report,
    ) -> sqlx::Result<bool> {
        let mut rows = std::mem::take(&mut self.first);
        if rows.is_empty() {
            rows = blocks::after(db, self.entry.id, self.after, BLOCKS_A_STEP).await?;
        }
        let ends = |row: &BlockRow| row.first_time.timestamp_micros() >= self.to;
        let done = rows.first().is_none_or(ends);
        let mut ticks: Vec<Tick> = Vec::new();
        for row in &rows {
            self.after = (row.first_time, row.first_sequence);
            ticks.extend(row.ticks()?);
        }
        for tick in &ticks {
            if self.last.is_some_and(|last| last >= tick.key) {
                report.differ(format!(
                    "{}: ticks overlap or are out of order at {}, which --repair does not mend",
                    self.entry.symbol, tick.key.event_time
                ));
            }
            self.last = Some(tick.key);
        }
        self.began = self
            .began
            .or(ticks.first().map(|tick| tick.key.event_time.micros()));
        ticks.retain(|tick| (self.from..self.to).contains(&tick.key.event_time.micros()));
        report.ticks += ticks.len() as u64;
        ticks.retain(|tick| !tick.cancelled);
        for (index, level) in Level::ALL.into_iter().enumerate() {
            self.fold(db, index, level, &ticks, done, report).await?;
        }
        Ok(!done)
    }

    /// Folds ticks into the buckets of a level, and compares those that are complete.
    async fn fold(
        &mut self,
        db: &mut PgConnection,
        index: usize,
        level: Level,
        ticks: &[Tick],
        done: bool,
        report: &mut Report,
    ) -> sqlx::Result<()> {
        let parts = ticks
            .iter()
            .map(|tick| (tick.key.event_time.micros(), Candle::of(tick)));
        let mut gathered = gather(parts, |instant| self.buckets.bucket(level, instant));
        let (compared, open) = &mut self.levels[index];
        if let Some((bucket, candle)) = open.take() {
            match gathered.first_mut() {
                Some((first, whole)) if *first == bucket => whole.merge(&candle),
                _ => gathered.insert(0, (bucket, candle)),
            }
        }
        // The last bucket may go on in the next blocks.
        if !done {
            *open = gathered.pop();
        }
        let from = *compared;
        let until = match open {
            _ if done => self.to,
            Some((bucket, _)) => bucket.start.max(from),
            None => from,
        };
        *compared = until;
        let expected: BTreeMap<i64, Candle> = gathered
            .into_iter()
            .filter(|(bucket, _)| self.is_meant(*bucket))
            .map(|(bucket, candle)| (bucket.start, candle))
            .collect();
        self.compare(db, level, (from, until), expected, report)
            .await
    }

    /// Whether all ticks of a bucket are looked at.
    fn is_meant(&self, bucket: Bucket) -> bool {
        self.from <= bucket.start && bucket.end <= self.to
    }

    /// Compares the candles that are stored between two instants with those expected there.
    async fn compare(
        &mut self,
        db: &mut PgConnection,
        level: Level,
        (first, to): (i64, i64),
        mut expected: BTreeMap<i64, Candle>,
        report: &mut Report,
    ) -> sqlx::Result<()> {
        let mut from = first;
        loop {
            let stored =
                candles::page(db, level, self.entry.id, (from, to), CANDLES_A_STEP).await?;
            let full = i64::try_from(stored.len()) == Ok(CANDLES_A_STEP);
            from = stored
                .last_key_value()
                .map_or(to, |((_, last), _)| last + 1);
            for ((_, start), candle) in stored {
                if !self.is_meant(self.buckets.bucket(level, start)) {
                    continue;
                }
                report.candles += 1;
                let what = match (expected.remove(&start), candle) {
                    (Some(expected), Some(stored)) if expected == stored => continue,
                    (None, None) => continue,
                    (Some(_), Some(_)) => "the candle is not the aggregate of its ticks",
                    (Some(_), None) => "the candle is empty but has ticks",
                    (None, Some(_)) => "the candle has no ticks",
                };
                self.differ(level, start, what, report);
            }
            if !full {
                break;
            }
        }
        for start in expected.into_keys() {
            self.differ(level, start, "the candle is missing", report);
        }
        if level == Level::Day {
            let zone = self.buckets.zone();
            for (start, date) in days::misnamed(db, self.entry.id, zone, (first, to)).await? {
                if self.is_meant(self.buckets.bucket(level, start)) {
                    self.differ(
                        level,
                        start,
                        &format!("the day bears the date {date}"),
                        report,
                    );
                }
            }
        }
        Ok(())
    }

    fn differ(&mut self, level: Level, start: i64, what: &str, report: &mut Report) {
        let (symbol, time) = (&self.entry.symbol, EventTime::from_micros(start));
        report.differ(format!("{symbol} {} {time}: {what}", level.table()));
        self.wrong.push((level, start));
    }

    /// The buckets that differed since the last call.
    pub(super) fn take_wrong(&mut self) -> Vec<Wrong> {
        std::mem::take(&mut self.wrong)
    }

    /// The share of the symbol's time that is done, 0 to 1.
    #[expect(
        clippy::cast_precision_loss,
        reason = "microseconds; it is for a progress bar"
    )]
    pub(super) fn share(&self) -> f64 {
        let (Some(began), Some(last), Some(high)) = (self.began, self.last, self.entry.high_time)
        else {
            return 0.0;
        };
        let whole = high.timestamp_micros().min(self.to) - began;
        let done = last.event_time.micros() - began;
        if whole > 0 {
            (done as f64 / whole as f64).clamp(0.0, 1.0)
        } else {
            1.0
        }
    }

    /// Whether the symbol's high-water mark lies below its last tick: such a tick would be taken for a
    /// new one when it comes again.
    pub(super) async fn mark_is_low(
        &self,
        db: &mut PgConnection,
        report: &mut Report,
    ) -> sqlx::Result<bool> {
        let low = self.last > symbols::high(db, self.entry.id).await?;
        if low {
            report.differ(format!(
                "{}: its high-water mark is below its last tick",
                self.entry.symbol
            ));
        }
        Ok(low)
    }
}
