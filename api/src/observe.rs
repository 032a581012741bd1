//! Around every request: its id, its log line, its metrics, and the body of a problem.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use common::telemetry::traces::{self, Caller};
use tracing::{Instrument as _, Span};

use crate::app::App;
use crate::problem::{Plain, Problem};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Every route answers these.
const ALLOW: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

pub(crate) async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let _in_flight = app.metrics.begin();
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned());
    let id = request_id(request.headers().get(REQUEST_ID));
    let span = span(&request, &id, route.as_deref());
    // What a browser asks before it asks, the CORS layer answers.
    let preflight = app.cors.is_some()
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let answer = async {
        if method == Method::OPTIONS && route.is_some() && !preflight {
            return (StatusCode::NO_CONTENT, [(header::ALLOW, ALLOW)]).into_response();
        }
        next.run(request).await
    };
    let response = finish(answer.instrument(span.clone()).await, &id, &method);

    let elapsed = started.elapsed();
    let route = route.as_deref().unwrap_or("unmatched");
    traces::describe_http(&span, method.as_str(), route, response.status().as_u16());
    app.metrics
        .observe(route, &method, response.status(), elapsed);
    span.in_scope(|| {
        tracing::info!(%method, route, status = response.status().as_u16(), milliseconds = elapsed.as_millis(), "answered");
    });
    response
}

fn finish(mut response: Response, id: &str, method: &Method) -> Response {
    let status = response.status();
    let problem = response.extensions_mut().remove::<Problem>();
    let plain = status.is_success()
        || status.is_redirection()
        || response.extensions().get::<Plain>().is_some();
    if !plain || problem.is_some() {
        let body = problem
            .unwrap_or_else(|| Problem::of_status(status))
            .json(id);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, ALLOW);
        }
        *response.body_mut() = if *method == Method::HEAD {
            Body::empty()
        } else {
            Body::from(body)
        };
    }
    // What says nothing else, such as an error, is not for a cache.
    response
        .headers_mut()
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The span of a request, which continues its caller's where spans are sent.
fn span(request: &Request, id: &str, route: Option<&str>) -> Span {
    if !traces::on() {
        return tracing::info_span!("request", id);
    }
    let name = format!("{} {}", request.method(), route.unwrap_or("unmatched"));
    let span = tracing::info_span!("request", id, otel.kind = "server", otel.name = name);
    let header = |name| request.headers().get(name)?.to_str().ok();
    let caller = header("traceparent").and_then(|parent| Caller::of(parent, header("tracestate")));
    if let Some(caller) = caller {
        caller.is_parent_of(&span);
    }
    span
}

/// The id that came with the request when it is a sane one, else a new one.
pub(crate) fn request_id(given: Option<&HeaderValue>) -> String {
    static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let sane = |text: &&str| {
        (1..=128).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    if let Some(text) = given.and_then(|value| value.to_str().ok()).filter(sane) {
        return text.to_owned();
    }
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{:016x}{number:08x}", SEED.hash_one(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_kept_only_when_it_is_harmless() {
        for (given, kept) in [
            ("abc-1_2.3", true),
            ("", false),
            ("a b", false),
            ("<x>", false),
            (&"a".repeat(129), false),
        ] {
            let id = request_id(Some(&HeaderValue::from_str(given).unwrap()));
            assert_eq!(id == given, kept, "{given}");
        }
        assert_ne!(request_id(None), request_id(None));
    }
}
