//! The catalogue.

use serde_json::json;

use crate::fixture::{Fixture, Trade, at};

#[tokio::test]
async fn the_catalogue_is_searched_and_paged() {
    let fixture = Fixture::new().await;
    for name in ["SIM.A", "SIM.B", "OTHER", "a\"b", "sim.c"] {
        fixture.add_symbol(name, "UTC").await;
    }
    let trade = |time| Trade::new(at(time), 1);
    let trades = [
        trade("2024-01-01T00:00:00.5Z"),
        trade("2024-01-03T00:00:00Z"),
    ];
    fixture
        .add_trades("BTC/USD", "America/New_York", &trades)
        .await;

    let entry = json!({
        "symbol": "BTC/USD", "timezone": "America/New_York", "price_scale": 2, "size_scale": 2,
        "first_tick": "2024-01-01T00:00:00.5Z", "last_tick": "2024-01-03T00:00:00Z",
    });
    assert_eq!(fixture.json("/v1/symbols/BTC%2FUSD").await, entry);
    assert_eq!(
        fixture.json("/v1/symbols?q=btc").await,
        json!({"symbols": [entry], "next_cursor": null})
    );

    let mut names = Vec::new();
    let mut target = "/v1/symbols?q=sim&limit=1".to_owned();
    loop {
        let page = fixture.json(&target).await;
        names.extend(
            page["symbols"]
                .as_array()
                .unwrap()
                .iter()
                .map(|entry| entry["symbol"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        target = format!("/v1/symbols?q=sim&limit=1&cursor={cursor}");
    }
    assert_eq!(names, ["SIM.A", "SIM.B", "sim.c"]);
    assert_eq!(
        fixture.json("/v1/symbols?q=%25").await["symbols"],
        json!([])
    );

    // The link is that of the cursor, which is no one else's.
    let first = fixture.get("/v1/symbols?q=sim&limit=1").await;
    let cursor = first.json()["next_cursor"].as_str().unwrap().to_owned();
    assert_eq!(
        first.headers["link"],
        format!("</v1/symbols?q=sim&limit=1&cursor={cursor}>; rel=\"next\"")
    );
    let last = fixture.get("/v1/symbols?q=btc&limit=1").await;
    assert!(!last.headers.contains_key("link"));
    let other = fixture
        .get(&format!("/v1/symbols?q=btc&limit=1&cursor={cursor}"))
        .await;
    assert_eq!(other.status, 400, "{}", other.text);
    assert_eq!(other.json()["errors"][0]["parameter"], "cursor");
}
