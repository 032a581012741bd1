//! What one request may take: bytes of its target, its turn, and time.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use hyper::body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use crate::app::{App, HEALTHCHECK};
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
        Ok(response) => response.map(|body| Body::new(Answer { body, _turn: turn })),
        Err(_) => ApiError::Timeout.into_response(),
    }
}

/// A body whose request is under way until it was sent or given up.
struct Answer {
    body: Body,
    _turn: Option<OwnedSemaphorePermit>,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
