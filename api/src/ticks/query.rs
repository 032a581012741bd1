//! The parameters of `/v1/ticks/{symbol}`.

use axum::http::{HeaderMap, Uri};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::cursor;
use crate::format::Format;
use crate::limits::Limits;
use crate::output::Output;
use crate::params::{Params, When, bounds};
use crate::problem::ApiError;

/// The names of all columns, in their order.
pub(super) const NAMES: [&str; 5] = ["event_time", "sequence", "price", "size", "revision"];
/// The names of its parameters, those of [`Output`] apart.
pub(super) const PARAMETERS: [&str; 6] = ["tz", "from", "to", "limit", "order", "cursor"];
/// Ticks that are read at a time where all are asked for.
const WHOLE_LIMIT: u32 = 10_000;

/// Where a page ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// Event time of the last tick told, microseconds since 1970-01-01T00:00:00Z.
    #[serde(rename = "t")]
    pub(super) time: i64,
    /// Its sequence.
    #[serde(rename = "s")]
    pub(super) sequence: i64,
    /// End of the range, as the first page had it.
    #[serde(rename = "u")]
    pub(super) until: i64,
    /// The zone whose dates `from` and `to` are.
    #[serde(rename = "z", default)]
    pub(super) tz: Option<Tz>,
}

/// A checked query.
#[derive(Debug)]
pub(super) struct Query {
    params: Params,
    symbol: String,
    pub(super) tz: Option<Tz>,
    from: Option<When>,
    to: Option<When>,
    pub(super) limit: usize,
    /// Newest first.
    pub(super) descending: bool,
    pub(super) output: Output,
    /// All ticks of the range, not a page of them.
    pub(super) whole: bool,
    pub(super) position: Option<Position>,
}

impl Query {
    /// Reads the query of `uri`.
    ///
    /// # Errors
    /// With all faults at once.
    pub(super) fn read(
        uri: &Uri,
        headers: &HeaderMap,
        symbol: &str,
        limits: &Limits,
    ) -> Result<Self, ApiError> {
        let names = [&PARAMETERS[..], &Output::NAMES].concat();
        let mut params = Params::read(uri, &names);
        let tz = params.zone("tz");
        let (from, to) = params.range(tz, limits);
        let limit = params.number("limit", 1..=limits.max_rows);
        let descending = params.choice("order", &[("asc", false), ("desc", true)]);
        let output = Output::read(&mut params, headers, &NAMES, &Format::NAMES);
        let binding = binding(symbol, &params);
        let position = params.value("cursor", |text| {
            cursor::open(text, &binding).ok_or_else(cursor::fault)
        });
        params.check()?;
        let output = output.ok_or(ApiError::NotAcceptable)?;
        let whole = output.is_whole(limit, position.is_some());
        let limit = limit.unwrap_or(if whole {
            WHOLE_LIMIT
        } else {
            limits.default_rows
        });
        Ok(Self {
            params,
            symbol: symbol.to_owned(),
            tz,
            from,
            to,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            descending: descending.unwrap_or(false),
            output,
            whole,
            position,
        })
    }

    /// `from` and `to` as instants in a zone.
    ///
    /// # Errors
    /// When `from` is after `to`.
    pub(super) fn bounds(&self, tz: Tz) -> Result<(Option<i64>, Option<i64>), ApiError> {
        bounds(self.from, self.to, tz)
    }

    /// A parameter as it was asked for.
    pub(super) fn asked(&self, name: &str) -> Option<&str> {
        self.params.text(name)
    }

    /// The query, whatever the order of its parameters, with the limit that it has without one; the position of its
    /// cursor apart.
    pub(super) fn binding(&self) -> String {
        format!("{}{}", binding(&self.symbol, &self.params), self.limit)
    }

    /// The cursor of the page after `position`, and the query string that asks for that page.
    pub(super) fn next(&self, position: Position) -> (String, String) {
        let cursor = cursor::seal(&position, &binding(&self.symbol, &self.params));
        let query = self.params.with_cursor(&cursor);
        (cursor, query)
    }
}

fn binding(symbol: &str, params: &Params) -> String {
    format!("ticks\0{symbol}\0{}", params.canonical(&[]))
}
