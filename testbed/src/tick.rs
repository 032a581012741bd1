//! A tick as it is published: text for every number, so that what is sent is what a file said.

use anyhow::{Context as _, Result};
use chrono::{DateTime, SecondsFormat};
use serde::Serialize;

/// One trade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// The symbol, also the message's key.
    pub symbol: String,
    /// Microseconds since 1970, UTC.
    pub event_time: i64,
    /// The producer's trade number.
    pub sequence: i64,
    /// A decimal number in plain notation.
    pub price: String,
    /// A decimal number in plain notation.
    pub size: String,
    /// 0, or higher for a correction.
    pub revision: i32,
    /// Whether the trade is void.
    pub cancelled: bool,
}

/// The message's fields; what has its default is left out.
#[derive(Serialize)]
struct Message<'a> {
    symbol: &'a str,
    event_time: String,
    sequence: i64,
    price: &'a str,
    size: &'a str,
    #[serde(skip_serializing_if = "is_default")]
    revision: i32,
    #[serde(skip_serializing_if = "is_default")]
    cancelled: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Tick {
    /// A trade that is neither a correction nor a cancel.
    pub fn new(
        symbol: impl Into<String>,
        event_time: i64,
        sequence: i64,
        price: impl Into<String>,
        size: impl Into<String>,
    ) -> Self {
        Self {
            symbol: symbol.into(),
            event_time,
            sequence,
            price: price.into(),
            size: size.into(),
            revision: 0,
            cancelled: false,
        }
    }

    /// The JSON message.
    ///
    /// # Errors
    ///
    /// When the time lies outside of what a date can say (some 262 000 years).
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let time = DateTime::from_timestamp_micros(self.event_time)
            .with_context(|| format!("{} microseconds since 1970 is no date", self.event_time))?;
        let message = Message {
            symbol: &self.symbol,
            event_time: time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            sequence: self.sequence,
            price: &self.price,
            size: &self.size,
            revision: self.revision,
            cancelled: self.cancelled,
        };
        Ok(serde_json::to_vec(&message)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_documented_form() {
        let tick = Tick::new("AMZN", 1_561_728_600_000_000, 1, "95.455002", "100");
        let expected = r#"{"symbol":"AMZN","event_time":"2019-06-28T13:30:00Z","sequence":1,"price":"95.455002","size":"100"}"#;
        assert_eq!(
            String::from_utf8(tick.to_json().unwrap()).unwrap(),
            expected
        );
    }

    #[test]
    fn microseconds_and_corrections_are_told() {
        let tick = Tick {
            revision: 2,
            cancelled: true,
            ..Tick::new("A\"B", 1, -5, "1", "0")
        };
        let expected = r#"{"symbol":"A\"B","event_time":"1970-01-01T00:00:00.000001Z","sequence":-5,"price":"1","size":"0","revision":2,"cancelled":true}"#;
        assert_eq!(
            String::from_utf8(tick.to_json().unwrap()).unwrap(),
            expected
        );
    }
}
