//! The vectors of the alignment rule, through the route.

use serde_json::Value;

use crate::fixture::{Fixture, Trade, at};

/// A trade each half hour, so that every bucket of an hour or more has one.
fn half_hours(from: &str, to: &str) -> Vec<Trade> {
    let times = (at(from)..at(to)).step_by(1_800_000_000);
    times.map(|time| Trade::new(time, 1)).collect()
}

#[tokio::test]
async fn each_vector_of_the_contract_holds_with_and_without_fill() {
    // GIVEN ticks each half hour around the switches of several zones
    let fixture = Fixture::new().await;
    let mut trades = half_hours("2013-11-01T00:00:00Z", "2013-11-07T00:00:00Z");
    trades.extend(half_hours("2024-03-08T00:00:00Z", "2024-03-13T00:00:00Z"));
    trades.extend(half_hours("2024-04-06T00:00:00Z", "2024-04-08T00:00:00Z"));
    trades.extend(half_hours("2024-11-02T00:00:00Z", "2024-11-06T00:00:00Z"));
    fixture.add_trades("NY", "America/New_York", &trades).await;
    fixture.add_trades("UTC", "UTC", &trades).await;

    for (interval, tz, from, to, starts) in [
        (
            "1d",
            "America/New_York",
            "2013-11-02T04:00:00Z",
            "2013-11-06T00:00:00Z",
            "11-02T04 11-03T04 11-04T05 11-05T05",
        ),
        (
            "1d",
            "America/New_York",
            "2024-03-09T05:00:00Z",
            "2024-03-12T00:00:00Z",
            "03-09T05 03-10T05 03-11T04",
        ),
        (
            "1h",
            "America/New_York",
            "2024-03-10T05:00:00Z",
            "2024-03-10T09:00:00Z",
            "03-10T05 03-10T06 03-10T07 03-10T08",
        ),
        (
            "2h",
            "America/New_York",
            "2024-03-10T05:00:00Z",
            "2024-03-10T13:00:00Z",
            "03-10T05 03-10T08 03-10T10 03-10T12",
        ),
        (
            "4h",
            "America/New_York",
            "2024-03-10T05:00:00Z",
            "2024-03-11T05:00:00Z",
            "03-10T05 03-10T08 03-10T12 03-10T16 03-10T20 03-11T00 03-11T04",
        ),
        (
            "1h",
            "America/New_York",
            "2024-11-03T04:00:00Z",
            "2024-11-03T08:00:00Z",
            "11-03T04 11-03T05 11-03T06 11-03T07",
        ),
        (
            "4h",
            "America/New_York",
            "2024-11-03T04:00:00Z",
            "2024-11-04T06:00:00Z",
            "11-03T04 11-03T09 11-03T13 11-03T17 11-03T21 11-04T01 11-04T05",
        ),
        (
            "1h",
            "Australia/Sydney",
            "2024-04-06T13:00:00Z",
            "2024-04-06T18:00:00Z",
            "04-06T13 04-06T14 04-06T15 04-06T16 04-06T17",
        ),
    ] {
        for symbol in ["NY", "UTC"] {
            for fill in ["none", "null", "previous"] {
                // WHEN the candles are asked for, in the symbol's own zone and in another
                let target = format!(
                    "/v1/candles/{symbol}?interval={interval}&tz={tz}&from={from}&to={to}&fill={fill}"
                );
                let found = fixture.column(&target, "open_time").await;
                // THEN they start where the contract says
                let year = &from[..5];
                let expected: Vec<Value> = starts
                    .split(' ')
                    .map(|start| format!("{year}{start}:00:00Z").into())
                    .collect();
                assert_eq!(found, expected, "{target}");
            }
        }
    }
    let day = "/v1/candles/NY?interval=1h&from=2024-03-10&to=2024-03-11";
    assert_eq!(fixture.column(day, "open_time").await.len(), 23);
    let day = "/v1/candles/NY?interval=1h&from=2024-11-03&to=2024-11-04";
    assert_eq!(fixture.column(day, "open_time").await.len(), 25);
}

#[tokio::test]
async fn hours_in_kolkata_start_at_half_past_and_odd_minutes_restart_at_midnight() {
    let fixture = Fixture::new().await;
    fixture
        .add_trades(
            "A",
            "UTC",
            &half_hours("2024-01-01T00:00:00Z", "2024-01-04T00:00:00Z"),
        )
        .await;
    let range = "from=2024-01-01T18:30:00Z&to=2024-01-02T03:00:00Z&tz=Asia/Kolkata";
    let hours = fixture
        .column(&format!("/v1/candles/A?interval=1h&{range}"), "open_time")
        .await;
    assert_eq!(hours[..2], ["2024-01-01T18:30:00Z", "2024-01-01T19:30:00Z"]);
    let hours = fixture
        .column(&format!("/v1/candles/A?interval=4h&{range}"), "open_time")
        .await;
    assert_eq!(
        hours,
        [
            "2024-01-01T18:30:00Z",
            "2024-01-01T22:30:00Z",
            "2024-01-02T02:30:00Z"
        ]
    );
    let sevens =
        "/v1/candles/A?interval=7m&fill=null&from=2024-01-01T23:48:00Z&to=2024-01-02T00:08:00Z";
    assert_eq!(
        fixture.column(sevens, "open_time").await,
        [
            "2024-01-01T23:48:00Z",
            "2024-01-01T23:55:00Z",
            "2024-01-02T00:00:00Z",
            "2024-01-02T00:07:00Z"
        ]
    );
}

#[tokio::test]
async fn ticks_of_one_instant_open_and_close_by_sequence() {
    let fixture = Fixture::new().await;
    let time = at("2024-01-02T10:00:00Z");
    let trades = [
        Trade {
            time,
            sequence: 2,
            price: 1100,
            size: 100,
        },
        Trade {
            time,
            sequence: 1,
            price: 1000,
            size: 100,
        },
    ];
    fixture.add_trades("A", "UTC", &trades).await;
    for interval in ["1s", "1m", "1h", "1d", "1w", "1M", "1q", "1y"] {
        let answer = fixture
            .get(&format!("/v1/candles/A?interval={interval}"))
            .await;
        assert!(answer.text.contains(r#""open":10,"high":11,"low":10,"close":11,"volume":2,"turnover":21,"vwap":10.5,"trades":2"#), "{}", answer.text);
    }
}

#[tokio::test]
async fn months_and_weeks_of_berlin_and_amsterdam_follow_their_own_calendar() {
    // GIVEN a symbol of each zone, and one of another, with ticks each half hour
    let fixture = Fixture::new().await;
    let mut trades = half_hours("2025-01-25T00:00:00Z", "2025-02-04T00:00:00Z");
    trades.extend(half_hours("2025-08-30T00:00:00Z", "2025-11-01T12:00:00Z"));
    for (symbol, tz) in [
        ("BERLIN", "Europe/Berlin"),
        ("AMSTERDAM", "Europe/Amsterdam"),
        ("ZULU", "UTC"),
    ] {
        fixture.add_trades(symbol, tz, &trades).await;
    }
    // THEN months and weeks begin at local midnight, whatever level they are read from
    for symbol in ["BERLIN", "ZULU"] {
        let target = format!(
            "/v1/candles/{symbol}?interval=1M&tz=Europe/Berlin&from=2025-08-31T00:00:00Z&to=2025-11-01T00:00:00Z"
        );
        assert_eq!(
            fixture.column(&target, "open_time").await,
            [
                "2025-08-31T22:00:00Z",
                "2025-09-30T22:00:00Z",
                "2025-10-31T23:00:00Z"
            ],
            "{target}"
        );
    }
    for symbol in ["AMSTERDAM", "ZULU"] {
        let target = format!(
            "/v1/candles/{symbol}?interval=1w&tz=Europe/Amsterdam&from=2025-01-26T23:00:00Z&limit=2"
        );
        assert_eq!(
            fixture.column(&target, "open_time").await,
            ["2025-01-26T23:00:00Z", "2025-02-02T23:00:00Z"],
            "{target}"
        );
    }
}

#[tokio::test]
async fn weeks_in_utc_begin_on_monday_also_before_1970() {
    // GIVEN a tick on the first day of 1970, and others through a year
    let fixture = Fixture::new().await;
    let mut trades = half_hours("1970-01-01T10:00:00Z", "1970-01-01T11:00:00Z");
    trades.extend(half_hours("2024-01-01T00:00:00Z", "2024-03-01T00:00:00Z"));
    fixture.add_trades("A", "UTC", &trades).await;
    // WHEN its weeks are asked for
    let weeks = fixture
        .column("/v1/candles/A?interval=1w&from=1969-01-01", "open_time")
        .await;
    // THEN
    assert_eq!(weeks[..2], ["1969-12-29T00:00:00Z", "2024-01-01T00:00:00Z"]);
    let monday = |week: &Value| {
        at(week.as_str().unwrap()).rem_euclid(7 * 86_400_000_000) == 4 * 86_400_000_000
    };
    assert!(weeks.len() == 10 && weeks.iter().all(monday), "{weeks:?}");
}

#[tokio::test]
async fn anchors_move_the_grid_and_nothing_else() {
    // GIVEN ticks each half hour from a Wednesday on, in Kolkata
    let fixture = Fixture::new().await;
    let trades = half_hours("2024-02-14T04:00:00Z", "2024-04-02T00:00:00Z");
    fixture.add_trades("A", "Asia/Kolkata", &trades).await;
    for (query, starts) in [
        // Groups of days count from the first day, groups of weeks end with the first week.
        (
            "interval=5d&anchor=first",
            ["2024-02-13T18:30:00Z", "2024-02-18T18:30:00Z"],
        ),
        (
            "interval=3w&anchor=first",
            ["2024-01-28T18:30:00Z", "2024-02-18T18:30:00Z"],
        ),
        (
            "interval=2M&anchor=first",
            ["2024-01-31T18:30:00Z", "2024-03-31T18:30:00Z"],
        ),
        (
            "interval=2M&anchor=calendar",
            ["2023-12-31T18:30:00Z", "2024-02-29T18:30:00Z"],
        ),
        (
            "interval=2M",
            ["2023-12-31T18:30:00Z", "2024-02-29T18:30:00Z"],
        ),
        // Even lengths of UTC time, whatever the zone.
        (
            "interval=1d&anchor=epoch",
            ["2024-02-14T00:00:00Z", "2024-02-15T00:00:00Z"],
        ),
        (
            "interval=2w&anchor=epoch",
            ["2024-02-05T00:00:00Z", "2024-02-19T00:00:00Z"],
        ),
        (
            "interval=7h&anchor=epoch",
            ["2024-02-14T03:00:00Z", "2024-02-14T10:00:00Z"],
        ),
        (
            "interval=7h",
            ["2024-02-14T01:30:00Z", "2024-02-14T08:30:00Z"],
        ),
        (
            "interval=7h&anchor=first",
            ["2024-02-14T01:30:00Z", "2024-02-14T08:30:00Z"],
        ),
    ] {
        let target = format!("/v1/candles/A?{query}&from=2023-01-01&partial=include&limit=2");
        assert_eq!(
            fixture.column(&target, "open_time").await,
            starts,
            "{target}"
        );
    }
    let refused = fixture.get("/v1/candles/A?interval=1q&anchor=epoch").await;
    assert_eq!(refused.status, 400, "{}", refused.text);
}

#[tokio::test]
async fn an_earlier_tick_between_two_pages_does_not_move_the_grid_of_the_first() {
    // GIVEN the first page of groups that count from the first period
    let fixture = Fixture::new().await;
    let trades = half_hours("2024-02-14T00:00:00Z", "2024-02-28T00:00:00Z");
    let id = fixture.add_trades("A", "UTC", &trades).await;
    let query = "/v1/candles/A?interval=3d&anchor=first&from=2024-01-01&limit=1";
    let page = fixture.json(query).await;
    // WHEN a day appears before it, which begins another grid
    let insert = "insert into candles_1d select $1, '2024-02-13', open, high, low, close, volume, turnover, trades, \
        open_event_time - interval '1 day', open_sequence, close_event_time - interval '1 day', close_sequence, revision, \
        updated_at, '2024-02-13' from candles_1d where symbol_id = $1 and local_date = '2024-02-14'";
    sqlx::query(insert)
        .bind(id)
        .execute(&fixture.pool)
        .await
        .unwrap();
    // THEN the second page goes on with the grid of the first
    let next = format!("{query}&cursor={}", page["next_cursor"].as_str().unwrap());
    assert_eq!(
        fixture.column(&next, "open_time").await,
        ["2024-02-17T00:00:00Z"]
    );
    assert_eq!(
        fixture.column(query, "open_time").await,
        ["2024-02-13T00:00:00Z"]
    );
}
