//! A daily candle is a day in its symbol's zone, of 23, 24 or 25 hours and wherever midnight falls.

use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use testbed::Tick;

use crate::oracle::Oracle;
use crate::pipeline::Pipeline;
use crate::stream;

const ZONES: [(&str, &str); 4] = [
    // Half an hour off, never a switch.
    ("DELHI", "Asia/Kolkata"),
    // Switches at 02:00.
    ("WALL", "America/New_York"),
    // Midnight is skipped in spring and comes twice in autumn.
    ("NILE", "Africa/Cairo"),
    // East of Greenwich on the southern half: the other way round.
    ("REEF", "Australia/Sydney"),
];

/// Around what there are ticks: both switches of 2024 in each zone, a year's end, and a leap day.
const AROUND: [&str; 9] = [
    "2024-03-10T07:00:00Z", // New York, spring
    "2024-11-03T06:00:00Z", // New York, autumn
    "2024-04-25T22:00:00Z", // Cairo, spring
    "2024-10-31T21:00:00Z", // Cairo, autumn
    "2024-04-06T16:00:00Z", // Sydney, autumn
    "2024-10-05T16:00:00Z", // Sydney, spring
    "2023-12-31T20:00:00Z",
    "2024-02-29T12:00:00Z",
    "2024-07-01T00:00:00Z",
];

const HOUR: i64 = 3_600_000_000;

/// Ticks of all symbols within three days of each point, many of them right at a quarter of an hour or just before it.
fn ticks() -> Vec<Tick> {
    let mut random = StdRng::seed_from_u64(5);
    let mut ticks = Vec::new();
    for (symbol, _) in ZONES {
        for around in AROUND {
            let around: DateTime<Utc> = around.parse().unwrap();
            for _ in 0..120 {
                let time = around.timestamp_micros() + random.random_range(-72 * HOUR..72 * HOUR);
                let quarter = time - time.rem_euclid(HOUR / 4);
                let time = [time, quarter, quarter - 1][random.random_range(0..3)];
                let price = format!(
                    "{}.{:02}",
                    random.random_range(1..500),
                    random.random_range(0..100)
                );
                let sequence = i64::try_from(ticks.len()).unwrap();
                ticks.push(Tick::new(
                    symbol,
                    time,
                    sequence,
                    price,
                    random.random_range(0..9).to_string(),
                ));
            }
        }
    }
    // In no order of time.
    for index in (1..ticks.len()).rev() {
        ticks.swap(index, random.random_range(0..=index));
    }
    ticks
}

#[tokio::test(flavor = "multi_thread")]
async fn days_weeks_and_years_of_a_zone_equal_the_oracle_over_every_switch() {
    // GIVEN symbols that have a zone before their first tick
    let pipeline = Pipeline::new("zones").await;
    pipeline.insert_symbols(&ZONES).await;
    let mut ticks = ticks();
    // WHEN ticks around every switch come in a wild order, and some are corrected or cancelled later, so that days are
    // folded as well as recomputed
    let _ingest = pipeline.ingest(&[
        ("FDA_BATCH__MAX_MESSAGES", "400"),
        ("FDA_UPKEEP__REFRESH_INTERVAL", "1h"),
    ]);
    pipeline.publish(&ticks).await;
    pipeline.caught_up().await;
    let changes: Vec<Tick> = ticks
        .iter()
        .step_by(7)
        .enumerate()
        .map(|(number, tick)| Tick {
            price: format!("{}.5", 600 + number),
            revision: 1,
            cancelled: number % 3 == 0,
            ..tick.clone()
        })
        .collect();
    pipeline.publish(&changes).await;
    pipeline.caught_up().await;
    ticks.extend(changes);
    // THEN every level equals the oracle, which takes the zones from Python
    let messages: Vec<String> = ticks
        .iter()
        .map(|tick| String::from_utf8(tick.to_json().unwrap()).unwrap())
        .collect();
    let file = stream::write_lines(&messages, pipeline.folder());
    let zones = ZONES.map(|(symbol, zone)| format!("{symbol}={zone}"));
    let oracle = Oracle::of(&pipeline, &file, &zones.each_ref().map(String::as_str)).await;
    oracle.check(&pipeline).await;
    pipeline.verify().await;
}
