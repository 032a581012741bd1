//! `Link` (RFC 8288): where the next page is.

use axum::http::{HeaderMap, HeaderValue, Uri, header};

/// Names the page of the same path that `query` asks for.
pub(crate) fn write_next(headers: &mut HeaderMap, uri: &Uri, query: &str) {
    if let Ok(link) = HeaderValue::from_str(&format!("<{}?{query}>; rel=\"next\"", uri.path())) {
        headers.insert(header::LINK, link);
    }
}
