//! What can happen to the database, and on the way to it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use sqlx::AssertSqlSafe;

use super::{a_while, some_worker, worker_of_batches};
use crate::chaos::proxy::Mode;
use crate::chaos::world::{PATIENCE, World, log_says};
use crate::eventually;
use crate::process::Signal;

/// All sessions of workers are ended by an administrator.
pub(super) async fn sessions_ended(world: &mut World) -> Result<String> {
    let owner = world.owner.clone();
    let end = async || {
        let sql = "select count(*) filter (where pg_terminate_backend(pid)) from pg_stat_activity \
                   where usename = 'market_data_ingest' and state <> 'idle'";
        let ended: i64 = sqlx::query_scalar(sql).fetch_one(&owner).await?;
        if ended > 0 {
            Ok(ended)
        } else {
            Err(anyhow!("no session is at work"))
        }
    };
    let ended = eventually("sessions of workers are ended", PATIENCE, end).await?;
    Ok(format!(
        "pg_terminate_backend ended {ended} sessions at work"
    ))
}

/// `pg_ctl stop -m immediate`: no checkpoint, the log is replayed at the next start.
pub(super) async fn crashed(world: &mut World) -> Result<String> {
    a_while(world, 0, 1000).await;
    let replayed = "database system was not properly shut down";
    down(
        world,
        Signal::SIGQUIT,
        "received immediate shutdown request",
        replayed,
    )
    .await
}

/// `pg_ctl stop -m fast`: sessions are ended, the server stops in order.
pub(super) async fn restarted(world: &mut World) -> Result<String> {
    a_while(world, 0, 1000).await;
    down(
        world,
        Signal::SIGINT,
        "received fast shutdown request",
        "database system was shut down",
    )
    .await
}

async fn down(world: &mut World, signal: Signal, stops: &str, starts: &str) -> Result<String> {
    let mark = world.postgres_mark();
    world.postgres.process().signal(signal);
    let server = world.postgres.process();
    let ended = eventually("the server ends", PATIENCE, async || {
        match server.exited() {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(anyhow!("it runs")),
            Err(error) => Err(error),
        }
    });
    ended.await?;
    a_while(world, 500, 4000).await;
    world.postgres.restart().await?;
    let log = world.postgres_log(mark);
    for text in [stops, starts] {
        ensure!(log.contains(text), "the server's log does not say {text:?}");
    }
    Ok(format!("the server's log: {stops:?}, then {starts:?}"))
}

/// Not a byte is left on the database's disk.
pub(super) async fn disk_full(world: &mut World) -> Result<String> {
    let mark = world.postgres_mark();
    let disk = world.disk.as_ref().map_err(|reason| anyhow!("{reason}"))?;
    let bytes = disk.fill()?;
    let log = world.postgres.log().to_path_buf();
    let noticed = log_says(&log, mark, "No space left on device").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let disk = world.disk.as_ref().map_err(|reason| anyhow!("{reason}"))?;
    disk.free()?;
    // A server that cannot write its log ends, at once or when it tries to start again.
    let (mut ended, owner) = (false, world.owner.clone());
    let back = eventually("the server is back", PATIENCE, async || {
        if world.postgres.process().exited()?.is_some() {
            ended = true;
            world.postgres.restart().await?;
        }
        sqlx::query("select")
            .execute(&owner)
            .await
            .map_err(anyhow::Error::from)
    });
    back.await?;
    let line = noticed?;
    let after = if ended { ", and the server ended" } else { "" };
    Ok(format!(
        "{bytes} bytes filled the disk; the server's log: {line:?}{after}"
    ))
}

/// The connection is cut when the server has committed, before the worker hears of it.
pub(super) async fn commit_answer_lost(world: &mut World) -> Result<String> {
    let number = worker_of_batches(world).await?;
    for time in 1..=3_u64 {
        let proxy = &world.workers[number].proxy;
        let before = proxy.counts().lost.load(Ordering::Relaxed);
        proxy.set(Mode::LoseAnswer);
        let lost = eventually("an answer to a COMMIT is lost", PATIENCE, async || {
            let lost = proxy.counts().lost.load(Ordering::Relaxed);
            if lost > before {
                Ok(())
            } else {
                Err(format!("{time} of 3"))
            }
        });
        let lost = lost.await;
        proxy.set(Mode::Pass);
        lost?;
    }
    let worker = &mut world.workers[number];
    worker.stop()?;
    worker.start(&[])?;
    Ok(format!(
        "the proxy of {} saw three COMMITs answered and cut the connections instead of telling",
        worker.name
    ))
}

/// All connections of all workers are cut, at any moment.
pub(super) async fn connections_cut(world: &mut World) -> Result<String> {
    let mut cut = 0;
    for _ in 0..4 {
        a_while(world, 50, 700).await;
        cut += world
            .workers
            .iter()
            .map(|worker| worker.proxy.cut())
            .sum::<usize>();
    }
    ensure!(cut > 0, "there were no connections");
    Ok(format!("the proxies cut {cut} connections in four times"))
}

/// Each piece takes a while, both ways.
pub(super) async fn slow(world: &mut World) -> Result<String> {
    let number = some_worker(world);
    let wait = Duration::from_millis(60);
    world.workers[number].proxy.set(Mode::Slow(wait));
    a_while(world, 4000, 8000).await;
    let proxy = &world.workers[number].proxy;
    proxy.set(Mode::Pass);
    let delayed = proxy.counts().delayed.load(Ordering::Relaxed);
    ensure!(delayed > 0, "nothing was delayed");
    Ok(format!(
        "the proxy of {} delayed {delayed} pieces by {wait:?} each",
        world.workers[number].name
    ))
}

/// What is sent is swallowed, and nobody says that the connection is gone.
pub(super) async fn black_hole(world: &mut World) -> Result<String> {
    let number = some_worker(world);
    let proxy = &world.workers[number].proxy;
    let before = proxy.counts().swallowed.load(Ordering::Relaxed);
    proxy.set(Mode::Hole);
    let swallowing = eventually("a worker asks", PATIENCE, async || {
        let swallowed = proxy.counts().swallowed.load(Ordering::Relaxed);
        if swallowed > before {
            Ok(())
        } else {
            Err("it does not")
        }
    });
    let swallowing = swallowing.await;
    a_while(world, 5000, 9000).await;
    let proxy = &world.workers[number].proxy;
    proxy.set(Mode::Pass);
    // A cut that both ends see: without it the worker waits for its own bound of two minutes.
    let cut = proxy.cut();
    swallowing?;
    let swallowed = proxy.counts().swallowed.load(Ordering::Relaxed) - before;
    Ok(format!(
        "the proxy of {} swallowed {swallowed} bytes of {cut} connections",
        world.workers[number].name
    ))
}

/// Another session holds what every batch writes, for longer than workers wait for a lock.
pub(super) async fn lock_held(world: &mut World) -> Result<String> {
    let marks = world.marks();
    let mut lock = world.owner.begin().await?;
    sqlx::query("lock table market_data.tick_blocks in exclusive mode")
        .execute(&mut *lock)
        .await?;
    let begun = Instant::now();
    let timed_out = world.says(&marks, "55P03").await;
    lock.rollback().await?;
    let held = begun.elapsed().as_secs_f64();
    Ok(format!(
        "a lock on tick_blocks was held for {held:.1} s; {} logged SQLSTATE 55P03",
        timed_out?
    ))
}

/// A statement takes longer than it may.
pub(super) async fn statement_timeout(world: &mut World) -> Result<String> {
    let number = some_worker(world);
    let worker = &mut world.workers[number];
    worker.stop()?;
    let mark = worker.mark();
    worker.start(&[("FDA_DATABASE__STATEMENT_TIMEOUT", "1s".into())])?;
    worker.ready().await?;
    let mut lock = world.owner.begin().await?;
    sqlx::query("lock table market_data.candles_1m in exclusive mode")
        .execute(&mut *lock)
        .await?;
    let worker = &mut world.workers[number];
    let cancelled = log_says(worker.log(), mark, "57014").await;
    lock.rollback().await?;
    cancelled?;
    worker.stop()?;
    worker.start(&[])?;
    Ok(format!(
        "{}, whose statements may take 1 s, logged SQLSTATE 57014",
        worker.name
    ))
}

/// `ingest migrate`, and a migration of the kind that a later version may bring: columns are added under a lock that
/// excludes everybody.
pub(super) async fn migration(world: &mut World) -> Result<String> {
    let printed = world.ingest(&["migrate"], "postgres").await?;
    let now = chrono::Utc::now().timestamp_micros();
    for table in ["candles_1m", "candles_1d", "tick_blocks", "symbols"] {
        let sql = format!(
            "alter table market_data.{table} add column chaos_{now} bigint not null default 0"
        );
        sqlx::query(AssertSqlSafe(sql))
            .execute(&world.owner)
            .await?;
        a_while(world, 50, 400).await;
    }
    let sql = "select count(*) from pg_attribute where attname = 'chaos_' || $1";
    let added: i64 = sqlx::query_scalar(sql)
        .bind(now.to_string())
        .fetch_one(&world.owner)
        .await?;
    let line = printed
        .lines()
        .last()
        .context("ingest migrate printed nothing")?;
    let migrated = line.rsplit(": ").next().unwrap_or(line).to_owned();
    ensure!(added == 4, "{added} columns were added");
    Ok(format!(
        "`ingest migrate`: {migrated:?}; {added} columns were added to tables in use"
    ))
}
