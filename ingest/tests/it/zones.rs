//! A symbol's zone is one that server and program know; where it is not, a sentence says which symbol's.

use common::database::{explain, sqlstate};
use ingest::failure::{Class, class};
use ingest::transaction::TransactionError;

use chrono_tz::Tz;
use ingest::rezone::{RezoneError, Rezoned, rezone};

use crate::database::{
    DAYS, Database, VERSIONS, VERSIONS_OF_ROWS, batch, cancelled, corrected, done, tick,
};

#[tokio::test]
async fn a_zone_that_is_not_known_is_refused() {
    for version in VERSIONS {
        let db = Database::new(version).await;
        let insert = async |symbol: &str, zone: &str| {
            sqlx::query("insert into symbols (symbol, timezone) values ($1, $2)")
                .bind(symbol)
                .bind(zone)
                .execute(&db.pool)
                .await
        };
        // GIVEN a symbol in a zone of the IANA database
        insert("KNOWN", "Asia/Kolkata").await.unwrap();
        // WHEN symbols get other zones THEN each is refused, with the symbol and the zone
        for zone in [
            "Mars/Olympus",
            "asia/kolkata",
            "EST5EDT4",
            "+05:30",
            "posix/Asia/Kolkata",
            "localtime",
            "",
        ] {
            let error = insert("NEW", zone).await.expect_err(zone);
            assert_eq!(sqlstate(&error).as_deref(), Some("22023"), "{version}");
            let sentence = explain(&error);
            assert!(
                sentence.contains("symbol NEW") && sentence.contains(zone),
                "{sentence}"
            );
        }
        sqlx::query("update symbols set timezone = 'Mars/Olympus' where symbol = 'KNOWN'")
            .execute(&db.pool)
            .await
            .expect_err("an update to an unknown zone");
        assert_eq!(
            db.rows("select concat_ws(' ', symbol, timezone) from symbols")
                .await,
            ["KNOWN Asia/Kolkata"]
        );
    }
}

#[tokio::test]
async fn every_zone_that_the_server_lists_is_known_to_the_program() {
    for version in VERSIONS {
        let db = Database::new(version).await;
        let zones = db
            .rows(
                "select name from pg_timezone_names \
                 where name !~ '^(posix|right)/|^(posixrules|localtime|Factory)$' order by 1",
            )
            .await;
        assert!(zones.len() > 400, "{version}: {}", zones.len());
        let unknown: Vec<_> = zones
            .iter()
            .filter(|zone| zone.parse::<chrono_tz::Tz>().is_err())
            .collect();
        assert!(unknown.is_empty(), "{version}: {unknown:?}");
    }
}

#[tokio::test]
async fn a_symbol_with_an_unknown_zone_stops_its_batch_with_a_sentence_that_names_it() {
    for version in VERSIONS {
        // GIVEN a row from before zones were looked up
        let db = Database::new(version).await;
        sqlx::raw_sql(
            "alter table market_data.symbols disable trigger check_zone; \
             insert into market_data.symbols (symbol, timezone) values ('OLD', 'Mars/Olympus'); \
             alter table market_data.symbols enable trigger check_zone;",
        )
        .execute(&db.owner)
        .await
        .unwrap();
        // WHEN a tick of it comes
        let batch = batch(0, &[("OLD", tick("2024-03-04T10:00:01Z", 1, "10", "1"))]);
        let stored = db.store_batch(&batch).await;
        // THEN it is for an operator to mend, who is told what
        let Err(TransactionError::Database(error)) = stored else {
            panic!("{stored:?}")
        };
        assert_eq!(class(&error), Class::Fatal, "{version}");
        let sentence = explain(&error);
        for part in ["symbol OLD", "Mars/Olympus", "`ingest symbols set`"] {
            assert!(sentence.contains(part), "{sentence}");
        }
    }
}

/// Four weeks of ticks every five hours, with a correction and an emptied day.
fn weeks() -> Vec<(&'static str, common::tick::Tick)> {
    let start: chrono::DateTime<chrono::Utc> = "2024-02-26T00:30:00Z".parse().unwrap();
    let mut ticks: Vec<_> = (0..134)
        .map(|n| {
            let at = (start + chrono::Duration::hours(5 * n)).to_rfc3339();
            ("A", tick(&at, n, &(100 + n % 17).to_string(), "2"))
        })
        .collect();
    ticks.push(("A", corrected(ticks[20].1, 1, "250")));
    for index in 40..46 {
        ticks.push(("A", cancelled(ticks[index].1)));
    }
    ticks
}

#[tokio::test]
async fn a_symbol_that_changes_its_zone_has_the_days_of_one_that_was_born_in_it() {
    for version in VERSIONS {
        for zone in [
            Tz::America__New_York,
            Tz::Asia__Kolkata,
            Tz::Asia__Kathmandu,
            Tz::Pacific__Apia,
        ] {
            // GIVEN a symbol that was always in the zone, and one in UTC whose views are fresh
            let born = Database::new(version).await;
            rezone(&born.sessions, "A", zone, false, false)
                .await
                .unwrap();
            born.store(&weeks()).await;
            let moved = Database::new(version).await;
            moved.store(&weeks()).await;
            done(&ingest::upkeep::refresh_views(&moved.sessions).await);
            let revisions = moved
                .rows("select max(revision)::text from candles_1d")
                .await;

            // WHEN it is only tried THEN nothing is changed
            let rows = moved.rows(VERSIONS_OF_ROWS).await;
            let tried = rezone(&moved.sessions, "A", zone, false, true)
                .await
                .unwrap();
            assert_eq!(moved.rows(VERSIONS_OF_ROWS).await, rows, "{version} {zone}");

            // WHEN it moves
            let changed = rezone(&moved.sessions, "A", zone, false, false)
                .await
                .unwrap();
            // THEN its days are the same, before and after a refresh of the views
            assert_eq!(changed, tried);
            assert!(matches!(&changed, Rezoned::Changed { from, .. } if from == "UTC"));
            assert_eq!(
                traded(&moved.rows(DAYS).await),
                traded(&born.rows(DAYS).await),
                "{version} {zone}"
            );
            assert!(moved.differences().await.is_empty(), "{version} {zone}");
            done(&ingest::upkeep::refresh_views(&moved.sessions).await);
            assert!(moved.differences().await.is_empty(), "{version} {zone}");
            // AND the days say that they changed, and their hours are noted
            let after = moved
                .rows("select max(revision)::text from candles_1d")
                .await;
            assert!(after > revisions, "{version}: {after:?} {revisions:?}");
            let behind = "select 'x' from candles_1d d join symbols s on s.id = d.symbol_id \
                 where d.updated_at > (select min(updated_at) from changed_hours)";
            assert!(moved.rows(behind).await.is_empty(), "{version} {zone}");

            // AND ticks that come later fall into the new days
            let late = tick("2024-03-10T20:15:00Z", 999, "300", "1");
            born.store(&[("A", late)]).await;
            moved.store(&[("A", late)]).await;
            assert_eq!(
                traded(&moved.rows(DAYS).await),
                traded(&born.rows(DAYS).await),
                "{version} {zone}"
            );
            assert_eq!(
                rezone(&moved.sessions, "A", zone, false, false)
                    .await
                    .unwrap(),
                Rezoned::Already
            );
        }
    }
}

/// Days without those that were emptied.
fn traded(days: &[String]) -> Vec<&String> {
    days.iter().filter(|day| !day.ends_with(" 0 0 0")).collect()
}

#[tokio::test]
async fn a_symbol_whose_hours_were_deleted_keeps_its_zone() {
    for version in VERSIONS {
        // GIVEN days whose hours, minutes and ticks are gone
        let db = Database::new(version).await;
        db.store(&weeks()).await;
        for table in ["candles_1h", "candles_1m", "tick_blocks"] {
            let delete = sqlx::AssertSqlSafe(format!("delete from market_data.{table}"));
            sqlx::query(delete).execute(&db.owner).await.unwrap();
        }
        let days = db.rows(DAYS).await;
        // WHEN the symbol is to move THEN it stays where it is, with its days
        let refused = rezone(&db.sessions, "A", Tz::Europe__Paris, false, false).await;
        assert!(
            matches!(&refused, Err(RezoneError::Incomplete { after: 0, .. })),
            "{version}: {refused:?}"
        );
        assert_eq!(db.rows(DAYS).await, days, "{version}");
        assert_eq!(db.rows("select timezone from symbols").await, ["UTC"]);
    }
}

#[tokio::test]
async fn a_symbol_in_an_unknown_zone_can_be_moved_out_of_it() {
    for version in VERSIONS {
        let db = Database::new(version).await;
        db.store(&weeks()).await;
        sqlx::raw_sql(
            "alter table market_data.symbols disable trigger check_zone; \
             update market_data.symbols set timezone = 'Mars/Olympus'; \
             alter table market_data.symbols enable trigger check_zone;",
        )
        .execute(&db.owner)
        .await
        .unwrap();
        rezone(&db.sessions, "A", Tz::Europe__Paris, false, false)
            .await
            .unwrap();
        assert!(db.differences().await.is_empty(), "{version}");
    }
}

#[tokio::test]
async fn a_day_that_other_rules_of_its_zone_have_stored_is_for_an_operator_to_make_anew() {
    for version in VERSIONS {
        // GIVEN a symbol one of whose days began an hour later by the rules that it was stored by
        let db = Database::new(version).await;
        let zone = Tz::America__New_York;
        rezone(&db.sessions, "A", zone, false, false).await.unwrap();
        db.store(&weeks()).await;
        let days = db.rows(DAYS).await;
        sqlx::query("update market_data.candles_1d set open_time = open_time + interval '1 hour' where local_date = '2024-03-20'")
            .execute(&db.owner)
            .await
            .unwrap();

        // WHEN a tick of that day comes
        let late = ("A", tick("2024-03-20T20:15:00Z", 999, "300", "1"));
        let batch = batch(135 + 6, &[late]);
        let stored = db.store_batch(&batch).await;
        // THEN it is no fault of the tick, and the operator is told the way out
        let Err(TransactionError::Database(error)) = stored else {
            panic!("{version}: {stored:?}")
        };
        assert_eq!(class(&error), Class::Fatal, "{version}");
        let way_out = "`ingest symbols set A --timezone America/New_York --rebuild`";
        assert!(explain(&error).contains(way_out), "{error}");
        // AND a repair says the same
        let scope = ingest::verify::Scope {
            repair: true,
            ..Default::default()
        };
        let repaired = ingest::verify::verify(&db.sessions, &scope, |_, _| {}).await;
        let told = repaired.unwrap().sentences;
        assert!(
            told.iter().any(|sentence| sentence.contains(way_out)),
            "{told:?}"
        );

        // WHEN the days are made anew in the same zone
        let tried = rezone(&db.sessions, "A", zone, true, true).await.unwrap();
        let made = rezone(&db.sessions, "A", zone, true, false).await.unwrap();
        // THEN they are as before, and take the tick
        assert_eq!(made, tried);
        assert!(matches!(&made, Rezoned::Changed { from, .. } if from == zone.name()));
        assert_eq!(traded(&db.rows(DAYS).await), traded(&days), "{version}");
        db.store_batch(&batch).await.unwrap();
        assert!(db.differences().await.is_empty(), "{version}");
    }
}
