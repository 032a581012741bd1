//! The admin listener of both programs: `/metrics`, `/livez`, `/readyz`.
//!
//! Not alive means "restart me"; not ready means "wait", and says for what.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::future::BoxFuture;
use prometheus::{Encoder, Registry, TextEncoder};
use tokio::net::TcpListener;

/// How long a program may take to say whether it is ready.
const LONGEST: Duration = Duration::from_secs(3);

/// What a program says of itself. The error is a sentence for the operator.
pub trait Probe: Send + Sync + 'static {
    /// Whether it makes progress.
    fn live(&self) -> BoxFuture<'_, Result<(), String>>;
    /// Whether it can do its work now.
    fn ready(&self) -> BoxFuture<'_, Result<(), String>>;
}

#[derive(Clone)]
struct Admin {
    registry: Registry,
    probe: Arc<dyn Probe>,
}

/// The routes.
pub fn router(registry: Registry, probe: Arc<dyn Probe>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route(
            "/livez",
            get(async |State(admin): State<Admin>| answer(admin.probe.live().await)),
        )
        .route(
            "/readyz",
            get(async |State(admin): State<Admin>| answer(admin.probe.ready().await)),
        )
        .with_state(Admin { registry, probe })
}

fn answer(state: Result<(), String>) -> Response {
    match state {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    // Readiness is a metric too, and nobody else may have asked for it.
    let _told_by_its_metric = admin.probe.ready().await;
    let mut body = Vec::new();
    match TextEncoder::new().encode(&admin.registry.gather(), &mut body) {
        Ok(()) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Binds an address.
///
/// # Errors
/// When it is in use or not this machine's; the text names the key to change.
pub async fn bind(address: SocketAddr, key: &str) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        std::io::Error::new(
            error.kind(),
            format!("cannot listen on {address} ({key}): {error}"),
        )
    })
}

/// Asks `http://address/readyz` of a running program, for the `healthcheck` subcommand.
///
/// # Errors
/// When it does not answer 200 within 3 seconds; the text says where it was asked, or what it answered.
pub async fn healthcheck(address: SocketAddr) -> std::io::Result<()> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let ask = async {
        let connected = tokio::net::TcpStream::connect(address).await;
        let mut stream = connected.map_err(|error| {
            std::io::Error::new(
                error.kind(),
                format!("nothing answers at {address} (admin.listen): {error}"),
            )
        })?;
        stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").await?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await?;
        let status = reply.split(' ').nth(1).unwrap_or_default();
        if status == "200" {
            return Ok(());
        }
        let body = reply
            .split_once("\r\n\r\n")
            .map_or("no answer", |(_, body)| body.trim());
        Err(std::io::Error::other(format!("not ready: {body}")))
    };
    tokio::time::timeout(LONGEST, ask)
        .await
        .unwrap_or_else(|_| {
            Err(std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                format!("no answer from {address} (admin.listen) within {LONGEST:?}"),
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_does_not_answer_is_told_by_its_address() {
        // GIVEN a listener that takes connections and says nothing
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // WHEN it is asked THEN it is said where
        let error = healthcheck(address).await.unwrap_err().to_string();
        assert!(error.contains(&address.to_string()), "{error}");
    }
}
