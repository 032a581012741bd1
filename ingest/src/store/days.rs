//! What is done to days alone: their zone may change, and its rules. Revisions go on from the days before.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use sqlx::PgConnection;
use sqlx::postgres::PgDatabaseError;

use super::symbols::Locked;

/// A day begins elsewhere than when it was stored, for zones change their rules.
#[derive(Debug, thiserror::Error)]
#[error(
    "a day of symbol {symbol} begins at another time than when it was stored: this program has other rules of {zone} than the \
     one that stored it. Run the newer of them everywhere, and `ingest symbols set {symbol} --timezone {zone} --rebuild` to make \
     its days anew"
)]
pub struct MovedDay {
    symbol: String,
    zone: String,
}

/// Tells a failure that is a [`MovedDay`] from others: no message is at fault, though a constraint is.
#[must_use]
pub fn moved_day(error: sqlx::Error, locked: &BTreeMap<i32, Locked>) -> sqlx::Error {
    let Some(refused) = error
        .as_database_error()
        .filter(|refused| refused.constraint() == Some("candles_1d_local_date"))
    else {
        return error;
    };
    // In any language, as in "Key (symbol_id, local_date)=(7, 2024-03-04) already exists."
    let detail = refused
        .try_downcast_ref::<PgDatabaseError>()
        .and_then(PgDatabaseError::detail);
    let id = detail.and_then(|detail| detail.split_once("=(")?.1.split(',').next()?.parse().ok());
    let (symbol, zone) = id
        .and_then(|id: i32| locked.get(&id))
        .map_or(("SYMBOL", "ZONE"), |symbol| {
            (&symbol.name, symbol.zone.name())
        });
    sqlx::Error::Decode(Box::new(MovedDay {
        symbol: symbol.to_owned(),
        zone: zone.to_owned(),
    }))
}

/// Each day of a symbol with its revision and trades.
///
/// # Errors
/// When the database fails.
pub async fn read(
    db: &mut PgConnection,
    symbol_id: i32,
) -> sqlx::Result<BTreeMap<NaiveDate, (i64, i64)>> {
    let rows: Vec<(NaiveDate, i64, i64)> =
        sqlx::query_as("select local_date, revision, trades from candles_1d where symbol_id = $1")
            .bind(symbol_id)
            .fetch_all(db)
            .await?;
    Ok(rows
        .into_iter()
        .map(|(date, revision, trades)| (date, (revision, trades)))
        .collect())
}

/// Deletes the days of a symbol.
///
/// # Errors
/// When the database fails.
pub async fn delete(db: &mut PgConnection, symbol_id: i32) -> sqlx::Result<()> {
    sqlx::query("delete from candles_1d where symbol_id = $1")
        .bind(symbol_id)
        .execute(db)
        .await?;
    Ok(())
}

/// Lets the revisions of days that were made anew go on from those before.
///
/// # Errors
/// When the database fails.
pub async fn raise(
    db: &mut PgConnection,
    symbol_id: i32,
    before: &BTreeMap<NaiveDate, (i64, i64)>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update candles_1d d set revision = before.revision + 1 \
         from unnest($2::date[], $3::bigint[]) as before(local_date, revision) \
         where d.symbol_id = $1 and d.local_date = before.local_date",
    )
    .bind(symbol_id)
    .bind(before.keys().copied().collect::<Vec<_>>())
    .bind(before.values().map(|day| day.0).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}
