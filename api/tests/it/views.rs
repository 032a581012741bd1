//! Weeks to years are exact whether or not a refresh has run, and are read from the views where they
//! are current.

use serde_json::json;

use crate::fixture::{Fixture, Trade, at};

const WEEKS: &str = "/v1/candles/A?interval=1w";

async fn fixture() -> Fixture {
    let fixture = Fixture::new().await;
    let trade = |n: i64| Trade {
        time: at("2024-01-01T12:00:00Z") + n * 86_400_000_000,
        sequence: n,
        price: 100 + n,
        size: 100,
    };
    fixture
        .add_trades("A", "Asia/Kolkata", &(0..28).map(trade).collect::<Vec<_>>())
        .await;
    fixture
}

#[tokio::test]
async fn answers_are_the_same_before_and_after_a_refresh() {
    // GIVEN four weeks of days and no refresh yet
    let fixture = fixture().await;
    let intervals = ["1w", "2w", "1M", "3M", "1q", "1y"];
    let mut before = Vec::new();
    for interval in intervals {
        before.push(
            fixture
                .json(&format!("/v1/candles/A?interval={interval}&numbers=string"))
                .await,
        );
    }
    assert_eq!(before[0]["candles"].as_array().unwrap().len(), 4);
    // WHEN the views are refreshed
    for refresh in ["candles_1w", "candles_1mo", "candles_1q", "candles_1y"] {
        let done: bool = sqlx::query_scalar("select refresh_candle_view($1)")
            .bind(refresh)
            .fetch_one(&fixture.pool)
            .await
            .unwrap();
        assert!(done);
    }
    // THEN nothing changes
    for (interval, before) in intervals.into_iter().zip(before) {
        assert_eq!(
            fixture
                .json(&format!("/v1/candles/A?interval={interval}&numbers=string"))
                .await,
            before
        );
    }
}

#[tokio::test]
async fn a_marked_week_comes_from_its_days_and_an_unmarked_one_from_the_view() {
    // GIVEN refreshed weeks, and a change behind the view's back
    let fixture = fixture().await;
    fixture
        .execute("select refresh_candle_view('candles_1w')")
        .await;
    fixture.execute("update candles_1d set high = 999, revision = revision + 1 where local_date = '2024-01-10'").await;
    // THEN without a mark the view is read
    assert_eq!(
        json!(fixture.column(WEEKS, "high").await),
        json!([1.06, 1.13, 1.2, 1.27])
    );
    // WHEN the week is marked, THEN its days are read, in every order and page
    fixture.execute("insert into view_marks (view, symbol_id, period) select 'candles_1w', id, '2024-01-08' from symbols").await;
    assert_eq!(
        json!(fixture.column(WEEKS, "high").await),
        json!([1.06, 999, 1.2, 1.27])
    );
    assert_eq!(
        json!(
            fixture
                .column(&format!("{WEEKS}&order=desc&limit=3"), "high")
                .await
        ),
        json!([1.27, 1.2, 999])
    );
    assert_eq!(
        json!(
            fixture
                .column(&format!("{WEEKS}&from=2024-01-08&limit=1"), "revision")
                .await
        ),
        json!([8])
    );
    assert_eq!(
        json!(fixture.column("/v1/candles/A?interval=2w", "high").await),
        json!([1.06, 999, 1.27])
    );
    // WHEN the view is refreshed, THEN the mark is gone and the answer stays
    fixture
        .execute("select refresh_candle_view('candles_1w')")
        .await;
    let marks: i64 = sqlx::query_scalar("select count(*) from view_marks")
        .fetch_one(&fixture.pool)
        .await
        .unwrap();
    assert_eq!(marks, 0);
    assert_eq!(
        json!(fixture.column(WEEKS, "high").await),
        json!([1.06, 999, 1.2, 1.27])
    );
}

#[tokio::test]
async fn weeks_that_ended_after_the_refresh_come_from_their_days() {
    // GIVEN a refresh that lies in the third week
    let fixture = fixture().await;
    fixture
        .execute("select refresh_candle_view('candles_1w')")
        .await;
    fixture
        .execute("update view_refreshes set refreshed_at = '2024-01-22T20:00:00Z'")
        .await;
    // WHEN days change
    fixture.execute("update candles_1d set high = 999").await;
    // THEN only weeks that had ended in every zone a day before are the view's
    assert_eq!(
        json!(fixture.column(WEEKS, "high").await),
        json!([1.06, 1.13, 999, 999])
    );
}

#[tokio::test]
async fn a_week_emptied_by_cancels_is_left_out() {
    let fixture = fixture().await;
    fixture.execute("update candles_1d set trades = 0, open = null, high = null, low = null, close = null, volume = 0, turnover = 0 where local_date between '2024-01-08' and '2024-01-14'").await;
    for _ in 0..2 {
        assert_eq!(
            json!(fixture.column(WEEKS, "high").await),
            json!([1.06, 1.2, 1.27])
        );
        fixture
            .execute("select refresh_candle_view('candles_1w')")
            .await;
    }
}
