//! What one request may take: bytes of its target, its turn, and time.

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::app::{App, HEALTHCHECK};
use crate::held::Held;
use crate::limits::MAX_TARGET_BYTES;
use crate::problem::ApiError;

pub(crate) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let target = request.uri().path_and_query();
    if target.is_some_and(|target| target.as_str().len() > MAX_TARGET_BYTES) {
        return ApiError::TargetTooLong.into_response();
    }
    let probe = request
        .extensions()
        .get::<MatchedPath>()
        .is_some_and(|path| path.as_str() == HEALTHCHECK);
    // A server that is busy is well: a probe takes no turn.
    let turns = app.turns.as_ref().filter(|_| !probe);
    let turn = match turns.map(|turns| turns.clone().try_acquire_owned()) {
        None => None,
        Some(Ok(turn)) => Some(turn),
        Some(Err(_)) => return ApiError::TooMany.into_response(),
    };
    match tokio::time::timeout(app.limits.request_timeout(), next.run(request)).await {
        // It is under way until it was sent or given up.
        Ok(response) => response.map(|body| Held::of(body, turn)),
        Err(_) => ApiError::Timeout.into_response(),
    }
}
