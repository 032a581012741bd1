//! `GET /v1/ticks/{symbol}`: the ticks of a range, ordered by (event time, sequence).

mod frame;
mod query;

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri, Version};
use axum::response::Response;
use common::amount::Amount;

use self::frame::{Frame, Page};
use self::query::{NAMES, PARAMETERS, Query};
use crate::answer::Answer;
use crate::app::App;
use crate::caching::{self, Known};
use crate::decimals;
use crate::envelope::Envelope;
use crate::export::{self, Pages};
use crate::limits::Limits;
use crate::output::Output;
use crate::problem::ApiError;
use crate::store::{Snapshot, Symbol, ToldTick};
use crate::table::{Column, Encoder, Kind, Value};

pub(crate) async fn get(
    State(app): State<App>,
    symbol: Result<Path<String>, PathRejection>,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    // A path that is not UTF-8 names no symbol.
    let Path(name) = symbol.map_err(|_| ApiError::NotFound)?;
    let mut query = Query::read(&uri, &headers, &name, &app.limits)?;
    let place = export::admit(&app, query.whole, version).await?;
    let mut snapshot = app.store.snapshot().await?;
    let Some(symbol) = snapshot.symbol(&name).await? else {
        return Err(ApiError::UnknownSymbol(name));
    };
    let frame = Frame::new(&query, &symbol, &app.limits)?;
    let (state, freshness) = (frame.state(), frame.freshness(app.correction_horizon));
    let known = Known::of(&headers);
    if let Some(mut response) = known.answer(state, freshness) {
        snapshot.end();
        caching::tell_lag(&mut response, symbol.now, symbol.changed_at);
        return Ok(response);
    }
    if query.output.has_narrow_decimals() {
        decimals::check(&symbol, &snapshot.extremes(&symbol).await?)?;
    }
    let page = frame.read(&mut snapshot).await?;

    let export = query.whole && page.next.is_some();
    let next = page.next.filter(|_| !export).map(|last| query.next(last));
    let cursor = next.as_ref().map(|(cursor, _)| cursor.as_str());
    let answer = Answer {
        format: query.output.format,
        spelling: query.output.spelling(query.tz.unwrap_or(symbol.tz)),
        envelope: envelope(&query, &symbol, cursor),
        state,
        freshness,
        age: (symbol.now, symbol.changed_at),
    };
    let columns = Columns::new(&query.output.fields, &symbol);
    let mut encoder = answer.encoder(&columns.list)?;
    if export {
        query.position = page.next;
        let pages = TickPages {
            query,
            symbol,
            snapshot,
            columns,
            limits: app.limits.clone(),
        };
        return Ok(answer.export(pages, page, encoder, &app, place));
    }
    snapshot.end();
    drop(place);
    columns.write(&page.ticks, &mut *encoder)?;
    let next = next.as_ref().map(|(_, query)| query.as_str());
    answer.page(&known, encoder, &uri, next)
}

/// What is said beside the rows. A tick bears no time of its change: the symbol's newest one stands for all.
fn envelope(query: &Query, symbol: &Symbol, cursor: Option<&str>) -> Envelope {
    let tz = query.tz.unwrap_or(symbol.tz);
    let (first, last) = symbol.kept_ticks().unzip();
    Envelope::new(query.output.spelling(tz))
        .text("symbol", Some(&symbol.name))
        .text("tz", Some(tz.name()))
        .text("from", query.asked("from"))
        .text("to", query.asked("to"))
        .time("as_of", symbol.changed_at)
        .span("available", first, last)
        .rows("ticks")
        .text("next_cursor", cursor)
}

/// The names of all parameters of the query.
pub(crate) fn parameters() -> Vec<&'static str> {
    [&PARAMETERS[..], &Output::NAMES].concat()
}

/// The columns of a row, for decimals of any scale.
pub(crate) fn columns() -> Vec<(&'static str, Kind)> {
    NAMES.into_iter().zip(kinds(0, 0)).collect()
}

/// What the columns are, for prices and sizes of so many decimals.
const fn kinds(price: u8, size: u8) -> [Kind; 5] {
    [
        Kind::Time,
        Kind::Sequence,
        Kind::Decimal { scale: price },
        Kind::Decimal { scale: size },
        Kind::Integer,
    ]
}

/// The columns of an answer.
struct Columns {
    list: Vec<Column>,
    fields: Vec<usize>,
}

impl Columns {
    fn new(fields: &[usize], symbol: &Symbol) -> Self {
        let (price, size) = symbol.scales();
        let kinds = kinds(price, size);
        let column = |index: &usize| Column::new(NAMES[*index], kinds[*index]);
        Self {
            list: fields.iter().map(column).collect(),
            fields: fields.to_vec(),
        }
    }

    fn write(&self, ticks: &[ToldTick], encoder: &mut dyn Encoder) -> Result<(), ApiError> {
        let mut values = Vec::with_capacity(self.fields.len());
        for tick in ticks {
            let all = [
                Value::Time(tick.key.event_time.micros()),
                Value::Sequence(tick.key.sequence),
                Value::Decimal(Cow::Owned(Amount::from(tick.price))),
                Value::Decimal(Cow::Owned(Amount::from(tick.size))),
                Value::Integer(tick.revision.into()),
            ];
            values.extend(self.fields.iter().map(|index| all[*index].clone()));
            encoder.row(&values)?;
            values.clear();
        }
        Ok(())
    }
}

/// The pages of a range, in one snapshot.
struct TickPages {
    query: Query,
    symbol: Symbol,
    snapshot: Snapshot,
    columns: Columns,
    limits: Arc<Limits>,
}

impl Pages for TickPages {
    type Page = Page;

    async fn read(&mut self) -> Result<(Page, bool), ApiError> {
        let frame = Frame::new(&self.query, &self.symbol, &self.limits)?;
        let page = frame.read(&mut self.snapshot).await?;
        self.query.position = page.next;
        let more = page.next.is_some();
        Ok((page, more))
    }

    fn write(&self, page: &Page, encoder: &mut dyn Encoder) -> Result<u64, ApiError> {
        self.columns.write(&page.ticks, encoder)?;
        Ok(page.ticks.len() as u64)
    }

    fn end(self) {
        self.snapshot.end();
    }
}
