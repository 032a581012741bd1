//! `GET /stocks/time-series/{symbol}`: the daily bars of the original service, raw or grouped.
//!
//! Keys are sorted by name; any fault is 400 with the JSON string `"Bad Request"`.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use chrono::NaiveDate;
use common::calendar::{Anchor, Periods, local_date};
use common::candle::Candle;
use common::interval::{Interval, Unit};

use crate::app::App;
use crate::caching::{self, Freshness, Known};
use crate::encode::Json;
use crate::params::Params;
use crate::planner::Source;
use crate::problem::{ApiError, Plain};
use crate::store::{Direction, Part, Range, Symbol};

const FREQUENCIES: [(&str, Unit); 5] = [
    ("Daily", Unit::Day),
    ("Weekly", Unit::Week),
    ("Monthly", Unit::Month),
    ("Quarterly", Unit::Quarter),
    ("Annual", Unit::Year),
];

/// A day, or the start of a group, and its candle.
type Bar = (NaiveDate, Candle);

pub(crate) async fn get(
    State(app): State<App>,
    symbol: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (Ok(Path(name)), Ok(groups)) = (symbol, groups(&uri)) else {
        return Ok(bad_request());
    };
    let mut snapshot = app.store.snapshot().await?;
    let symbol = snapshot.symbol(&name).await?;
    // Days have no `complete` here: the clock decides nothing.
    let of = symbol.as_ref().map(Symbol::state);
    let state = caching::State::of(&format!("time-series\0{name}\0{groups:?} {of:?}"));
    // The answer always reaches up to the day that has not ended.
    let freshness = Freshness::Open;
    let known = Known::of(&headers);
    if let Some(response) = known.answer(state, freshness) {
        snapshot.end();
        return Ok(response);
    }
    let mut bars: Vec<Bar> = Vec::new();
    if let Some(symbol) = symbol {
        let mut rest = all_days(&symbol);
        while let Some(range) = rest {
            let mut each = |part: Part| {
                let date = local_date(part.time, symbol.tz);
                bars.extend(part.candle.map(|candle| (date, candle)));
            };
            let days = Source::Days;
            rest = snapshot
                .parts(
                    &symbol,
                    days,
                    range,
                    Direction::Forward,
                    u64::MAX,
                    &mut each,
                )
                .await?;
        }
    }
    snapshot.end();

    let body = match groups {
        Some(interval) => write(&name, "period_start", &group(bars, interval)),
        None => write(&name, "date", &bars),
    };
    Ok(known.answer_with(Some(state), freshness, body))
}

/// The groups asked for: `None` for raw days, as when only one of the parameters is given.
fn groups(uri: &Uri) -> Result<Option<Interval>, ApiError> {
    let mut params = Params::read(uri, &["interval", "frequency"]);
    let count = params.number("interval", 1..=1000);
    let unit = params.choice("frequency", &FREQUENCIES);
    params.check()?;
    Ok(count
        .zip(unit)
        .and_then(|(count, unit)| Interval::new(count, unit).ok()))
}

fn all_days(symbol: &Symbol) -> Option<Range> {
    let (first, last) = symbol.entry.first_tick.zip(symbol.entry.last_tick)?;
    let day = |tick| common::calendar::day_bounds(local_date(tick, symbol.tz), symbol.tz);
    Some(Range {
        from: day(first).0,
        to: day(last).1,
    })
}

/// Groups that count from the period of the first bar; those without a bar do not exist.
fn group(bars: Vec<Bar>, interval: Interval) -> Vec<Bar> {
    let Some((first, _)) = bars.first() else {
        return bars;
    };
    let periods = Periods::new(interval, Anchor::First(*first));
    let mut groups: Vec<Bar> = Vec::new();
    for (date, candle) in bars {
        let start = periods.start(date);
        match groups.last_mut() {
            Some((current, whole)) if *current == start => whole.merge(&candle),
            _ => groups.push((start, candle)),
        }
    }
    groups
}

fn write(symbol: &str, date_key: &str, bars: &[Bar]) -> String {
    let mut json = Json::with_capacity(16 + bars.len() * 140);
    json.open('[');
    for (date, candle) in bars {
        json.open('{');
        json.key("close").literal(candle.close.price);
        let date = date.to_string();
        if date_key == "date" {
            json.key(date_key).string(&date);
        }
        json.key("high").literal(candle.high);
        json.key("low").literal(candle.low);
        json.key("open").literal(candle.open.price);
        if date_key != "date" {
            json.key(date_key).string(&date);
        }
        json.key("symbol").string(symbol);
        json.key("volume").literal(&candle.volume);
        json.close('}');
    }
    json.close(']');
    json.into_text()
}

fn bad_request() -> Response {
    let headers = [(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    )];
    let mut response = (StatusCode::BAD_REQUEST, headers, "\"Bad Request\"").into_response();
    response.extensions_mut().insert(Plain);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_asked_for_by_both_parameters_and_each_is_checked_alone() {
        let read = |query: &str| groups(&format!("/x{query}").parse().unwrap());
        for (query, interval) in [
            ("", None),
            ("?interval=2", None),
            ("?frequency=Weekly", None),
            ("?interval=2&frequency=Weekly", Some("2w")),
        ] {
            assert_eq!(
                read(query).unwrap().map(|i| i.to_string()).as_deref(),
                interval,
                "{query}"
            );
        }
        for frequency in FREQUENCIES {
            assert!(
                read(&format!("?interval=1000&frequency={}", frequency.0))
                    .unwrap()
                    .is_some()
            );
        }
        for query in [
            "?interval=0",
            "?interval=-1",
            "?interval=1001",
            "?interval=x",
            "?interval=",
            "?interval=1.0",
            "?interval=%2B1",
            "?frequency=weekly",
            "?frequency=Yearly",
            "?frequency=",
            "?x=1",
            "?interval=1&interval=2",
            "?interval=0&frequency=Weekly",
        ] {
            assert!(read(query).is_err(), "{query}");
        }
    }
}
