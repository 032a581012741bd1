//! A message that the database refuses is found, and only that one becomes a dead letter.

use std::sync::Arc;

use ingest::batch::Source;
use ingest::config::PoisonConfig;
use ingest::dead_letter::{DeadLetter, Fault, Reason};
use ingest::health::Health;
use ingest::metrics::Metrics;
use ingest::writer::{Verdict, Writer};
use tokio_util::sync::CancellationToken;

use crate::database::{Database, MINUTES, VERSIONS, batch, tick};

fn writer(db: &Database, metrics: Metrics) -> Writer {
    Writer::new(
        db.sessions.clone(),
        "cluster".into(),
        PoisonConfig::default(),
        metrics,
        Arc::new(Health::default()),
        CancellationToken::new(),
    )
}

#[tokio::test]
async fn the_refused_message_is_found_among_the_good_ones() {
    for version in VERSIONS {
        // GIVEN a database that refuses one price
        let db = Database::new(version).await;
        sqlx::query("alter table candles_1m add check (high <> 13)")
            .execute(&db.owner)
            .await
            .unwrap();
        let ticks: Vec<_> = (0..40_i64)
            .map(|n| {
                let time = format!("2024-03-04T10:{n:02}:00Z");
                let price = if n == 29 {
                    "13".into()
                } else {
                    (100 + n).to_string()
                };
                ("A", tick(&time, n, &price, "1"))
            })
            .collect();
        let whole = batch(0, &ticks);
        ingest::store::positions::read(&db.sessions, "cluster", &whole.partitions)
            .await
            .unwrap();
        let mut writer = writer(&db, Metrics::new().unwrap());

        // WHEN the batch is written
        let verdict = writer.write(whole).await;

        // THEN all but one are stored, and the position is past them all
        assert!(matches!(verdict, Verdict::Stored(_)), "{version}");
        assert_eq!(db.rows(MINUTES).await.len(), 39);
        assert_eq!(
            db.rows("select concat_ws(' ', \"offset\", reason, convert_from(payload, 'UTF8')) from dead_letters")
                .await,
            ["29 refused payload 29"]
        );
        assert_eq!(
            db.rows("select concat_ws(' ', next_offset, last_offset) from ingest_offsets")
                .await,
            ["40 39"]
        );
        assert!(db.differences().await.is_empty());
    }
}

#[tokio::test]
async fn one_refused_message_of_many_is_found_in_twice_log2_transactions() {
    for version in VERSIONS {
        // GIVEN a batch of 1024 ticks, of which the database refuses one
        let db = Database::new(version).await;
        sqlx::query("alter table candles_1m add check (high < 1000000)")
            .execute(&db.owner)
            .await
            .unwrap();
        let ticks: Vec<_> = (0..1024_i64)
            .map(|n| {
                let time = format!("2024-03-04T{:02}:{:02}:00Z", n / 60, n % 60);
                let price = if n == 700 { "1000000" } else { "10" };
                ("A", tick(&time, n, price, "1"))
            })
            .collect();
        let whole = batch(0, &ticks);
        ingest::store::positions::read(&db.sessions, "cluster", &whole.partitions)
            .await
            .unwrap();
        let metrics = Metrics::new().unwrap();

        // WHEN it is written
        let verdict = writer(&db, metrics.clone()).write(whole).await;

        // THEN it was halved ten times, and each half that was good, and the letter, stored once
        assert!(matches!(verdict, Verdict::Stored(_)), "{version}");
        let stored = metrics.batch_seconds.get_sample_count();
        assert_eq!((metrics.halved.get(), stored), (10, 11), "{version}");
        assert_eq!(db.rows(MINUTES).await.len(), 1023);
        assert_eq!(
            db.rows("select \"offset\"::text from dead_letters").await,
            ["700"]
        );
    }
}

#[tokio::test]
async fn a_letter_that_the_database_refuses_is_named() {
    for version in VERSIONS {
        // GIVEN a database that takes no such letter
        let db = Database::new(version).await;
        sqlx::query("alter table dead_letters add constraint no_letter check (reason <> 'empty')")
            .execute(&db.owner)
            .await
            .unwrap();
        let mut letters = batch(7, &[]);
        ingest::store::positions::read(&db.sessions, "cluster", &letters.partitions)
            .await
            .unwrap();
        letters.advance(0, None, 8, Some((7, None)));
        letters.push_letter(DeadLetter {
            source: Source {
                partition: 0,
                offset: 7,
                timestamp: None,
            },
            key: None,
            payload: Some(Vec::new()),
            fault: Fault {
                reason: Reason::Empty,
                detail: "a value of no bytes".into(),
            },
        });
        // WHEN it is written
        let verdict = writer(&db, Metrics::new().unwrap()).write(letters).await;
        // THEN the worker ends, and says which message it is
        let Verdict::Fatal(sentence) = verdict else {
            panic!("{version}: {verdict:?}")
        };
        for part in ["ticks [0] offset 7 (empty: ", "no_letter"] {
            assert!(sentence.contains(part), "{sentence}");
        }
    }
}
