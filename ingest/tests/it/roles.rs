//! Each role can do what it is for, and no more.

use crate::database::{Database, VERSIONS, pool, tick};

#[tokio::test]
async fn api_reads_only_and_ingest_changes_rows_only() {
    for version in VERSIONS {
        let db = Database::new(version).await;
        db.store(&[("A", tick("2024-03-04T10:00:01Z", 1, "10", "1"))])
            .await;
        let api = pool(&(db.url_of)("market_data_api"), "api");
        let refused = async |pool: &sqlx::PgPool, sql: &'static str| {
            let error = sqlx::query(sql).execute(pool).await.expect_err(sql);
            let code = error
                .as_database_error()
                .and_then(sqlx::error::DatabaseError::code);
            code.unwrap_or_default().into_owned()
        };

        for allowed in [
            "select from symbols",
            "select from ticks",
            "select from ticks_between('A', '-infinity', 'infinity')",
            "select from candles_1m, candles_1h, candles_1d, candles_1w, candles_1mo, candles_1q, candles_1y",
            "select from view_marks, view_refreshes, changed_hours",
        ] {
            sqlx::query(allowed).execute(&api).await.expect(allowed);
        }
        for write in [
            "update candles_1m set trades = 0",
            "set default_transaction_read_only = off; delete from tick_blocks",
            "select refresh_candle_view('candles_1w')",
            "insert into symbols (symbol) values ('B')",
            "select from dead_letters",
            "select from ingest_offsets",
            "create table mine (x int)",
        ] {
            let code = if write.contains(';') {
                let mut session = api.acquire().await.unwrap();
                let error = sqlx::raw_sql(write)
                    .execute(&mut *session)
                    .await
                    .expect_err(write);
                session.close().await.unwrap();
                error
                    .as_database_error()
                    .unwrap()
                    .code()
                    .unwrap()
                    .into_owned()
            } else {
                refused(&api, write).await
            };
            assert!(
                ["25006", "42501"].contains(&code.as_str()),
                "{version}: {write}: {code}"
            );
        }
        for refused_to_ingest in [
            "update _sqlx_migrations set success = false",
            "select from pg_authid",
            "select pg_read_file('postgresql.conf')",
            "copy symbols to program 'true'",
            "set role market_data_owner",
            "create table mine (x int)",
            "drop table candles_1m",
            "alter table symbols add column x int",
            "truncate tick_blocks",
            "refresh materialized view candles_1w",
        ] {
            assert_eq!(
                refused(&db.pool, refused_to_ingest).await,
                "42501",
                "{version}: {refused_to_ingest}"
            );
        }
    }
}
