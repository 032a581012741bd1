//! The grammar, and what is suggested beside it.

use super::*;
use proptest::prelude::*;

#[test]
fn a_valid_interval_prints_as_it_was_asked() {
    for text in [
        "1s", "60m", "90m", "23h", "1d", "1w", "1M", "3M", "1q", "1y", "86399s", "1439m", "10000d",
        "1000y",
    ] {
        assert_eq!(
            text.parse::<Interval>().map(|i| i.to_string()).as_deref(),
            Ok(text)
        );
    }
    assert_ne!("1m".parse::<Interval>(), "1M".parse::<Interval>());
}

#[test]
fn an_invalid_interval_is_refused_with_the_nearest_valid_form() {
    for (text, hint) in [
        ("1mo", Some("1M")),
        ("1H", Some("1h")),
        ("24h", Some("1d")),
        ("36h", Some("2d")),
        ("1440m", Some("1d")),
        ("172800s", Some("2d")),
        ("1D", Some("1d")),
        ("1W", Some("1w")),
        ("1Y", Some("1y")),
        ("60min", Some("60m")),
        ("5 min", Some("5m")),
        ("05m", Some("5m")),
        ("0m", Some("1m")),
        ("m", Some("1m")),
        ("60", Some("60m")),
        ("H4", Some("4h")),
        ("M5", Some("5m")),
        ("D1", Some("1d")),
        ("Monthly", Some("1M")),
        ("1001y", Some("1000y")),
        ("99999999999d", Some("10000d")),
        ("", None),
        ("-5m", None),
        ("1.5h", None),
        ("+1h", None),
        ("１m", None),
        ("5µ", None),
        ("fortnight", None),
    ] {
        let hinted = text
            .parse::<Interval>()
            .unwrap_err()
            .hint()
            .map(|i| i.to_string());
        assert_eq!(hinted.as_deref(), hint, "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_panics_and_every_hint_is_valid(text in "\\PC{0,12}|[0-9]{0,12}[a-zA-Z]{0,3}") {
        match text.parse::<Interval>() {
            Ok(interval) => prop_assert_eq!(interval.to_string(), text),
            Err(error) => {
                if let Some(hint) = error.hint() {
                    prop_assert_eq!(hint.to_string().parse::<Interval>(), Ok(hint));
                }
            }
        }
    }
}
