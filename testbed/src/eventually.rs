//! Waiting for a condition with a deadline, instead of sleeping and hoping.

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// How long to wait between two looks.
const PAUSE: Duration = Duration::from_millis(25);

/// Asks `probe` until it gives a value; `Err` from it means "not yet" and is told when the time is up.
///
/// # Errors
///
/// When `limit` has passed: what was waited for, and what the last look said.
pub async fn eventually<T, E, F>(what: &str, limit: Duration, mut probe: F) -> Result<T>
where
    E: Display,
    F: AsyncFnMut() -> Result<T, E>,
{
    let start = Instant::now();
    loop {
        let last = match tokio::time::timeout(limit, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(reason)) => format!("{reason:#}"),
            Err(_) => "no answer".to_owned(),
        };
        if start.elapsed() >= limit {
            return Err(anyhow!("{what}: not within {limit:?}; last seen: {last}"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The same for what a program must come to: when `alive` fails there is nothing more to wait for.
///
/// # Errors
///
/// What `alive` says, or when `limit` has passed.
pub async fn eventually_while<T, E, A, F>(
    what: &str,
    limit: Duration,
    mut alive: A,
    mut probe: F,
) -> Result<T>
where
    E: Display,
    A: FnMut() -> Result<()>,
    F: AsyncFnMut() -> Result<T, E>,
{
    let answer = eventually(what, limit, async || match alive() {
        Ok(()) => probe().await.map(Ok),
        Err(dead) => Ok(Err(dead)),
    });
    answer.await?
}
