//! A TCP proxy before PostgreSQL that can be slow, swallow everything, cut connections, and keep a COMMIT or its answer.
//!
//! It knows two things of the protocol (PostgreSQL 18, chapter 54): a client's `COMMIT` is a simple query whose text ends
//! with a zero byte, and the server's answer to it bears the same tag.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const COMMIT: &[u8] = b"COMMIT\0";

/// What the proxy does with what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Hands it on.
    Pass,
    /// Hands it on after a while.
    Slow(Duration),
    /// Swallows it without a word.
    Hole,
    /// Hands a COMMIT to the server, waits until the server has answered, and cuts the connection instead of telling.
    LoseAnswer,
    /// Hands a COMMIT to the server and keeps the answer.
    KeepAnswer,
    /// Keeps a COMMIT.
    KeepCommit,
}

/// What has happened to what was given.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Pieces that were delayed.
    pub(super) delayed: AtomicU64,
    /// Bytes that were swallowed.
    pub(super) swallowed: AtomicU64,
    /// Answers to a COMMIT that were lost.
    pub(super) lost: AtomicU64,
    /// COMMITs, or answers to one, that were kept.
    pub(super) kept: AtomicU64,
}

#[derive(Debug)]
struct State {
    mode: Mutex<Mode>,
    counts: Counts,
    /// Raised to end all connections.
    cut: watch::Sender<u64>,
}

impl State {
    fn mode(&self) -> Mode {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
    }

    /// Whether this connection is the one to suffer: one at a time.
    fn take(&self, wanted: Mode) -> bool {
        let mut mode = self.mode.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = *mode == wanted;
        if taken {
            *mode = Mode::Pass;
        }
        taken
    }
}

/// A running proxy; it ends with the program.
#[derive(Debug)]
pub(super) struct Proxy {
    port: u16,
    state: Arc<State>,
}

impl Proxy {
    /// Listens on a free port of this machine for connections to another one of its ports.
    ///
    /// # Errors
    ///
    /// When there is no free port.
    pub(super) async fn start(server: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(State {
            mode: Mutex::new(Mode::Pass),
            counts: Counts::default(),
            cut: watch::Sender::new(0),
        });
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connection(client, server, shared.clone()));
            }
        });
        Ok(Self { port, state })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn set(&self, mode: Mode) {
        self.state.set(mode);
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.state.counts
    }

    /// Ends all connections, those included whose COMMIT or answer is kept; returns how many there were.
    pub(super) fn cut(&self) -> usize {
        let connections = self.state.cut.receiver_count();
        self.state.cut.send_modify(|number| *number += 1);
        connections
    }
}

/// Serves one connection until one of its ends closes or it is cut; how it ends is of no interest.
async fn connection(client: TcpStream, server: u16, state: Arc<State>) {
    let mut cut = state.cut.subscribe();
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await else {
        return;
    };
    if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
        return;
    }
    tokio::select! {
        _ended = pump(client, server, &state) => {}
        _cut = cut.changed() => {}
    }
}

async fn pump(mut client: TcpStream, mut server: TcpStream, state: &State) -> std::io::Result<()> {
    let (mut from_client, mut from_server) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    // The answer that comes next is lost.
    let mut losing = false;
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let data = &from_client[..read?];
                if data.is_empty() {
                    return Ok(());
                }
                if contains(data, COMMIT) {
                    losing = state.take(Mode::LoseAnswer);
                    let kept = state.take(Mode::KeepAnswer);
                    if kept {
                        server.write_all(data).await?;
                    }
                    if kept || state.take(Mode::KeepCommit) {
                        state.counts.kept.fetch_add(1, Ordering::Relaxed);
                        return std::future::pending().await;
                    }
                }
                hand_on(&mut server, data, state).await?;
            }
            read = server.read(&mut from_server) => {
                let data = &from_server[..read?];
                if data.is_empty() {
                    return Ok(());
                }
                if losing {
                    if contains(data, COMMIT) {
                        state.counts.lost.fetch_add(1, Ordering::Relaxed);
                        return Ok(());
                    }
                } else {
                    hand_on(&mut client, data, state).await?;
                }
            }
        }
    }
}

async fn hand_on(to: &mut TcpStream, data: &[u8], state: &State) -> std::io::Result<()> {
    match state.mode() {
        Mode::Hole => {
            let bytes = u64::try_from(data.len()).unwrap_or(u64::MAX);
            state.counts.swallowed.fetch_add(bytes, Ordering::Relaxed);
            Ok(())
        }
        Mode::Slow(wait) => {
            state.counts.delayed.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(wait).await;
            to.write_all(data).await
        }
        _ => to.write_all(data).await,
    }
}

fn contains(data: &[u8], part: &[u8]) -> bool {
    data.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers each piece with the same; its port, and what it was given.
    async fn echo() -> (u16, Arc<Mutex<Vec<u8>>>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let given = seen.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let given = given.clone();
                tokio::spawn(async move {
                    let mut buffer = [0; 1024];
                    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                        given.lock().unwrap().extend_from_slice(&buffer[..read]);
                        stream.write_all(&buffer[..read]).await.unwrap();
                    }
                });
            }
        });
        (port, seen)
    }

    async fn ask(proxy: &Proxy, text: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await?;
        stream.write_all(text).await?;
        let mut answer = vec![0; text.len()];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn answer_to_a_commit_is_lost_once_after_the_server_has_it() {
        // GIVEN a proxy that is to lose an answer
        let (port, seen) = echo().await;
        let proxy = Proxy::start(port).await.unwrap();
        proxy.set(Mode::LoseAnswer);
        // WHEN something else passes THEN it is answered
        assert_eq!(ask(&proxy, b"select\0").await.unwrap(), b"select\0");
        // WHEN a COMMIT passes THEN the server has it and the client no answer
        assert!(ask(&proxy, COMMIT).await.is_err());
        assert!(seen.lock().unwrap().ends_with(COMMIT));
        assert_eq!(proxy.counts().lost.load(Ordering::Relaxed), 1);
        // AND the next one is answered
        assert_eq!(ask(&proxy, COMMIT).await.unwrap(), COMMIT);
    }

    #[tokio::test]
    async fn kept_commit_and_hole_last_until_they_are_cut() {
        let (port, seen) = echo().await;
        let proxy = Proxy::start(port).await.unwrap();
        for (mode, reaches) in [
            (Mode::KeepCommit, false),
            (Mode::KeepAnswer, true),
            (Mode::Hole, false),
        ] {
            // GIVEN a proxy that keeps a COMMIT, or its answer, or swallows it
            seen.lock().unwrap().clear();
            proxy.set(mode);
            // WHEN a client waits for the answer, and the connection is cut
            let mut asked = Box::pin(ask(&proxy, COMMIT));
            let waited = tokio::time::timeout(Duration::from_millis(100), &mut asked);
            assert!(waited.await.is_err(), "{mode:?}");
            assert_eq!(proxy.cut(), 1, "{mode:?}");
            // THEN it gets none, and the server has had the COMMIT or not
            assert!(asked.await.is_err(), "{mode:?}");
            assert_eq!(!seen.lock().unwrap().is_empty(), reaches, "{mode:?}");
        }
    }
}
