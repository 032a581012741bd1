//! Instants and dates in a query.

use chrono::{DateTime, Datelike as _, NaiveDate, SecondsFormat};
use chrono_tz::Tz;
use common::calendar;

use crate::problem::{ApiError, Fault};

/// Milliseconds below this look like seconds (11 digits of seconds reach the year 5138).
const SMALLEST_MILLISECONDS: u64 = 100_000_000_000;

/// A point in time as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Microseconds since 1970-01-01T00:00:00Z.
    Instant(i64),
    /// The start of a local date.
    Date(NaiveDate),
}

impl When {
    /// Microseconds since 1970-01-01T00:00:00Z; a date starts at its first instant in `tz`.
    pub(crate) fn micros(self, tz: Tz) -> i64 {
        match self {
            Self::Instant(micros) => micros,
            Self::Date(date) => calendar::day_start(date, tz),
        }
    }
}

/// `from` and `to` as instants, where it is known which they are: `tz` is the zone that was asked for, and without it a
/// symbol's own zone says when a date begins.
pub(super) fn known_bounds(
    from: Option<When>,
    to: Option<When>,
    tz: Option<Tz>,
) -> Option<(i64, i64)> {
    match (from?, to?, tz) {
        (When::Instant(from), When::Instant(to), _) => Some((from, to)),
        (from, to, Some(tz)) => Some((from.micros(tz), to.micros(tz))),
        _ => None,
    }
}

/// Whether `from` is known to be after `to`.
pub(super) fn is_reversed(from: Option<When>, to: Option<When>, tz: Option<Tz>) -> bool {
    match (from, to) {
        // In any zone.
        (Some(When::Date(from)), Some(When::Date(to))) => from > to,
        _ => known_bounds(from, to, tz).is_some_and(|(from, to)| from > to),
    }
}

/// The fault of a range that ends before it begins.
pub(super) fn reversed() -> Fault {
    Fault::new("from", "is after to")
}

/// `from` and `to` as instants in a zone.
///
/// # Errors
/// When `from` is after `to`.
pub(crate) fn bounds(
    from: Option<When>,
    to: Option<When>,
    tz: Tz,
) -> Result<(Option<i64>, Option<i64>), ApiError> {
    let bounds = (
        from.map(|when| when.micros(tz)),
        to.map(|when| when.micros(tz)),
    );
    match bounds {
        (Some(from), Some(to)) if from > to => Err(ApiError::Parameters(vec![reversed()])),
        bounds => Ok(bounds),
    }
}

/// Reads RFC 3339 with an offset, a date, or integer epoch milliseconds, of the years 1 to 9999.
pub(super) fn parse(name: &str, text: &str) -> Result<When, Fault> {
    let years = |year: i32| (1..=9999).contains(&year);
    let fault = |detail: &str| Fault::new(name, detail.to_owned());
    let out_of_range = || fault("outside the years 1 to 9999");

    if let Ok(number) = text.parse::<i64>() {
        let time = DateTime::from_timestamp_millis(number).filter(|time| years(time.year()));
        return match time {
            _ if number.unsigned_abs() < SMALLEST_MILLISECONDS => {
                let meant = DateTime::from_timestamp(number, 0).filter(|time| years(time.year()));
                let hint = meant.map(|time| {
                    let milliseconds = time.timestamp_millis();
                    // What would look like seconds once more is told as a text.
                    if milliseconds.unsigned_abs() < SMALLEST_MILLISECONDS {
                        time.to_rfc3339_opts(SecondsFormat::Secs, true)
                    } else {
                        milliseconds.to_string()
                    }
                });
                Err(fault("looks like seconds: give epoch milliseconds").hint(hint))
            }
            Some(time) => Ok(When::Instant(time.timestamp_micros())),
            None => Err(out_of_range()),
        };
    }
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        // chrono also takes `2024-3-1` and `+2024-03-01`.
        if text.len() == 10 && text.is_ascii() && years(date.year()) {
            return Ok(When::Date(date));
        }
    }
    // An unescaped + of an offset arrives as a space; nothing else can stand there.
    let plus = text
        .len()
        .checked_sub(6)
        .filter(|at| text.is_char_boundary(*at) && text[*at..].starts_with(' '));
    let repaired = plus.map(|at| format!("{}+{}", &text[..at], &text[at + 1..]));
    match DateTime::parse_from_rfc3339(repaired.as_deref().unwrap_or(text)) {
        Ok(time) if years(time.naive_utc().year()) => Ok(When::Instant(time.timestamp_micros())),
        Ok(_) => Err(out_of_range()),
        Err(_) => Err(fault(
            "a time such as 2024-03-10T05:00:00Z, a date such as 2024-03-10, or epoch milliseconds",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_dates_and_milliseconds_are_read() {
        let instant = |text: &str| parse("from", text).map(|when| when.micros(Tz::UTC));
        for text in [
            "2024-03-10T05:00:00Z",
            "2024-03-10T06:00:00+01:00",
            "2024-03-10T06:00:00 01:00",
            "1710046800000",
        ] {
            assert_eq!(instant(text), Ok(1_710_046_800_000_000), "{text}");
        }
        assert_eq!(
            parse("from", "2024-03-10").map(|w| w.micros(Tz::America__New_York)),
            Ok(1_710_046_800_000_000)
        );
        assert_eq!(
            instant("2024-03-10T05:00:00.1234567Z"),
            Ok(1_710_046_800_123_456)
        );
    }

    #[test]
    fn what_is_known_of_a_range_without_a_symbol_is_told() {
        let when = |text| parse("from", text).ok();
        let (early, late) = ("2024-03-10", "2024-03-10T04:30:00Z");
        for (from, to, tz, reversed) in [
            (late, "2024-03-10T04:00:00Z", None, true),
            ("2024-03-11", early, None, true),
            (early, early, None, false),
            // The date begins at 05:00Z there, at 00:00Z in UTC, and nobody knows when without a zone.
            (early, late, Some(Tz::America__New_York), true),
            (early, late, Some(Tz::UTC), false),
            (early, late, None, false),
        ] {
            assert_eq!(
                is_reversed(when(from), when(to), tz),
                reversed,
                "{from} {to} {tz:?}"
            );
        }
        assert!(!is_reversed(when(late), None, Some(Tz::UTC)));
    }

    #[test]
    fn seconds_and_texts_that_are_no_time_are_refused() {
        for (seconds, hint) in [
            ("1710046800", Some("1710046800000")),
            ("0", Some("1970-01-01T00:00:00Z")),
            ("99999999", Some("1973-03-03T09:46:39Z")),
            ("100000000", Some("100000000000")),
            ("-5", Some("1969-12-31T23:59:55Z")),
            ("-99999999999", None),
        ] {
            let told = parse("from", seconds).unwrap_err().hint;
            assert_eq!(told.as_deref(), hint, "{seconds}");
            // What is told is taken.
            assert!(hint.is_none_or(|hint| parse("from", hint).is_ok()));
        }
        for text in [
            "",
            "0",
            "-5",
            "now",
            "2024-3-1",
            "+2024-03-01",
            "2024-13-01",
            "2024-02-30",
            "2024-03-10T05:00:00",
            "99999-01-01",
            "0000-01-01",
            "9223372036854775807",
            "99999999999999999999",
            "1710046800000000000",
            "2024-03-10T05:00:00+01",
            "é2024-03",
            "12345é",
        ] {
            assert!(parse("from", text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,30}|[0-9T:.Z+ -]{0,30}") {
            if let Ok(when) = parse("from", &text) {
                when.micros(Tz::Asia__Kolkata);
            }
        }
    }
}
