//! Answers that their clients have not taken yet share a bounded memory, however many clients do not read.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use hyper::body::Body as _;
use tokio::sync::OwnedSemaphorePermit;

use crate::app::App;
use crate::problem::ApiError;

/// The memory is given out in pieces of so many bytes.
pub(crate) const PIECE: usize = 1_024;
/// What is shorter may lie unread with every client that may be connected.
const SHORT: u64 = 16 * 1_024;

/// The bytes of an answer, and their share of the memory until the last of them was sent or given up.
struct Unread {
    bytes: Bytes,
    _share: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Unread {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Refuses an answer that there is no memory for. The chunks of an export are bounded by the places of exports.
pub(crate) async fn bound(State(app): State<App>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let Some(size) = response
        .body()
        .size_hint()
        .exact()
        .filter(|size| *size > SHORT)
    else {
        return response;
    };
    // One that is longer than all of it has to have all of it.
    let pieces = size
        .div_ceil(PIECE as u64)
        .min(app.limits.max_unread_bytes / PIECE as u64);
    let share = u32::try_from(pieces)
        .ok()
        .map(|pieces| app.unread.clone().try_acquire_many_owned(pieces));
    let Some(Ok(share)) = share else {
        return ApiError::Unread.into_response();
    };
    let (head, body) = response.into_parts();
    match to_bytes(body, usize::MAX).await {
        Ok(bytes) => {
            let unread = Unread {
                bytes,
                _share: share,
            };
            Response::from_parts(head, Body::from(Bytes::from_owner(unread)))
        }
        Err(error) => ApiError::Data(error.to_string()).into_response(),
    }
}
