//! Candles that this worker wrote last, so that its next batch need not read them.
//!
//! A symbol's are trusted while its stamp is the one that this worker's commit left: every writer of a
//! symbol's ticks or candles raises the stamp, under the symbol's lock.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use common::candle::Candle;

use crate::fold::Level;
use crate::store::candles::{BucketKey, Write};

/// Symbols held at most, of less than a kilobyte each; all are forgotten when there are more.
const MOST: usize = 8_000;

/// Tells two states of a symbol apart. A failover that lost commits may reach a version twice, but not
/// at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Raised by every writer.
    pub version: i64,
    /// When it was raised, by the database's clock.
    pub changed_at: Option<DateTime<Utc>>,
}

/// The newest bucket of each level, with its start in microseconds since 1970 (UTC).
type Newest = [Option<(i64, Candle)>; Level::ALL.len()];

#[derive(Debug)]
struct Held {
    stamp: Stamp,
    newest: Newest,
}

/// The candles held.
#[derive(Debug, Default)]
pub struct Recent {
    symbols: HashMap<i32, Held>,
}

impl Recent {
    /// The candle of a bucket, when it is held and the symbol's stamp is still the same.
    #[must_use]
    pub fn get(&self, stamp: Stamp, level: Level, (id, start): BucketKey) -> Option<&Candle> {
        let held = self.symbols.get(&id).filter(|held| held.stamp == stamp)?;
        let newest = held.newest[level as usize].as_ref();
        newest
            .filter(|newest| newest.0 == start)
            .map(|newest| &newest.1)
    }

    /// Forgets all.
    pub fn forget(&mut self) {
        self.symbols.clear();
    }

    /// Takes over what a transaction has committed.
    pub fn keep(&mut self, changes: Changes) {
        if self.symbols.len() + changes.symbols.len() > MOST {
            self.forget();
        }
        for (id, change) in changes.symbols {
            let before = self.symbols.remove(&id);
            let mut newest = before
                .filter(|held| held.stamp == change.before)
                .map_or_else(Newest::default, |held| held.newest);
            for (held, written) in newest.iter_mut().zip(change.newest) {
                let Some((start, candle)) = written else {
                    continue;
                };
                // A bucket before the newest one says nothing of that.
                if held.as_ref().is_none_or(|held| held.0 <= start) {
                    *held = candle.map(|candle| (start, candle));
                }
            }
            let stamp = change.after;
            self.symbols.insert(id, Held { stamp, newest });
        }
    }
}

/// What a transaction changes.
#[derive(Debug, Default)]
pub struct Changes {
    symbols: HashMap<i32, Change>,
}

#[derive(Debug)]
struct Change {
    before: Stamp,
    after: Stamp,
    /// `None` in a candle's place: the bucket is empty now.
    newest: [Option<(i64, Option<Candle>)>; Level::ALL.len()],
}

impl Changes {
    /// Says that a symbol with this stamp changes.
    pub fn begin(&mut self, id: i32, before: Stamp) {
        let change = Change {
            before,
            after: before,
            newest: Default::default(),
        };
        self.symbols.insert(id, change);
    }

    /// Says which stamp it has then.
    pub fn raise(&mut self, id: i32, after: Stamp) {
        if let Some(change) = self.symbols.get_mut(&id) {
            change.after = after;
        }
    }

    /// Says what is written at a level, in order of keys.
    pub fn write(&mut self, level: Level, writes: &[Write]) {
        for one in writes.chunk_by(|a, b| a.symbol_id == b.symbol_id) {
            if let [.., last] = one
                && let Some(change) = self.symbols.get_mut(&last.symbol_id)
            {
                change.newest[level as usize] = Some((last.bucket.start, last.candle.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::calendar::Bucket;
    use common::tick::{EventTime, Price, Size, Tick, TickKey};

    const ID: i32 = 7;

    fn stamp(version: i64) -> Stamp {
        let changed_at = DateTime::from_timestamp_micros(version);
        Stamp {
            version,
            changed_at,
        }
    }

    fn candle(price: &str) -> Candle {
        Candle::of(&Tick {
            key: TickKey {
                event_time: EventTime::from_micros(0),
                sequence: 0,
            },
            price: Price::new(price.parse().unwrap()).unwrap(),
            size: Size::new("1".parse().unwrap()).unwrap(),
            revision: 0,
            cancelled: false,
        })
    }

    /// A transaction that writes one hour, or empties it.
    fn write(recent: &mut Recent, before: i64, after: i64, start: i64, candle: Option<Candle>) {
        let mut changes = Changes::default();
        changes.begin(ID, stamp(before));
        changes.raise(ID, stamp(after));
        let bucket = Bucket {
            start,
            end: start + 1,
        };
        let local_date = chrono::NaiveDate::default();
        let write = Write {
            symbol_id: ID,
            bucket,
            local_date,
            candle,
        };
        changes.write(Level::Hour, &[write]);
        recent.keep(changes);
    }

    fn held(recent: &Recent, version: i64, start: i64) -> Option<&Candle> {
        recent.get(stamp(version), Level::Hour, (ID, start))
    }

    #[test]
    fn newest_candle_is_held_for_the_stamp_that_its_commit_left() {
        // GIVEN a candle that was written
        let mut recent = Recent::default();
        write(&mut recent, 1, 2, 100, Some(candle("5")));
        // WHEN the symbol is as that left it THEN it is known, and no other
        assert_eq!(held(&recent, 2, 100), Some(&candle("5")));
        assert_eq!(held(&recent, 2, 99), None);
        assert_eq!(recent.get(stamp(2), Level::Day, (ID, 100)), None);
        // AND WHEN another has written, also up to the same version, THEN nothing is
        assert_eq!(held(&recent, 3, 100), None);
        let lost = Stamp {
            changed_at: None,
            ..stamp(2)
        };
        assert_eq!(recent.get(lost, Level::Hour, (ID, 100)), None);
    }

    #[test]
    fn older_bucket_leaves_the_newest_and_an_emptied_one_is_dropped() {
        let mut recent = Recent::default();
        write(&mut recent, 1, 2, 100, Some(candle("5")));
        write(&mut recent, 2, 3, 50, Some(candle("4")));
        assert_eq!(held(&recent, 3, 100), Some(&candle("5")));
        assert_eq!(held(&recent, 3, 50), None);
        write(&mut recent, 3, 4, 50, None);
        assert_eq!(held(&recent, 4, 100), Some(&candle("5")));
        write(&mut recent, 4, 5, 100, None);
        assert_eq!(held(&recent, 5, 100), None);
    }

    #[test]
    fn candles_from_before_anothers_write_are_not_taken_over() {
        let mut recent = Recent::default();
        write(&mut recent, 1, 2, 100, Some(candle("5")));
        // Another worker has raised the symbol to 3 in between.
        write(&mut recent, 3, 4, 50, Some(candle("4")));
        assert_eq!(held(&recent, 4, 100), None);
        assert_eq!(held(&recent, 4, 50), Some(&candle("4")));
    }
}
