//! The JSON of a page.

use common::amount::Amount;
use common::candle::Candle;

use super::fold::Row;
use super::page::Page;
use super::query::{Fill, Query};
use crate::encode::Json;
use crate::store::Symbol;

/// Decimals of a vwap beyond those of the row's prices.
const VWAP_PLACES: u32 = 8;
/// About the length of a row, to allocate once.
const ROW_BYTES: usize = 420;

/// The whole answer.
pub(crate) fn page(query: &Query, symbol: &Symbol, page: &Page, cursor: Option<&str>) -> String {
    let mut json = Json::with_capacity(512 + page.rows.len() * ROW_BYTES);
    let boundary = |tick: Option<i64>| tick.map(|tick| page.grid.bucket(tick).start);
    json.open('{');
    json.key("symbol").string(&symbol.name);
    json.key("interval").string(&query.interval.to_string());
    json.key("tz").string(page.grid.tz().name());
    json.key("from").optional_string(query.asked("from"));
    json.key("to").optional_string(query.asked("to"));
    json.key("fill").string(query.fill.name());
    json.key("as_of")
        .time(page.rows.iter().filter_map(|row| row.updated_at).max());
    json.key("available").open('{');
    json.key("first").time(boundary(symbol.entry.first_tick));
    json.key("last").time(boundary(symbol.entry.last_tick));
    json.close('}');
    json.key("candles").open('[');
    for row in &page.rows {
        write_row(&mut json, row, symbol.now, query);
    }
    json.close(']');
    json.key("next_cursor").optional_string(cursor);
    json.close('}');
    json.into_text()
}

fn write_row(json: &mut Json, row: &Row, now: i64, query: &Query) {
    let candle = row.candle.as_ref();
    let traded = candle.filter(|candle| candle.trades > 0);
    let zero = Amount::ZERO;
    let quoted = query.quoted;
    json.open('{');
    json.key("open_time").time(Some(row.bucket.start));
    json.key("close_time").time(Some(row.bucket.end));
    json.key("open")
        .decimal(candle.map(|candle| candle.open.price), quoted);
    json.key("high")
        .decimal(candle.map(|candle| candle.high), quoted);
    json.key("low")
        .decimal(candle.map(|candle| candle.low), quoted);
    json.key("close")
        .decimal(candle.map(|candle| candle.close.price), quoted);
    json.key("volume")
        .decimal(Some(candle.map_or(&zero, |candle| &candle.volume)), quoted);
    json.key("turnover").decimal(
        Some(candle.map_or(&zero, |candle| &candle.turnover)),
        quoted,
    );
    json.key("vwap").decimal(candle.and_then(vwap), quoted);
    json.key("trades")
        .literal(candle.map_or(0, |candle| candle.trades));
    json.key("first_time")
        .time(traded.map(|candle| candle.open.key.event_time.micros()));
    json.key("last_time")
        .time(traded.map(|candle| candle.close.key.event_time.micros()));
    json.key("complete").literal(row.bucket.end <= now);
    json.key("revision").literal(row.revision);
    json.key("updated_at").time(row.updated_at);
    json.key("filled")
        .literal(query.fill != Fill::None && traded.is_none());
    json.close('}');
}

/// Turnover / volume, half-even, to 8 places more than the row's prices have; `None` without volume.
fn vwap(candle: &Candle) -> Option<Amount> {
    let prices = [
        candle.open.price,
        candle.high,
        candle.low,
        candle.close.price,
    ];
    let scale = prices
        .iter()
        .map(|price| u32::from(price.scale()))
        .max()
        .unwrap_or(0);
    candle.turnover.divide(&candle.volume, scale + VWAP_PLACES)
}
