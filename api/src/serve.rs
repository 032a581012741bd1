//! The public listener: clients cannot hold it up. Connections are bounded in number, in the time that the head of a
//! request may take, and in how long an answer may lie unread.

mod patience;

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use self::patience::Patience;
use crate::app::App;
use crate::config::HttpConfig;
use crate::observe;
use crate::problem::Problem;

/// Clients that are told at once that there is no room; beyond them connections are closed without a word.
const REFUSALS: usize = 64;
/// Longest time for that.
const REFUSAL: Duration = Duration::from_secs(2);
/// Most bytes of a connection that are read ahead or wait to be written: a target of 64 KiB, which gets its problem
/// document, and the 16 KiB of headers that nginx passes at most. Longer heads are 431 without a body.
const BUFFER: usize = 80 * 1_024;
/// Pause after the system had no connection to give, as when files are short.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers until `stop`; then takes no more connections and ends when those that are open have had their answers.
pub(crate) async fn serve(
    listener: TcpListener,
    app: &App,
    config: &HttpConfig,
    stop: CancellationToken,
) {
    let router = app.router();
    let places = Arc::new(Semaphore::new(config.max_connections));
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    let connections = GracefulShutdown::new();
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout)
        .max_buf_size(BUFFER);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            app.metrics.refuse();
            if let Ok(place) = refusals.clone().try_acquire_owned() {
                tokio::spawn(refuse(stream, place));
            }
            continue;
        };
        // It is an optimisation that may fail with a connection that is gone already.
        drop(stream.set_nodelay(true));
        let stream = TokioIo::new(Patience::new(stream, config.write_timeout));
        let connection = builder.serve_connection(stream, TowerToHyperService::new(router.clone()));
        let connection = connections.watch(connection);
        let connected = app.metrics.connect();
        tokio::spawn(async move {
            let _until_it_ends = (place, connected);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    connections.shutdown().await;
}

/// Tells a client that there is no room, once it has asked.
async fn refuse(mut stream: TcpStream, _place: OwnedSemaphorePermit) {
    let tell = async {
        // An answer that comes before the question may be lost with the connection.
        let _asked = stream.read(&mut [0; 8_192]).await?;
        stream.write_all(&refusal()).await?;
        stream.shutdown().await
    };
    if let Ok(Err(error)) = tokio::time::timeout(REFUSAL, tell).await {
        tracing::debug!(%error, "a client did not wait for its refusal");
    }
}

/// What it is told.
fn refusal() -> Vec<u8> {
    let id = observe::request_id(None);
    let body = Problem::no_room().json(&id);
    let mut answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nx-request-id: {id}\r\n\
         retry-after: 1\r\ncache-control: no-store\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend(body);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_is_as_long_as_it_says_and_a_problem_with_its_id() {
        let text = String::from_utf8(refusal()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("\r\ncontent-length: {}", body.len())),
            "{}",
            body.len()
        );
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["status"], 503);
        let id = problem["instance"].as_str().unwrap();
        assert!(
            head.contains(&format!("\r\nx-request-id: {id}\r\n")),
            "{head}"
        );
    }
}
