//! `GET /_healthcheck`: 200 when the database answers, else 503, both with an empty body.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::problem::Plain;

pub(crate) async fn get(State(app): State<App>) -> Response {
    match app.ping().await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => {
            tracing::warn!(%error, "the database does not answer");
            let mut response = StatusCode::SERVICE_UNAVAILABLE.into_response();
            response.extensions_mut().insert(Plain);
            response
        }
    }
}
