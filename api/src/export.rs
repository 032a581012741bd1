//! Exports, which are answers longer than a page: a task reads page after page of one snapshot and hands the bytes over one chunk at a time.
//!
//! An answer that cannot be told to its end is broken off, so that no client takes a part for the whole: the
//! connection ends without the last chunk (RFC 9112, section 7.1). The task holds a session of the database, so it waits for a
//! client no longer than `http.request_timeout` at a time and `limits.export_timeout` in all. How many there are at a
//! time is bounded before they take a session.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Version;
use futures::stream::{self, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::app::App;
use crate::metrics::Outcome;
use crate::problem::{ApiError, Fault};
use crate::table::Encoder;
use crate::unread::Memory;

/// Chunks that wait for the client.
const CHUNKS_AHEAD: usize = 1;
/// Longest wait for a place: short ranges, which are many and soon told, come and go meanwhile.
const PLACE: Duration = Duration::from_secs(1);

/// A place among the exports under way.
pub(crate) type Place = OwnedSemaphorePermit;

/// A place for the answer of a `whole` range, before anything is read for it.
///
/// # Errors
/// When there is none, and for HTTP/1.0: a body that the end of the connection ends looks whole when it is broken off.
pub(crate) async fn admit(
    app: &App,
    whole: bool,
    version: Version,
) -> Result<Option<Place>, ApiError> {
    if !whole {
        return Ok(None);
    }
    if version < Version::HTTP_11 {
        let detail = "HTTP/1.0 does not tell a whole range from one that is broken off: ask for pages with limit, or by HTTP/1.1";
        return Err(ApiError::Parameters(vec![Fault::new("limit", detail)]));
    }
    let place = tokio::time::timeout(PLACE, app.exports.clone().acquire_owned());
    match place.await {
        Ok(Ok(place)) => Ok(Some(place)),
        _ => Err(ApiError::TooManyExports),
    }
}

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

    /// Ends the snapshot.
    fn end(self);
}

/// Why an answer was broken off.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("{0}")]
    Failed(#[from] ApiError),
    #[error("the answer has more than {0} rows (limits.max_export_rows)")]
    TooLong(u64),
    #[error("the answer was not told in time (limits.export_timeout)")]
    Late,
    #[error("the client took nothing for too long (http.request_timeout)")]
    Slow,
    #[error("answers that their clients have not taken yet fill http.unread_mib")]
    Unread,
    #[error("the client went away")]
    Gone,
}

impl Broken {
    const fn outcome(&self) -> Outcome {
        match self {
            Self::Failed(_) => Outcome::Failed,
            Self::TooLong(_) => Outcome::RowLimit,
            Self::Late => Outcome::Deadline,
            Self::Slow | Self::Unread => Outcome::SlowClient,
            Self::Gone => Outcome::ClientGone,
        }
    }
}

/// The body that goes on after its first page, which has been read: bytes of it and of all pages to come. It has its
/// `place` until it ends.
pub(crate) fn body<P: Pages>(
    pages: P,
    first: P::Page,
    encoder: Box<dyn Encoder>,
    app: &App,
    place: Option<Place>,
) -> Body {
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let deadline = Instant::now() + Duration::from_millis(app.limits.export_timeout_ms);
    let out = Out {
        sender,
        patience: app.limits.request_timeout(),
        memory: app.unread.clone(),
    };
    let rows = app.limits.max_export_rows;
    let metrics = app.metrics.clone();
    let task = async move {
        let told = tell(pages, first, encoder, &out, rows);
        let end = tokio::time::timeout_at(deadline, told).await;
        let end = end.unwrap_or(Err(Broken::Late));
        match &end {
            Ok(()) => (),
            Err(Broken::Gone) => tracing::debug!("the client went away"),
            Err(error) => tracing::warn!(%error, "an answer was broken off"),
        }
        metrics.end_export(end.map_or_else(|broken| broken.outcome(), |()| Outcome::Complete));
        drop(place);
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
    Body::from_stream(chunks.fuse())
}

/// Where chunks go; `None` is the end.
struct Out {
    sender: mpsc::Sender<Option<Bytes>>,
    patience: Duration,
    memory: Memory,
}

impl Out {
    /// A chunk may lie unread longer than its export has its place, so it has a share of the memory.
    async fn chunk(&self, bytes: Vec<u8>) -> Result<(), Broken> {
        let share = tokio::time::timeout(self.patience, self.memory.wait(bytes.len()));
        let share = share.await.map_err(|_| Broken::Unread)??;
        self.send(Some(share.of(bytes.into()))).await
    }

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
            out.chunk(bytes).await?;
        }
        (page, more) = pages.read().await?;
    }
    // The snapshot ends before the client has taken the rest.
    pages.end();
    let rest = encoder.finish().map_err(ApiError::from)?;
    out.chunk(rest).await?;
    // The end is told, or else the body is broken off.
    out.send(None).await
}
