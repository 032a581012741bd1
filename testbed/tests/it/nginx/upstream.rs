//! A server in the place of the `api` that fails, waits and answers as a test tells it.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A path below this is a stream of two events, the second when [`Upstream::open`] is called.
const STREAM: &str = "GET /v1/stream";

#[derive(Debug, Clone)]
struct Reply {
    status: u16,
    headers: String,
    body: String,
}

struct Shared {
    reply: Mutex<Reply>,
    open: watch::Sender<bool>,
    /// The heads of all requests.
    seen: Mutex<Vec<String>>,
}

/// The server; it ends when it is dropped.
pub(crate) struct Upstream {
    shared: Arc<Shared>,
    pub(crate) address: String,
    task: JoinHandle<()>,
}

impl Upstream {
    /// Starts one that answers 200 with this `Cache-Control`.
    pub(crate) async fn start(cache_control: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let shared = Arc::new(Shared {
            reply: Mutex::new(Reply {
                status: 200,
                headers: String::new(),
                body: String::new(),
            }),
            open: watch::Sender::new(true),
            seen: Mutex::new(Vec::new()),
        });
        let upstream = Self {
            address: listener.local_addr().unwrap().to_string(),
            task: tokio::spawn(accept(listener, Arc::clone(&shared))),
            shared,
        };
        upstream.answer(200, &format!("Cache-Control: {cache_control}\r\n"), "first");
        upstream
    }

    /// What to answer from now on; `headers` are whole lines.
    pub(crate) fn answer(&self, status: u16, headers: &str, body: &str) {
        *self.shared.reply.lock().unwrap() = Reply {
            status,
            headers: headers.to_owned(),
            body: body.to_owned(),
        };
    }

    /// Lets no answer out any more.
    pub(crate) fn hold(&self) {
        self.shared.open.send_replace(false);
    }

    /// Lets answers out again.
    pub(crate) fn open(&self) {
        self.shared.open.send_replace(true);
    }

    /// The heads of the requests that came.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.shared.seen.lock().unwrap().clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // They end with this task, as the connections of a program end with it.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // A client that goes away ends its connection, and nothing else.
            let _gone = converse(stream, &shared).await;
        });
    }
}

async fn converse(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut input = Vec::new();
    loop {
        let end = loop {
            match input.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(end) => break end + 4,
                None if stream.read_buf(&mut input).await? == 0 => return Ok(()),
                None => (),
            }
        };
        let head = String::from_utf8(input.drain(..end).collect()).unwrap();
        let stream_asked = head.starts_with(STREAM);
        shared.seen.lock().unwrap().push(head);
        if stream_asked {
            let first = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
                         Connection: close\r\n\r\n: first\n\n";
            stream.write_all(first.as_bytes()).await?;
        }
        // The sender lives as long as `shared`.
        drop(shared.open.subscribe().wait_for(|open| *open).await);
        if stream_asked {
            return stream.write_all(b"data: second\n\n").await;
        }
        let Reply {
            status,
            headers,
            body,
        } = shared.reply.lock().unwrap().clone();
        let answer = format!(
            "HTTP/1.1 {status} As Told\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await?;
    }
}
