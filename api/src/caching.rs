//! What caches may do with an answer: `ETag` and 304 (RFC 9110, section 13), `Cache-Control` (RFC 9111).
//!
//! A tag has two parts. The first names the state that the body is made of: the query, the symbol's
//! data version and what the clock decides. Equal states make equal bodies, so a request that brings
//! it is answered before any candle is read. The second names the bytes of the body: when the state
//! has moved on and the body has not, as when ticks come that lie outside the range, it still matches
//! and no body is sent. A compressed body has the name of its coding at the end of its tag.

use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::UNIX_EPOCH;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use common::telemetry::metrics::REVISION;
use twox_hash::XxHash3_128;

use crate::problem::ApiError;
use crate::unread::Streamed;

/// Told to nginx, which keeps it from clients: see [`Freshness::Recent`].
const ACCEL_EXPIRES: HeaderName = HeaderName::from_static("x-accel-expires");
/// What may choose between forms of an answer.
const VARY: HeaderValue = HeaderValue::from_static("Accept, Accept-Encoding");

/// Milliseconds, by the database's clock, since the newest change of what the answer is made of.
pub(crate) const DATA_LAG: HeaderName = HeaderName::from_static("x-data-lag-ms");

/// Tells how old the newest change was `now`; nothing when there was none. Both are microseconds since
/// 1970-01-01T00:00:00Z.
pub(crate) fn tell_lag(response: &mut Response, now: i64, changed_at: Option<i64>) {
    if let Some(changed_at) = changed_at {
        // The clock is read before the snapshot is taken as a whole.
        let lag = now.saturating_sub(changed_at).max(0) / 1_000;
        response
            .headers_mut()
            .insert(DATA_LAG, HeaderValue::from(lag));
    }
}

/// How long an answer may be used without asking again; one that is made of several parts, as long as the greatest of
/// theirs says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Freshness {
    /// Ended before the correction horizon: a change is not expected any more.
    Settled,
    /// Complete, but corrections may come: each use is validated by the tag.
    Recent,
    /// Holds a bucket that has not ended.
    Open,
}

impl Freshness {
    const fn cache_control(self) -> &'static str {
        match self {
            // While this program fails, a shared cache may go on with it for a day.
            Self::Settled => "public, max-age=60, stale-while-revalidate=60, stale-if-error=86400",
            Self::Recent => "no-cache",
            Self::Open => "public, max-age=1",
        }
    }

    fn write(self, headers: &mut HeaderMap) {
        // nginx does not store what says no-cache, and then has no tag to validate. An instant
        // in the past makes it store the answer and ask about it at each use.
        self.write_for_nginx(headers, (self == Self::Recent).then_some("@1"));
    }

    /// The same with what nginx alone is told, which goes first: nginx 1.22 takes the first of the two headers.
    fn write_for_nginx(self, headers: &mut HeaderMap, expires: Option<&'static str>) {
        if let Some(expires) = expires {
            headers.insert(ACCEL_EXPIRES, HeaderValue::from_static(expires));
        }
        headers.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static(self.cache_control()),
        );
        headers.insert(header::VARY, VARY);
    }
}

/// The name of a state; equal names stand for equal bodies of one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State(u128);

impl State {
    /// The name of all that a body is made of, as text.
    pub(crate) fn of(text: &str) -> Self {
        static BUILD: LazyLock<String> = LazyLock::new(build);
        Self::by(&BUILD, text)
    }

    /// The same as a build of this program names it: another one may write another body.
    fn by(build: &str, text: &str) -> Self {
        Self(hash(format!("{build}\0{text}").as_bytes()))
    }

    /// An answer whose body goes out as it is read: its tag names the state alone. It may be longer
    /// than the whole store of nginx, which is told not to keep it.
    pub(crate) fn answer_streamed(
        self,
        freshness: Freshness,
        content_type: &'static str,
        body: Body,
    ) -> Response {
        let content_type = HeaderValue::from_static(content_type);
        let mut response = ([(header::CONTENT_TYPE, content_type)], body).into_response();
        response.extensions_mut().insert(Streamed);
        freshness.write_for_nginx(response.headers_mut(), Some("0"));
        if let Ok(tag) = HeaderValue::try_from(format!("\"{:032x}-\"", self.0)) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

/// What tells this build from others: its version and its commit, or the file that runs where the build was not told
/// the commit.
fn build() -> String {
    let revision = REVISION.map(ToOwned::to_owned).or_else(|| {
        let file = std::env::current_exe().ok()?.metadata().ok()?;
        let age = file.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(format!("{} {}", file.len(), age.as_nanos()))
    });
    format!(
        "{} {}",
        env!("CARGO_PKG_VERSION"),
        revision.unwrap_or_default()
    )
}

/// A body that was compressed is another one, whose strong tag differs (RFC 9110, section 8.8.3.3). One that could not
/// be coded as asked is no answer.
pub(crate) async fn name_coding(mut response: Response) -> Response {
    if response.status() == StatusCode::NOT_ACCEPTABLE {
        return ApiError::NotAcceptable.into_response();
    }
    let headers = response.headers_mut();
    if let Some(coding) = headers.get(header::CONTENT_ENCODING)
        && let Some(tag) = headers.get(header::ETAG)
        && let (Ok(coding), Ok(tag)) = (coding.to_str(), tag.to_str())
        && let Some(tag) = tag.strip_suffix('"')
        && let Ok(tag) = HeaderValue::try_from(format!("{tag}-{coding}\""))
    {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// A tag without the name of a coding.
fn uncoded(tag: &str) -> Cow<'_, str> {
    ["-gzip\"", "-zstd\""]
        .iter()
        .find_map(|end| Some(Cow::Owned(format!("{}\"", tag.strip_suffix(end)?))))
        .unwrap_or(Cow::Borrowed(tag))
}

/// The tags that a request brings in `If-None-Match`.
#[derive(Debug)]
pub(crate) struct Known(Vec<String>);

impl Known {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut tags = Vec::new();
        for value in headers.get_all(header::IF_NONE_MATCH) {
            for tag in value.to_str().unwrap_or_default().split(',') {
                // Weak comparison: a proxy that compresses makes a tag weak.
                let tag = tag.trim();
                tags.push(tag.strip_prefix("W/").unwrap_or(tag).to_owned());
            }
        }
        Self(tags)
    }

    /// 304, when a tag of this state is known.
    pub(crate) fn answer(&self, state: State, freshness: Freshness) -> Option<Response> {
        let start = format!("\"{:032x}-", state.0);
        let tag = self.0.iter().find(|tag| tag.starts_with(&start))?;
        not_modified(tag, freshness)
    }

    /// The answer with its tag; 304, when a tag of this body is known.
    pub(crate) fn answer_with(
        &self,
        state: Option<State>,
        freshness: Freshness,
        body: String,
    ) -> Response {
        self.answer_as(state, freshness, "application/json", body.into_bytes())
    }

    /// The same in another form than JSON.
    pub(crate) fn answer_as(
        &self,
        state: Option<State>,
        freshness: Freshness,
        content_type: &'static str,
        mut body: Vec<u8>,
    ) -> Response {
        // It may lie unread for long.
        body.shrink_to_fit();
        let content = hash(&body);
        let end = format!("{content:032x}\"");
        let tag = match state {
            Some(state) => format!("\"{:032x}-{end}", state.0),
            None => format!("\"{end}"),
        };
        let known = self.0.iter().find_map(|known| match known.as_str() {
            "*" => Some(&tag),
            same => {
                let uncoded = uncoded(same);
                (uncoded.len() == tag.len() && uncoded.ends_with(&end)).then_some(known)
            }
        });
        if let Some(response) = known.and_then(|known| not_modified(known, freshness)) {
            return response;
        }
        let content_type = HeaderValue::from_static(content_type);
        let mut response = ([(header::CONTENT_TYPE, content_type)], body).into_response();
        freshness.write(response.headers_mut());
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

fn not_modified(tag: &str, freshness: Freshness) -> Option<Response> {
    let tag = HeaderValue::from_str(tag).ok()?;
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    freshness.write(response.headers_mut());
    response.headers_mut().insert(header::ETAG, tag);
    Some(response)
}

/// XXH3 of 128 bits. The tags guard against chance, not against a forger, who could only keep an answer from himself.
fn hash(bytes: &[u8]) -> u128 {
    XxHash3_128::oneshot(bytes)
}

#[cfg(test)]
mod tests;
