//! `GET /v1/candles/{symbol}`: query -> pages of rows -> table.

mod answer;
mod columns;
mod fold;
mod page;
mod query;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;

use self::query::Query;
use crate::app::App;
use crate::problem::ApiError;

pub(crate) async fn get(
    State(app): State<App>,
    symbol: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    // A path that is not UTF-8 names no symbol.
    let Path(name) = symbol.map_err(|_| ApiError::NotFound)?;
    let query = Query::read(&uri, &headers, &name, &app.limits)?;
    let mut snapshot = app.store.snapshot().await?;
    let Some(symbol) = snapshot.symbol(&name).await? else {
        return Err(ApiError::UnknownSymbol(name));
    };
    answer::answer(&app, query, symbol, snapshot, &uri, &headers).await
}
