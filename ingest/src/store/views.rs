//! The materialized views of weeks to years: when they are due, their refresh, and what differs.

use common::interval::Unit;
use sqlx::{AssertSqlSafe, PgConnection};

use super::marks::VIEWS;

/// Whether a view has marks, or was last refreshed more than an hour ago.
///
/// # Errors
/// When the database fails.
pub async fn is_due(db: &mut PgConnection, view: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from view_marks where view = $1) \
             or not exists (select from view_refreshes where view = $1 and refreshed_at > clock_timestamp() - interval '1 hour')",
    )
    .bind(view)
    .fetch_one(db)
    .await
}

/// Refreshes a view, which clears the marks that it covers. False: another session is doing so.
///
/// # Errors
/// When the database fails.
pub async fn refresh(db: &mut PgConnection, view: &str) -> sqlx::Result<bool> {
    // It reads all days, which has no bound: cancelled and begun again it would never end.
    super::no_statement_timeout(db).await?;
    sqlx::query_scalar("select refresh_candle_view($1)")
        .bind(view)
        .fetch_one(db)
        .await
}

/// A view, the periods that wait for its refresh (at most 100 000 are counted), and when its last one was, in
/// seconds since 1970.
pub type Waiting = (String, i64, Option<f64>);

/// What waits for the refresh of each view.
///
/// # Errors
/// When the database fails.
pub async fn waiting(db: &mut PgConnection) -> sqlx::Result<Vec<Waiting>> {
    sqlx::query_as(
        "select view, (select count(*) from (select from view_marks m where m.view = v.view limit 100000) as marks), \
             (select extract(epoch from refreshed_at)::float8 from view_refreshes r where r.view = v.view) \
         from unnest($1::text[]) as v (view)",
    )
    .bind(VIEWS.map(|(view, _)| view).to_vec())
    .fetch_all(db)
    .await
}

/// The rows of a view that readers may use, beside those of its own definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Compared {
    /// Rows by its definition.
    pub rows: i64,
    /// Those that the view does not have, or has otherwise.
    pub missing: i64,
    /// Rows of the view that are not among them.
    pub stale: i64,
}

/// Compares a view, whose periods have that unit, with its definition.
///
/// # Errors
/// When the database fails.
pub async fn compare(db: &mut PgConnection, view: &str, unit: Unit) -> sqlx::Result<Compared> {
    let definition: String = sqlx::query_scalar("select rtrim(pg_get_viewdef($1::regclass), ';')")
        .bind(view)
        .fetch_one(&mut *db)
        .await?;
    let length = match unit {
        Unit::Week => "7 days",
        Unit::Month => "1 month",
        Unit::Quarter => "3 months",
        _ => "1 year",
    };
    let sql = include_str!("view_differences.sql")
        .replace("{view}", view)
        .replace("{length}", length)
        .replace("{definition}", &definition);
    sqlx::query_as(AssertSqlSafe(sql)).fetch_one(db).await
}
