//! Views and their marks: what a refresh covers, and what it must leave marked.

use crate::database::{Database, VERSIONS, done, tick};

const MARKS: &str = "select concat_ws(' ', view, s.symbol, period, generation) from view_marks join symbols s on s.id = symbol_id order by 1";
const MONTHS: &str = "select concat_ws(' ', s.symbol, period, open, high, low, close, volume, turnover, trades, revision) \
     from candles_1mo join symbols s on s.id = symbol_id order by 1";

#[tokio::test]
async fn ended_periods_are_marked_until_a_refresh_covers_them() {
    for version in VERSIONS {
        // GIVEN ticks of an ended year, over a year's end and a week's
        let db = Database::new(version).await;
        db.store(&[
            ("A", tick("2019-12-30T10:00:00Z", 1, "10", "1")),
            ("A", tick("2020-01-02T10:00:00Z", 2, "12", "1")),
        ])
        .await;
        // THEN each period is marked once
        assert_eq!(
            db.rows(MARKS).await,
            [
                "candles_1mo A 2019-12-01 0",
                "candles_1mo A 2020-01-01 0",
                "candles_1q A 2019-10-01 0",
                "candles_1q A 2020-01-01 0",
                "candles_1w A 2019-12-30 0",
                "candles_1y A 2019-01-01 0",
                "candles_1y A 2020-01-01 0",
            ],
            "{version}"
        );
        // WHEN the views are refreshed THEN the marks are gone and the rows are there
        assert_eq!(done(&ingest::upkeep::refresh_views(&db.sessions).await), 4);
        assert!(db.rows(MARKS).await.is_empty());
        assert_eq!(
            db.rows(MONTHS).await,
            [
                "A 2019-12-01 10 10 10 10 1 10 1 1",
                "A 2020-01-01 12 12 12 12 1 12 1 1"
            ]
        );
        assert_eq!(
            db.rows("select concat_ws(' ', period, open, close, trades) from candles_1w")
                .await,
            ["2019-12-30 10 12 2"]
        );
        assert!(db.differences().await.is_empty());
        // AND nothing is due until something changes
        assert_eq!(done(&ingest::upkeep::refresh_views(&db.sessions).await), 0);
        db.store(&[("A", tick("2020-01-03T10:00:00Z", 3, "9", "1"))])
            .await;
        assert_eq!(db.rows(MARKS).await.len(), 4);
        assert!(
            db.differences().await.is_empty(),
            "a marked period is not read from its view"
        );
    }
}

#[tokio::test]
async fn an_open_period_is_not_marked() {
    for version in VERSIONS {
        let db = Database::new(version).await;
        let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        db.store(&[("A", tick(&now, 1, "10", "1"))]).await;
        let ahead = "(clock_timestamp() at time zone 'UTC' + interval '1 hour')";
        let ends_soon: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "select count(*) from unnest(array['week', 'month', 'quarter', 'year']) unit \
             where date_trunc(unit, {ahead}) <> date_trunc(unit, clock_timestamp() at time zone 'UTC')"
        )))
        .fetch_one(&db.owner)
        .await
        .unwrap();
        assert_eq!(
            i64::try_from(db.rows(MARKS).await.len()).unwrap(),
            ends_soon,
            "{version}"
        );
    }
}

#[tokio::test]
async fn a_mark_made_again_during_a_refresh_stays() {
    for version in VERSIONS {
        // GIVEN a marked period, and a transaction that marks it again and has not committed
        let db = Database::new(version).await;
        db.store(&[("A", tick("2019-12-02T10:00:00Z", 1, "10", "1"))])
            .await;
        let mut marking = db.pool.begin().await.unwrap();
        sqlx::query("update view_marks set generation = generation + 1 where view = 'candles_1mo'")
            .execute(&mut *marking)
            .await
            .unwrap();
        // WHEN a refresh runs meanwhile: it must not wait for the lock
        let refreshed: bool = sqlx::query_scalar("select refresh_candle_view('candles_1mo')")
            .fetch_one(&db.pool)
            .await
            .unwrap();
        assert!(refreshed, "{version}");
        marking.commit().await.unwrap();
        // THEN the mark is still there
        assert_eq!(
            db.rows(
                "select concat_ws(' ', view, generation) from view_marks where view = 'candles_1mo'"
            )
            .await,
            ["candles_1mo 1"]
        );
    }
}

#[tokio::test]
async fn two_refreshes_at_once_do_not_wait_for_each_other() {
    for version in VERSIONS {
        let db = Database::new(version).await;
        let mut first = db.pool.begin().await.unwrap();
        let won: bool = sqlx::query_scalar("select refresh_candle_view('candles_1y')")
            .fetch_one(&mut *first)
            .await
            .unwrap();
        let second: bool = sqlx::query_scalar("select refresh_candle_view('candles_1y')")
            .fetch_one(&db.pool)
            .await
            .unwrap();
        assert_eq!((won, second), (true, false), "{version}");
    }
}
