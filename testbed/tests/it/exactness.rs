//! Candles and ticks equal what the published messages say, to the last digit, whatever order they come in.

use crate::oracle::Oracle;
use crate::pipeline::Pipeline;
use crate::stream::{self, Feed};

/// No work in the background but what a test asks for; batches small enough that there are many.
const BY_HAND: [(&str, &str); 3] = [
    ("FDA_UPKEEP__REFRESH_INTERVAL", "1h"),
    ("FDA_UPKEEP__MERGE_INTERVAL", "100ms"),
    ("FDA_BATCH__MAX_MESSAGES", "1000"),
];

async fn refresh(pipeline: &Pipeline) {
    for view in ["candles_1w", "candles_1mo", "candles_1q", "candles_1y"] {
        let done: bool = sqlx::query_scalar("select market_data.refresh_candle_view($1)")
            .bind(view)
            .fetch_one(pipeline.pool())
            .await
            .unwrap();
        assert!(done, "{view} is being refreshed by another session");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn candles_equal_the_oracle_before_and_after_each_refresh_and_after_late_ticks() {
    // GIVEN a feed with duplicates, disorder, late ticks, corrections, cancels and conflicts, of which two thirds are stored
    let pipeline = Pipeline::new("exactness").await;
    let messages = Feed { seed: 11, trades: 20_000, conflicts: true }.messages();
    let (early, late) = messages.split_at(messages.len() * 2 / 3);
    let _ingest = pipeline.ingest(&BY_HAND);
    pipeline.publish_messages(early).await;
    pipeline.caught_up().await;
    let oracle = Oracle::of(&pipeline, &stream::write(early, pipeline.folder()), &[]).await;
    // WHEN nothing has been refreshed THEN all of it is exact
    oracle.check(&pipeline).await;
    // WHEN the views are refreshed THEN all of it is exact
    refresh(&pipeline).await;
    oracle.check_views(&pipeline).await;
    oracle.check_answers(&pipeline).await;

    // WHEN the rest comes, much of it into periods that are over, and the views are not refreshed
    pipeline.publish_messages(late).await;
    pipeline.caught_up().await;
    let oracle = Oracle::of(&pipeline, &stream::write(&messages, pipeline.folder()), &[]).await;
    // THEN all of it is exact
    oracle.check(&pipeline).await;
    // WHEN they are refreshed THEN all of it is exact, and no mark is left
    refresh(&pipeline).await;
    oracle.check_views(&pipeline).await;
    oracle.check_answers(&pipeline).await;
    let marks: i64 = sqlx::query_scalar("select count(*) from market_data.view_marks")
        .fetch_one(pipeline.pool())
        .await
        .unwrap();
    assert_eq!(marks, 0);
    pipeline.verify().await;
}
