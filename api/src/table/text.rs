//! Values as text.

use std::fmt::Write as _;

use chrono::{DateTime, Offset as _, TimeZone as _};
use chrono_tz::Tz;

use super::Value;
use crate::encode::write_time;

/// How a time is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// RFC 3339 with `Z`.
    Utc,
    /// RFC 3339 with the offset of the answer's zone.
    Local,
    /// Whole seconds since 1970-01-01T00:00:00Z; what is finer is cut off, as it is of milliseconds.
    Seconds,
    /// Whole milliseconds.
    Milliseconds,
    /// Nanoseconds.
    Nanoseconds,
}

/// How values are spelled where a form leaves a choice.
#[derive(Debug, Clone, Copy)]
pub struct Spelling {
    /// Decimals are texts, and in JSON whole numbers that a double may not hold.
    pub quoted: bool,
    /// What a time looks like.
    pub times: Times,
    /// The zone of local times.
    pub tz: Tz,
}

impl Spelling {
    /// A value as JSON.
    pub(super) fn json(self, text: &mut String, value: &Value<'_>) {
        let in_quotes = match value {
            Value::Null => {
                text.push_str("null");
                return;
            }
            Value::Time(_) => matches!(self.times, Times::Utc | Times::Local),
            Value::Decimal(_) | Value::Sequence(_) => self.quoted,
            Value::Integer(_) | Value::Flag(_) | Value::Double(_) => false,
        };
        if in_quotes {
            text.push('"');
        }
        self.plain(text, value);
        if in_quotes {
            text.push('"');
        }
    }

    /// A value without quotes; nothing where there is none.
    pub(super) fn plain(self, text: &mut String, value: &Value<'_>) {
        // Writing into a String cannot fail.
        let _infallible = match value {
            Value::Null => Ok(()),
            Value::Time(micros) => {
                self.time(text, *micros);
                Ok(())
            }
            Value::Integer(number) | Value::Sequence(number) => write!(text, "{number}"),
            Value::Flag(flag) => write!(text, "{flag}"),
            Value::Double(number) => write!(text, "{number}"),
            Value::Decimal(amount) => write!(text, "{amount}"),
        };
    }

    /// A time as JSON, or `null`.
    pub(crate) fn json_time(self, micros: Option<i64>) -> String {
        let mut text = String::new();
        self.json(&mut text, &micros.map_or(Value::Null, Value::Time));
        text
    }

    /// A time without quotes.
    pub(crate) fn plain_time(self, micros: i64) -> String {
        let mut text = String::new();
        self.time(&mut text, micros);
        text
    }

    fn time(self, text: &mut String, micros: i64) {
        let _infallible = match self.times {
            Times::Utc => {
                write_time(text, micros);
                Ok(())
            }
            Times::Local => write_local(text, micros, self.tz),
            Times::Seconds => write!(text, "{}", micros.div_euclid(1_000_000)),
            Times::Milliseconds => write!(text, "{}", micros.div_euclid(1_000)),
            Times::Nanoseconds => write!(text, "{}", i128::from(micros) * 1_000),
        };
    }
}

/// RFC 3339 has offsets of whole minutes. Local mean times had seconds: the clock is told by the minute then, so that
/// the instant stays exact.
fn write_local(text: &mut String, micros: i64, tz: Tz) -> std::fmt::Result {
    let utc = DateTime::from_timestamp_micros(micros).unwrap_or_default();
    let offset = tz.offset_from_utc_datetime(&utc.naive_utc()).fix();
    let minutes = offset.local_minus_utc() / 60;
    write_time(text, micros + i64::from(minutes) * 60_000_000);
    text.pop();
    let sign = if minutes < 0 { '-' } else { '+' };
    let minutes = minutes.abs();
    write!(text, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}
