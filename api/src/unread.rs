//! Answers that their clients have not taken yet share a bounded memory, however many clients do not read.

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_ENCODING;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::app::App;
use crate::held::Held;
use crate::problem::ApiError;

/// The memory is given out in pieces of so many bytes.
const PIECE: usize = 1_024;
/// An answer up to so many bytes does not count: 1000 of them, as many as clients by default, are 16 MiB.
const SHORT: usize = 16 * 1_024;
/// Bytes that the coder of an export keeps beside its input: zstd's window and tables at its default level. gzip keeps
/// less.
const CODER: usize = 4 * 1_024 * 1_024;

/// Marks an answer that goes out as it is read: each of its chunks takes its own share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Streamed;

/// What answers may fill together.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    free: Arc<Semaphore>,
    /// All pieces.
    pieces: u32,
}

impl Memory {
    pub(crate) fn new(mib: u32) -> Self {
        let pieces = mib.saturating_mul(1_024);
        Self {
            free: Arc::new(Semaphore::new(pieces as usize)),
            pieces,
        }
    }

    /// Bytes that are taken.
    pub(crate) fn taken(&self) -> usize {
        (self.pieces as usize).saturating_sub(self.free.available_permits()) * PIECE
    }

    /// So much of it, when there is so much.
    fn share(&self, bytes: usize) -> Result<Share, ApiError> {
        let share = self.free.clone().try_acquire_many_owned(self.pieces(bytes));
        share.map(Share).map_err(|_| ApiError::Unread)
    }

    /// So much of it, as soon as there is so much.
    pub(crate) async fn wait(&self, bytes: usize) -> Result<Share, ApiError> {
        let share = self.free.clone().acquire_many_owned(self.pieces(bytes));
        share.await.map(Share).map_err(|_| ApiError::Unread)
    }

    /// What is longer than all of it has to have all of it.
    fn pieces(&self, bytes: usize) -> u32 {
        let pieces = u32::try_from(bytes.div_ceil(PIECE));
        pieces.map_or(self.pieces, |pieces| pieces.min(self.pieces))
    }
}

/// A share of the memory.
#[derive(Debug)]
pub(crate) struct Share(
    #[expect(dead_code, reason = "held until it is dropped")] OwnedSemaphorePermit,
);

impl Share {
    /// The bytes, which give it back when the last of them was sent or given up.
    pub(crate) fn of(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Unread {
            bytes,
            _share: self,
        })
    }
}

struct Unread {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Unread {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Refuses an answer that there is no memory for. It is coded already: what lies with a client that does not read is
/// what counts.
pub(crate) async fn bound(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut head, body) = next.run(request).await.into_parts();
    let body = if head.extensions.remove::<Streamed>().is_none() {
        whole(&app.unread, body).await
    } else if head.headers.contains_key(CONTENT_ENCODING) {
        app.unread.share(CODER).map(|share| Held::of(body, share))
    } else {
        Ok(body)
    };
    match body {
        Ok(body) => Response::from_parts(head, body),
        Err(error) => error.into_response(),
    }
}

async fn whole(memory: &Memory, body: Body) -> Result<Body, ApiError> {
    let bytes = to_bytes(body, usize::MAX).await;
    let bytes = bytes.map_err(|error| ApiError::Data(error.to_string()))?;
    if bytes.len() <= SHORT {
        return Ok(bytes.into());
    }
    Ok(memory.share(bytes.len())?.of(bytes).into())
}
