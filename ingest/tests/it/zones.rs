//! A symbol's zone is one that server and program know; where it is not, a sentence says which symbol's.

use common::database::{explain, sqlstate};
use ingest::failure::{Class, class};
use ingest::transaction::TransactionError;

use crate::database::{Database, VERSIONS, batch, tick};

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
        for part in ["symbol OLD", "Mars/Olympus", "docs/candles.md"] {
            assert!(sentence.contains(part), "{sentence}");
        }
    }
}
