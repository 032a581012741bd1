//! The catalogue of indicators, and their values in a row.

use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{RefOr, Schema};

use super::operations::{ALWAYS, json, operation, text, whole};
use super::responses::{not_modified, problems, success};
use super::schemas::{array, object, of, one_of};
use crate::limits::Limits;

/// `/v1/indicators`
pub(crate) fn indicators(_: &Limits) -> Operation {
    let number =
        |types: &[Type], description: &str| -> RefOr<Schema> { of(types, description).into() };
    let parameter = object(
        vec![
            ("name", text("Its name")),
            ("type", one_of(&["integer", "number"], "What it is").into()),
            (
                "default",
                number(&[Type::Number, Type::Null], "Its value when it is left out"),
            ),
            ("minimum", number(&[Type::Number], "The least value")),
            ("maximum", number(&[Type::Number], "The greatest value")),
        ],
        true,
    );
    let history = one_of(
        &["window", "session", "all"],
        "Of which candles a value is made: the warm-up and its own, those of the local day, all",
    );
    let warm_up = object(
        vec![
            (
                "candles",
                text("How many candles come before the first value"),
            ),
            ("at_defaults", whole("The same for the defaults")),
            ("history", history.into()),
        ],
        true,
    );
    let output = text("Its name");
    let entry = object(
        vec![
            ("name", text("Its name")),
            ("title", text("Its name in full")),
            (
                "example",
                text("It with its defaults, as it may be asked for"),
            ),
            ("parameters", array(Schema::Object(parameter)).into()),
            ("outputs", array(output).into()),
            ("formula", text("How it is computed")),
            ("source", text("Where the definition is from")),
            ("warm_up", Schema::Object(warm_up).into()),
        ],
        true,
    );
    let body = object(
        vec![("indicators", array(Schema::Object(entry)).into())],
        true,
    );
    let operation = operation("indicators", "What indicators may be asked for")
        .response("200", json(success("The catalogue.", true), body))
        .response("304", not_modified());
    problems(operation, &ALWAYS).build()
}

/// The `indicators` of a row, by what was asked for.
pub(super) fn values() -> RefOr<Schema> {
    let number = || {
        of(
            &[Type::Number, Type::Null],
            "A double; null before it has begun",
        )
    };
    let outputs = ObjectBuilder::new()
        .additional_properties(Some(AdditionalProperties::RefOr(number().into())));
    let value = OneOfBuilder::new().item(number()).item(outputs).build();
    ObjectBuilder::new()
        .description(Some(
            "The indicators that were asked for; left out when none was",
        ))
        .additional_properties(Some(AdditionalProperties::RefOr(
            Schema::OneOf(value).into(),
        )))
        .into()
}
