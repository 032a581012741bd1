//! The rows of a view that readers may use, compared with the view's own definition.

use common::interval::Unit;
use sqlx::{AssertSqlSafe, PgConnection};

use super::Report;

/// Compares a view; whether it differs.
pub(super) async fn verify(
    db: &mut PgConnection,
    view: &str,
    unit: Unit,
    report: &mut Report,
) -> sqlx::Result<bool> {
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
    let sql = include_str!("../store/view_differences.sql")
        .replace("{view}", view)
        .replace("{length}", length)
        .replace("{definition}", &definition);
    let (rows, missing, extra): (i64, i64, i64) =
        sqlx::query_as(AssertSqlSafe(sql)).fetch_one(db).await?;
    report.view_rows += rows;
    if missing + extra > 0 {
        report.differ(format!(
            "{view}: {missing} rows are missing or differ, {extra} are stale"
        ));
    }
    Ok(missing + extra > 0)
}
