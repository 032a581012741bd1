//! A message that the database refuses is found, and only that one becomes a dead letter.

use std::sync::Arc;

use ingest::health::Health;
use ingest::metrics::Metrics;
use ingest::writer::{Verdict, Writer};
use tokio_util::sync::CancellationToken;

use crate::database::{Database, MINUTES, VERSIONS, batch, tick};

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
        let mut writer = Writer::new(
            db.sessions.clone(),
            "cluster".into(),
            Metrics::new().unwrap(),
            Arc::new(Health::default()),
            CancellationToken::new(),
        );

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
