//! Operations of the small routes, and what all operations have.

use serde_json::json;
use utoipa::openapi::link::{Link, LinkBuilder};
use utoipa::openapi::path::{Operation, OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Content, Ref, RefOr, Required, ResponseBuilder, Schema};

use super::parameters;
use super::responses::{not_modified, problems, success, with_lag, with_next};
use super::schemas::{array, object, of, one_of, time};
use crate::limits::Limits;
use crate::symbols as symbols_route;

/// What every operation may answer beside its success.
pub(super) const ALWAYS: [&str; 5] = ["400", "414", "429", "503", "504"];

pub(super) fn operation(id: &str, summary: &str) -> OperationBuilder {
    OperationBuilder::new()
        .operation_id(Some(id))
        .summary(Some(summary))
}

pub(super) fn with_queries(
    operation: OperationBuilder,
    names: &[&str],
    limits: &Limits,
    columns: &[&str],
) -> OperationBuilder {
    names
        .iter()
        .filter_map(|name| parameters::query(name, limits, columns))
        .fold(operation, OperationBuilder::parameter)
}

pub(super) fn json(response: ResponseBuilder, schema: impl Into<RefOr<Schema>>) -> ResponseBuilder {
    response.content("application/json", Content::new(Some(schema)))
}

/// A page of the same query goes on where this one ended. A link can name only parameters that every request has.
pub(super) fn next_page(operation: &str, path: &[&str], queries: &[&str]) -> Link {
    let link = LinkBuilder::new()
        .operation_id(operation)
        .description("The next page: the same query, all of it, with the cursor of this one.")
        .parameter("cursor", json!("$response.body#/next_cursor"));
    let link = path.iter().fold(link, |link, name| {
        link.parameter(*name, json!(format!("$request.path.{name}")))
    });
    queries
        .iter()
        .fold(link, |link, name| {
            link.parameter(*name, json!(format!("$request.query.{name}")))
        })
        .build()
}

pub(super) fn asked(description: &str) -> RefOr<Schema> {
    of(&[Type::String, Type::Null], description).into()
}

pub(super) fn text(description: &str) -> RefOr<Schema> {
    of(&[Type::String], description).into()
}

fn symbol_body() -> Schema {
    Schema::Object(object(
        vec![
            ("symbol", text("Its name")),
            ("timezone", text("The zone of its days")),
            ("price_scale", whole("Most decimals of a price")),
            ("size_scale", whole("Most decimals of a size")),
            (
                "first_tick",
                time("Event time of the first tick, also when ticks as old are no longer kept")
                    .into(),
            ),
            ("last_tick", time("Event time of the last tick").into()),
        ],
        true,
    ))
}

pub(super) fn whole(description: &str) -> RefOr<Schema> {
    of(&[Type::Integer], description).minimum(Some(0)).into()
}

/// `/v1/symbols`
pub(crate) fn symbols(limits: &Limits) -> Operation {
    let queries = symbols_route::PARAMETERS;
    let body = object(
        vec![
            ("symbols", array(symbol_body()).into()),
            (
                "next_cursor",
                asked("Where the next page begins; null on the last one"),
            ),
        ],
        true,
    );
    let first = |operation: &str| {
        LinkBuilder::new()
            .operation_id(operation)
            .parameter("symbol", json!("$response.body#/symbols/0/symbol"))
    };
    let response = json(
        with_next(success("A page of the catalogue, by name.", true)),
        body,
    )
    .link("next", next_page("symbols", &[], &[]))
    .link("symbol", first("symbol").build())
    .link(
        "candles",
        first("candles").parameter("interval", json!("1h")).build(),
    )
    .link("ticks", first("ticks").build());
    let operation = with_queries(operation("symbols", "The catalogue"), &queries, limits, &[])
        .response("200", response)
        .response("304", not_modified());
    problems(operation, &ALWAYS).build()
}

/// `/v1/symbols/{symbol}`
pub(crate) fn symbol(_: &Limits) -> Operation {
    let response = json(
        with_lag(success("What is known of the symbol.", true)),
        symbol_body(),
    );
    let operation = operation("symbol", "A symbol")
        .parameter(parameters::symbol())
        .response("200", response)
        .response("304", not_modified());
    problems(operation, &[&ALWAYS[..], &["404"]].concat()).build()
}

/// `/v1/limits`
pub(crate) fn limits(_: &Limits) -> Operation {
    let schema = Ref::from_schema_name("Limits");
    let operation = operation("limits", "Caps on requests")
        .response("200", json(success("Every cap by name.", true), schema))
        .response("304", not_modified());
    problems(operation, &ALWAYS).build()
}

/// `/openapi.json`
pub(crate) fn contract(_: &Limits) -> Operation {
    let schema = ObjectBuilder::new().schema_type(Type::Object);
    let operation = operation("contract", "This document")
        .response("200", json(success("OpenAPI 3.1.", true), schema))
        .response("304", not_modified());
    problems(operation, &ALWAYS).build()
}

/// `/_healthcheck`
pub(crate) fn health(_: &Limits) -> Operation {
    let away = ResponseBuilder::new().description("The database does not answer; an empty body.");
    let operation = operation("health", "Whether the database answers")
        .response("200", success("It answers; an empty body.", false))
        .response("503", away);
    problems(operation, &["414", "504"]).build()
}

/// `/stocks/time-series/{symbol}`
pub(crate) fn time_series(limits: &Limits) -> Operation {
    let number = |description: &str| -> RefOr<Schema> { of(&[Type::Number], description).into() };
    let date = |description: &str| -> RefOr<Schema> {
        of(&[Type::String], description)
            .pattern(Some("^[0-9]{4}-[0-9]{2}-[0-9]{2}$"))
            .into()
    };
    let mut bar = object(
        vec![
            ("symbol", text("As asked for")),
            ("open", number("Price")),
            ("high", number("Price")),
            ("low", number("Price")),
            ("close", number("Price")),
            ("volume", number("Sum of sizes")),
        ],
        true,
    );
    bar.properties.insert("date".into(), date("Of a day"));
    bar.properties
        .insert("period_start".into(), date("Of a group's first day"));
    let count = of(&[Type::Integer], "A count")
        .minimum(Some(1))
        .maximum(Some(1_000));
    let count = ParameterBuilder::new()
        .name("interval")
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(
            "How many periods a group has; only together with frequency.",
        ))
        .schema(Some(count))
        .example(Some(json!(1)));
    let refused = one_of(&["Bad Request"], "Whatever is wrong");
    let refused = json(
        ResponseBuilder::new().description("A parameter is wrong."),
        refused,
    );
    let operation = operation("time_series", "Daily bars, raw or grouped")
        .description(Some("All bars, oldest first; an empty list for an unknown symbol. Resampled only with both parameters."))
        .parameter(parameters::symbol())
        .parameter(count.build());
    let operation = with_queries(operation, &["frequency"], limits, &[])
        .response("200", json(success("Bars.", true), array(bar)))
        .response("304", not_modified())
        .response("400", refused);
    problems(operation, &["404", "414", "429", "503", "504"]).build()
}
