//! Which pages of other origins may read answers in a browser (the Fetch standard's CORS protocol).
//!
//! Answers need no login, so no credentials are ever allowed.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::envelope;

/// Headers of an answer that a page may read beside those that it always may.
const EXPOSED: [HeaderName; 5] = [
    header::ETAG,
    header::LINK,
    header::RETRY_AFTER,
    HeaderName::from_static("x-request-id"),
    crate::caching::DATA_LAG,
];
/// Headers of a request that a page may set beside those that it always may.
const ALLOWED: [HeaderName; 3] = [
    header::IF_NONE_MATCH,
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("x-request-id"),
];
/// How long a browser may keep the answer to its preflight.
const MAX_AGE: Duration = Duration::from_hours(24);

/// The layer for a list of origins; none for an empty list.
///
/// # Errors
/// With a sentence, when an entry is no origin.
pub(crate) fn layer(origins: &str) -> Result<Option<CorsLayer>, String> {
    let list: Vec<&str> = origins.split(',').map(str::trim).collect();
    let origin = match list[..] {
        [""] => return Ok(None),
        ["*"] => AllowOrigin::any(),
        _ => AllowOrigin::list(
            list.into_iter()
                .map(origin)
                .collect::<Result<Vec<_>, _>>()?,
        ),
    };
    let told = envelope::HEADERS.into_iter().map(|(_, header)| header);
    let exposed = EXPOSED.into_iter().chain(told);
    let layer = CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::HEAD, Method::OPTIONS])
        .allow_headers(ALLOWED)
        .expose_headers(exposed.collect::<Vec<_>>())
        .max_age(MAX_AGE);
    Ok(Some(layer))
}

/// A scheme and a host, as a browser sends them: without a path, not even a slash.
fn origin(text: &str) -> Result<HeaderValue, String> {
    let fault = || {
        format!(
            "http.cors_origins holds {text:?}: give `*`, or origins such as https://charts.example"
        )
    };
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .filter(|host| !host.is_empty() && !host.contains(['/', '*', ' ']))
        .ok_or_else(fault)?;
    if host != host.to_lowercase() {
        return Err(fault());
    }
    HeaderValue::from_str(text).map_err(|_| fault())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_any_or_a_list_of_schemes_and_hosts() {
        for (origins, valid) in [
            ("*", true),
            ("https://a.example", true),
            ("http://localhost:3000, https://a.example", true),
            ("https://a.example/", false),
            ("a.example", false),
            ("https://A.example", false),
            ("https://*.example", false),
            ("*,https://a.example", false),
            ("https://a.example,", false),
        ] {
            assert_eq!(layer(origins).is_ok(), valid, "{origins}");
        }
        assert!(layer("").is_ok_and(|layer| layer.is_none()));
    }
}
