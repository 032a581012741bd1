//! Instants and dates in a query.

use chrono::{DateTime, Datelike as _, NaiveDate};
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
        (Some(from), Some(to)) if from > to => {
            let fault = Fault::new("from", "is after to");
            Err(ApiError::Parameters(vec![fault]))
        }
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
                let hint = number.checked_mul(1000).map(|n| n.to_string());
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
    fn seconds_and_texts_that_are_no_time_are_refused() {
        assert_eq!(
            parse("from", "1710046800").unwrap_err().hint.as_deref(),
            Some("1710046800000")
        );
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
