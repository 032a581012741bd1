//! Whatever stands in a parameter or a path gets a clear answer, and the data stays as it is.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::Value;

use crate::fixture::{Fixture, Trade, at};

/// Requests with values of chance.
const CASES: usize = 400;

/// Values that others have stumbled over.
const NASTY: [&str; 24] = [
    "",
    " ",
    "'",
    "\"",
    "';drop table market_data.symbols;--",
    "1 or 1=1",
    "A' union select * from market_data.dead_letters --",
    "$1",
    "{{7*7}}",
    "../../etc/passwd",
    "%",
    "%00",
    "\0",
    "\u{feff}",
    "𝟙",
    "٣",
    "-1",
    "0",
    "9223372036854775808",
    "1e400",
    "NaN",
    "null",
    "true",
    "A,,,,",
];

fn encode(value: &str) -> String {
    value
        .bytes()
        .fold(String::new(), |text, byte| text + &format!("%{byte:02X}"))
}

/// A route: its path, and its parameters with an example of each, where it has one, and whether it is required.
struct Route {
    path: String,
    parameters: Vec<(String, String, bool)>,
}

async fn routes(fixture: &Fixture) -> Vec<Route> {
    let document = fixture.json("/openapi.json").await;
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list
            .iter()
            .map(|item| item.as_str().unwrap())
            .collect::<Vec<_>>()
            .join(","),
        other => other.to_string(),
    };
    let parameter = |parameter: &Value| {
        (
            parameter["name"].as_str().unwrap().to_owned(),
            text(&parameter["example"]),
            parameter["required"] == true,
        )
    };
    let paths = document["paths"].as_object().unwrap();
    let route = |(path, item): (&String, &Value)| Route {
        path: path.clone(),
        parameters: item["get"]["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .map(parameter)
            .collect(),
    };
    paths.iter().map(route).collect()
}

/// The target with these values, the examples of required parameters that are not among them beside.
fn target(route: &Route, values: &[(&str, &str)]) -> String {
    let mut path = route.path.clone();
    let mut query = String::new();
    for (name, example, required) in &route.parameters {
        let given = values
            .iter()
            .filter(|(given, _)| given == name)
            .map(|(_, value)| *value);
        let own = (*required && !values.iter().any(|(given, _)| given == name))
            .then_some(example.as_str());
        for value in given.chain(own) {
            if name == "symbol" {
                path = path.replace("{symbol}", &encode(value));
            } else {
                query.extend(["&", name, "=", &encode(value)]);
            }
        }
    }
    format!("{path}?{}", query.trim_start_matches('&'))
}

async fn check(fixture: &Fixture, target: &str) {
    let Ok(uri) = target.parse::<axum::http::Uri>() else {
        panic!("{target} is no target");
    };
    let answer = fixture.get(&uri.to_string()).await;
    let status = answer.status.as_u16();
    assert!(
        [200, 400, 404, 406, 414].contains(&status),
        "{status} {target}: {:.300}",
        answer.text
    );
    if status == 200 {
        return;
    }
    let body = answer.json();
    let words = body.to_string().to_lowercase();
    for leak in [
        "sqlstate",
        "syntax error",
        "relation",
        "panicked",
        "src/",
        "utf8error",
    ] {
        assert!(!words.contains(leak), "{target}: {words}");
    }
    if status == 400 && !target.starts_with("/stocks/") {
        assert!(
            body["errors"]
                .as_array()
                .is_some_and(|errors| !errors.is_empty()),
            "{target}: {words}"
        );
    }
}

/// All rows of the tables that a request could reach.
async fn data(fixture: &Fixture) -> Vec<i64> {
    let mut counts = Vec::new();
    for sql in [
        "select count(*) from symbols",
        "select count(*) from tick_blocks",
        "select coalesce(sum(revision), 0)::bigint from candles_1m",
        "select coalesce(sum(revision), 0)::bigint from candles_1d",
    ] {
        counts.push(
            sqlx::query_scalar(sql)
                .fetch_one(&fixture.pool)
                .await
                .unwrap(),
        );
    }
    counts
}

#[tokio::test]
async fn any_value_of_any_parameter_gets_a_clear_answer() {
    // GIVEN a symbol, and the routes with their parameters
    let fixture = Fixture::new().await;
    let trades: Vec<Trade> = (0..50)
        .map(|n| Trade {
            time: at("2019-06-24T00:00:00Z") + n * 3_600_000_000,
            sequence: n,
            price: 100 + n,
            size: 100,
        })
        .collect();
    fixture
        .add_trades("AMZN", "America/New_York", &trades)
        .await;
    let before = data(&fixture).await;
    let routes = routes(&fixture).await;
    assert!(routes.len() >= 8);
    // WHEN each parameter has each of the values that are known for trouble
    let long = "A".repeat(3_000);
    for route in &routes {
        for (name, _, _) in &route.parameters {
            for value in NASTY.iter().copied().chain([long.as_str()]) {
                // THEN the answer is clear
                check(&fixture, &target(route, &[(name, value)])).await;
            }
        }
    }
    // WHEN several have values of chance, near what is right and far from it
    let mut runner = TestRunner::default();
    let value = prop_oneof![
        "\\PC{0,40}",
        "[0-9]{1,20}",
        "[0-9]{1,4}[smhdwMqy]",
        "[0-9TZ:.+-]{1,30}",
        "[A-Za-z_/]{1,20}"
    ];
    for _ in 0..CASES {
        let route = &routes[(0..routes.len()).new_tree(&mut runner).unwrap().current()];
        let mut values = Vec::new();
        for (name, example, _) in &route.parameters {
            match (0..4_u8).new_tree(&mut runner).unwrap().current() {
                0 => values.push((
                    name.as_str(),
                    value.new_tree(&mut runner).unwrap().current(),
                )),
                1 if example != "null" => values.push((name.as_str(), example.clone())),
                _ => (),
            }
        }
        let values: Vec<(&str, &str)> = values
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        // THEN the answer is clear
        check(&fixture, &target(route, &values)).await;
    }
    // THEN and nothing has changed
    assert_eq!(data(&fixture).await, before);
}
