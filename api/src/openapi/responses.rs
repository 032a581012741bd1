//! Responses that many operations have.

use utoipa::PartialSchema as _;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::OperationBuilder;
use utoipa::openapi::schema::{AllOfBuilder, Components, ComponentsBuilder, ObjectBuilder, Type};
use utoipa::openapi::{Content, Header, Ref, RefOr, Response, ResponseBuilder, Schema};

use super::schemas::of;
use crate::limits::Limits;
use crate::problem::{Fault, Problem};

/// Answers that are a problem document: status, name of the component, when.
const PROBLEMS: [(&str, &str, &str); 7] = [
    (
        "400",
        "BadParameters",
        "Parameters that are unknown or cannot be used, all of them.",
    ),
    ("404", "NotFound", "No such symbol or path."),
    (
        "406",
        "NotAcceptable",
        "The answer has no form that Accept takes.",
    ),
    (
        "414",
        "TargetTooLong",
        "The path with its query is longer than max_target_bytes.",
    ),
    (
        "429",
        "TooMany",
        "As many requests, or exports, are under way as are allowed.",
    ),
    (
        "503",
        "Away",
        "The database does not answer, or all its sessions are at work, or answers that clients do not read fill max_unread_bytes.",
    ),
    (
        "504",
        "Timeout",
        "The answer took too long: ask for a shorter range.",
    ),
];

/// Which of them may come again later.
const RETRIED: [&str; 2] = ["429", "503"];

/// Schemas and responses that others refer to.
pub(super) fn components() -> Components {
    let schemas = ComponentsBuilder::new()
        .schema("Fault", Fault::schema())
        .schema("Problem", Problem::schema())
        .schema("Document", document())
        .schema("Limits", Limits::schema());
    PROBLEMS
        .into_iter()
        .fold(schemas, |components, (status, name, when)| {
            let problem = Ref::from_schema_name("Document");
            let response = ResponseBuilder::new()
                .description(when)
                .content("application/problem+json", Content::new(Some(problem)))
                .header("X-Request-Id", request_id());
            let response = if RETRIED.contains(&status) {
                let seconds = of(&[Type::Integer], "Seconds");
                response.header("Retry-After", header(seconds.into(), "When to ask again."))
            } else {
                response
            };
            components.response(name, response)
        })
        .build()
}

/// A problem and its instance.
fn document() -> Schema {
    let instance = of(&[Type::String], "The id of the request");
    let instance = ObjectBuilder::new()
        .property("instance", instance)
        .required("instance")
        .build();
    AllOfBuilder::new()
        .item(Ref::from_schema_name("Problem"))
        .item(instance)
        .build()
        .into()
}

fn header(schema: RefOr<Schema>, description: &str) -> Header {
    HeaderBuilder::new()
        .schema(Some(schema))
        .description(Some(description))
        .build()
}

fn request_id() -> Header {
    let schema = of(&[Type::String], "An id").max_length(Some(128));
    header(
        schema.into(),
        "The request's own id when it is a sane one, else a new one; it is in the log too.",
    )
}

/// Adds the problems of these statuses to an operation.
pub(super) fn problems(operation: OperationBuilder, statuses: &[&str]) -> OperationBuilder {
    PROBLEMS
        .iter()
        .filter(|(status, _, _)| statuses.contains(status))
        .fold(operation, |operation, (status, name, _)| {
            operation.response(*status, Ref::from_response_name(*name))
        })
}

/// A success with the headers of its kind.
pub(super) fn success(description: &str, cached: bool) -> ResponseBuilder {
    let text = |description: &str| header(of(&[Type::String], "Text").into(), description);
    let response = ResponseBuilder::new()
        .description(description)
        .header("X-Request-Id", request_id())
        .header("Cache-Control", text("How long the answer may be used."));
    if cached {
        response.header(
            "ETag",
            text("A strong tag: it changes whenever the body does."),
        )
    } else {
        response
    }
}

/// Milliseconds since the newest change of what the answer is made of.
pub(super) fn with_lag(response: ResponseBuilder) -> ResponseBuilder {
    let schema = of(&[Type::Integer], "Milliseconds").minimum(Some(0));
    let description =
        "Milliseconds since the newest change of the symbol was stored, by the database's clock.";
    response.header("X-Data-Lag-Ms", header(schema.into(), description))
}

/// The next page, where there is one.
pub(super) fn with_next(response: ResponseBuilder) -> ResponseBuilder {
    let schema = of(&[Type::String], "A link");
    response.header(
        "Link",
        header(
            schema.into(),
            r#"The next page, rel="next", when there is one."#,
        ),
    )
}

/// The answer to a tag that is still right.
pub(super) fn not_modified() -> Response {
    success("The body is the one that If-None-Match names.", true).build()
}
