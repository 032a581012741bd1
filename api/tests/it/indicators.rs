//! Indicators equal TA-Lib's on the same candles, and depend on no page.

use std::collections::{BTreeSet, HashMap};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::{process, workspace};

use crate::fixture::{Fixture, Trade, at};
use crate::paging::pages;

/// All of the catalogue, with all parameters; no more than may be asked for at once in each.
const LISTS: [&str; 2] = [
    "sma:20,sma:1,ema:50,wma:20,dema:20,tema:20,macd:12:26:9,bbands:20:2.0,stddev:5,linreg:14,rsi:14,stoch:14:3:3,\
     stochrsi:14:5:3,willr:14,cci:20,mfi:14,roc:10,mom:10",
    "atr:14,natr:14,adx:14,psar:0.02:0.2,psar:0.05:0.1,obv,ad,vwap,vwap:20,donchian:20,keltner:20:10:2.0,\
     keltner:5:30:1.5,supertrend:10:3.0,supertrend:7:1.0,ichimoku:9:26:52,rsi:2,adx:2,macd:2:3:1",
];

/// The first `count` daily bars of a symbol, prices in hundredths: open, high, low, close, volume.
fn bars(symbol: &str, count: usize) -> Vec<[i64; 5]> {
    let text =
        std::fs::read_to_string(workspace::root().join("testbed/data/stocks_daily.csv")).unwrap();
    let rows = text
        .lines()
        .filter_map(|line| line.strip_prefix(symbol)?.strip_prefix(','));
    rows.take(count)
        .map(|row| {
            let numbers: Vec<f64> = row
                .split(',')
                .skip(1)
                .map(|text| text.parse().unwrap())
                .collect();
            let hundredths = |price: f64| format!("{:.0}", price * 100.0).parse().unwrap();
            let [open, high, low, close] = [0, 1, 2, 3].map(|column| hundredths(numbers[column]));
            [open, high, low, close, hundredths(numbers[4] / 100.0)]
        })
        .collect()
}

/// Four trades a bar, `gap` apart; the bars begin at the times given.
fn trades(bars: &[[i64; 5]], gap: i64, time: impl Fn(i64) -> i64) -> Vec<Trade> {
    let mut trades = Vec::new();
    for ([open, high, low, close, volume], number) in bars.iter().zip(0..) {
        for (price, part) in [open, high, low, close].into_iter().zip(0..) {
            trades.push(Trade {
                time: time(number) + part * gap,
                sequence: part,
                price: *price,
                // Trades of no size: a vwap needs some volume.
                size: if number < 5 || number % 97 == 0 {
                    0
                } else {
                    volume * (part + 1) / 10
                },
            });
        }
    }
    trades
}

const SECOND: i64 = 1_000_000;
/// Numbers the pages that are given to the oracle.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// DAYS: bars as days of New York, of six hours each. MINUTES: bars as minutes, over a switch of clocks.
async fn fixture() -> Fixture {
    let fixture = Fixture::new().await;
    let days = trades(&bars("AMZN", 600), 7_200 * SECOND, |day| {
        at("2015-01-01T14:30:00Z") + (day + day / 5 * 2) * 86_400 * SECOND
    });
    fixture.add_trades("DAYS", "America/New_York", &days).await;
    let minutes = trades(&bars("NVDA", 1_300), 15 * SECOND, |minute| {
        at("2024-03-09T00:00:00Z") + (minute + minute / 300 * 377) * 60 * SECOND
    });
    fixture.add_trades("MINUTES", "UTC", &minutes).await;
    fixture
}

async fn rows(fixture: &Fixture, target: &str) -> Vec<Value> {
    fixture.json(target).await["candles"]
        .as_array()
        .unwrap()
        .clone()
}

/// What the oracle says of a page: the indicators of each candle, by its open time.
async fn oracle(page: &str, keys: &str) -> HashMap<String, Value> {
    let candles: Value = serde_json::from_str(page).unwrap();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let file = std::env::temp_dir().join(format!("page-{}-{number}.json", std::process::id()));
    std::fs::write(&file, page).unwrap();
    let python = workspace::work().join("venv/bin/python");
    assert!(
        python.is_file(),
        "{} is missing: `testbed/test.sh oracle` makes it",
        python.display()
    );
    let mut command = Command::new(python);
    command
        .arg(workspace::root().join("testbed/oracle/indicators.py"))
        .arg(&file)
        .args(keys.split(','));
    let text = process::run("indicators.py", command).await.unwrap();
    std::fs::remove_file(&file).unwrap();
    let values: Vec<Value> = serde_json::from_str(&text).unwrap();
    let rows = candles["candles"].as_array().unwrap();
    assert_eq!(values.len(), rows.len());
    rows.iter()
        .map(|row| row["open_time"].as_str().unwrap().to_owned())
        .zip(values)
        .collect()
}

/// Each number of an `indicators` object, by its column's name.
fn numbers(indicators: &Value) -> Vec<(String, Option<f64>)> {
    let mut numbers = Vec::new();
    for (key, value) in indicators.as_object().unwrap() {
        match value {
            Value::Object(outputs) => {
                numbers.extend(
                    outputs
                        .iter()
                        .map(|(name, value)| (format!("{key}.{name}"), value.as_f64())),
                );
            }
            value => numbers.push((key.clone(), value.as_f64())),
        }
    }
    numbers
}

/// Holds rows against the oracle, to 1e-9 of a number, or to 1e-12 of the column's greatest one near
/// zero; returns how many numbers were equal.
fn compare(what: &str, rows: &[Value], expected: &HashMap<String, Value>) -> usize {
    let mut greatest: HashMap<String, f64> = HashMap::new();
    for (name, number) in expected.values().flat_map(numbers) {
        let greatest = greatest.entry(name).or_default();
        *greatest = greatest.max(number.unwrap_or(0.0).abs());
    }
    let mut equal = 0;
    for row in rows {
        let time = row["open_time"].as_str().unwrap();
        let found = numbers(&row["indicators"]);
        let expected: HashMap<String, Option<f64>> = numbers(&expected[time]).into_iter().collect();
        for (name, found) in found {
            let expected = expected[&name];
            let same = match (found, expected) {
                (Some(found), Some(expected)) => {
                    equal += 1;
                    (found - expected).abs() <= 1e-9 * expected.abs().max(1e-3 * greatest[&name])
                }
                (found, expected) => found.is_none() && expected.is_none(),
            };
            assert!(same, "{what} {time} {name}: {found:?}, not {expected:?}");
        }
    }
    equal
}

#[tokio::test]
async fn every_indicator_equals_ta_libs_at_every_candle_of_every_page() {
    // GIVEN real bars as days and as minutes
    let fixture = fixture().await;
    let mut equal = 0;
    for (symbol, interval, tz, middle) in [
        ("DAYS", "1d", "America/New_York", "2016-03-04"),
        ("DAYS", "1w", "Europe/Berlin", "2016-03-04"),
        ("DAYS", "4h", "America/New_York", "2016-11-06"),
        ("MINUTES", "1m", "America/New_York", "2024-03-10"),
        ("MINUTES", "7m", "UTC", "2024-03-10"),
        ("MINUTES", "30s", "Asia/Kolkata", "2024-03-10"),
    ] {
        let target = format!("/v1/candles/{symbol}?interval={interval}&tz={tz}");
        let page = format!("{target}&numbers=string&limit=10000&from=2000-01-01");
        let expected = oracle(&fixture.get(&page).await.text, &LISTS.join(",")).await;
        for keys in LISTS {
            // WHEN many are asked for at once
            let asked = format!("{target}&indicators={keys}");
            let whole = rows(&fixture, &format!("{asked}&limit=10000")).await;
            // THEN each value is the oracle's, null where it has none
            assert_eq!(whole.len(), expected.len());
            equal += compare(&asked, &whole, &expected);
            // AND each page has the same rows, in either direction and wherever it begins
            for (range, limit) in [
                (format!("&from={middle}"), 401),
                ("&order=desc".into(), 809),
            ] {
                let mut read = pages(&fixture, &format!("{asked}{range}&limit={limit}"))
                    .await
                    .concat();
                if range.contains("desc") {
                    read.reverse();
                }
                assert!(read.len() > 50, "{asked}{range}");
                assert_eq!(read, whole[whole.len() - read.len()..], "{asked}{range}");
            }
        }
    }
    assert!(equal > 250_000, "only {equal} numbers were compared");
}

/// Short ones: each begins within the first page.
const SHORT: &str = "sma:3,ema:4,wma:2,dema:2,rsi:2,macd:2:4:2,bbands:3:1,stoch:3:2:2,stochrsi:3:2:2,adx:2,mfi:2,obv,ad,vwap,vwap:3,\
                     psar,ichimoku:2:3:4,supertrend:2:1,keltner:2:3";

#[tokio::test]
async fn a_value_depends_on_no_page_and_no_fill() {
    // GIVEN ticks with gaps, several to a bucket
    let fixture = Fixture::new().await;
    let trades: Vec<Trade> = (0..200_i64)
        .map(|n| Trade {
            time: at("2024-01-01T00:00:00Z") + n * n * 37 * SECOND,
            sequence: n,
            price: 1_000 + n * n * 7_919 % 613,
            size: n * 31 % 17,
        })
        .collect();
    fixture.add_trades("A", "Europe/Berlin", &trades).await;
    for (interval, limit) in [
        ("20s", 7),
        ("1m", 13),
        ("3h", 4),
        ("1d", 5),
        ("2d", 1),
        ("1w", 1),
        ("5h&anchor=epoch", 4),
        ("3d&anchor=first", 1),
    ] {
        let target = format!("/v1/candles/A?interval={interval}&indicators={SHORT}");
        let whole = rows(&fixture, &format!("{target}&limit=10000")).await;
        let known: HashMap<&str, &Value> = whole
            .iter()
            .map(|row| (row["open_time"].as_str().unwrap(), &row["indicators"]))
            .collect();
        for range in [
            "",
            "&from=2024-01-03",
            "&to=2024-01-10",
            "&from=2024-01-02T10:00:01Z&to=2024-01-11T00:00:59Z",
        ] {
            for (order, fill) in [
                ("asc", "none"),
                ("desc", "none"),
                ("asc", "previous"),
                ("desc", "null"),
            ] {
                // Ticks are too fine to fill; many pages of filled minutes prove no more than some.
                let limit = match (interval, fill) {
                    ("20s", "previous" | "null") => continue,
                    ("1m", "previous" | "null") => 4_999,
                    _ => limit,
                };
                // WHEN it is read in pages
                let pages = pages(
                    &fixture,
                    &format!("{target}&order={order}&fill={fill}{range}&limit={limit}"),
                )
                .await;
                // THEN a candle has the values it has in the whole, a filled row has none
                for row in pages.concat() {
                    let found = &row["indicators"];
                    match known.get(row["open_time"].as_str().unwrap()) {
                        Some(values) => {
                            assert_eq!(found, *values, "{interval} {order} {fill} {range}");
                        }
                        None => assert!(
                            row["filled"] == true
                                && numbers(found).iter().all(|(_, number)| number.is_none()),
                            "{row}"
                        ),
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_later_candle_changes_no_earlier_value() {
    // GIVEN a history, and the same with more after it
    let fixture = Fixture::new().await;
    let bars = bars("META", 160);
    let minutes = |count: usize| {
        trades(&bars[..count], 15 * SECOND, |minute| {
            at("2024-01-01T00:00:00Z") + minute * 60 * SECOND
        })
    };
    fixture.add_trades("SHORT", "UTC", &minutes(120)).await;
    fixture.add_trades("LONG", "UTC", &minutes(160)).await;
    for keys in LISTS {
        // WHEN both are asked for
        let column = async |symbol: &str| {
            fixture
                .column(
                    &format!("/v1/candles/{symbol}?interval=1m&indicators={keys}"),
                    "indicators",
                )
                .await
        };
        let (short, long) = (column("SHORT").await, column("LONG").await);
        // THEN they agree as far as the shorter goes
        assert_eq!((short.len(), long.len()), (120, 160));
        assert_eq!(short, long[..120]);
    }
}

#[tokio::test]
async fn an_open_candle_has_values_of_what_is_known() {
    // GIVEN an ended minute and one that goes on
    let fixture = Fixture::new().await;
    let minute = chrono::Utc::now().timestamp_micros() / (60 * SECOND) * 60 * SECOND;
    let trade = |time, price| Trade {
        time,
        sequence: 1,
        price,
        size: 100,
    };
    fixture
        .add_trades(
            "A",
            "UTC",
            &[trade(minute - 60 * SECOND, 100), trade(minute, 300)],
        )
        .await;
    // WHEN it is asked for; the minute may end meanwhile
    let rows = rows(
        &fixture,
        "/v1/candles/A?interval=1m&partial=include&indicators=sma:2,obv",
    )
    .await;
    // THEN
    assert_eq!(rows.len(), 2);
    assert_eq!(
        rows[1]["indicators"],
        serde_json::json!({"sma:2": 2, "obv": 2})
    );
    assert_eq!(
        rows[0]["indicators"],
        serde_json::json!({"sma:2": null, "obv": 1})
    );
}

#[tokio::test]
async fn the_catalogue_tells_what_can_be_asked_for() {
    // GIVEN the catalogue
    let fixture = fixture_of_one_minute().await;
    let answer = fixture.json("/v1/indicators").await;
    let entries = answer["indicators"].as_array().unwrap();
    let names: BTreeSet<&str> = entries
        .iter()
        .map(|entry| entry["name"].as_str().unwrap())
        .collect();
    // THEN each of its names is compared with the oracle
    let compared: BTreeSet<&str> = LISTS
        .iter()
        .flat_map(|list| list.split(','))
        .filter_map(|key| key.split(':').next())
        .collect();
    assert_eq!(names, compared);
    for entry in entries {
        // AND its example can be asked for, and has the outputs it tells
        let example = entry["example"].as_str().unwrap();
        let values = &fixture
            .column(
                &format!("/v1/candles/A?interval=1m&indicators={example}"),
                "indicators",
            )
            .await[0][example];
        let outputs: BTreeSet<&str> = entry["outputs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap())
            .collect();
        let found: BTreeSet<&str> = values
            .as_object()
            .map(|values| values.keys().map(String::as_str).collect())
            .unwrap_or_default();
        assert_eq!(outputs, found, "{example}");
        for parameter in entry["parameters"].as_array().unwrap() {
            let bound = |name: &str| parameter[name].as_f64();
            assert!(
                bound("default").is_none_or(
                    |value| Some(value) >= bound("minimum") && Some(value) <= bound("maximum")
                ),
                "{parameter}"
            );
        }
    }
}

async fn fixture_of_one_minute() -> Fixture {
    let fixture = Fixture::new().await;
    let trade = Trade::new(at("2024-01-01T00:00:00Z"), 1);
    fixture.add_trades("A", "UTC", &[trade]).await;
    fixture
}

#[tokio::test]
async fn faults_of_all_indicators_are_told_and_a_cursor_is_bound_to_them() {
    let fixture = fixture().await;
    // WHEN and THEN
    let answer = fixture
        .get("/v1/candles/DAYS?interval=1d&limit=0&indicators=sma:0,nope,rsi:14,obv:1")
        .await;
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.faults(),
        ["limit", "indicators", "indicators", "indicators"]
    );

    let page = fixture
        .get("/v1/candles/DAYS?interval=1d&limit=2&indicators=sma:5")
        .await;
    let cursor = page.json()["next_cursor"].as_str().unwrap().to_owned();
    let other = fixture
        .get(&format!(
            "/v1/candles/DAYS?interval=1d&limit=2&indicators=sma:6&cursor={cursor}"
        ))
        .await;
    assert_eq!(other.status, 400);
    let plain = fixture.get("/v1/candles/DAYS?interval=1d&limit=2").await;
    assert_ne!(plain.headers["etag"], page.headers["etag"]);
    assert_eq!(plain.json()["candles"][0].get("indicators"), None);
}

#[tokio::test]
async fn dear_indicators_leave_other_requests_their_turn() {
    // GIVEN a symbol of many minutes, and one thread for all requests
    let fixture = Fixture::new().await;
    let trades: Vec<Trade> = (0..9_000)
        .map(|n| Trade {
            time: at("2024-01-01T00:00:00Z") + n * 60_000_000,
            sequence: n,
            price: 100 + n * n % 97,
            size: 100,
        })
        .collect();
    fixture.add_trades("A", "UTC", &trades).await;
    let longest = Arc::new(Mutex::new(Duration::ZERO));
    let watch = tokio::spawn({
        let longest = longest.clone();
        async move {
            loop {
                let slept = Instant::now();
                tokio::time::sleep(Duration::from_millis(1)).await;
                let mut longest = longest.lock().unwrap();
                *longest = longest.max(slept.elapsed());
            }
        }
    });
    // WHEN the dearest indicators are asked for
    let dear: Vec<String> = (981..=1_000).map(|n| format!("cci:{n}")).collect();
    let target = format!(
        "/v1/candles/A?interval=1m&limit=8000&indicators={}",
        dear.join(",")
    );
    let started = Instant::now();
    let answer = fixture.get(&target).await;
    let taken = started.elapsed();
    watch.abort();
    // THEN nobody has waited for the whole of it
    assert_eq!(answer.status, 200, "{}", answer.text);
    let longest = *longest.lock().unwrap();
    assert!(longest * 3 < taken, "{longest:?} of {taken:?}");
}
