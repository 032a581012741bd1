//! The operation of `/v1/latest`.

use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::openapi::{Ref, Schema};

use super::operations::{ALWAYS, json, operation, text, whole, with_queries};
use super::responses::{problems, success, with_lag};
use super::schemas::{array, decimal, nullable, object, of, row, sequence, time};
use crate::candles as candles_route;
use crate::latest as latest_route;
use crate::limits::Limits;

/// `/v1/latest`
pub(crate) fn latest(limits: &Limits) -> Operation {
    let candle = row(&candles_route::columns());
    let quote = object(
        vec![
            ("symbol", text("Its name")),
            ("timezone", text("The zone of its day")),
            ("last", nullable(last_tick()).into()),
            ("candle", nullable(candle).into()),
            (
                "previous_close",
                decimal("Close of the day before; null without one").into(),
            ),
            (
                "change",
                decimal("Last price less the previous close").into(),
            ),
            ("day", nullable(day()).into()),
            (
                "age_ms",
                of(
                    &[Type::Integer, Type::Null],
                    "Milliseconds since the last tick's event time",
                )
                .into(),
            ),
        ],
        true,
    );
    let by_symbol = ObjectBuilder::new()
        .additional_properties(Some(nullable(quote)))
        .build();
    let body = object(
        vec![
            ("as_of", time("The newest change among the symbols").into()),
            ("latest", Schema::Object(by_symbol).into()),
            ("errors", array(Ref::from_schema_name("Fault")).into()),
        ],
        true,
    );
    let response = with_lag(success(
        "What is newest of each symbol, in one snapshot.",
        false,
    ));
    let operation =
        operation("latest", "Last tick, open candle and day of symbols").description(Some(
            "Every symbol that is asked for is there; an unknown one is null and named in errors.",
        ));
    let operation = with_queries(operation, &latest_route::PARAMETERS, limits, &[])
        .response("200", json(response, body));
    problems(operation, &ALWAYS).build()
}

fn last_tick() -> Object {
    object(
        vec![
            ("time", time("Event time").into()),
            ("sequence", sequence().into()),
            ("price", decimal("Its price").into()),
            ("size", decimal("Its size").into()),
        ],
        true,
    )
}

fn day() -> Object {
    object(
        vec![
            ("date", text("The local date")),
            ("open_time", time("First instant of the day").into()),
            ("close_time", time("First instant of the next").into()),
            ("open", decimal("First price").into()),
            ("high", decimal("Highest price").into()),
            ("low", decimal("Lowest price").into()),
            ("close", decimal("Last price").into()),
            ("volume", decimal("Sum of sizes").into()),
            ("trades", whole("Ticks")),
            (
                "complete",
                of(&[Type::Boolean], "Whether its end has passed").into(),
            ),
        ],
        true,
    )
}
