//! Exports, which are answers longer than a page: a task reads page after page of one snapshot and hands the bytes over one chunk at a time.
//!
//! An answer that cannot be told to its end is broken off, so that no client takes a part for the whole: the
//! connection ends without the last chunk (RFC 9112, section 7.1). The task holds a session of the database, so it waits for a
//! client no longer than `http.request_timeout` at a time and `limits.export_timeout` in all.

use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::stream::{self, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::app::App;
use crate::problem::ApiError;
use crate::table::Encoder;

/// Chunks that wait for the client.
const CHUNKS_AHEAD: usize = 1;

/// Rows that come in pages.
pub(crate) trait Pages: Send + 'static {
    /// A page of rows.
    type Page: Send;

    /// The next page, and whether another one follows.
    fn read(&mut self) -> impl Future<Output = Result<(Self::Page, bool), ApiError>> + Send;

    /// Writes a page; says how many rows it has.
    ///
    /// # Errors
    /// When a value does not fit its column.
    fn write(&self, page: &Self::Page, encoder: &mut dyn Encoder) -> Result<u64, ApiError>;
}

/// Why an answer was broken off.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("{0}")]
    Failed(#[from] ApiError),
    #[error("the answer has more than {0} rows (limits.max_export_rows)")]
    TooLong(u64),
    #[error("the client is too slow")]
    Slow,
    #[error("the client went away")]
    Gone,
}

/// The body that goes on after its first page, which has been read: bytes of it and of all pages to come.
///
/// # Errors
/// When too many such answers are under way.
pub(crate) fn body<P: Pages>(
    pages: P,
    first: P::Page,
    encoder: Box<dyn Encoder>,
    app: &App,
) -> Result<Body, ApiError> {
    let permit = app.exports.clone().try_acquire_owned();
    let permit = permit.map_err(|_| ApiError::Busy)?;
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let deadline = Instant::now() + Duration::from_millis(app.limits.export_timeout_ms);
    let out = Out {
        sender,
        patience: app.limits.request_timeout(),
    };
    let rows = app.limits.max_export_rows;
    let task = async move {
        let told = tell(pages, first, encoder, &out, rows);
        let end = tokio::time::timeout_at(deadline, told).await;
        match end.unwrap_or(Err(Broken::Slow)) {
            // The end is told, or else the body is broken off.
            Ok(()) => drop(out.send(None).await),
            Err(Broken::Gone) => tracing::debug!("the client went away"),
            Err(error) => tracing::warn!(%error, "an answer was broken off"),
        }
        drop(permit);
    };
    tokio::spawn(task.in_current_span());
    let chunks = stream::unfold(Some(receiver), async |receiver| {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Some(bytes)) => Some((Ok(bytes), Some(receiver))),
            Some(None) => None,
            None => Some((Err(std::io::Error::other("broken off")), None)),
        }
    });
    // Compression asks again after the end.
    Ok(Body::from_stream(chunks.fuse()))
}

/// Where chunks go; `None` is the end.
struct Out {
    sender: mpsc::Sender<Option<Bytes>>,
    patience: Duration,
}

impl Out {
    async fn send(&self, chunk: Option<Bytes>) -> Result<(), Broken> {
        match self.sender.send_timeout(chunk, self.patience).await {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(Broken::Slow),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(Broken::Gone),
        }
    }
}

async fn tell<P: Pages>(
    mut pages: P,
    mut page: P::Page,
    mut encoder: Box<dyn Encoder>,
    out: &Out,
    limit: u64,
) -> Result<(), Broken> {
    let mut more = true;
    let mut rows = 0;
    loop {
        rows += pages.write(&page, &mut *encoder)?;
        if rows > limit || (rows == limit && more) {
            return Err(Broken::TooLong(limit));
        }
        if !more {
            break;
        }
        let bytes = encoder.take().map_err(ApiError::from)?;
        if !bytes.is_empty() {
            out.send(Some(bytes.into())).await?;
        }
        (page, more) = pages.read().await?;
    }
    // The snapshot ends before the client has taken the rest.
    drop(pages);
    let rest = encoder.finish().map_err(ApiError::from)?;
    out.send(Some(rest.into())).await
}
