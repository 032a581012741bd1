//! What an answer says beside its rows: keys around them in JSON; headers, and metadata of the schema, in other forms.

use std::fmt::Write as _;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::encode::Json;
use crate::table::{self, Spelling};

/// What is said, with the header that says it.
pub(crate) const HEADERS: [(&str, HeaderName); 10] = [
    ("symbol", HeaderName::from_static("x-symbol")),
    ("interval", HeaderName::from_static("x-interval")),
    ("tz", HeaderName::from_static("x-tz")),
    ("from", HeaderName::from_static("x-from")),
    ("to", HeaderName::from_static("x-to")),
    ("fill", HeaderName::from_static("x-fill")),
    ("as_of", HeaderName::from_static("x-as-of")),
    (
        "available_first",
        HeaderName::from_static("x-available-first"),
    ),
    (
        "available_last",
        HeaderName::from_static("x-available-last"),
    ),
    ("next_cursor", HeaderName::from_static("x-next-cursor")),
];

/// The things said, in their order.
#[derive(Debug)]
pub(crate) struct Envelope {
    spelling: Spelling,
    items: Vec<(&'static str, Item)>,
}

/// One of them.
#[derive(Debug)]
enum Item {
    Text(Option<String>),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Time(Option<i64>),
    /// The first and the last of what there is.
    Span(Option<i64>, Option<i64>),
    /// Where the rows stand.
    Rows,
}

impl Envelope {
    pub(crate) const fn new(spelling: Spelling) -> Self {
        Self {
            spelling,
            items: Vec::new(),
        }
    }

    fn with(mut self, name: &'static str, item: Item) -> Self {
        self.items.push((name, item));
        self
    }

    /// A text, or none.
    pub(crate) fn text(self, name: &'static str, text: Option<&str>) -> Self {
        self.with(name, Item::Text(text.map(ToOwned::to_owned)))
    }

    /// An instant, or none.
    pub(crate) fn time(self, name: &'static str, micros: Option<i64>) -> Self {
        self.with(name, Item::Time(micros))
    }

    /// The first and the last instant of something.
    pub(crate) fn span(self, name: &'static str, first: Option<i64>, last: Option<i64>) -> Self {
        self.with(name, Item::Span(first, last))
    }

    /// Where the rows stand in JSON.
    pub(crate) fn rows(self, name: &'static str) -> Self {
        self.with(name, Item::Rows)
    }

    /// What an encoder puts around the rows.
    pub(crate) fn around(&self) -> table::Envelope {
        let (mut json, mut start) = (Json::default(), String::new());
        json.open('{');
        for (name, item) in &self.items {
            json.key(name);
            match item {
                Item::Text(text) => json.optional_string(text.as_deref()),
                Item::Time(time) => json.literal(self.spelling.json_time(*time)),
                Item::Span(first, last) => {
                    json.open('{');
                    json.key("first").literal(self.spelling.json_time(*first));
                    json.key("last").literal(self.spelling.json_time(*last));
                    json.close('}');
                }
                Item::Rows => {
                    json.open('[');
                    start = std::mem::take(&mut json).into_text();
                    json.close(']');
                }
            }
        }
        json.close('}');
        table::Envelope {
            json: (start, json.into_text()),
            metadata: self.flat(),
        }
    }

    /// What is said, but for what is not there, under names without nesting.
    fn flat(&self) -> Vec<(String, String)> {
        let time = |micros: Option<i64>| micros.map(|micros| self.spelling.plain_time(micros));
        let mut all = Vec::new();
        for (name, item) in &self.items {
            match item {
                Item::Text(text) => all.push(((*name).to_owned(), text.clone())),
                Item::Time(micros) => all.push(((*name).to_owned(), time(*micros))),
                Item::Span(first, last) => {
                    all.push((format!("{name}_first"), time(*first)));
                    all.push((format!("{name}_last"), time(*last)));
                }
                Item::Rows => (),
            }
        }
        all.into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }

    /// Adds what is said as headers.
    pub(crate) fn write_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in self.flat() {
            let header = HEADERS.into_iter().find(|(known, _)| *known == name);
            if let (Some((_, header)), Ok(value)) = (header, HeaderValue::try_from(visible(&value)))
            {
                headers.insert(header, value);
            }
        }
    }
}

/// A header holds visible ASCII and spaces; other bytes, and `%`, are percent-encoded.
fn visible(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for character in text.chars() {
        if (' '..='~').contains(&character) && character != '%' {
            result.push(character);
        } else {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                // Writing into a String cannot fail.
                let _infallible = write!(result, "%{byte:02X}");
            }
        }
    }
    result
}
