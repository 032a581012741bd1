//! Damage done on purpose: `verify` finds it within its scope, and its repair leaves what the ticks say.

use ingest::verify::{Report, Scope, verify};

use crate::database::{
    DAYS, Database, HOURS, MINUTES, VERSIONS, VERSIONS_OF_ROWS, cancelled, done, tick,
};

async fn scoped(db: &Database, scope: Scope) -> Report {
    verify(&db.sessions, &scope, |_, _| {}).await.unwrap()
}

/// Two symbols, one in New York, over three days; one minute is emptied by a cancel.
async fn stored(version: &str) -> Database {
    let db = Database::new(version).await;
    sqlx::query("insert into symbols (symbol, timezone) values ('NY', 'America/New_York')")
        .execute(&db.pool)
        .await
        .unwrap();
    let mut ticks = Vec::new();
    for day in 4..7 {
        for hour in [3, 4, 5, 20] {
            for minute in 0..3 {
                let at = format!("2024-03-0{day}T{hour:02}:0{minute}:30Z");
                for symbol in ["NY", "UTC"] {
                    ticks.push((symbol, tick(&at, 1, &(10 + hour + minute).to_string(), "2")));
                }
            }
        }
    }
    db.store(&ticks).await;
    db.store(&[(ticks[0].0, cancelled(ticks[0].1))]).await;
    done(&ingest::upkeep::refresh_views(&db.sessions).await);
    db
}

async fn damage(db: &Database, sql: &'static str) {
    let done = sqlx::raw_sql(sql).execute(&db.owner).await.unwrap();
    assert!(done.rows_affected() > 0, "{sql}");
}

const DAMAGE: [&str; 7] = [
    "update market_data.candles_1m set high = high + 1 where open_time = '2024-03-05T04:01:00Z'",
    "delete from market_data.candles_1m where open_time = '2024-03-05T20:00:00Z'",
    "update market_data.candles_1h set trades = 0 where open_time = '2024-03-06T03:00:00Z'",
    "insert into market_data.candles_1h select symbol_id, '2024-03-01T00:00:00Z', open, high, low, close, volume, turnover, \
         trades, open_event_time, open_sequence, close_event_time, close_sequence, 1, updated_at \
         from market_data.candles_1h where open_time = '2024-03-04T03:00:00Z'",
    "update market_data.candles_1d set close_sequence = 7 where local_date = '2024-03-05'",
    "delete from market_data.candles_1d where local_date = '2024-03-06'",
    "update market_data.symbols set high_time = '2024-03-04T00:00:00Z' where symbol = 'UTC'",
];

#[tokio::test]
async fn every_damage_is_found_and_repaired_to_what_the_ticks_say() {
    for version in VERSIONS {
        let db = stored(version).await;
        let rows = async || {
            [
                db.rows(MINUTES).await,
                db.rows(HOURS).await,
                db.rows(DAYS).await,
                db.rows("select concat_ws(' ', symbol, high_time, high_sequence) from symbols order by 1").await,
            ]
        };
        let sound = rows().await;
        assert!(db.differences().await.is_empty(), "{version}");
        // Within ten seconds an hour is not noted again.
        let earlier =
            "update market_data.changed_hours set updated_at = updated_at - interval '1 minute'";
        damage(&db, earlier).await;
        for sql in DAMAGE {
            // GIVEN one kind of damage
            damage(&db, sql).await;
            // WHEN it is looked for THEN it is found, and a repair makes it good
            let found = scoped(&db, Scope::default()).await;
            assert!(found.differences > 0, "{version}: {sql}");
            let repaired = scoped(
                &db,
                Scope {
                    repair: true,
                    ..Scope::default()
                },
            )
            .await;
            assert!(repaired.repaired > 0, "{version}: {sql}");
            let now = rows().await;
            for (now, sound) in now.iter().zip(&sound) {
                // A candle without ticks stays as an empty row.
                let now: Vec<_> = now
                    .iter()
                    .filter(|row| !row.ends_with(" 0 0 0") || sound.contains(row))
                    .collect();
                assert_eq!(now, sound.iter().collect::<Vec<_>>(), "{version}: {sql}");
            }
            assert!(db.differences().await.is_empty(), "{version}: {sql}");
        }
        // AND the hours of what was repaired are noted, and a repair of nothing writes nothing
        let noted = db
            .rows("select 'x' from changed_hours h where exists (select from candles_1d d where d.symbol_id = h.symbol_id \
                 and d.open_time <= h.hour and d.updated_at <= h.updated_at and d.local_date = '2024-03-06')")
            .await;
        assert!(!noted.is_empty(), "{version}");
        let before = db.rows(VERSIONS_OF_ROWS).await;
        let nothing = scoped(
            &db,
            Scope {
                repair: true,
                ..Scope::default()
            },
        )
        .await;
        assert_eq!((nothing.differences, nothing.repaired), (0, 0));
        assert_eq!(db.rows(VERSIONS_OF_ROWS).await, before, "{version}");
    }
}

#[tokio::test]
async fn a_stale_view_is_found_and_refreshed() {
    for version in VERSIONS {
        // GIVEN a day that changed without a mark
        let db = stored(version).await;
        damage(
            &db,
            "update market_data.candles_1d set updated_at = updated_at + interval '1 second' where local_date = '2024-03-05'",
        )
        .await;
        // WHEN it is verified with repair
        let scope = Scope {
            repair: true,
            ..Scope::default()
        };
        let found = scoped(&db, scope).await;
        // THEN the views of that day differed, and do no longer
        assert!(
            found
                .sentences
                .iter()
                .any(|sentence| sentence.starts_with("candles_1mo:")),
            "{version}: {:?}",
            found.sentences
        );
        assert!(db.differences().await.is_empty(), "{version}");
    }
}

#[tokio::test]
async fn a_range_is_verified_by_whole_days_of_the_symbols_zone() {
    for version in VERSIONS {
        // GIVEN damage at 04:01 on the 5th, which in New York is the 4th
        let db = stored(version).await;
        damage(&db, DAMAGE[0]).await;
        let differences = async |symbol: &str, from: &str, to: &str| {
            let scope = Scope {
                symbol: Some(symbol.into()),
                from: Some(from.parse().unwrap()),
                to: Some(to.parse().unwrap()),
                repair: false,
            };
            let report = scoped(&db, scope).await;
            (report.differences, report.ticks)
        };
        // WHEN days around it are verified THEN it is found in the day that holds it, and in no other
        let day = ("2024-03-05T12:00:00Z", "2024-03-05T13:00:00Z");
        assert_eq!(differences("UTC", day.0, day.1).await, (1, 12), "{version}");
        assert_eq!(differences("NY", day.0, day.1).await.0, 0, "{version}");
        let before = ("2024-03-05T00:00:00Z", "2024-03-05T05:00:00Z");
        assert_eq!(differences("NY", before.0, before.1).await.0, 1);
        let midnight = ("2024-03-04T00:00:00Z", "2024-03-05T00:00:00Z");
        assert_eq!(differences("UTC", midnight.0, midnight.1).await, (0, 12));
    }
}
