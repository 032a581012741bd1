//! Damage done on purpose: `verify` finds it within its scope, and its repair leaves what the ticks say.

use std::time::Duration;

use ingest::retain;
use ingest::verify::{Report, Scope, verify};

use crate::database::{
    DAYS, Database, HOURS, MINUTES, VERSIONS, VERSIONS_OF_ROWS, cancelled, config, done, tick,
};
use crate::retention::{entry, time};

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

const DAMAGE: [&str; 9] = [
    "update market_data.candles_1m set high = high + 1 where open_time = '2024-03-05T04:01:00Z'",
    "delete from market_data.candles_1m where open_time = '2024-03-05T20:00:00Z'",
    "update market_data.candles_1h set trades = 0 where open_time = '2024-03-06T03:00:00Z'",
    "insert into market_data.candles_1h select symbol_id, '2024-03-01T00:00:00Z', open, high, low, close, volume, turnover, \
         trades, open_event_time, open_sequence, close_event_time, close_sequence, 1, updated_at \
         from market_data.candles_1h where open_time = '2024-03-04T03:00:00Z'",
    "update market_data.candles_1d set close_sequence = 7 where local_date = '2024-03-05'",
    "delete from market_data.candles_1d where local_date = '2024-03-06'",
    "update market_data.candles_1d set local_date = '2023-02-01' where local_date = '2024-03-06'",
    "update market_data.candles_1d set local_date = local_date + 30 where local_date >= '2024-03-05'",
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
        damage(&db, "delete from market_data.changed_hours").await;
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
        // AND the hours of what was repaired are noted and no others: of a day, the first that begins in it
        let noted = "select concat_ws(' ', symbol, to_char(hour, 'MM-DD HH24')) from changed_hours \
             join symbols on id = symbol_id order by 1";
        assert_eq!(
            db.rows(noted).await,
            [
                "NY 03-01 00",
                "NY 03-05 04",
                "NY 03-05 05",
                "NY 03-05 20",
                "NY 03-06 03",
                "NY 03-06 05",
                "UTC 03-01 00",
                "UTC 03-05 00",
                "UTC 03-05 04",
                "UTC 03-05 20",
                "UTC 03-06 00",
                "UTC 03-06 03",
            ],
            "{version}"
        );
        // AND each after its day was written, in the same transaction, or at most ten seconds before, see `store::hours`
        let behind = "select 'x' from candles_1d d where d.local_date = '2024-03-06' and not exists (select from changed_hours h \
             where h.symbol_id = d.symbol_id and h.hour >= d.open_time and h.updated_at >= d.updated_at - interval '10 seconds')";
        assert!(db.rows(behind).await.is_empty(), "{version}");
        // AND a repair of nothing writes nothing
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

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_leaves_what_a_rising_floor_takes_the_ticks_of() {
    for version in VERSIONS {
        // GIVEN a minute of each symbol that differs
        let db = stored(version).await;
        damage(&db, DAMAGE[0]).await;
        let candles = async || {
            [
                db.rows(MINUTES).await,
                db.rows(HOURS).await,
                db.rows(DAYS).await,
            ]
        };
        let before = candles().await;

        // WHEN the ticks are deleted while the first symbol is compared, before its repair, and the other is on the list
        let scope = Scope {
            repair: true,
            ..Scope::default()
        };
        let mut floors_rise = Some(async || {
            for symbol in ["NY", "UTC"] {
                let entry = entry(&db, symbol).await;
                let cutoff = time("2024-03-06T12:00:00Z");
                let deleted = retain::ticks(&db.sessions, &entry, cutoff, false).await;
                assert!(deleted.unwrap().rows > 20, "{version}");
            }
        });
        let report = verify(&db.sessions, &scope, |_, _| {
            if let Some(rise) = floors_rise.take() {
                let runtime = tokio::runtime::Handle::current();
                tokio::task::block_in_place(|| runtime.block_on(rise()));
            }
        });
        let report = report.await.unwrap();

        // THEN one minute was seen to differ, and no candle was touched
        assert_eq!((report.differences, report.repaired), (1, 0), "{version}");
        assert_eq!(candles().await, before, "{version}");
        assert!(db.differences().await.is_empty(), "{version}");
    }
}

#[tokio::test]
async fn a_repair_that_takes_long_does_not_lose_its_snapshot() {
    for version in VERSIONS {
        // GIVEN a server that ends sessions which idle in a transaction
        let db = stored(version).await;
        damage(&db, DAMAGE[0]).await;
        let config = config(&(db.url_of)("market_data_ingest"));
        let impatient = common::database::options(&config, "verify")
            .unwrap()
            .options([("idle_in_transaction_session_timeout", "100")]);
        let sessions = common::database::Database::of(&config, &impatient);
        // WHEN a verification stands still in its transaction for longer
        let scope = Scope {
            repair: true,
            ..Scope::default()
        };
        let report = verify(&sessions, &scope, |_, _| {
            std::thread::sleep(Duration::from_millis(500));
        });
        // THEN it goes on
        assert_eq!(report.await.unwrap().repaired, 2, "{version}");
        assert!(db.differences().await.is_empty(), "{version}");
    }
}
