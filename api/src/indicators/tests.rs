//! What holds for every indicator of the catalogue. Values are compared with TA-Lib's in
//! `tests/it/indicators.rs`.

use proptest::prelude::*;

use super::*;
use crate::problem::Fault;

/// Every entry at its defaults, and some at the ends of what is allowed.
fn all() -> Vec<Asked> {
    let examples = CATALOGUE.iter().map(example).collect::<Vec<_>>().join(",");
    let mut asked = CATALOGUE
        .chunks(MAX_ASKED)
        .flat_map(|entries| {
            let text = entries.iter().map(example).collect::<Vec<_>>().join(",");
            parse(&text).unwrap_or_else(|faults| panic!("{examples}: {faults:?}"))
        })
        .collect::<Vec<_>>();
    asked.extend(parse("sma:1,ema:1,tema:2,macd:2:3:1,stoch:1:1:1,stochrsi:2:1:1,adx:2,vwap:7,keltner:2:1:0.1,keltner:3:9:2,ichimoku:1:1:1,psar:1:1").unwrap());
    asked
}

fn bars(rows: &[(i32, i32, i32, u32, bool)]) -> Vec<Bar> {
    let mut middle = 1_000;
    rows.iter()
        .map(|&(change, up, down, volume, opens_session)| {
            middle = (middle + change).max(50);
            let (high, low) = (middle + up, middle - down);
            let close = low + (high - low) * i32::try_from(volume % 7).unwrap() / 6;
            let price = |cents: i32| f64::from(cents) / 100.0;
            let volume = f64::from(volume);
            Bar {
                high: price(high),
                low: price(low),
                close: price(close),
                volume,
                turnover: price(middle) * volume,
                opens_session,
            }
        })
        .collect()
}

fn strategy(length: usize) -> impl Strategy<Value = Vec<Bar>> {
    let row = (
        -9..10,
        0..9,
        0..9,
        prop_oneof![Just(0), 0_u32..1_000],
        prop::bool::weighted(0.1),
    );
    prop::collection::vec(row, length).prop_map(|rows| bars(&rows))
}

fn run(asked: &Asked, bars: &[Bar]) -> Vec<Option<Values>> {
    bars.iter().map(asked.build()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn every_indicator_begins_after_its_warm_up_and_is_finite(bars in strategy(140)) {
        for asked in all() {
            let values = run(&asked, &bars);
            for (index, value) in values.iter().enumerate() {
                // Without any volume there is no price.
                if !asked.key.starts_with("vwap") {
                    prop_assert_eq!(value.is_some(), index >= asked.warm_up() as usize, "{} at {}", asked.key, index);
                }
                prop_assert!(value.is_none_or(|values| values.iter().all(|value| value.is_finite())), "{} at {}", asked.key, index);
            }
        }
    }

    #[test]
    fn a_windowed_value_depends_on_its_warm_up_alone(bars in strategy(140), end in 90_usize..140) {
        for asked in all().into_iter().filter(|asked| asked.history() == History::Window) {
            let start = end - asked.warm_up() as usize;
            // To the last bit.
            prop_assert_eq!(run(&asked, &bars[start..=end]).pop(), run(&asked, &bars[..=end]).pop(), "{}", asked.key);
        }
    }

    #[test]
    fn a_session_value_depends_on_its_session_alone(bars in strategy(140), end in 1_usize..140) {
        let asked = &parse("vwap").unwrap()[0];
        let start = (0..=end).rev().find(|index| bars[*index].opens_session).unwrap_or(0);
        prop_assert_eq!(run(asked, &bars[start..=end]).pop(), run(asked, &bars[..=end]).pop());
    }

    #[test]
    fn no_list_panics(text in "[ -~]{0,60}|((sma|macd|psar|vwap|obv)(:[0-9.]{0,9}){0,4},){0,5}") {
        if let Ok(asked) = parse(&text) {
            for one in asked {
                prop_assert!(one.warm_up() <= 3 * MAX_PERIOD);
                let mut step = one.build();
                step(&bars(&[(1, 1, 1, 1, true)])[0]);
            }
        }
    }
}

fn faults(text: &str) -> Vec<(String, Option<String>)> {
    let faults = parse(text).unwrap_err();
    faults
        .into_iter()
        .map(
            |Fault {
                 parameter,
                 detail,
                 hint,
                 ..
             }| {
                assert_eq!(parameter, "indicators");
                (detail, hint)
            },
        )
        .collect()
}

#[test]
fn all_faults_of_a_list_are_told_at_once() {
    let told = faults(
        "sma:0,SMA:3,sma:1001,macd:26:12,macd:1:2:x,obv:1,psar:0.3:0.2,rsi:14,rsi:14,,bbands:20:-2,sma:1e2",
    );
    assert_eq!(
        told,
        [
            ("sma:0: period must be a whole number from 1 to 1000", None),
            ("SMA:3: no such indicator", Some("sma")),
            (
                "sma:1001: period must be a whole number from 1 to 1000",
                None
            ),
            ("macd:26:12: fast must be less than slow", None),
            (
                "macd:1:2:x: fast must be a whole number from 2 to 1000",
                None
            ),
            (
                "macd:1:2:x: slow must be a whole number from 3 to 1000",
                None
            ),
            (
                "macd:1:2:x: signal must be a whole number from 1 to 1000",
                None
            ),
            ("obv:1: obv takes at most 0 parameters", Some("obv")),
            (
                "psar:0.3:0.2: acceleration must not be more than maximum",
                None
            ),
            ("rsi:14: given twice", None),
            ("names separated by commas, none of them empty", None),
            (
                "bbands:20:-2: deviations must be a number from 0.1 to 100",
                None
            ),
            (
                "sma:1e2: period must be a whole number from 1 to 1000",
                None
            ),
        ]
        .map(|(detail, hint): (&str, Option<&str>)| (
            detail.to_owned(),
            hint.map(ToOwned::to_owned)
        ))
    );
    assert_eq!(faults(&["sma:5"; 21].join(",")).len(), 1);
}

#[test]
fn parameters_left_out_have_their_defaults() {
    let bars = bars(
        &(0..120_u32)
            .map(|n| (i32::try_from(n % 7).unwrap() - 3, 2, 3, n % 11, false))
            .collect::<Vec<_>>(),
    );
    for (short, long) in [
        ("macd", "macd:12:26:9"),
        ("bbands:20", "bbands:20:2"),
        ("psar", "psar:0.02:0.2"),
        ("ichimoku:9", "ichimoku:9:26:52"),
    ] {
        let (short, long) = (&parse(short).unwrap()[0], &parse(long).unwrap()[0]);
        assert_eq!(run(short, &bars), run(long, &bars), "{}", long.key);
        assert_eq!(short.warm_up(), long.warm_up());
    }
    assert_ne!(
        run(&parse("vwap").unwrap()[0], &bars),
        run(&parse("vwap:5").unwrap()[0], &bars)
    );
}

#[test]
fn the_documentation_has_the_table_of_the_catalogue() {
    let documentation = include_str!("../../../docs/indicators.md");
    for entry in CATALOGUE {
        let parameters: Vec<String> = entry
            .parameters
            .iter()
            .map(|parameter| match parameter.domain {
                Domain::Period { minimum, .. } => {
                    format!("{} ({minimum} to {MAX_PERIOD})", parameter.name)
                }
                Domain::Factor {
                    minimum, maximum, ..
                } => format!("{} ({minimum} to {maximum})", parameter.name),
            })
            .collect();
        let history = match (entry.history)(&entry.defaults()) {
            History::Window => "window",
            History::First => "all",
            History::Session => "session",
        };
        let row = format!(
            "| `{}` | {} | {} | {} | {} | {} | {history} | {} |\n",
            example(entry),
            entry.title,
            parameters.join(", "),
            entry.outputs.join(", "),
            entry.formula.replace('|', "\\|"),
            entry.warm_up_rule,
            entry.source,
        );
        assert!(
            documentation.contains(&row),
            "docs/indicators.md has no row\n{row}"
        );
    }
}
