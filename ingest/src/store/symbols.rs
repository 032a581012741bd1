//! The dictionary of symbols, and the lock that makes one writer a symbol at a time.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use common::calendar::zone_of;
use common::tick::{EventTime, Symbol, TickKey};
use sqlx::{AssertSqlSafe, PgConnection};

use super::Damaged;
use crate::fold::Level;
use crate::recent::Stamp;

/// A locked symbol.
#[derive(Debug, Clone)]
pub struct Locked {
    /// Its name.
    pub name: String,
    /// The zone whose days its daily candles are.
    pub zone: Tz,
    /// The greatest tick stored: what lies above is new without looking.
    pub high: Option<TickKey>,
    /// Ticks before it were deleted, and are refused.
    pub floor: Option<EventTime>,
    /// Most decimals seen in a price.
    pub price_scale: i16,
    /// Most decimals seen in a size.
    pub size_scale: i16,
    /// Tells this state of the symbol from any other.
    pub stamp: Stamp,
}

/// The ids of symbols that this process has met. They do not change, but a failover may lose the newest.
#[derive(Debug, Default)]
pub struct Ids(HashMap<Symbol, i32>);

impl Ids {
    /// Forgets all: they are read again.
    pub fn forget(&mut self) {
        self.0.clear();
    }

    /// The ids of `names`, in order. New symbols are created in order of their names. A worker does so before
    /// its transaction, so that two that meet the same ones do not wait for each other long. Ids that
    /// were made inside of a transaction may go with it: they are not to be kept.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn of(&mut self, db: &mut PgConnection, names: &[Symbol]) -> sqlx::Result<Vec<i32>> {
        let mut unknown: Vec<&str> = names
            .iter()
            .filter(|name| !self.0.contains_key(*name))
            .map(Symbol::as_str)
            .collect();
        if !unknown.is_empty() {
            unknown.sort_unstable();
            // Only what is missing: a conflicting insert would use up an id.
            sqlx::query(
                "insert into symbols (symbol) select name from unnest($1::text[]) as name \
                 where not exists (select from symbols s where s.symbol = name) order by name on conflict (symbol) do nothing",
            )
            .bind(&unknown)
            .execute(&mut *db)
            .await?;
            let rows: Vec<(String, i32)> =
                sqlx::query_as("select symbol, id from symbols where symbol = any($1)")
                    .bind(&unknown)
                    .fetch_all(&mut *db)
                    .await?;
            for (name, id) in rows {
                self.0.insert(
                    Symbol::new(&name).map_err(|error| Damaged(error.to_string()))?,
                    id,
                );
            }
        }
        names
            .iter()
            .map(|name| self.0.get(name).copied().ok_or(sqlx::Error::RowNotFound))
            .collect()
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    id: i32,
    symbol: String,
    timezone: String,
    high_time: Option<DateTime<Utc>>,
    high_sequence: Option<i64>,
    floor_time: Option<DateTime<Utc>>,
    price_scale: i16,
    size_scale: i16,
    version: i64,
    changed_at: Option<DateTime<Utc>>,
}

/// Locks symbols in order of their ids. Everything else about them is read in later statements: one
/// that waited for a lock sees other tables as they were before.
///
/// # Errors
/// When the database fails or a zone is not known.
pub async fn lock(db: &mut PgConnection, ids: &[i32]) -> sqlx::Result<BTreeMap<i32, Locked>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select id, symbol, timezone, high_time, high_sequence, floor_time, price_scale, size_scale, version, changed_at \
         from symbols \
         where id = any($1) order by id for no key update",
    )
    .bind(ids)
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            let zone = zone_of(&row.symbol, &row.timezone)?;
            let high = row.high_time.zip(row.high_sequence).map(TickKey::from);
            Ok((
                row.id,
                Locked {
                    name: row.symbol,
                    zone,
                    high,
                    floor: row.floor_time.map(EventTime::from),
                    price_scale: row.price_scale,
                    size_scale: row.size_scale,
                    stamp: Stamp {
                        version: row.version,
                        changed_at: row.changed_at,
                    },
                },
            ))
        })
        .collect()
}

/// Locks a symbol, unless another session has it; whether it did.
///
/// # Errors
/// When the database fails.
pub async fn lock_if_free(db: &mut PgConnection, id: i32) -> sqlx::Result<bool> {
    let free: Option<i32> =
        sqlx::query_scalar("select id from symbols where id = $1 for no key update skip locked")
            .bind(id)
            .fetch_optional(db)
            .await?;
    Ok(free.is_some())
}

/// Stores the marks of symbols whose ticks changed, and raises their versions. Returns the new stamps.
///
/// # Errors
/// When the database fails.
pub async fn raise(
    db: &mut PgConnection,
    symbols: &BTreeMap<i32, Locked>,
) -> sqlx::Result<Vec<(i32, Stamp)>> {
    let column = |value: fn(&Locked) -> i16| symbols.values().map(value).collect::<Vec<_>>();
    let raised: Vec<(i32, i64, Option<DateTime<Utc>>)> =
        sqlx::query_as(include_str!("symbols_raise.sql"))
            .bind(symbols.keys().copied().collect::<Vec<_>>())
            .bind(
                symbols
                    .values()
                    .map(|s| s.high.map(|high| high.event_time.to_utc()))
                    .collect::<Vec<_>>(),
            )
            .bind(
                symbols
                    .values()
                    .map(|s| s.high.map(|high| high.sequence))
                    .collect::<Vec<_>>(),
            )
            .bind(column(|symbol| symbol.price_scale))
            .bind(column(|symbol| symbol.size_scale))
            .fetch_all(db)
            .await?;
    let stamp = |(id, version, changed_at)| {
        (
            id,
            Stamp {
                version,
                changed_at,
            },
        )
    };
    Ok(raised.into_iter().map(stamp).collect())
}

/// A symbol as it is stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Entry {
    /// Its id.
    pub id: i32,
    /// Its name.
    pub symbol: String,
    /// Its zone, which may be one that this program does not know.
    pub timezone: String,
    /// Event time of the last tick.
    pub high_time: Option<DateTime<Utc>>,
    /// Its sequence.
    pub high_sequence: Option<i64>,
    /// Ticks before it were deleted.
    pub floor_time: Option<DateTime<Utc>>,
}

/// The symbols in order of their names, or only the one of this name.
///
/// # Errors
/// When the database fails, or there is no symbol of this name.
pub async fn list(db: &mut PgConnection, symbol: Option<&str>) -> sqlx::Result<Vec<Entry>> {
    let entries: Vec<Entry> = sqlx::query_as(
        "select id, symbol, timezone, high_time, high_sequence, floor_time from symbols \
         where symbol = coalesce($1, symbol) order by symbol",
    )
    .bind(symbol)
    .fetch_all(db)
    .await?;
    match symbol {
        Some(symbol) if entries.is_empty() => Err(sqlx::Error::InvalidArgument(format!(
            "no symbol {symbol:?} is stored"
        ))),
        _ => Ok(entries),
    }
}

/// Locks a symbol, whatever its zone; its id and zone, or `None` where there is none of this name.
///
/// # Errors
/// When the database fails.
pub async fn lock_zone(db: &mut PgConnection, symbol: &str) -> sqlx::Result<Option<(i32, String)>> {
    sqlx::query_as("select id, timezone from symbols where symbol = $1 for no key update")
        .bind(symbol)
        .fetch_optional(db)
        .await
}

/// Makes a symbol that has no tick yet.
///
/// # Errors
/// When the database fails or refuses the name or the zone.
pub async fn make(db: &mut PgConnection, symbol: &str, zone: Tz) -> sqlx::Result<()> {
    sqlx::query("insert into symbols (symbol, timezone) values ($1, $2)")
        .bind(symbol)
        .bind(zone.name())
        .execute(db)
        .await?;
    Ok(())
}

/// Gives a locked symbol another zone. Its days are the caller's to make anew.
///
/// # Errors
/// When the database fails or refuses the zone.
pub async fn set_zone(db: &mut PgConnection, id: i32, zone: Tz) -> sqlx::Result<()> {
    sqlx::query(
        "update symbols set timezone = $2, version = version + 1, changed_at = clock_timestamp() where id = $1",
    )
    .bind(id)
    .bind(zone.name())
    .execute(db)
    .await?;
    Ok(())
}

/// Raises the floor of a locked symbol, and its version with it; one that is higher stays.
///
/// # Errors
/// When the database fails.
pub async fn raise_floor(db: &mut PgConnection, id: i32, floor: DateTime<Utc>) -> sqlx::Result<()> {
    raise_time(db, id, "floor_time", floor).await
}

/// Says from when on a locked symbol keeps its candles of `level`, and raises its version; what says later stays. Days
/// are kept for ever.
///
/// # Errors
/// When the database fails.
pub async fn raise_kept(
    db: &mut PgConnection,
    id: i32,
    level: Level,
    from: DateTime<Utc>,
) -> sqlx::Result<()> {
    match level {
        Level::Minute => raise_time(db, id, "minutes_from", from).await,
        Level::Hour => raise_time(db, id, "hours_from", from).await,
        Level::Day => Ok(()),
    }
}

/// Sets a column of a locked symbol to a later time, and raises its version with it; one that is later stays.
async fn raise_time(
    db: &mut PgConnection,
    id: i32,
    column: &'static str,
    time: DateTime<Utc>,
) -> sqlx::Result<()> {
    let raise = format!(
        "update symbols set {column} = $2, version = version + 1, changed_at = clock_timestamp() \
         where id = $1 and ({column} is null or {column} < $2)"
    );
    sqlx::query(AssertSqlSafe(raise))
        .bind(id)
        .bind(time)
        .execute(db)
        .await?;
    Ok(())
}

/// Raises the version of a locked symbol.
///
/// # Errors
/// When the database fails.
pub async fn touch(db: &mut PgConnection, id: i32) -> sqlx::Result<()> {
    sqlx::query(
        "update symbols set version = version + 1, changed_at = clock_timestamp() where id = $1",
    )
    .bind(id)
    .execute(db)
    .await?;
    Ok(())
}

/// The high-water mark of a symbol.
///
/// # Errors
/// When the database fails.
pub async fn high(db: &mut PgConnection, id: i32) -> sqlx::Result<Option<TickKey>> {
    let (time, sequence): (Option<DateTime<Utc>>, Option<i64>) =
        sqlx::query_as("select high_time, high_sequence from symbols where id = $1")
            .bind(id)
            .fetch_one(db)
            .await?;
    Ok(time.zip(sequence).map(TickKey::from))
}

/// Sets the high-water mark of a locked symbol to its last tick, where it lies below.
///
/// # Errors
/// When the database fails.
pub async fn mend_high(db: &mut PgConnection, id: i32) -> sqlx::Result<()> {
    sqlx::query(
        "update symbols s set high_time = last.last_time, high_sequence = last.last_sequence \
         from (select b.last_time, b.last_sequence from tick_blocks b where b.symbol_id = $1 \
               order by b.first_time desc, b.first_sequence desc limit 1) last \
         where s.id = $1 \
           and (s.high_time is null or (s.high_time, s.high_sequence) < (last.last_time, last.last_sequence))",
    )
    .bind(id)
    .execute(db)
    .await?;
    Ok(())
}
