//! Operations whose answers are tables.

use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::openapi::{Content, Ref, RefOr, ResponseBuilder, Schema};

use super::operations::{ALWAYS, asked, json, next_page, operation, text, with_queries};
use super::responses::{not_modified, problems, success, with_lag, with_next};
use super::schemas::{array, nullable, object, of, one_of, row};
use super::{indicators, parameters};
use crate::format::Format;
use crate::limits::Limits;
use crate::table::Kind;
use crate::{candles as candles_route, ticks as ticks_route};

/// `/v1/candles/{symbol}`
pub(crate) fn candles(limits: &Limits) -> Operation {
    let columns = candles_route::columns();
    let queries = candles_route::parameters();
    let body = candles_body(&columns);
    let next = next_page("candles", &["symbol"], &["interval"]);
    let response = with_next(with_lag(success(
        "A page of candles, or in other forms a whole range.",
        true,
    )));
    let response = other_forms(json(response, body)).link("next", next);
    let operation = operation("candles", "Candles of a symbol")
        .description(Some(
            "Candles of any interval in any zone, from the coarsest stored level that nests, exact as if made from ticks.",
        ))
        .parameter(parameters::symbol());
    let operation = with_queries(operation, &queries, limits, &names(&columns))
        .response("200", response)
        .response("304", not_modified());
    problems(operation, &[&ALWAYS[..], &["404", "406"]].concat()).build()
}

/// `/v1/candles`
pub(crate) fn many(limits: &Limits) -> Operation {
    let columns = candles_route::columns();
    let by_symbol = ObjectBuilder::new()
        .additional_properties(Some(nullable(candles_body(&columns))))
        .build();
    let body = object(
        vec![
            ("symbols", Schema::Object(by_symbol).into()),
            ("errors", array(Ref::from_schema_name("Fault")).into()),
        ],
        true,
    );
    let response = with_lag(success("Candles of each symbol, in one snapshot.", true));
    let operation = operation("many", "Candles of several symbols").description(Some(
        "Under each symbol stands what its own path answers, where it goes on by its own cursor; an unknown one is null \
         and named in errors. Symbols x limit may be at most max_rows.",
    ));
    let queries = candles_route::many::parameters();
    let operation = with_queries(operation, &queries, limits, &names(&columns))
        .response("200", json(response, body))
        .response("304", not_modified());
    problems(operation, &[&ALWAYS[..], &["406"]].concat()).build()
}

/// A page of candles.
fn candles_body(columns: &[(&'static str, Kind)]) -> Object {
    object(
        vec![
            ("symbol", text("As asked for")),
            ("interval", text("As asked for")),
            ("tz", text("The zone of the buckets")),
            ("from", asked("As asked for")),
            ("to", asked("As asked for")),
            (
                "fill",
                one_of(&["none", "null", "previous"], "As asked for").into(),
            ),
            ("as_of", told_time("The newest change in the range")),
            ("available", available_told()),
            ("candles", array(candle(row(columns))).into()),
            (
                "next_cursor",
                asked("Where the next page begins; null on the last one"),
            ),
        ],
        true,
    )
}

/// `/v1/ticks/{symbol}`
pub(crate) fn ticks(limits: &Limits) -> Operation {
    let columns = ticks_route::columns();
    let queries = ticks_route::parameters();
    let body = object(
        vec![
            ("symbol", text("As asked for")),
            ("tz", text("The zone of dates in from and to")),
            ("from", asked("As asked for")),
            ("to", asked("As asked for")),
            ("as_of", told_time("The newest change of the symbol")),
            ("available", available_told()),
            ("ticks", array(row(&columns)).into()),
            (
                "next_cursor",
                asked("Where the next page begins; null on the last one"),
            ),
        ],
        true,
    );
    let next = next_page("ticks", &["symbol"], &[]);
    let response = with_next(with_lag(success(
        "A page of ticks, or in other forms a whole range.",
        true,
    )));
    let response = other_forms(json(response, body)).link("next", next);
    let operation = operation("ticks", "Ticks of a symbol")
        .description(Some(
            "Ticks ordered by (event time, sequence); cancelled ones are left out.",
        ))
        .parameter(parameters::symbol());
    let operation = with_queries(operation, &queries, limits, &names(&columns))
        .response("200", response)
        .response("304", not_modified());
    problems(operation, &[&ALWAYS[..], &["404", "406"]].concat()).build()
}

/// A candle's row, with the indicators that may be asked for.
fn candle(mut row: Object) -> Object {
    row.properties
        .insert("indicators".into(), indicators::values());
    row
}

/// A time of the envelope, which `time` spells too.
fn told_time(description: &str) -> RefOr<Schema> {
    of(&[Type::String, Type::Integer, Type::Null], description).into()
}

fn available_told() -> RefOr<Schema> {
    let span = vec![
        (
            "first",
            told_time("The first that is kept; null when there is none"),
        ),
        ("last", told_time("The last")),
    ];
    Schema::Object(object(span, true)).into()
}

/// The other forms of rows.
fn other_forms(response: ResponseBuilder) -> ResponseBuilder {
    [Format::Ndjson, Format::Csv, Format::Arrow, Format::Parquet]
        .into_iter()
        .fold(response, |response, format| {
            let media_type = format.content_type().split(';').next().unwrap_or_default();
            let body = ObjectBuilder::new().schema_type(Type::String);
            response.content(media_type, Content::new(Some(body)))
        })
}

fn names(columns: &[(&'static str, Kind)]) -> Vec<&'static str> {
    columns.iter().map(|(name, _)| *name).collect()
}
