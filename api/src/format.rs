//! The form of an answer: by the parameter `format`, else by `Accept` (RFC 9110, section 12.5.1).

use axum::http::{HeaderMap, header};

/// A form in which rows leave the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One object with an envelope and the rows of a page.
    Json,
    /// An object a line.
    Ndjson,
    /// RFC 4180 with a header row.
    Csv,
    /// The Arrow IPC stream.
    Arrow,
    /// A Parquet file.
    Parquet,
}

impl Format {
    /// All of them as the parameter names them; where a client has no preference, the first that it takes.
    pub(crate) const NAMES: [(&str, Self); 5] = [
        ("json", Self::Json),
        ("ndjson", Self::Ndjson),
        ("csv", Self::Csv),
        ("arrow", Self::Arrow),
        ("parquet", Self::Parquet),
    ];

    /// What `Content-Type` says.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            other => other.media_types()[0],
        }
    }

    /// What `Accept` may call it.
    const fn media_types(self) -> &'static [&'static str] {
        match self {
            Self::Json => &["application/json"],
            Self::Ndjson => &[
                "application/x-ndjson",
                "application/ndjson",
                "application/jsonl",
            ],
            Self::Csv => &["text/csv"],
            Self::Arrow => &["application/vnd.apache.arrow.stream"],
            Self::Parquet => &["application/vnd.apache.parquet"],
        }
    }

    /// Whether its columns have types of their own.
    pub(crate) const fn is_columnar(self) -> bool {
        matches!(self, Self::Arrow | Self::Parquet)
    }

    /// That of `formats` that `Accept` likes best; the first where it is not sent, `None` when it takes none of them.
    pub(crate) fn accepted(headers: &HeaderMap, formats: &[(&str, Self)]) -> Option<Self> {
        let mut ranges = Vec::new();
        for value in headers.get_all(header::ACCEPT) {
            let ranges_of = value.to_str().unwrap_or_default().split(',');
            ranges.extend(ranges_of.filter_map(Range::of));
        }
        if ranges.is_empty() {
            return formats.first().map(|(_, first)| *first);
        }
        let mut best: Option<(Self, (u16, u8))> = None;
        for (_, format) in formats.iter().copied() {
            // What names a form more closely decides for it.
            let range = ranges
                .iter()
                .filter_map(|range| Some((range.closeness(format)?, range.quality)))
                .max();
            if let Some((closeness, quality)) = range.filter(|(_, quality)| *quality > 0) {
                let liking = (quality, closeness);
                if best.is_none_or(|(_, known)| liking > known) {
                    best = Some((format, liking));
                }
            }
        }
        best.map(|(format, _)| format)
    }
}

/// A media range of `Accept` with its quality in thousandths.
struct Range<'a> {
    name: &'a str,
    quality: u16,
}

impl<'a> Range<'a> {
    /// The range that a text is; `None` when it is none.
    fn of(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().filter(|name| name.contains('/'))?;
        let mut quality = 1000;
        for parameter in parts {
            if let Some(("q" | "Q", value)) = parameter.split_once('=') {
                let value: f32 = value.parse().ok()?;
                if !(0.0..=1.0).contains(&value) {
                    return None;
                }
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "from 0 to 1000"
                )]
                let thousandths = (value * 1000.0).round() as u16;
                quality = thousandths;
            }
        }
        Some(Self { name, quality })
    }

    /// How closely it names a form; `None` when it does not.
    fn closeness(&self, format: Format) -> Option<u8> {
        if self.name == "*/*" {
            return Some(0);
        }
        let names = format.media_types();
        if names
            .iter()
            .any(|name| name.eq_ignore_ascii_case(self.name))
        {
            return Some(2);
        }
        let group = self.name.strip_suffix("/*")?;
        names[0]
            .split_once('/')
            .is_some_and(|(kind, _)| kind.eq_ignore_ascii_case(group))
            .then_some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn accepted(values: &[&str]) -> Option<Format> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::ACCEPT, HeaderValue::from_str(value).unwrap());
        }
        Format::accepted(&headers, &Format::NAMES)
    }

    #[test]
    fn the_form_that_accept_likes_best_is_taken() {
        for (values, format) in [
            (&[][..], Some(Format::Json)),
            (&["*/*"], Some(Format::Json)),
            (&["application/*"], Some(Format::Json)),
            (&["text/*"], Some(Format::Csv)),
            (&["TEXT/CSV;charset=utf-8"], Some(Format::Csv)),
            (&["text/csv, */*"], Some(Format::Csv)),
            (&["*/*", "application/x-ndjson"], Some(Format::Ndjson)),
            (
                &["text/csv;q=0.8,application/json;q=0.9"],
                Some(Format::Json),
            ),
            (
                &["text/csv;q=0.8,application/json;q=0.7"],
                Some(Format::Csv),
            ),
            (&["application/json;q=0,*/*;q=0.1"], Some(Format::Ndjson)),
            (
                &["application/json;q=0,application/*"],
                Some(Format::Ndjson),
            ),
            (
                &["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
                Some(Format::Json),
            ),
            (
                &["application/vnd.apache.arrow.stream"],
                Some(Format::Arrow),
            ),
            (&["application/vnd.apache.parquet"], Some(Format::Parquet)),
            (&["text/html"], None),
            (&["image/*", "text/html"], None),
            (&["*/*;q=0"], None),
            // What is no media range says nothing.
            (&["csv"], Some(Format::Json)),
            (&["text/csv;q=2", "x/y"], None),
        ] {
            assert_eq!(accepted(values), format, "{values:?}");
        }
    }
}
