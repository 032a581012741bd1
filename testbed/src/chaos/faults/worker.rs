//! What can happen to a worker.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use super::{a_while, some_worker, worker_of_batches};
use crate::chaos::proxy::Mode;
use crate::chaos::world::{PATIENCE, World};
use crate::eventually;

/// Batches that the fence has refused.
const FENCED: &str = "ingest_fenced_batches_total";

/// `kill -9` at any moment.
pub(super) async fn killed(world: &mut World) -> Result<String> {
    let number = some_worker(world);
    a_while(world, 0, 1500).await;
    let worker = &mut world.workers[number];
    let proof = worker.kill9()?;
    worker.start(&[])?;
    Ok(proof)
}

/// `kill -9` between a COMMIT and its answer.
pub(super) async fn killed_in_commit(world: &mut World) -> Result<String> {
    let number = worker_of_batches(world).await?;
    kept(world, number, Mode::KeepAnswer).await?;
    let worker = &mut world.workers[number];
    let proof = worker.kill9()?;
    worker.proxy.cut();
    worker.start(&[])?;
    Ok(format!("{proof}, its COMMIT sent and not answered"))
}

/// Waits until a worker's COMMIT, or the answer, is kept by its proxy.
async fn kept(world: &mut World, number: usize, mode: Mode) -> Result<()> {
    let proxy = &world.workers[number].proxy;
    let before = proxy.counts().kept.load(Ordering::Relaxed);
    proxy.set(mode);
    let kept = eventually("a worker commits", PATIENCE, async || {
        if proxy.counts().kept.load(Ordering::Relaxed) > before {
            Ok(())
        } else {
            Err("not yet")
        }
    });
    let kept = kept.await;
    proxy.set(Mode::Pass);
    kept
}

/// SIGTERM, as in a rollout.
pub(super) async fn stopped(world: &mut World) -> Result<String> {
    let number = some_worker(world);
    a_while(world, 0, 500).await;
    let worker = &mut world.workers[number];
    let proof = worker.stop()?;
    worker.start(&[])?;
    Ok(proof)
}

/// SIGSTOP until the group has given the worker's partitions away and others have stored them, and back.
pub(super) async fn frozen(world: &mut World) -> Result<String> {
    let number = some_worker(world);
    a_while(world, 0, 500).await;
    let begun = Instant::now();
    world.workers[number].freeze().await?;
    let others = world.recovered().await;
    let worker = &mut world.workers[number];
    worker.thaw();
    others?;
    let name = &worker.name;
    Ok(format!(
        "{name} stood still for {:.1} s, and the others stored up to the ends of all partitions meanwhile",
        begun.elapsed().as_secs_f64()
    ))
}

/// SIGSTOP inside a transaction, all of it written and not committed: a successor ends its session, and the zombie fails.
pub(super) async fn frozen_in_transaction(world: &mut World) -> Result<String> {
    let number = worker_of_batches(world).await?;
    let marks = world.marks();
    let fenced = world.workers[number].metric(FENCED).await?;
    kept(world, number, Mode::KeepCommit).await?;
    world.workers[number].freeze().await?;
    let begun = Instant::now();
    let others = world.recovered().await;
    let took = begun.elapsed();
    let worker = &mut world.workers[number];
    worker.thaw();
    worker.proxy.cut();
    others?;
    let by = world.who_says(&marks, "ended the session of a frozen worker");
    let by = by.context("no worker has ended the frozen one's session")?;
    ensure!(by != number, "the frozen worker has ended a session");
    let worker = &world.workers[number];
    let refused = eventually("the zombie fails at the fence", PATIENCE, async || {
        let now = worker.metric(FENCED).await?;
        if now > fenced {
            Ok(())
        } else {
            Err(anyhow!("{FENCED} is {now}"))
        }
    });
    refused.await?;
    let worker = &mut world.workers[number];
    worker.stop()?;
    worker.start(&[])?;
    let worker = &world.workers[number];
    Ok(format!(
        "{} ended the session of {}, which was frozen before its COMMIT; all was stored after {:.1} s, and the zombie failed at the fence",
        world.workers[by].name,
        worker.name,
        took.as_secs_f64()
    ))
}

/// The source of a library that shifts the clock of the program that loads it.
const CLOCK: &str = include_str!("../clock.c");

/// Why clocks cannot be shifted here, if they cannot.
pub(super) fn no_clock(world: &World) -> Option<String> {
    if !cfg!(all(target_os = "linux", target_env = "gnu")) {
        return Some("clocks are shifted by a library that needs Linux and glibc".into());
    }
    let library = library(world);
    if library.is_file() {
        return None;
    }
    let source = library.with_extension("c");
    let compiled = std::fs::write(&source, CLOCK).and_then(|()| {
        let mut command = Command::new("cc");
        command
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(&source)
            .arg("-ldl");
        command.output()
    });
    match compiled {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Some(format!("cc: {error}")),
    }
}

fn library(world: &World) -> PathBuf {
    world.folder().join("clock.so")
}

/// A worker whose clock is an hour ahead or behind.
pub(super) async fn clock_wrong(world: &mut World) -> Result<String> {
    let number = some_worker(world);
    let library = library(world).display().to_string();
    let mut proofs = Vec::new();
    for (offset, sign) in [(3600_i64, 1), (-3600, -1)] {
        let worker = &mut world.workers[number];
        worker.stop()?;
        let mark = worker.mark();
        worker.start(&[
            ("LD_PRELOAD", library.clone()),
            ("CLOCK_OFFSET", offset.to_string()),
        ])?;
        worker.ready().await?;
        world.recovered().await?;
        let worker = &world.workers[number];
        let line = worker
            .log_since(mark)
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned();
        let stamp = line.split_whitespace().next().unwrap_or_default();
        let Ok(stamp) = chrono::DateTime::parse_from_rfc3339(stamp) else {
            bail!("no time in the worker's log: {line:?}");
        };
        let ahead = stamp.to_utc() - chrono::Utc::now();
        ensure!(
            (ahead.num_seconds() * sign - 3600).abs() < 300,
            "the worker's clock is {ahead} ahead"
        );
        proofs.push(stamp.format("%H:%M:%S").to_string());
    }
    let worker = &mut world.workers[number];
    worker.stop()?;
    worker.start(&[])?;
    let now = chrono::Utc::now().format("%H:%M:%S");
    Ok(format!(
        "{} wrote {} in its log at about {now}",
        worker.name,
        proofs.join(" and ")
    ))
}
