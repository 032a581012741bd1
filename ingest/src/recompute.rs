//! A bucket from what it is made of: the ticks of a minute, the minutes of an hour, the coarsest
//! level that has both bounds of a day.

use common::candle::Candle;
use sqlx::PgConnection;

use crate::fold::{Buckets, Level, Parts};
use crate::store::{blocks, candles};

/// The candle of the bucket of `level` that begins at `start`; `None` when all of its ticks are
/// cancelled. Finer levels must be up to date.
///
/// # Errors
/// When the database fails.
pub async fn bucket(
    db: &mut PgConnection,
    symbol_id: i32,
    buckets: &Buckets,
    level: Level,
    start: i64,
) -> sqlx::Result<Option<Candle>> {
    let bucket = buckets.bucket(level, start);
    Ok(match buckets.parts(level, bucket.start, bucket.end - 1) {
        Parts::Candles(finer) => {
            let parts = candles::between(db, finer, symbol_id, bucket.start, bucket.end).await?;
            Candle::fold(parts.into_values().flatten())
        }
        Parts::Ticks => {
            let ticks = blocks::ticks_between(db, symbol_id, bucket.start, bucket.end).await?;
            Candle::fold(ticks.iter().filter(|tick| !tick.cancelled).map(Candle::of))
        }
    })
}
