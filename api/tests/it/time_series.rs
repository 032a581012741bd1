//! The original service's route, groups included.

use crate::fixture::{Fixture, Trade, at};

/// A bar each weekday of July and August 2019: close = day of the year, volume 1.
async fn fixture() -> Fixture {
    let fixture = Fixture::new().await;
    let days = (0..62_i64).filter(|n| (n + 1) % 7 != 6 && (n + 1) % 7 != 0);
    let trade = |n: i64| Trade {
        time: at("2019-07-01T00:00:00Z") + n * 86_400_000_000,
        sequence: 1,
        price: (182 + n) * 100 + 5,
        size: 100,
    };
    fixture
        .add_trades("A", "UTC", &days.map(trade).collect::<Vec<_>>())
        .await;
    fixture
}

#[tokio::test]
async fn raw_days_are_exact_with_keys_sorted() {
    let fixture = fixture().await;
    let answer = fixture.get("/stocks/time-series/A").await;
    let first = r#"[{"close":182.05,"date":"2019-07-01","high":182.05,"low":182.05,"open":182.05,"symbol":"A","volume":1},"#;
    assert!(answer.text.starts_with(first), "{}", answer.text);
    for query in ["?interval=3", "?frequency=Monthly"] {
        assert_eq!(
            fixture
                .get(&format!("/stocks/time-series/A{query}"))
                .await
                .text,
            answer.text
        );
    }
    assert_eq!(fixture.get("/stocks/time-series/NONE").await.text, "[]");
    assert_eq!(fixture.get("/stocks/time-series/%00").await.text, "[]");
}

#[tokio::test]
async fn groups_count_from_the_first_period() {
    let fixture = fixture().await;
    let groups = async |query: &str| -> Vec<(String, f64, f64)> {
        let body = fixture
            .json(&format!("/stocks/time-series/A?{query}"))
            .await;
        let row = |row: &serde_json::Value| {
            (
                row["period_start"].as_str().unwrap().to_owned(),
                row["open"].as_f64().unwrap(),
                row["close"].as_f64().unwrap(),
            )
        };
        body.as_array().unwrap().iter().map(row).collect()
    };
    let own = |rows: &[(&str, f64, f64)]| {
        rows.iter()
            .map(|(date, a, b)| ((*date).to_owned(), *a, *b))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        groups("interval=1&frequency=Monthly").await,
        own(&[
            ("2019-07-01", 182.05, 212.05),
            ("2019-08-01", 213.05, 242.05)
        ])
    );
    assert_eq!(
        groups("interval=2&frequency=Monthly").await,
        own(&[("2019-07-01", 182.05, 242.05)])
    );
    assert_eq!(
        groups("interval=2&frequency=Annual").await,
        own(&[("2019-01-01", 182.05, 242.05)])
    );
    assert_eq!(
        groups("interval=3&frequency=Quarterly").await,
        own(&[("2019-07-01", 182.05, 242.05)])
    );
    // The first group of N weeks holds the first week alone, labelled by the Monday N - 1 weeks before it.
    assert_eq!(
        groups("interval=4&frequency=Weekly").await,
        own(&[
            ("2019-06-10", 182.05, 186.05),
            ("2019-07-08", 189.05, 214.05),
            ("2019-08-05", 217.05, 242.05)
        ])
    );
    assert_eq!(
        groups("interval=1&frequency=Weekly").await[..2],
        own(&[
            ("2019-07-01", 182.05, 186.05),
            ("2019-07-08", 189.05, 193.05)
        ])
    );
    // A group without a bar, here a Saturday and Sunday, is left out.
    assert_eq!(
        groups("interval=1&frequency=Daily").await[4..6],
        own(&[
            ("2019-07-05", 186.05, 186.05),
            ("2019-07-08", 189.05, 189.05)
        ])
    );
    assert_eq!(
        groups("interval=5&frequency=Daily").await[1],
        own(&[("2019-07-06", 189.05, 191.05)])[0]
    );
}

#[tokio::test]
async fn a_bad_parameter_is_the_json_string_bad_request() {
    let fixture = Fixture::new().await;
    for query in [
        "interval=0&frequency=Daily",
        "interval=1&frequency=daily",
        "x=1",
        "interval=-1",
        "interval=1001",
    ] {
        let answer = fixture.get(&format!("/stocks/time-series/A?{query}")).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text.as_str()),
            (400, "\"Bad Request\""),
            "{query}"
        );
        assert_eq!(answer.headers["content-type"], "application/json");
    }
}
