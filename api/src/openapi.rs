//! `GET /openapi.json`: the contract as `OpenAPI` 3.1, made of what answers requests.
//!
//! Each route of [`crate::app`] brings its operation, so none is left out. The parameters of an operation are named by
//! the list that the route reads them by, the fields of its rows by the columns that they are written with, and what is
//! serialized as a whole has its schema derived.

mod indicators;
mod latest;
mod operations;
mod parameters;
mod responses;
mod rows;
mod schemas;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use utoipa::openapi::path::{HttpMethod, Operation, PathItem};
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, PathsBuilder};
use utoipa_swagger_ui::{Config, SwaggerUi};

pub(crate) use indicators::indicators;
pub(crate) use latest::latest;
pub(crate) use operations::{contract, health, limits, symbol, symbols, time_series};
pub(crate) use rows::{candles, many, ticks};

use crate::app::App;
use crate::caching::{Freshness, Known};
use crate::params::Params;
use crate::problem::ApiError;

/// Where the document is.
pub(crate) const PATH: &str = "/openapi.json";

/// The document of operations and their paths.
pub(crate) fn document(operations: impl IntoIterator<Item = (&'static str, Operation)>) -> OpenApi {
    let info = InfoBuilder::new()
        .title("financial-data-api")
        .version(env!("CARGO_PKG_VERSION"))
        .license(Some(
            LicenseBuilder::new()
                .name("MIT")
                .identifier(Some("MIT"))
                .build(),
        ))
        .description(Some(
            "Candles and ticks, exact at every commit. Times are UTC unless asked for otherwise; numbers are exact \
             decimals. Every answer but a success is a problem document (RFC 9457), /stocks and /_healthcheck apart.",
        ))
        .build();
    let paths = operations
        .into_iter()
        .fold(PathsBuilder::new(), |paths, (path, operation)| {
            paths.path(path, PathItem::new(HttpMethod::Get, operation))
        });
    OpenApiBuilder::new()
        .info(info)
        .paths(paths)
        .components(Some(responses::components()))
        .build()
}

pub(crate) async fn get(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    Params::read(&uri, &[]).check()?;
    Ok(Known::of(&headers).answer_with(None, Freshness::Recent, app.document.to_string()))
}

/// The page at `/docs`: Swagger UI, built into the binary. It asks nobody else: its badge of a validator is off.
pub(crate) fn page() -> SwaggerUi {
    SwaggerUi::new("/docs").config(Config::from(PATH).validator_url("none"))
}
