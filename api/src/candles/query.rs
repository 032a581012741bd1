//! The parameters of `/v1/candles/{symbol}`.

use axum::http::{HeaderMap, Uri};
use chrono::NaiveDate;
use chrono_tz::Tz;
use common::interval::{Interval, Unit};
use serde::{Deserialize, Serialize};

use super::{columns, many};
use crate::cursor;
use crate::format::Format;
use crate::indicators::{self, Asked};
use crate::limits::Limits;
use crate::output::Output;
use crate::params::{Params, When, bounds};
use crate::problem::{ApiError, Fault};

/// The names of its parameters, those of [`Output`] and of what is asked about apart.
pub(super) const NAMES: [&str; 11] = [
    "interval",
    "tz",
    "from",
    "to",
    "limit",
    "order",
    "partial",
    "fill",
    "anchor",
    "updated_since",
    "indicators",
];
/// Which symbols; no part of what a cursor is bound to.
pub(super) const SYMBOLS: &str = "symbols";
/// Rows that are read at a time where all are asked for.
const WHOLE_LIMIT: u32 = 5_000;

/// What stands in for candles of buckets without ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    /// Nothing: such buckets are left out.
    None,
    /// Null prices, volume 0.
    Null,
    /// The close before, as all four prices.
    Previous,
}

impl Fill {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Null => "null",
            Self::Previous => "previous",
        }
    }
}

/// What buckets are counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alignment {
    /// Local 1970.
    Calendar,
    /// 1970-01-01T00:00:00Z, without regard to any zone.
    Epoch,
    /// The symbol's first period.
    First,
}

/// Where a page ended, microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The last bucket told starts here.
    #[serde(rename = "k")]
    pub(crate) last: i64,
    /// End of the range, as the first page had it.
    #[serde(rename = "u")]
    pub(crate) until: i64,
    /// The date that buckets are counted from, when it is the symbol's first: an earlier tick that
    /// comes between two pages must not move them.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub(crate) first: Option<NaiveDate>,
    /// The zone whose dates and buckets these are.
    #[serde(rename = "z", default)]
    pub(crate) tz: Option<Tz>,
}

/// A checked query.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    params: Params,
    symbol: String,
    pub(crate) interval: Interval,
    pub(crate) tz: Option<Tz>,
    pub(crate) from: Option<When>,
    pub(crate) to: Option<When>,
    pub(crate) limit: usize,
    /// Newest first.
    pub(crate) descending: bool,
    /// Candles that have not ended too.
    pub(crate) partial: bool,
    pub(crate) fill: Fill,
    pub(crate) alignment: Alignment,
    /// Only candles that changed at this time or later.
    pub(crate) updated_since: Option<When>,
    /// How rows are told.
    pub(crate) output: Output,
    /// All rows of the range, not a page of them.
    pub(crate) whole: bool,
    pub(crate) indicators: Vec<Asked>,
    pub(crate) position: Option<Position>,
}

impl Query {
    /// Reads the query of `uri` for one symbol.
    ///
    /// # Errors
    /// With all faults at once.
    pub(crate) fn read(
        uri: &Uri,
        headers: &HeaderMap,
        symbol: &str,
        limits: &Limits,
    ) -> Result<Self, ApiError> {
        let params = Params::read(uri, &super::parameters());
        Self::check(params, headers, symbol, limits, &Format::NAMES)
    }

    /// Reads the query of `uri` for the symbols that it names, in their order.
    ///
    /// # Errors
    /// With all faults at once.
    pub(crate) fn read_many(
        uri: &Uri,
        headers: &HeaderMap,
        limits: &Limits,
    ) -> Result<Vec<Self>, ApiError> {
        let mut params = Params::read(uri, &many::parameters());
        let symbols = params.symbols(SYMBOLS, limits.max_symbols);
        let count = u32::try_from(symbols.as_ref().map_or(1, Vec::len)).unwrap_or(u32::MAX);
        let each = (limits.max_rows / count.max(1)).max(1);
        let asked = params.text("limit").and_then(|text| text.parse().ok());
        if asked.is_some_and(|rows: u32| each < rows && rows <= limits.max_rows) {
            let detail = format!("symbols x limit may be at most {}", limits.max_rows);
            params.fault(Fault::new("limit", detail).hint(Some(each.to_string())));
        }
        let mut query = Self::check(params, headers, "", limits, &Format::NAMES[..1])?;
        query.limit = query.limit.min(each as usize);
        let of = |symbol: String| Self {
            symbol,
            ..query.clone()
        };
        Ok(symbols.unwrap_or_default().into_iter().map(of).collect())
    }

    fn check(
        mut params: Params,
        headers: &HeaderMap,
        symbol: &str,
        limits: &Limits,
        formats: &[(&str, Format)],
    ) -> Result<Self, ApiError> {
        if params.text("interval").is_none() {
            params.fault(Fault::new("interval", "required, such as 5m, 1h, 1d or 1M"));
        }
        let interval = params.interval("interval");
        let tz = params.zone("tz");
        let (from, to) = params.range(tz, limits);
        let limit = params.number("limit", 1..=limits.max_rows);
        // Without `from` a page is as long as its candles; all there is, is measured once it is known.
        let most = interval
            .filter(|_| params.text("from").is_none())
            .map_or(limits.max_rows, |interval| limits.rows_of(interval));
        if limit.is_some_and(|limit| limit > most) {
            let detail = "so many candles are a longer range than there may be (max_span_ms)";
            params.fault(Fault::new("limit", detail).hint(Some(most.to_string())));
        }
        let descending = params.choice("order", &[("asc", false), ("desc", true)]);
        let partial = params.choice("partial", &[("exclude", false), ("include", true)]);
        let fill = params.choice(
            "fill",
            &[
                ("none", Fill::None),
                ("null", Fill::Null),
                ("previous", Fill::Previous),
            ],
        );
        let alignment = params.choice(
            "anchor",
            &[
                ("calendar", Alignment::Calendar),
                ("epoch", Alignment::Epoch),
                ("first", Alignment::First),
            ],
        );
        let months = |interval: Interval| {
            matches!(interval.unit(), Unit::Month | Unit::Quarter | Unit::Year)
        };
        if alignment == Some(Alignment::Epoch) && interval.is_some_and(months) {
            let detail = "months, quarters and years vary in length: no even grid holds them";
            params.fault(Fault::new("anchor", detail).allowed(&["calendar", "first"]));
        }
        let updated_since = params.when("updated_since");
        if updated_since.is_some() && fill.is_some_and(|fill| fill != Fill::None) {
            let detail = "a bucket without ticks has not changed: not together with updated_since";
            params.fault(Fault::new("fill", detail).allowed(&["none"]));
        }
        let output = Output::read(&mut params, headers, &columns::NAMES, formats);
        let indicators = indicators(&mut params);
        if updated_since.is_some() && !indicators.is_empty() {
            let detail = "are made of all candles, not of those that changed: not together with updated_since";
            params.fault(Fault::new("indicators", detail));
        }
        let binding = binding(symbol, &params);
        let position = params.value("cursor", |text| {
            cursor::open(text, &binding).ok_or_else(cursor::fault)
        });
        params.check()?;
        let Some(interval) = interval else {
            return Err(ApiError::Parameters(Vec::new()));
        };
        let output = output.ok_or(ApiError::NotAcceptable)?;
        let whole = output.is_whole(limit, position.is_some());
        let limit = limit.unwrap_or(if whole {
            WHOLE_LIMIT
        } else {
            limits.default_rows.min(most)
        });
        Ok(Self {
            params,
            symbol: symbol.to_owned(),
            interval,
            tz,
            from,
            to,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            descending: descending.unwrap_or(false),
            partial: partial.unwrap_or(false),
            fill: fill.unwrap_or(Fill::None),
            alignment: alignment.unwrap_or(Alignment::Calendar),
            updated_since,
            output,
            whole,
            indicators,
            position,
        })
    }

    /// The symbol.
    pub(crate) fn symbol(&self) -> &str {
        &self.symbol
    }

    /// `from` and `to` as instants in a zone.
    ///
    /// # Errors
    /// When `from` is after `to`.
    pub(crate) fn bounds(&self, tz: Tz) -> Result<(Option<i64>, Option<i64>), ApiError> {
        bounds(self.from, self.to, tz)
    }

    /// A parameter as it was asked for.
    pub(crate) fn asked(&self, name: &str) -> Option<&str> {
        self.params.text(name)
    }

    /// The query, whatever the order of its parameters, with the limit that it has without one; the position of its
    /// cursor apart.
    pub(crate) fn binding(&self) -> String {
        format!("{}{}", binding(&self.symbol, &self.params), self.limit)
    }

    /// The cursor of the page after `position`, and the query string that asks for that page.
    pub(crate) fn next(&self, position: Position) -> (String, String) {
        let cursor = cursor::seal(&position, &binding(&self.symbol, &self.params));
        let query = self.params.with_cursor(&cursor);
        (cursor, query)
    }
}

fn indicators(params: &mut Params) -> Vec<Asked> {
    match params.text("indicators").map(indicators::parse) {
        Some(Ok(asked)) => asked,
        Some(Err(faults)) => {
            for fault in faults {
                params.fault(fault);
            }
            Vec::new()
        }
        None => Vec::new(),
    }
}

fn binding(symbol: &str, params: &Params) -> String {
    format!("candles\0{symbol}\0{}", params.canonical(&[SYMBOLS]))
}

#[cfg(test)]
mod tests;
