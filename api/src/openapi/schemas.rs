//! Schemas of bodies.

use serde_json::json;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, KnownFormat, Object, ObjectBuilder, SchemaFormat,
    SchemaType, Type,
};
use utoipa::openapi::{RefOr, Schema};

use crate::table::Kind;

/// An exact decimal without exponent.
const DECIMAL: &str = r"^-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?$";

/// A value of one of `types`.
pub(super) fn of(types: &[Type], description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(types_of(types))
        .description(Some(description))
}

fn types_of(types: &[Type]) -> SchemaType {
    match types {
        [single] => SchemaType::new(single.clone()),
        several => several.iter().cloned().collect(),
    }
}

/// A time in UTC, or null.
pub(super) fn time(description: &str) -> ObjectBuilder {
    of(&[Type::String, Type::Null], description)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
}

/// An exact decimal, or null; a string with `numbers=string`.
pub(super) fn decimal(description: &str) -> ObjectBuilder {
    of(&[Type::Number, Type::String, Type::Null], description).pattern(Some(DECIMAL))
}

/// The number of a tick; a string with `numbers=string`.
pub(super) fn sequence() -> ObjectBuilder {
    of(
        &[Type::Integer, Type::String],
        "A signed 64-bit integer, which a double may not hold; a string with numbers=string",
    )
    .pattern(Some("^-?(0|[1-9][0-9]*)$"))
}

/// An object that has nothing but these properties; `required` ones are never left out.
pub(super) fn object(properties: Vec<(&str, RefOr<Schema>)>, required: bool) -> Object {
    let object = properties
        .into_iter()
        .fold(ObjectBuilder::new(), |object, (name, schema)| {
            let object = object.property(name, schema);
            if required {
                object.required(name)
            } else {
                object
            }
        });
    object
        .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)))
        .build()
}

/// Something of that schema, or null.
pub(super) fn nullable(object: Object) -> Schema {
    let mut object = object;
    object.schema_type = types_of(&[Type::Object, Type::Null]);
    Schema::Object(object)
}

/// A list.
pub(super) fn array(items: impl Into<RefOr<Schema>>) -> Schema {
    let items: RefOr<Schema> = items.into();
    Schema::Array(ArrayBuilder::new().items(items).build())
}

/// One of few texts.
pub(super) fn one_of(values: &[&str], description: &str) -> ObjectBuilder {
    of(&[Type::String], description).enum_values(Some(values.iter().map(|value| json!(value))))
}

/// A row of columns. With `fields` some are left out, so none is required.
pub(super) fn row(columns: &[(&'static str, Kind)]) -> Object {
    let property = |(name, kind): &(&'static str, Kind)| (*name, value(*kind).into());
    object(columns.iter().map(property).collect(), false)
}

fn value(kind: Kind) -> ObjectBuilder {
    match kind {
        // An integer with `time=s|ms|ns`.
        Kind::Time => ObjectBuilder::new()
            .schema_type(types_of(&[Type::String, Type::Integer, Type::Null]))
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))),
        Kind::Sequence => sequence(),
        Kind::Integer => ObjectBuilder::new().schema_type(Type::Integer),
        Kind::Double => ObjectBuilder::new().schema_type(types_of(&[Type::Number, Type::Null])),
        Kind::Flag => ObjectBuilder::new().schema_type(Type::Boolean),
        Kind::Decimal { .. } => decimal("An exact decimal; a string with numbers=string"),
    }
}
