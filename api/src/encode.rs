//! JSON text around tables and beside them, written straight into the answer's buffer.

use std::fmt::{Display, Write as _};

use chrono::{DateTime, Datelike as _, Timelike as _};

/// A growing JSON text. Objects and arrays are opened and closed by the caller; commas are not.
#[derive(Debug, Default)]
pub(crate) struct Json {
    text: String,
    /// Whether the next value needs a comma before it.
    follows: bool,
}

impl Json {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
            follows: false,
        }
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }

    fn separate(&mut self) {
        if self.follows {
            self.text.push(',');
        }
        self.follows = true;
    }

    /// Opens an object or an array.
    pub(crate) fn open(&mut self, bracket: char) {
        self.separate();
        self.text.push(bracket);
        self.follows = false;
    }

    /// Closes an object or an array.
    pub(crate) fn close(&mut self, bracket: char) {
        self.text.push(bracket);
        self.follows = true;
    }

    /// The key of the next value, a plain name.
    pub(crate) fn key(&mut self, name: &str) -> &mut Self {
        self.separate();
        self.text.push('"');
        self.text.push_str(name);
        self.text.push_str("\":");
        self.follows = false;
        self
    }

    /// The key of the next value, any text.
    pub(crate) fn name(&mut self, name: &str) {
        self.string(name);
        self.text.push(':');
        self.follows = false;
    }

    /// A value that is JSON as it prints: a number, `true`, `null`.
    pub(crate) fn literal(&mut self, value: impl Display) {
        self.separate();
        // Writing into a String cannot fail.
        let _infallible = write!(self.text, "{value}");
    }

    /// A string.
    pub(crate) fn string(&mut self, value: &str) {
        self.separate();
        self.text.push('"');
        for character in value.chars() {
            match character {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                control if control < ' ' => {
                    let _infallible = write!(self.text, "\\u{:04x}", u32::from(control));
                }
                other => self.text.push(other),
            }
        }
        self.text.push('"');
    }

    /// A string, or `null`.
    pub(crate) fn optional_string(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.string(value),
            None => self.literal("null"),
        }
    }

    /// An instant in microseconds since 1970-01-01T00:00:00Z, or `null`.
    pub(crate) fn time(&mut self, micros: Option<i64>) {
        match micros {
            Some(micros) => {
                self.separate();
                self.text.push('"');
                write_time(&mut self.text, micros);
                self.text.push('"');
            }
            None => self.literal("null"),
        }
    }
}

/// RFC 3339 in UTC with `Z`; seconds always, a fraction only when it is not zero, without trailing zeros.
pub(crate) fn write_time(text: &mut String, micros: i64) {
    // A page has thousands of them: chrono's own formats take most of its time.
    let time = DateTime::from_timestamp_micros(micros).unwrap_or_default();
    let _infallible = write!(text, "{:04}", time.year());
    for (mark, number) in [
        ('-', time.month()),
        ('-', time.day()),
        ('T', time.hour()),
        (':', time.minute()),
        (':', time.second()),
    ] {
        text.push(mark);
        for digit in [number / 10, number % 10] {
            text.extend(char::from_digit(digit, 10));
        }
    }
    let fraction = micros.rem_euclid(1_000_000);
    if fraction != 0 {
        let _infallible = write!(text, ".{fraction:06}");
        text.truncate(text.trim_end_matches('0').len());
    }
    text.push('Z');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_fraction_only_when_it_is_not_zero() {
        for (micros, text) in [
            (1_710_046_800_000_000, "2024-03-10T05:00:00Z"),
            (1_710_046_800_120_000, "2024-03-10T05:00:00.12Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
        ] {
            let mut written = String::new();
            write_time(&mut written, micros);
            assert_eq!(written, text);
        }
    }

    #[test]
    fn a_string_is_escaped_and_values_are_separated() {
        let mut json = Json::default();
        json.open('{');
        json.key("a").string("\"\\\n\u{1}é");
        json.key("b").open('[');
        json.literal(1);
        json.optional_string(None);
        json.close(']');
        json.key("c").time(Some(0));
        json.close('}');
        let text = json.into_text();
        assert_eq!(
            text,
            r#"{"a":"\"\\\u000a\u0001é","b":[1,null],"c":"1970-01-01T00:00:00Z"}"#
        );
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
    }
}
