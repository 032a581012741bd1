//! The answer to a query of one symbol's candles.

use std::sync::Arc;

use axum::http::{HeaderMap, Uri};
use axum::response::Response;

use super::columns::Columns;
use super::page::{Frame, Page};
use super::query::{Fill, Query};
use super::warm_up::Feeds;
use crate::answer::Answer;
use crate::app::App;
use crate::caching::{self, Known};
use crate::decimals;
use crate::envelope::Envelope;
use crate::export::{Pages, Place};
use crate::format::Format;
use crate::limits::Limits;
use crate::problem::ApiError;
use crate::store::{Snapshot, Symbol};
use crate::table::{self, Encoder};

/// The answer to a query of a symbol that exists; an export has its place already.
pub(super) async fn answer(
    app: &App,
    mut query: Query,
    symbol: Symbol,
    mut snapshot: Snapshot,
    place: Option<Place>,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let frame = Frame::new(&query, &symbol, &app.limits)?;
    let (state, freshness) = (frame.state(), frame.freshness(app.correction_horizon));
    let known = Known::of(headers);
    if let Some(mut response) = known.answer(state, freshness) {
        snapshot.end();
        caching::tell_lag(&mut response, symbol.now, symbol.changed_at);
        return Ok(response);
    }
    if query.output.has_narrow_decimals() {
        decimals::check(&symbol, &snapshot.extremes(&symbol).await?)?;
    }
    let mut feeds = Feeds::default();
    let page = frame.read(&mut snapshot, &mut feeds).await?;

    // A page may be longer than an export may be.
    let rows = page.rows.len() as u64;
    let export = query.whole && (page.next.is_some() || rows > app.limits.max_export_rows);
    let next = page.next.filter(|_| !export).map(|last| query.next(last));
    let as_of = if export {
        // The rows to come are not known yet: the symbol's newest change stands for theirs.
        symbol.changed_at
    } else {
        page.as_of
    };
    let cursor = next.as_ref().map(|(cursor, _)| cursor.as_str());
    let answer = Answer {
        format: query.output.format,
        spelling: query.output.spelling(page.grid.tz()),
        envelope: envelope(&query, &symbol, &page, as_of, cursor),
        state,
        freshness,
        age: (symbol.now, symbol.changed_at),
    };
    let columns = Columns::new(
        &query.output.fields,
        &query.indicators,
        &symbol,
        query.fill != Fill::None,
    );
    let mut encoder = answer.encoder(columns.list())?;
    if export {
        query.position = page.next;
        let pages = CandlePages {
            query,
            symbol,
            snapshot,
            columns,
            feeds,
            limits: app.limits.clone(),
        };
        return Ok(answer.export(pages, page, encoder, app, place));
    }
    snapshot.end();
    drop(place);
    columns.write(&page.rows, &mut *encoder)?;
    let next = next.as_ref().map(|(_, query)| query.as_str());
    answer.page(&known, encoder, uri, next)
}

/// The JSON of a page.
///
/// # Errors
/// When a value does not fit its column.
pub(super) fn object(query: &Query, symbol: &Symbol, page: &Page) -> Result<String, ApiError> {
    let next = page.next.map(|last| query.next(last).0);
    let envelope = envelope(query, symbol, page, page.as_of, next.as_deref());
    let columns = Columns::new(
        &query.output.fields,
        &query.indicators,
        symbol,
        query.fill != Fill::None,
    );
    let spelling = query.output.spelling(page.grid.tz());
    let mut encoder = table::encoder(Format::Json, columns.list(), spelling, envelope.around())?;
    columns.write(&page.rows, &mut *encoder)?;
    String::from_utf8(encoder.finish()?).map_err(|error| ApiError::Data(error.to_string()))
}

/// What is said beside the rows.
fn envelope(
    query: &Query,
    symbol: &Symbol,
    page: &Page,
    as_of: Option<i64>,
    cursor: Option<&str>,
) -> Envelope {
    let (first, last) = page.available.unzip();
    Envelope::new(query.output.spelling(page.grid.tz()))
        .text("symbol", Some(&symbol.name))
        .text("interval", Some(&query.interval.to_string()))
        .text("tz", Some(page.grid.tz().name()))
        .text("from", query.asked("from"))
        .text("to", query.asked("to"))
        .text("fill", Some(query.fill.name()))
        .time("as_of", as_of)
        .span("available", first, last)
        .rows("candles")
        .text("next_cursor", cursor)
}

/// The pages of a range, in one snapshot.
struct CandlePages {
    query: Query,
    symbol: Symbol,
    snapshot: Snapshot,
    columns: Columns,
    feeds: Feeds,
    limits: Arc<Limits>,
}

impl Pages for CandlePages {
    type Page = Page;

    async fn read(&mut self) -> Result<(Page, bool), ApiError> {
        let frame = Frame::new(&self.query, &self.symbol, &self.limits)?;
        let page = frame.read(&mut self.snapshot, &mut self.feeds).await?;
        self.query.position = page.next;
        let more = page.next.is_some();
        Ok((page, more))
    }

    fn write(&self, page: &Page, encoder: &mut dyn Encoder) -> Result<u64, ApiError> {
        self.columns.write(&page.rows, encoder)?;
        Ok(page.rows.len() as u64)
    }

    fn end(self) {
        self.snapshot.end();
    }
}
