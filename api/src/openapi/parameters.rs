//! Parameters of requests, by name.

use serde_json::{Value, json};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn, ParameterStyle};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Required, Schema};

use super::schemas::{array, of, one_of};
use crate::format::Format;
use crate::limits::Limits;

/// `^` to `$` of the grammar; how great a count may be, the description tells.
const INTERVAL: &str = "^[1-9][0-9]*[smhdwMqy]$";

/// A name and up to three parameters; which ones there are, the catalogue tells.
const INDICATOR: &str = r"^[a-z]+(:[0-9]+(\.[0-9]+)?){0,3}$";

/// The symbol of a path.
pub(super) fn symbol() -> Parameter {
    let schema = of(&[Type::String], "A symbol, percent-encoded").min_length(Some(1));
    ParameterBuilder::new()
        .name("symbol")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(
            "A symbol of the catalogue; letters count as they are.",
        ))
        .schema(Some(schema))
        .example(Some(json!("AMZN")))
        .build()
}

/// A parameter of a query: its schema, what it does, and an example. `None` when it is not known here.
pub(super) fn query(name: &str, limits: &Limits, columns: &[&str]) -> Option<Parameter> {
    let (schema, description, example) = describe(name, limits, columns)?;
    let list = matches!(schema, RefOr::T(Schema::Array(_)));
    let parameter = ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(if ["interval", "symbols"].contains(&name) {
            Required::True
        } else {
            Required::False
        })
        .description(Some(description))
        .schema(Some(schema))
        .example(example);
    let parameter = if list {
        parameter
            .style(Some(ParameterStyle::Form))
            .explode(Some(false))
    } else {
        parameter
    };
    Some(parameter.build())
}

/// A schema, what the parameter does, and an example of it.
type Described = (RefOr<Schema>, &'static str, Option<Value>);

fn describe(name: &str, limits: &Limits, columns: &[&str]) -> Option<Described> {
    rows(name, limits)
        .or_else(|| choice(name))
        .or_else(|| shape(name, columns))
        .or_else(|| symbols(name, limits))
}

fn text(description: &str) -> ObjectBuilder {
    of(&[Type::String], description).min_length(Some(1))
}

/// Which rows are told.
fn rows(name: &str, limits: &Limits) -> Option<Described> {
    let instant =
        || text("RFC 3339 with an offset, a date (its first instant in tz), or epoch milliseconds");
    let (schema, description, example) = match name {
        "interval" => (
            of(&[Type::String], "A count and a unit").pattern(Some(INTERVAL)),
            "A count and a unit: s, m, h (below 24 h), d, w, M, q, y. m is a minute, M a month.",
            json!("1d"),
        ),
        "tz" => (
            text("A zone"),
            "An IANA zone by its full name; the symbol's own zone unless given. No abbreviation, no offset.",
            json!("America/New_York"),
        ),
        "from" => (
            instant(),
            "First time, inclusive. With it pages go from the oldest rows to the newest, or the other way with order=desc. Without it the first page holds the newest rows, the next one those before them; within each page order counts.",
            json!("2019-06-24T00:00:00Z"),
        ),
        "to" => (
            instant(),
            "Last time, exclusive; now unless given.",
            json!("2019-07-01"),
        ),
        "updated_since" => (
            instant(),
            "Only candles that changed at or after this time, emptied ones too. Not together with fill.",
            json!("2019-06-24T00:00:00Z"),
        ),
        "limit" => (
            of(&[Type::Integer], "Rows of a page")
                .minimum(Some(1))
                .maximum(Some(limits.max_rows)),
            "Most rows of the page. Without it a page has default_rows of /v1/limits, and other forms than JSON tell the whole range.",
            json!(2),
        ),
        "cursor" => {
            let description =
                "next_cursor of the page before; all other parameters must be the same.";
            return Some((text("A cursor").into(), description, None));
        }
        _ => return None,
    };
    Some((schema.into(), description, Some(example)))
}

/// One of few words; the first stands where none is given.
fn choice(name: &str) -> Option<Described> {
    let (words, description): (&[&str], _) = match name {
        "order" => (
            &["asc", "desc"],
            "Order of the rows of a page by time; with desc pages go from the newest rows to the oldest.",
        ),
        "partial" => (
            &["exclude", "include"],
            "Whether candles are told that have not ended yet.",
        ),
        "fill" => (
            &["none", "null", "previous"],
            "What stands in for candles of buckets without ticks: nothing, nulls, or the close before.",
        ),
        "anchor" => (
            &["calendar", "epoch", "first"],
            "What buckets are counted from: the local calendar, 1970 in UTC (not for M, q, y), or the symbol's first period.",
        ),
        "numbers" => (
            &["number", "string"],
            "Whether decimals, and in JSON the sequence of a tick, are number literals or the same digits as a string.",
        ),
        "time" => (
            &["rfc3339", "local", "s", "ms", "ns"],
            "How times are told: RFC 3339 in UTC or with the offset of tz, or an integer since 1970.",
        ),
        _ => return None,
    };
    let (first, last) = (words.first()?, words.last()?);
    let schema = one_of(words, description).default(Some(json!(first)));
    Some((schema.into(), description, Some(json!(last))))
}

/// How rows are told.
fn shape(name: &str, columns: &[&str]) -> Option<Described> {
    match name {
        "format" => {
            let names: Vec<&str> = Format::NAMES.iter().map(|(name, _)| *name).collect();
            let description = "Form of the answer; before what Accept says.";
            let schema = one_of(&names, description);
            Some((schema.into(), description, Some(json!("csv"))))
        }
        "fields" => {
            let schema = array(one_of(columns, "A column"));
            let description = "Columns of the rows, all unless given, always in one order.";
            Some((schema.into(), description, Some(json!([columns.first()?]))))
        }
        _ => None,
    }
}

/// Which symbols, and what is made of them.
fn symbols(name: &str, limits: &Limits) -> Option<Described> {
    match name {
        "indicators" => {
            let item = of(&[Type::String], "A name and its parameters").pattern(Some(INDICATOR));
            let items = ArrayBuilder::new()
                .items(item)
                .min_items(Some(1))
                .max_items(Some(limits.max_indicators))
                .unique_items(true);
            let description = "Indicators of each candle, separated by commas; /v1/indicators tells which. Not together with \
                               updated_since.";
            Some((
                items.into(),
                description,
                Some(json!(["sma:20", "macd:12:26:9"])),
            ))
        }
        "q" => {
            let schema = of(&[Type::String], "Text");
            let description = "Part of a symbol's name, in any case.";
            Some((schema.into(), description, Some(json!("amz"))))
        }
        "symbols" => {
            let names = ArrayBuilder::new()
                .items(text("A symbol"))
                .min_items(Some(1))
                .max_items(usize::try_from(limits.max_symbols).ok())
                .unique_items(true);
            let description = "Symbols, separated by commas, each once.";
            Some((names.into(), description, Some(json!(["AMZN"]))))
        }
        "frequency" => {
            let words = ["Daily", "Weekly", "Monthly", "Quarterly", "Annual"];
            let description =
                "Groups of days, weeks, months, quarters or years; only together with interval.";
            let schema = one_of(&words, description);
            Some((schema.into(), description, Some(json!("Weekly"))))
        }
        _ => None,
    }
}
