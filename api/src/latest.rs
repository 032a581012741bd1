//! `GET /v1/latest`: the last tick, the open minute and the day of symbols, in one snapshot.

use axum::extract::State;
use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse as _, Response};
use common::calendar::{Bucket, day_bounds};

use crate::app::App;
use crate::caching;
use crate::candles;
use crate::encode::Json;
use crate::params::Params;
use crate::problem::{ApiError, Fault};
use crate::store::{Last, Latest};

/// The names of its parameters.
pub(crate) const PARAMETERS: [&str; 2] = ["symbols", "numbers"];

const MINUTE: i64 = 60_000_000;

pub(crate) async fn get(State(app): State<App>, uri: Uri) -> Result<Response, ApiError> {
    let mut params = Params::read(&uri, &PARAMETERS);
    let names = params.symbols("symbols", app.limits.max_symbols);
    let quoted = params.choice("numbers", &[("number", false), ("string", true)]);
    params.check()?;
    let (names, quoted) = (names.unwrap_or_default(), quoted.unwrap_or(false));
    // What ingest would not store is not asked for: PostgreSQL refuses NUL in a text.
    let known = |name: &&str| common::tick::Symbol::check(name).is_ok();
    let asked: Vec<&str> = names.iter().map(String::as_str).filter(known).collect();
    let found = app.store.latest(&asked).await?;

    let newest = found
        .iter()
        .max_by_key(|latest| latest.symbol.changed_at)
        .map(|latest| &latest.symbol);
    let changed_at = newest.and_then(|symbol| symbol.changed_at);
    let mut json = Json::default();
    json.open('{');
    json.key("as_of").time(changed_at);
    json.key("latest").open('{');
    for name in &names {
        json.name(name);
        match found.iter().find(|latest| latest.symbol.name == *name) {
            Some(latest) => write(&mut json, latest, quoted)?,
            None => json.literal("null"),
        }
    }
    json.close('}');
    json.key("errors").open('[');
    for name in &names {
        if !found.iter().any(|latest| latest.symbol.name == *name) {
            let fault = Fault::new("symbols", format!("unknown symbol {name}"));
            let text = serde_json::to_string(&fault);
            json.literal(text.map_err(|error| ApiError::Data(error.to_string()))?);
        }
    }
    json.close(']');
    json.close('}');
    let body = json.into_text();
    let kind = HeaderValue::from_static("application/json");
    let mut response = ([(header::CONTENT_TYPE, kind)], body).into_response();
    if let Some(symbol) = newest {
        caching::tell_lag(&mut response, symbol.now, changed_at);
    }
    Ok(response)
}

fn write(json: &mut Json, latest: &Latest, quoted: bool) -> Result<(), ApiError> {
    let symbol = &latest.symbol;
    let last = latest.last.as_ref();
    json.open('{');
    json.key("symbol").string(&symbol.name);
    json.key("timezone").string(&symbol.entry.timezone);
    json.key("last");
    match last {
        Some(last) => {
            json.open('{');
            json.key("time").time(Some(last.time));
            decimal(
                json.key("sequence"),
                Some(&last.sequence.to_string()),
                quoted,
            );
            decimal(json.key("price"), Some(&last.close), quoted);
            decimal(json.key("size"), last.size.as_deref(), quoted);
            json.close('}');
        }
        None => json.literal("null"),
    }
    json.key("candle");
    match &latest.minute {
        Some(part) => {
            let bucket = Bucket {
                start: part.time,
                end: part.time + MINUTE,
            };
            json.literal(candles::object(symbol, bucket, part, quoted)?.trim_end());
        }
        None => json.literal("null"),
    }
    let previous_close = last.and_then(|last| last.previous_close.as_deref());
    decimal(json.key("previous_close"), previous_close, quoted);
    let change = last.and_then(|last| last.change.as_deref());
    decimal(json.key("change"), change, quoted);
    json.key("day");
    match last {
        Some(last) => write_day(json, latest, last, quoted),
        None => json.literal("null"),
    }
    // Below zero for a tick that is ahead of the database's clock.
    let age = last.map(|last| (symbol.now - last.time).div_euclid(1_000));
    match age {
        Some(age) => json.key("age_ms").literal(age),
        None => json.key("age_ms").literal("null"),
    }
    json.close('}');
    Ok(())
}

/// An exact decimal: a number literal, or the same digits in quotes.
fn decimal(json: &mut Json, digits: Option<&str>, quoted: bool) {
    match digits {
        Some(digits) if quoted => json.string(digits),
        Some(digits) => json.literal(digits),
        None => json.literal("null"),
    }
}

/// The day of the last tick, in the symbol's zone.
fn write_day(json: &mut Json, latest: &Latest, last: &Last, quoted: bool) {
    let (start, end) = day_bounds(last.date, latest.symbol.tz);
    json.open('{');
    json.key("date").string(&last.date.to_string());
    json.key("open_time").time(Some(start));
    json.key("close_time").time(Some(end));
    for (name, value) in [
        ("open", &last.open),
        ("high", &last.high),
        ("low", &last.low),
        ("close", &last.close),
        ("volume", &last.volume),
    ] {
        decimal(json.key(name), Some(value), quoted);
    }
    json.key("trades").literal(last.trades);
    json.key("complete").literal(end <= latest.symbol.now);
    json.close('}');
}
