//! Candles and ticks equal what the published messages say, to the last digit, whatever order they come in.

use serde_json::Value;
use testbed::Tick;

use crate::oracle::Oracle;
use crate::pipeline::Pipeline;
use crate::stream::{self, Feed, SYMBOLS};

/// No work in the background but what a test asks for; batches small enough that there are many.
const BY_HAND: [(&str, &str); 3] = [
    ("FDA_UPKEEP__REFRESH_INTERVAL", "1h"),
    ("FDA_UPKEEP__MERGE_INTERVAL", "100ms"),
    ("FDA_BATCH__MAX_MESSAGES", "300"),
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
    let messages = Feed {
        seed: 11,
        trades: 20_000,
        conflicts: true,
    }
    .messages();
    let (early, late) = messages.split_at(messages.len() * 2 / 3);
    let _ingest = pipeline.ingest(&BY_HAND);
    pipeline.publish_messages(early).await;
    pipeline.caught_up().await;
    let oracle = Oracle::of(&pipeline, &stream::write(early, pipeline.folder()), &[]).await;
    assert!(oracle.count("conflict ") > 10 && oracle.count("candle 1y ") == 2 * SYMBOLS.len());
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

/// A trade of the symbol `X` at so many seconds after 2024-03-01T10:00:00Z.
fn trade(seconds: i64, sequence: i64, price: &str, size: &str) -> Tick {
    Tick::new(
        "X",
        1_709_287_200_000_000 + seconds * 1_000_000,
        sequence,
        price,
        size,
    )
}

fn cancel(tick: &Tick) -> Tick {
    Tick {
        cancelled: true,
        ..tick.clone()
    }
}

/// Open, high, low, close, volume, turnover and trades of each candle of `X`, oldest first.
async fn candles(pipeline: &Pipeline, interval: &str) -> Vec<String> {
    let page = pipeline
        .get_json(&format!(
            "/v1/candles/X?interval={interval}&from=2024-01-01&numbers=string"
        ))
        .await;
    let columns = [
        "open", "high", "low", "close", "volume", "turnover", "trades",
    ];
    let text = |candle: &Value| {
        columns
            .map(|column| candle[column].to_string().replace('"', ""))
            .join(" ")
    };
    page["candles"]
        .as_array()
        .unwrap()
        .iter()
        .map(text)
        .collect()
}

const LEVELS: [&str; 7] = ["1m", "1h", "1d", "1w", "1M", "1q", "1y"];

#[tokio::test(flavor = "multi_thread")]
async fn correction_that_removes_a_candles_high_leaves_the_next_highest() {
    // GIVEN a candle whose high is one trade, which is neither its open nor its close, and refreshed views
    let pipeline = Pipeline::new("correction").await;
    let _ingest = pipeline.ingest(&BY_HAND);
    let high = trade(2, 2, "99.5", "3");
    let ticks = [
        trade(1, 1, "10", "1"),
        high.clone(),
        trade(3, 3, "12", "1"),
        trade(4, 4, "11", "1"),
    ];
    pipeline.publish(&ticks).await;
    pipeline.caught_up().await;
    refresh(&pipeline).await;
    for level in LEVELS {
        assert_eq!(
            candles(&pipeline, level).await,
            ["10 99.5 10 11 6 331.5 4"],
            "{level}"
        );
    }
    // WHEN that trade is corrected downwards
    pipeline
        .publish(&[Tick {
            price: "9.95".into(),
            revision: 1,
            ..high.clone()
        }])
        .await;
    pipeline.caught_up().await;
    // THEN the high is the next highest, the correction is the low, at every level, before a refresh and after
    for _ in 0..2 {
        for level in LEVELS {
            assert_eq!(
                candles(&pipeline, level).await,
                ["10 12 9.95 11 6 62.85 4"],
                "{level}"
            );
        }
        refresh(&pipeline).await;
    }
    // AND the first telling, come again, changes nothing
    pipeline.publish(&[high]).await;
    pipeline.caught_up().await;
    assert_eq!(candles(&pipeline, "1d").await, ["10 12 9.95 11 6 62.85 4"]);
    pipeline.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_that_empties_a_candle_takes_it_out_of_every_answer() {
    // GIVEN a minute, an hour and a day with one trade each, beside others, and refreshed views
    let pipeline = Pipeline::new("cancel").await;
    let _ingest = pipeline.ingest(&BY_HAND);
    let (minute, hour) = (trade(60, 2, "20", "2"), trade(3600, 3, "30", "3"));
    let (day, year) = (
        trade(86_400, 4, "40", "4"),
        trade(40 * 7 * 86_400 + 86_400, 5, "50", "5"),
    );
    pipeline
        .publish(&[
            trade(0, 1, "10", "1"),
            minute.clone(),
            hour.clone(),
            day.clone(),
            year.clone(),
        ])
        .await;
    pipeline.caught_up().await;
    refresh(&pipeline).await;
    assert_eq!(candles(&pipeline, "1m").await.len(), 5);
    // WHEN each of them is cancelled
    pipeline
        .publish(&[minute, hour, day, year].map(|tick| cancel(&tick)))
        .await;
    pipeline.caught_up().await;
    // THEN one trade is left at every level, before a refresh and after
    for _ in 0..2 {
        for level in LEVELS {
            assert_eq!(
                candles(&pipeline, level).await,
                ["10 10 10 10 1 10 1"],
                "{level}"
            );
        }
        refresh(&pipeline).await;
    }
    // AND the emptied candle is still known, with a higher revision
    let emptied: Vec<(i64, i64)> = sqlx::query_as(
        "select trades, revision from market_data.candles_1m order by open_time offset 1",
    )
    .fetch_all(pipeline.pool())
    .await
    .unwrap();
    assert_eq!(emptied, [(0, 2); 4]);
    // AND a trade that comes into it later is all that it holds
    pipeline.publish(&[trade(61, 9, "7", "1")]).await;
    pipeline.caught_up().await;
    assert_eq!(
        candles(&pipeline, "1m").await,
        ["10 10 10 10 1 10 1", "7 7 7 7 1 7 1"]
    );
    pipeline.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_before_its_tick_voids_it_and_a_correction_after_both_revives_it() {
    // GIVEN a cancel whose trade has not come
    let pipeline = Pipeline::new("cancel_first").await;
    let _ingest = pipeline.ingest(&BY_HAND);
    let void = trade(5, 1, "10", "1");
    pipeline.publish(&[cancel(&void)]).await;
    pipeline.caught_up().await;
    assert_eq!(candles(&pipeline, "1m").await, [""; 0]);
    // WHEN the trade comes, and another in its minute
    pipeline
        .publish(&[void.clone(), trade(6, 2, "11", "1")])
        .await;
    pipeline.caught_up().await;
    // THEN only the other one counts
    for level in LEVELS {
        assert_eq!(
            candles(&pipeline, level).await,
            ["11 11 11 11 1 11 1"],
            "{level}"
        );
    }
    let ticks: i64 = sqlx::query_scalar("select count(*) from market_data.ticks")
        .fetch_one(pipeline.pool())
        .await
        .unwrap();
    assert_eq!(ticks, 1);
    // AND WHEN a correction of a higher revision comes THEN it counts, cancelled or not before
    pipeline
        .publish(&[Tick {
            price: "9".into(),
            revision: 1,
            ..void
        }])
        .await;
    pipeline.caught_up().await;
    for level in LEVELS {
        assert_eq!(
            candles(&pipeline, level).await,
            ["9 11 9 11 2 20 2"],
            "{level}"
        );
    }
    pipeline.verify().await;
}
