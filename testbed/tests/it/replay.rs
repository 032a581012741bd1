//! A topic that is read again changes nothing: not one row is written.

use crate::oracle::Oracle;
use crate::pipeline::{PATIENCE, Pipeline};
use crate::stream::{self, Feed};

/// Nothing in the background, so that a row changes only where a message changes it.
const QUIET: [(&str, &str); 2] = [
    ("FDA_UPKEEP__REFRESH_INTERVAL", "1h"),
    ("FDA_UPKEEP__MERGE_INTERVAL", "1h"),
];

/// Every row of a table with its place and the transaction that wrote it.
async fn rows(pipeline: &Pipeline, table: &str) -> Vec<String> {
    let sql = format!(
        "select concat_ws(' ', ctid, xmin, t::text) from market_data.{table} t order by ctid"
    );
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .fetch_all(pipeline.pool())
        .await
        .unwrap()
}

async fn all_rows(pipeline: &Pipeline) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for table in [
        "symbols",
        "tick_blocks",
        "candles_1m",
        "candles_1h",
        "candles_1d",
        "view_marks",
        "dead_letters",
    ] {
        all.push(rows(pipeline, table).await);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn topic_read_again_from_its_beginning_writes_no_row() {
    // GIVEN a feed with all kinds of messages, dead letters among them, stored in small batches
    let pipeline = Pipeline::new("replay").await;
    let messages = Feed {
        seed: 3,
        trades: 8_000,
        conflicts: true,
    }
    .messages();
    pipeline.publish_messages(&messages).await;
    let publisher = pipeline.publisher().await;
    for bad in [b"".as_slice(), b"no JSON", br#"{"symbol":"AMZN"}"#] {
        publisher.send_raw(Some(b"AMZN"), Some(bad), None).unwrap();
    }
    publisher.settle().await.unwrap();
    let mut ingest =
        pipeline.ingest(&[QUIET.as_slice(), &[("FDA_BATCH__MAX_MESSAGES", "500")]].concat());
    pipeline.caught_up().await;
    let file = stream::write(&messages, pipeline.folder());
    let oracle = Oracle::of(&pipeline, &file, &[]).await;
    assert!(ingest.stop(PATIENCE).unwrap().success());
    let before = all_rows(&pipeline).await;
    let letters = before.last().unwrap().len();
    assert!(letters > 3 && before.iter().all(|rows| !rows.is_empty()));

    // WHEN the positions are forgotten and the topic is read from its beginning in other batches, by another group, and by
    // the same one, to which Kafka would tell the end
    for group in ["replay_again", "replay"] {
        let (code, text) = pipeline
            .ingest_command(&["offsets", "reset", "--topic", pipeline.topic()])
            .await;
        assert_eq!(code, 0, "{text}");
        assert_eq!(pipeline.positions().await.unwrap(), [0, 0, 0]);
        let again = [
            ("FDA_BATCH__MAX_MESSAGES", "3000"),
            ("FDA_KAFKA__GROUP", group),
        ];
        let mut ingest = pipeline.ingest(&[QUIET.as_slice(), &again].concat());
        pipeline.caught_up().await;
        assert!(ingest.stop(PATIENCE).unwrap().success());
    }

    // THEN every row is the one that it was
    assert_eq!(all_rows(&pipeline).await, before);
    oracle.check_answers(&pipeline).await;
    pipeline.verify().await;
}
