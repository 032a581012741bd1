//! `GET /v1/candles?symbols=A,B`: the candles of several symbols from one snapshot.
//!
//! Under each symbol stands what `/v1/candles/{symbol}` answers to the other parameters, but for the number of rows where
//! no limit is asked for. A symbol pages by its own cursor, at its own path.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;

use super::answer;
use super::page::Frame;
use super::query::{NAMES, Query, SYMBOLS};
use super::warm_up::Feeds;
use crate::app::App;
use crate::caching::{self, Freshness, Known};
use crate::encode::Json;
use crate::output::Output;
use crate::problem::{ApiError, Fault};
use crate::store::Symbol;

/// The names of all parameters of the query: JSON is the only form.
pub(crate) fn parameters() -> Vec<&'static str> {
    let told = Output::NAMES.into_iter().filter(|name| *name != "format");
    NAMES.into_iter().chain([SYMBOLS]).chain(told).collect()
}

pub(crate) async fn get(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let queries = Query::read_many(&uri, &headers, &app.limits)?;
    let mut snapshot = app.store.snapshot().await?;
    let names: Vec<&str> = queries.iter().map(Query::symbol).collect();
    let found = snapshot.symbols(&names).await?;
    let by_name: BTreeMap<&str, &Symbol> = found
        .iter()
        .map(|symbol| (symbol.name.as_str(), symbol))
        .collect();
    let asked: Vec<(&Query, Option<&Symbol>)> = queries
        .iter()
        .map(|query| (query, by_name.get(query.symbol()).copied()))
        .collect();
    let mut frames = Vec::with_capacity(asked.len());
    for (query, symbol) in &asked {
        let frame = symbol
            .map(|symbol| Frame::new(query, symbol, &app.limits))
            .transpose()?;
        frames.push(frame);
    }

    // An unknown symbol may come to be at any time.
    let freshness = frames
        .iter()
        .map(|frame| {
            let of = |frame: &Frame<'_>| frame.freshness(app.correction_horizon);
            frame.as_ref().map_or(Freshness::Recent, of)
        })
        .max()
        .unwrap_or(Freshness::Recent);
    let states: Vec<_> = frames
        .iter()
        .map(|frame| frame.as_ref().map(Frame::state))
        .collect();
    let state = caching::State::of(&format!("{names:?} {states:?}"));
    let now = found.first().map(|symbol| symbol.now);
    let changed_at = found.iter().filter_map(|symbol| symbol.changed_at).max();
    let known = Known::of(&headers);
    let lag = |mut response: Response| {
        caching::tell_lag(&mut response, now.unwrap_or(0), changed_at);
        response
    };
    if let Some(response) = known.answer(state, freshness) {
        snapshot.end();
        return Ok(lag(response));
    }

    let mut pages = Vec::with_capacity(frames.len());
    for frame in frames {
        pages.push(match frame {
            Some(frame) => Some(frame.read(&mut snapshot, &mut Feeds::default()).await?),
            None => None,
        });
    }
    snapshot.end();

    let mut json = Json::default();
    json.open('{');
    json.key("symbols").open('{');
    for ((query, symbol), page) in asked.iter().zip(&pages) {
        json.name(query.symbol());
        match symbol.zip(page.as_ref()) {
            Some((symbol, page)) => json.literal(answer::object(query, symbol, page)?),
            None => json.literal("null"),
        }
    }
    json.close('}');
    json.key("errors").open('[');
    for (query, _) in asked.iter().filter(|(_, symbol)| symbol.is_none()) {
        let fault = Fault::new(SYMBOLS, format!("unknown symbol {}", query.symbol()));
        let text = serde_json::to_string(&fault);
        json.literal(text.map_err(|error| ApiError::Data(error.to_string()))?);
    }
    json.close(']');
    json.close('}');
    Ok(lag(known.answer_with(
        Some(state),
        freshness,
        json.into_text(),
    )))
}
