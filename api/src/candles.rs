//! `GET /v1/candles/{symbol}`, and of several symbols: query -> pages of rows -> table.

mod answer;
mod columns;
mod fold;
pub(crate) mod many;
mod page;
mod pieces;
mod query;
mod warm_up;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri, Version};
use axum::response::Response;
use common::calendar::Bucket;

use self::columns::Columns;
use self::fold::Row;
use self::query::Query;
use crate::app::App;
use crate::export;
use crate::format::Format;
use crate::output::Output;
use crate::problem::ApiError;
use crate::store::{Part, Symbol};
use crate::table::{self, Envelope, Kind, Spelling, Times};

pub(crate) async fn get(
    State(app): State<App>,
    symbol: Result<Path<String>, PathRejection>,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    // A path that is not UTF-8 names no symbol.
    let Path(name) = symbol.map_err(|_| ApiError::NotFound)?;
    let query = Query::read(&uri, &headers, &name, &app.limits)?;
    let place = export::admit(&app, query.whole, version).await?;
    let mut snapshot = app.store.snapshot().await?;
    let Some(symbol) = snapshot.symbol(&name).await? else {
        return Err(ApiError::UnknownSymbol(name));
    };
    answer::answer(&app, query, symbol, snapshot, place, &uri, &headers).await
}

/// The names of all parameters of the query.
pub(crate) fn parameters() -> Vec<&'static str> {
    [&query::NAMES[..], &["cursor"], &Output::NAMES].concat()
}

/// The columns of a row.
pub(crate) fn columns() -> Vec<(&'static str, Kind)> {
    columns::all()
}

/// The JSON object of one candle, made of a part that is its whole.
pub(crate) fn object(
    symbol: &Symbol,
    bucket: Bucket,
    part: &Part,
    quoted: bool,
) -> Result<String, ApiError> {
    let row = Row {
        bucket,
        candle: part.candle.clone(),
        revision: part.changes.map_or(0, |changes| changes.revision),
        updated_at: part.changes.map(|changes| changes.updated_at),
        indicators: Vec::new(),
    };
    let fields: Vec<usize> = (0..columns::NAMES.len()).collect();
    let columns = Columns::new(&fields, &[], symbol, false);
    let spelling = Spelling {
        quoted,
        times: Times::Utc,
        tz: symbol.tz,
    };
    let envelope = Envelope::default();
    let mut encoder = table::encoder(Format::Ndjson, columns.list(), spelling, envelope)?;
    columns.write(&[row], &mut *encoder)?;
    let line = String::from_utf8(encoder.finish()?);
    line.map_err(|error| ApiError::Data(error.to_string()))
}
