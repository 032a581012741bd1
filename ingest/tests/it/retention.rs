//! Retention: a floor, on a day's boundary, below which no tick is stored again and no candle changes.

use chrono::{DateTime, Utc};
use ingest::fold::Level;
use ingest::retain;
use ingest::store::symbols::{self, Entry};

use crate::database::{
    DAYS, Database, HOURS, MINUTES, TICKS, VERSIONS, cancelled, corrected, tick,
};

pub(crate) async fn entry(db: &Database, symbol: &str) -> Entry {
    let mut session = db.sessions.acquire().await.unwrap();
    let mut found = symbols::list(&mut session, Some(symbol)).await.unwrap();
    found.remove(0)
}

pub(crate) fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Ten ticks an hour apart, in one block, over midnight in India (18:30 UTC).
async fn evening(db: &Database) {
    sqlx::query("insert into symbols (symbol, timezone) values ('A', 'Asia/Kolkata')")
        .execute(&db.pool)
        .await
        .unwrap();
    let ticks: Vec<_> = (0..10)
        .map(|n| {
            let at = format!("2024-03-04T{:02}:45:00Z", 14 + n);
            ("A", tick(&at, n, &(10 + n).to_string(), "1"))
        })
        .collect();
    db.store(&ticks).await;
}

#[tokio::test]
async fn ticks_go_up_to_the_day_that_holds_the_cutoff_and_their_candles_stay() {
    for version in VERSIONS {
        // GIVEN a block with ticks on both sides of midnight in the symbol's zone
        let db = Database::new(version).await;
        evening(&db).await;
        let (ticks, candles) = (db.rows(TICKS).await, db.rows(HOURS).await);

        // WHEN it is only asked what would go
        let cutoff = time("2024-03-05T03:00:00Z");
        let asked = retain::ticks(&db.sessions, &entry(&db, "A").await, cutoff, true)
            .await
            .unwrap();
        // THEN nothing is gone
        assert_eq!(db.rows(TICKS).await, ticks, "{version}");
        assert_eq!(entry(&db, "A").await.floor_time, None);

        // WHEN ticks are deleted
        let done = retain::ticks(&db.sessions, &entry(&db, "A").await, cutoff, false)
            .await
            .unwrap();
        // THEN it is what was said: those before midnight there, and no candle
        assert_eq!((done.before, done.rows), (asked.before, asked.rows));
        assert_eq!(done.before, Some(time("2024-03-04T18:30:00Z")), "{version}");
        assert_eq!(db.rows(TICKS).await, ticks[4..], "{version}");
        assert_eq!(db.rows(HOURS).await, candles, "{version}");
        assert!(db.differences().await.is_empty(), "{version}");

        // AND a second time there is nothing to do, and an older cutoff does not lower the floor
        let (now, older) = (entry(&db, "A").await, time("2024-01-01T00:00:00Z"));
        let again = retain::ticks(&db.sessions, &now, older, false).await;
        assert_eq!(again.unwrap().rows, 0);
        assert_eq!(entry(&db, "A").await.floor_time, done.before);
    }
}

#[tokio::test]
async fn a_tick_below_the_floor_is_a_dead_letter_and_one_above_it_is_folded() {
    for version in VERSIONS {
        // GIVEN a symbol with a floor at 18:30
        let db = Database::new(version).await;
        evening(&db).await;
        let floor = time("2024-03-04T18:30:00Z");
        retain::ticks(&db.sessions, &entry(&db, "A").await, floor, false)
            .await
            .unwrap();
        let before = [db.rows(MINUTES).await, db.rows(DAYS).await];

        // WHEN a new tick, a replayed one, a correction and a cancel come from below it
        let old = tick("2024-03-04T14:45:00Z", 0, "10", "1");
        let outcome = db
            .store(&[
                ("A", tick("2024-03-04T18:29:59.999999Z", 99, "50", "1")),
                ("A", old),
                ("A", corrected(old, 1, "60")),
                ("A", cancelled(old)),
            ])
            .await;
        // THEN all four are letters, counted by their reason, and no candle has changed
        assert_eq!(outcome.letters["below-floor"], 4, "{version}");
        assert_eq!(
            db.rows("select concat_ws(' ', \"offset\", reason, detail) from dead_letters order by \"offset\" limit 1").await,
            ["10 below-floor event_time 2024-03-04T18:29:59.999999Z is before 2024-03-04T18:30:00Z, from where on ticks of A are kept"]
        );
        assert_eq!([db.rows(MINUTES).await, db.rows(DAYS).await], before);

        // WHEN ticks at the floor and above come, one as a correction in the hour that the floor cuts
        let edge = tick("2024-03-04T18:30:00Z", 50, "30", "1");
        let outcome = db
            .store(&[
                ("A", edge),
                ("A", tick("2024-03-04T18:45:00Z", 4, "13", "1")),
                (
                    "A",
                    corrected(tick("2024-03-04T18:45:00Z", 4, "14", "1"), 1, "40"),
                ),
            ])
            .await;
        // THEN they are in their candles, with what came before the floor
        assert_eq!((outcome.letters.len(), outcome.corrections), (1, 1));
        assert_eq!(
            db.rows("select concat_ws(' ', open, high, low, close, volume) from candles_1h where open_time = '2024-03-04T18:00:00Z'").await,
            ["30 40 30 40 2"],
            "{version}"
        );
        assert!(db.differences().await.is_empty(), "{version}");
    }
}

/// From when on minutes and hours are kept.
const KEPT: &str = "select minutes_from::text || ' ' || hours_from::text from symbols";

#[tokio::test]
async fn candles_go_only_where_their_ticks_are_gone_and_days_stay() {
    for version in VERSIONS {
        // GIVEN a symbol whose ticks are all there
        let db = Database::new(version).await;
        evening(&db).await;
        let all = time("2030-01-01T00:00:00Z");
        let candles = async |level, dry_run| {
            retain::candles(&db.sessions, &entry(&db, "A").await, level, all, dry_run)
                .await
                .unwrap()
                .rows
        };
        // WHEN candles are to be deleted THEN all stay
        assert_eq!(candles(Level::Minute, false).await, 0, "{version}");

        // WHEN its ticks before 18:30 are gone
        let days = db.rows(DAYS).await;
        retain::ticks(
            &db.sessions,
            &entry(&db, "A").await,
            time("2024-03-04T20:00:00Z"),
            false,
        )
        .await
        .unwrap();
        // THEN candles go up to the hour that the floor cuts, whose minutes may still be asked for
        assert_eq!(candles(Level::Minute, true).await, 4);
        assert_eq!(db.rows(MINUTES).await.len(), 10);
        assert_eq!(candles(Level::Minute, false).await, 4);
        assert_eq!(candles(Level::Hour, false).await, 4);
        assert_eq!(db.rows(MINUTES).await.len(), 6, "{version}");
        assert_eq!(db.rows(DAYS).await, days, "{version}");
        assert_eq!(
            db.rows("select min(hour)::text from changed_hours").await,
            ["2024-03-04 18:00:00+00"]
        );
        // AND the symbol says from when on they are kept, a later time once it has been said
        let kept = db.rows(KEPT).await;
        assert_eq!(kept, ["2024-03-04 18:00:00+00 2024-03-04 18:00:00+00"]);
        let (symbol, older) = (entry(&db, "A").await, time("2024-03-01T00:00:00Z"));
        retain::candles(&db.sessions, &symbol, Level::Hour, older, false)
            .await
            .unwrap();
        assert_eq!(db.rows(KEPT).await, kept, "{version}");
        assert!(db.differences().await.is_empty(), "{version}");
    }
}

#[tokio::test]
async fn what_goes_is_said_before_it_goes() {
    for version in VERSIONS {
        // GIVEN a symbol whose ticks before 18:30 are gone, and hours that nobody may delete
        let db = Database::new(version).await;
        evening(&db).await;
        let (before, all) = (time("2024-03-04T20:00:00Z"), time("2030-01-01T00:00:00Z"));
        let symbol = entry(&db, "A").await;
        let ticks = retain::ticks(&db.sessions, &symbol, before, false).await;
        ticks.unwrap();
        let refuse = "revoke delete on candles_1h from market_data_ingest";
        sqlx::query(refuse).execute(&db.owner).await.unwrap();
        let version_of = "select version::text from symbols";
        let known = db.rows(version_of).await;
        // WHEN they are to be deleted
        let symbol = entry(&db, "A").await;
        let failed = retain::candles(&db.sessions, &symbol, Level::Hour, all, false).await;
        // THEN none is gone, and readers know already that they may be
        assert!(failed.is_err(), "{version}");
        assert_eq!(db.rows(HOURS).await.len(), 10, "{version}");
        assert_eq!(
            db.rows("select hours_from::text from symbols").await,
            ["2024-03-04 18:00:00+00"]
        );
        assert_ne!(db.rows(version_of).await, known, "{version}");
    }
}
