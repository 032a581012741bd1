//! The parameters of a request: each is read once, and all faults are told at once.

mod time;

use std::ops::RangeInclusive;

use axum::extract::Query;
use axum::http::Uri;
use chrono_tz::{TZ_VARIANTS, Tz};
use common::interval::Interval;

pub(crate) use time::{When, bounds};

use crate::limits::Limits;
use crate::problem::{ApiError, EMPTY_ITEM, Fault, shown};

/// The parameters of one request and what is wrong with them so far.
#[derive(Debug, Clone)]
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
    faults: Vec<Fault>,
}

impl Params {
    /// Reads a query string; names that are not `allowed`, and names given twice, are faults.
    pub(crate) fn read(uri: &Uri, allowed: &[&str]) -> Self {
        let mut faults = Vec::new();
        let mut pairs = if let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(uri)
        {
            pairs
        } else {
            faults.push(Fault::new("", "the query string cannot be read"));
            Vec::new()
        };
        for (index, (name, _)) in pairs.iter().enumerate() {
            if !allowed.contains(&name.as_str()) {
                let near = allowed
                    .iter()
                    .copied()
                    .find(|known| known.eq_ignore_ascii_case(name));
                faults.push(
                    Fault::new(name, "unknown parameter")
                        .allowed(allowed)
                        .hint(near),
                );
            } else if pairs[..index].iter().any(|(earlier, _)| earlier == name) {
                faults.push(Fault::new(name, "given twice"));
            }
        }
        // What is unknown is told once, whoever asks for it.
        pairs.retain(|(name, _)| allowed.contains(&name.as_str()));
        Self { pairs, faults }
    }

    /// The text of a parameter, when it was given.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(given, _)| given == name)
            .map(|(_, value)| value.as_str())
    }

    /// A parameter that `parse` understands.
    pub(crate) fn value<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Option<T> {
        match parse(self.text(name)?) {
            Ok(value) => Some(value),
            Err(fault) => {
                self.faults.push(fault);
                None
            }
        }
    }

    /// A parameter of a closed set.
    pub(crate) fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        self.value(name, |text| {
            choices
                .iter()
                .find(|(known, _)| *known == text)
                .map(|(_, value)| *value)
                .ok_or_else(|| {
                    let names: Vec<&str> = choices.iter().map(|(known, _)| *known).collect();
                    let near = names
                        .iter()
                        .copied()
                        .find(|known| known.eq_ignore_ascii_case(text));
                    Fault::new(name, "unknown value").allowed(&names).hint(near)
                })
        })
    }

    /// A whole number in a range.
    pub(crate) fn number(&mut self, name: &str, range: RangeInclusive<u32>) -> Option<u32> {
        self.value(name, |text| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let number = text
                .parse()
                .ok()
                .filter(|number| digits && range.contains(number));
            number.ok_or_else(|| {
                Fault::new(
                    name,
                    format!("a whole number from {} to {}", range.start(), range.end()),
                )
            })
        })
    }

    /// Names separated by commas, at least one, each once, at most `most`.
    pub(crate) fn symbols(&mut self, name: &str, most: u32) -> Option<Vec<String>> {
        if self.text(name).is_none() {
            self.fault(Fault::new(name, "required, such as AMZN,GOOG"));
        }
        self.value(name, |text| {
            let fault = |detail: String| Err(Fault::new(name, detail));
            let mut names: Vec<String> = Vec::new();
            for symbol in text.split(',') {
                if symbol.is_empty() {
                    return fault(EMPTY_ITEM.into());
                }
                if names.iter().any(|earlier| earlier == symbol) {
                    return fault(format!("{} is given twice", shown(symbol)));
                }
                if names.len() >= usize::try_from(most).unwrap_or(usize::MAX) {
                    return fault(format!("at most {most} symbols"));
                }
                names.push(symbol.to_owned());
            }
            Ok(names)
        })
    }

    /// An interval, `5m`.
    pub(crate) fn interval(&mut self, name: &str) -> Option<Interval> {
        self.value(name, |text| {
            text.parse::<Interval>().map_err(|error| {
                let hint = error.hint().map(|interval| interval.to_string());
                Fault::new(name, error.to_string()).hint(hint)
            })
        })
    }

    /// An IANA zone by its full name.
    pub(crate) fn zone(&mut self, name: &str) -> Option<Tz> {
        self.value(name, |text| {
            // An unescaped + arrives as a space, which is in no name.
            let text = &text.replace(' ', "+");
            // EST, CET, EST5EDT and the like are in the database, but name an offset, not a place.
            let abbreviation = !text.contains('/') && !text.bytes().any(|b| b.is_ascii_lowercase()) && text != "UTC";
            text.parse::<Tz>().ok().filter(|_| !abbreviation).ok_or_else(|| {
                let near = TZ_VARIANTS.iter().map(|tz| tz.name()).find(|known| {
                    known.eq_ignore_ascii_case(text) && *known != text
                });
                Fault::new(name, "an IANA time zone such as America/New_York or UTC; no abbreviation, no offset").hint(near)
            })
        })
    }

    /// An instant or a date.
    pub(crate) fn when(&mut self, name: &str) -> Option<When> {
        self.value(name, |text| time::parse(name, text))
    }

    /// `from` and `to`, of which all is told that is wrong in whatever zone a symbol has; `tz` is the one asked for.
    pub(crate) fn range(
        &mut self,
        tz: Option<Tz>,
        limits: &Limits,
    ) -> (Option<When>, Option<When>) {
        let (from, to) = (self.when("from"), self.when("to"));
        if time::is_reversed(from, to, tz) {
            self.fault(time::reversed());
        }
        let span = time::known_bounds(from, to, tz);
        self.faults
            .extend(span.and_then(|(from, to)| limits.span_fault(from, to)));
        (from, to)
    }

    /// Adds a fault.
    pub(crate) fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// All parameters but the cursor and some others, in one order whatever order they came in.
    pub(crate) fn canonical(&self, without: &[&str]) -> String {
        let mut pairs: Vec<_> = self
            .pairs
            .iter()
            .filter(|(name, _)| name != "cursor" && !without.contains(&name.as_str()))
            .collect();
        pairs.sort();
        pairs.iter().fold(String::new(), |text, (name, value)| {
            text + name + "\0" + value + "\0"
        })
    }

    /// The same parameters as a query string with another cursor.
    pub(crate) fn with_cursor(&self, cursor: &str) -> String {
        let pairs = self.pairs.iter().filter(|(name, _)| name != "cursor");
        let mut query = String::new();
        for (name, value) in pairs {
            encode(&mut query, name);
            query.push('=');
            encode(&mut query, value);
            query.push('&');
        }
        query + "cursor=" + cursor
    }

    /// Nothing, or all faults.
    ///
    /// # Errors
    /// When there is a fault.
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        if self.faults.is_empty() {
            Ok(())
        } else {
            Err(ApiError::Parameters(self.faults.clone()))
        }
    }
}

/// Percent-encodes what is not unreserved (RFC 3986, section 2.3).
pub(crate) fn encode(target: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            target.push(char::from(byte));
        } else {
            target.push('%');
            target.push(char::from(HEX[usize::from(byte >> 4)]));
            target.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests;
