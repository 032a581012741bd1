//! Reads and writes candles. SQL only stores: candles are merged in `common::candle`.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use common::amount::Amount;
use common::calendar::Bucket;
use common::candle::{Candle, Edge};
use common::decimal::Decimal;
use common::tick::{EventTime, TickKey};
use sqlx::{AssertSqlSafe, FromRow, PgConnection};

use super::{Damaged, timestamp};
use crate::fold::Level;

/// A bucket: symbol id and start, in microseconds since 1970 (UTC).
pub type BucketKey = (i32, i64);

/// Candles by bucket; `None` is a bucket emptied by cancels.
pub type Stored = BTreeMap<BucketKey, Option<Candle>>;

#[derive(FromRow)]
struct Row {
    symbol_id: i32,
    open_time: DateTime<Utc>,
    open: Option<String>,
    high: Option<String>,
    low: Option<String>,
    close: Option<String>,
    volume: String,
    turnover: String,
    trades: i64,
    open_event_time: Option<DateTime<Utc>>,
    open_sequence: Option<i64>,
    close_event_time: Option<DateTime<Utc>>,
    close_sequence: Option<i64>,
}

const COLUMNS: &str = "c.symbol_id, c.open_time, c.open::text, c.high::text, c.low::text, c.close::text, c.volume::text, \
     c.turnover::text, c.trades, c.open_event_time, c.open_sequence, c.close_event_time, c.close_sequence";

impl Row {
    fn candle(self) -> Result<(BucketKey, Option<Candle>), Damaged> {
        let key = (self.symbol_id, EventTime::from(self.open_time).micros());
        if self.trades == 0 {
            return Ok((key, None));
        }
        let decimal = |text: &Option<String>| {
            text.as_deref()
                .and_then(|text| text.parse::<Decimal>().ok())
        };
        let amount = |text: &str| text.parse::<Amount>().ok();
        let edge = |time: Option<DateTime<Utc>>, sequence: Option<i64>, price: &Option<String>| {
            Some(Edge {
                key: TickKey {
                    event_time: time?.into(),
                    sequence: sequence?,
                },
                price: decimal(price)?,
            })
        };
        let candle = || {
            Some(Candle {
                open: edge(self.open_event_time, self.open_sequence, &self.open)?,
                close: edge(self.close_event_time, self.close_sequence, &self.close)?,
                high: decimal(&self.high)?,
                low: decimal(&self.low)?,
                volume: amount(&self.volume)?,
                turnover: amount(&self.turnover)?,
                trades: self.trades,
            })
        };
        match candle() {
            Some(candle) => Ok((key, Some(candle))),
            None => Err(Damaged(format!(
                "the candle of symbol {} at {}",
                self.symbol_id, self.open_time
            ))),
        }
    }
}

/// The candles of these buckets that are stored.
///
/// # Errors
/// When the database fails or a row is damaged.
pub async fn read(db: &mut PgConnection, level: Level, keys: &[BucketKey]) -> sqlx::Result<Stored> {
    if keys.is_empty() {
        return Ok(Stored::new());
    }
    let sql = format!(
        "select {COLUMNS} from unnest($1::integer[], $2::timestamptz[]) as wanted(symbol_id, open_time) \
         join {} c using (symbol_id, open_time)",
        level.table()
    );
    let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(keys.iter().map(|key| key.0).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| timestamp(key.1)).collect::<Vec<_>>())
        .fetch_all(db)
        .await?;
    rows.into_iter().map(|row| Ok(row.candle()?)).collect()
}

/// The candles of one symbol with `from <= open time < to`, in order.
///
/// # Errors
/// When the database fails or a row is damaged.
pub async fn between(
    db: &mut PgConnection,
    level: Level,
    symbol_id: i32,
    from: i64,
    to: i64,
) -> sqlx::Result<Stored> {
    let sql = format!(
        "select {COLUMNS} from {} c where c.symbol_id = $1 and c.open_time >= $2 and c.open_time < $3",
        level.table()
    );
    let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(symbol_id)
        .bind(timestamp(from))
        .bind(timestamp(to))
        .fetch_all(db)
        .await?;
    rows.into_iter().map(|row| Ok(row.candle()?)).collect()
}

/// The first candles of one symbol with `from <= open time < to`, at most `limit`.
///
/// # Errors
/// When the database fails or a row is damaged.
pub async fn page(
    db: &mut PgConnection,
    level: Level,
    symbol_id: i32,
    (from, to): (i64, i64),
    limit: i64,
) -> sqlx::Result<Stored> {
    let sql = format!(
        "select {COLUMNS} from {} c where c.symbol_id = $1 and c.open_time >= $2 and c.open_time < $3 \
         order by c.open_time limit $4",
        level.table()
    );
    let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(symbol_id)
        .bind(timestamp(from))
        .bind(timestamp(to))
        .bind(limit)
        .fetch_all(db)
        .await?;
    rows.into_iter().map(|row| Ok(row.candle()?)).collect()
}

/// A candle to store.
#[derive(Debug, Clone)]
pub struct Write {
    /// The symbol.
    pub symbol_id: i32,
    /// Its bucket.
    pub bucket: Bucket,
    /// The local date that a daily bucket is; any date at the other levels, which do not store it.
    pub local_date: NaiveDate,
    /// `None` empties the bucket.
    pub candle: Option<Candle>,
}

/// Stores candles, in order of their keys; each one's revision goes up by one.
///
/// # Errors
/// When the database fails.
pub async fn write(db: &mut PgConnection, level: Level, writes: &[Write]) -> sqlx::Result<()> {
    if writes.is_empty() {
        return Ok(());
    }
    let (date_column, date_value) = if level == Level::Day {
        (", local_date", ", t.local_date")
    } else {
        ("", "")
    };
    let sql = include_str!("candles_write.sql")
        .replace("{table}", level.table())
        .replace("{date_column}", date_column)
        .replace("{date_value}", date_value);
    let candles = || writes.iter().map(|write| write.candle.as_ref());
    let price = |value: fn(&Candle) -> Decimal| {
        candles()
            .map(|candle| candle.map(|candle| value(candle).to_string()))
            .collect::<Vec<_>>()
    };
    let amount = |value: fn(&Candle) -> &Amount| {
        candles()
            .map(|candle| candle.map_or_else(|| "0".into(), |candle| value(candle).to_string()))
            .collect::<Vec<_>>()
    };
    let time = |value: fn(&Candle) -> TickKey| {
        candles()
            .map(|candle| candle.map(|candle| value(candle).event_time.to_utc()))
            .collect::<Vec<_>>()
    };
    let sequence = |value: fn(&Candle) -> TickKey| {
        candles()
            .map(|candle| candle.map(|candle| value(candle).sequence))
            .collect::<Vec<_>>()
    };
    sqlx::query(AssertSqlSafe(sql))
        .bind(
            writes
                .iter()
                .map(|write| write.symbol_id)
                .collect::<Vec<_>>(),
        )
        .bind(
            writes
                .iter()
                .map(|write| timestamp(write.bucket.start))
                .collect::<Vec<_>>(),
        )
        .bind(price(|candle| candle.open.price))
        .bind(price(|candle| candle.high))
        .bind(price(|candle| candle.low))
        .bind(price(|candle| candle.close.price))
        .bind(amount(|candle| &candle.volume))
        .bind(amount(|candle| &candle.turnover))
        .bind(
            candles()
                .map(|candle| candle.map_or(0, |candle| candle.trades))
                .collect::<Vec<_>>(),
        )
        .bind(time(|candle| candle.open.key))
        .bind(sequence(|candle| candle.open.key))
        .bind(time(|candle| candle.close.key))
        .bind(sequence(|candle| candle.close.key))
        .bind(
            writes
                .iter()
                .map(|write| write.local_date)
                .collect::<Vec<_>>(),
        )
        .execute(db)
        .await?;
    Ok(())
}

/// The starts of a symbol's hours, in microseconds since 1970, in order.
///
/// # Errors
/// When the database fails.
pub async fn hour_starts(db: &mut PgConnection, symbol_id: i32) -> sqlx::Result<Vec<i64>> {
    let hours: Vec<DateTime<Utc>> = sqlx::query_scalar(
        "select open_time from candles_1h where symbol_id = $1 order by open_time",
    )
    .bind(symbol_id)
    .fetch_all(db)
    .await?;
    Ok(hours
        .into_iter()
        .map(|hour| hour.timestamp_micros())
        .collect())
}

/// Candles of a symbol that open before a time.
///
/// # Errors
/// When the database fails.
pub async fn count_before(
    db: &mut PgConnection,
    level: Level,
    symbol_id: i32,
    before: DateTime<Utc>,
) -> sqlx::Result<i64> {
    let sql = format!(
        "select count(*) from {} where symbol_id = $1 and open_time < $2",
        level.table()
    );
    sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(symbol_id)
        .bind(before)
        .fetch_one(db)
        .await
}

/// Deletes the oldest candles of a symbol that open before a time, at most `limit`; returns how many.
///
/// # Errors
/// When the database fails.
pub async fn delete_before(
    db: &mut PgConnection,
    level: Level,
    symbol_id: i32,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<u64> {
    let sql = format!(
        "delete from {table} c using (select open_time from {table} where symbol_id = $1 and open_time < $2 \
             order by open_time limit $3) old \
         where c.symbol_id = $1 and c.open_time = old.open_time",
        table = level.table()
    );
    let deleted = sqlx::query(AssertSqlSafe(sql))
        .bind(symbol_id)
        .bind(before)
        .bind(limit)
        .execute(db)
        .await?;
    Ok(deleted.rows_affected())
}
