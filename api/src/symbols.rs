//! `GET /v1/symbols` and `GET /v1/symbols/{symbol}`: the catalogue.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;

use crate::app::App;
use crate::caching::{self, Freshness, Known};
use crate::cursor;
use crate::encode::Json;
use crate::link;
use crate::params::Params;
use crate::problem::{ApiError, Fault};
use crate::store::Entry;

/// The names of the parameters of the list.
pub(crate) const PARAMETERS: [&str; 3] = ["q", "limit", "cursor"];

pub(crate) async fn list(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut params = Params::read(&uri, &PARAMETERS);
    let limit = params
        .number("limit", 1..=app.limits.max_rows)
        .unwrap_or(app.limits.default_rows);
    let part = params.value("q", |text| {
        let usable = Some(text.to_owned()).filter(|text| !text.contains('\0'));
        usable.ok_or_else(|| Fault::new("q", "holds a NUL character"))
    });
    let binding = format!("symbols\0{}", params.canonical(&[]));
    let after: Option<String> = params.value("cursor", |text| {
        cursor::open(text, &binding)
            .filter(|name: &String| !name.contains('\0'))
            .ok_or_else(cursor::fault)
    });
    params.check()?;

    // One row more than the page tells whether another follows.
    let mut found = app
        .store
        .symbols(
            &after.unwrap_or_default(),
            &part.unwrap_or_default(),
            limit + 1,
        )
        .await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found
        .last()
        .filter(|_| more)
        .map(|(name, _)| cursor::seal(name, &binding));

    let mut json = Json::default();
    json.open('{');
    json.key("symbols").open('[');
    for (name, entry) in &found {
        write_entry(&mut json, name, entry);
    }
    json.close(']');
    json.key("next_cursor").optional_string(next.as_deref());
    json.close('}');
    let mut response = answer(&headers, json);
    if let Some(next) = next {
        link::write_next(response.headers_mut(), &uri, &params.with_cursor(&next));
    }
    Ok(response)
}

pub(crate) async fn get(
    State(app): State<App>,
    symbol: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Path(name) = symbol.map_err(|_| ApiError::NotFound)?;
    Params::read(&uri, &[]).check()?;
    let mut snapshot = app.store.snapshot().await?;
    let symbol = snapshot.symbol(&name).await?;
    snapshot.end();
    let symbol = symbol.ok_or(ApiError::UnknownSymbol(name))?;
    let mut json = Json::default();
    write_entry(&mut json, &symbol.name, &symbol.entry);
    let mut response = answer(&headers, json);
    caching::tell_lag(&mut response, symbol.now, symbol.changed_at);
    Ok(response)
}

fn write_entry(json: &mut Json, name: &str, entry: &Entry) {
    json.open('{');
    json.key("symbol").string(name);
    json.key("timezone").string(&entry.timezone);
    json.key("price_scale").literal(entry.price_scale);
    json.key("size_scale").literal(entry.size_scale);
    json.key("first_tick").time(entry.first_tick);
    json.key("last_tick").time(entry.last_tick);
    json.close('}');
}

/// A tick of any symbol may change the catalogue: it is validated at each use, by its bytes.
fn answer(headers: &HeaderMap, json: Json) -> Response {
    Known::of(headers).answer_with(None, Freshness::Recent, json.into_text())
}
