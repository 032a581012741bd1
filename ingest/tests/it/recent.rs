//! What a worker remembers of its last batch is not believed once another has written.

use crate::database::{Database, MINUTES, VERSIONS, tick};

#[tokio::test]
async fn workers_that_take_turns_on_one_minute_lose_nothing() {
    for version in VERSIONS {
        // GIVEN a worker that has stored a tick, and another one
        let db = Database::new(version).await;
        let mut other = ingest::transaction::Known::default();
        let times = ["10:00:01", "10:00:02", "10:00:03", "10:00:04", "10:00:05"];
        for (turn, (sequence, time)) in (1..).zip(times).enumerate() {
            // WHEN they store ticks of one minute, in turns and twice in a row
            let time = format!("2024-03-04T{time}Z");
            db.store(&[("A", tick(&time, sequence, "10", "1"))]).await;
            if turn != 2 {
                std::mem::swap(&mut *db.known.lock().await, &mut other);
            }
        }
        // THEN every candle has all of them
        assert!(db.differences().await.is_empty(), "{version}");
        let trades = "select trades::text from candles_1m union all select trades::text from candles_1h \
             union all select trades::text from candles_1d";
        assert_eq!(db.rows(trades).await, ["5", "5", "5"], "{version}");
        assert_eq!(db.rows(MINUTES).await.len(), 1, "{version}");
    }
}
