//! `GET /v1/candles/{symbol}`: query -> page of rows -> JSON.

mod encode;
mod fold;
mod page;
mod query;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::Response;

use self::page::Frame;
use self::query::Query;
use crate::app::App;
use crate::caching::{self, Known};
use crate::problem::ApiError;

pub(crate) async fn get(
    State(app): State<App>,
    symbol: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    // A path that is not UTF-8 names no symbol.
    let Path(name) = symbol.map_err(|_| ApiError::NotFound)?;
    let query = Query::read(&uri, &name, &app.limits)?;
    let mut snapshot = app.store.snapshot().await?;
    let Some(symbol) = snapshot.symbol(&name).await? else {
        return Err(ApiError::UnknownSymbol(name));
    };
    let frame = Frame::new(&query, &symbol, &app.limits)?;
    let (state, freshness) = (frame.state(), frame.freshness(app.correction_horizon));
    let known = Known::of(&headers);
    if let Some(mut response) = known.answer(state, freshness) {
        snapshot.end().await?;
        caching::tell_lag(&mut response, symbol.now, symbol.changed_at);
        return Ok(response);
    }
    let page = frame.read(&mut snapshot).await?;
    snapshot.end().await?;

    let next = page.next.map(|position| query.next(position));
    let body = encode::page(
        &query,
        &symbol,
        &page,
        next.as_ref().map(|(cursor, _)| cursor.as_str()),
    );
    let mut response = known.answer_with(Some(state), freshness, body);
    caching::tell_lag(&mut response, symbol.now, symbol.changed_at);
    if let Some((_, next)) = next
        && let Ok(link) = HeaderValue::from_str(&format!("<{}?{next}>; rel=\"next\"", uri.path()))
    {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}
