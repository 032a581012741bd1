//! `testbed bench`: one worker drains a filled topic; a bare COPY of the same ticks runs beside it.
//!
//! Both write to the same durable server, one after the other, and both are timed from the first
//! commit at or above 10 % to the last. Then the same worker follows a live feed, and at last the API is
//! read beside a prepared SELECT. What is printed is what was measured in this run.

mod copy;
mod feed;
mod figures;
mod live;
mod read;

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, Utc};
use clap::{Args, value_parser};
use sqlx::{Connection as _, PgConnection};

use crate::process::{self, Launch, Process};
use crate::publisher::{Encoding, Publisher};
use crate::{Kafka, Postgres, eventually, eventually_while, ports, postgres, workspace};

use self::feed::Feed;
use self::figures::Figures;

/// What `testbed bench` is told.
#[derive(Debug, Clone, Args)]
pub struct Bench {
    /// Ticks in the topic, within one hour of event time.
    #[arg(long, default_value_t = 2_000_000)]
    pub ticks: u32,
    /// Symbols, which trade by Zipf's law.
    #[arg(long, default_value_t = 500)]
    pub symbols: u16,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 4)]
    pub partitions: i32,
    /// Ticks a second of the live feed that follows.
    #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u32).range(1..=100_000))]
    pub live_rate: u32,
    /// Its length.
    #[arg(long, default_value_t = 20, value_parser = value_parser!(u32).range(1..=3_600))]
    pub live_seconds: u32,
    /// The feed's first instant; by default an hour ago, as after an outage of an hour. Ticks of periods that have ended
    /// cost more: their weeks to years are marked for the refresh of the views.
    #[arg(long, default_value_t = Utc::now() - chrono::Duration::hours(1))]
    pub start: DateTime<Utc>,
    /// Seed of the feed.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl Bench {
    /// Ticks of the live feed.
    const fn live_ticks(&self) -> u32 {
        self.live_rate * self.live_seconds
    }
}

/// Timed from the first commit at or above this share.
const FROM: f64 = 0.1;

/// A rate over the part of a run that counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    ticks: u64,
    time: Duration,
}

impl Rate {
    /// From samples of (time, ticks committed so far).
    fn of(samples: &[(Instant, u64)], total: u64) -> Result<Self> {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts of a few million"
        )]
        let from = (total as f64 * FROM) as u64;
        let first = samples.iter().find(|sample| sample.1 >= from);
        let last = samples.iter().find(|sample| sample.1 >= total);
        match (first, last) {
            (Some(first), Some(last)) if last.1 > first.1 => Ok(Self {
                ticks: last.1 - first.1,
                time: last.0 - first.0,
            }),
            _ => bail!("too few commits to time: more ticks are needed"),
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "counts of a few million")]
    fn a_second(self) -> f64 {
        self.ticks as f64 / self.time.as_secs_f64()
    }
}

/// Runs the benchmark and prints its figures.
///
/// # Errors
///
/// When a service, the worker, the api or nginx fails, or other ticks are stored than were published.
pub async fn bench(options: &Bench) -> Result<()> {
    let total = u64::from(options.ticks);
    println!(
        "{} ticks of {} symbols in one hour of event time from {}, {} partitions; {} cores; {}",
        options.ticks,
        options.symbols,
        options.start.format("%FT%TZ"),
        options.partitions,
        std::thread::available_parallelism().map_or(0, usize::from),
        Utc::now().format("%Y-%m-%d"),
    );
    let server = start_server().await?;
    let kafka = Kafka::start().await?;
    kafka.create_topic("ticks", options.partitions).await?;
    let publisher = publish(&kafka, options).await?;

    let copies = copy::run(&server, options).await?;
    let url = server.create_database("bench").await?;
    migrate(&url).await?;
    let admin = format!("127.0.0.1:{}", ports::free()?);
    let mut worker = start_worker(&server, &kafka, &admin)?;
    let mut db = PgConnection::connect(&url).await?;
    let drained = drain(&mut worker, &mut db, total).await?;
    let peak = peak_memory_kib(&worker)?;
    println!(
        "drained at {:.0} ticks/s; merging small blocks",
        drained.a_second()
    );

    let before_merge = stored_bytes(&mut db).await?;
    eventually(
        "small blocks are merged",
        Duration::from_mins(3),
        async || {
            let left: i64 = sqlx::query_scalar(
                "select count(*) from (select from market_data.tick_blocks where count < 128 \
                 group by symbol_id having count(*) >= 8) waiting",
            )
            .fetch_one(&mut db)
            .await
            .map_err(anyhow::Error::from)?;
            if left == 0 {
                Ok(())
            } else {
                Err(anyhow::anyhow!("{left} symbols wait"))
            }
        },
    )
    .await?;
    sqlx::query("vacuum full market_data.tick_blocks")
        .execute(&mut db)
        .await?;
    let merged = stored_bytes(&mut db).await?;

    println!("live feed of {} ticks/s", options.live_rate);
    let live = live::run(&publisher, &mut db, &admin, options).await?;
    let total = total + u64::from(options.live_ticks()) + read::prepare(&publisher).await?;
    let what = "all ticks are stored";
    let alive = || worker.check_alive();
    eventually_while(
        what,
        Duration::from_mins(1),
        alive,
        async || match stored(&mut db).await? {
            stored if stored < total => Err(anyhow::anyhow!("{stored} of {total} are stored")),
            _ => Ok(()),
        },
    )
    .await?;
    worker.stop(Duration::from_secs(10));
    let stored: i64 =
        sqlx::query_scalar("select coalesce(sum(count), 0)::bigint from market_data.tick_blocks")
            .fetch_one(&mut db)
            .await?;
    if u64::try_from(stored) != Ok(total) {
        bail!("{stored} ticks are stored, {total} were published");
    }
    println!("reading");
    let figures = Figures {
        copies,
        drained,
        peak_kib: peak,
        before_merge,
        merged,
        live,
        reads: read::run(&server).await?,
    };
    figures.print(options);
    Ok(())
}

async fn start_server() -> Result<Postgres> {
    let folder = workspace::work().join("bench");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    Postgres::start_with(postgres::Options {
        version: postgres::NEWEST.into(),
        data: folder.join("postgres"),
        log: folder.join("postgres.log"),
        durable: true,
        settings: Vec::new(),
    })
    .await
}

async fn publish(kafka: &Kafka, options: &Bench) -> Result<Publisher> {
    let publisher = Publisher::connect(&kafka.bootstrap(), "ticks")?;
    let begun = Instant::now();
    for (number, tick) in Feed::new(options).take(options.ticks as usize).enumerate() {
        publisher.send(&tick.message(), Encoding::Json)?;
        if number % 500_000 == 0 {
            println!("{number} ticks published");
        }
    }
    let delivered = publisher.settle().await?;
    println!(
        "{} ticks published in {:.0} s",
        delivered.count,
        begun.elapsed().as_secs_f64()
    );
    Ok(publisher)
}

async fn migrate(url: &str) -> Result<()> {
    let mut command = Command::new(workspace::binary("ingest")?);
    command.arg("migrate").env("FDA_DATABASE__URL", url);
    process::run("ingest migrate", command).await.map(drop)
}

/// The worker, with its default configuration.
fn start_worker(server: &Postgres, kafka: &Kafka, admin: &str) -> Result<Process> {
    let mut command = Command::new(workspace::binary("ingest")?);
    command
        .arg("run")
        .env("FDA_KAFKA__BROKERS", kafka.bootstrap())
        .env(
            "FDA_DATABASE__URL",
            server.url_as("market_data_ingest", "bench"),
        )
        .env("FDA_ADMIN__LISTEN", admin);
    Launch::new(
        "ingest",
        command,
        workspace::work().join("bench/ingest.log"),
    )
    .start()
}

/// Watches the stored positions until all ticks are in.
async fn drain(worker: &mut Process, db: &mut PgConnection, total: u64) -> Result<Rate> {
    let mut samples = Vec::new();
    let deadline = Instant::now() + Duration::from_mins(5);
    loop {
        let stored = stored(db).await?;
        samples.push((Instant::now(), stored));
        if stored >= total {
            return Rate::of(&samples, total);
        }
        worker.check_alive()?;
        if Instant::now() > deadline {
            bail!(
                "{stored} of {total} ticks after 5 minutes; see {}",
                worker.log().display()
            );
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Ticks whose batches are committed.
async fn stored(db: &mut PgConnection) -> Result<u64> {
    let stored: i64 = sqlx::query_scalar(
        "select coalesce(sum(next_offset), 0)::bigint from market_data.ingest_offsets",
    )
    .fetch_one(db)
    .await?;
    Ok(u64::try_from(stored)?)
}

/// The most memory that the process has held, in KiB, as Linux counts it.
fn peak_memory_kib(worker: &Process) -> Result<i64> {
    let path = format!("/proc/{}/status", worker.pid());
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok())
        .with_context(|| format!("{path} has no VmHWM"))
}

async fn stored_bytes(db: &mut PgConnection) -> Result<i64> {
    let query = "select pg_total_relation_size('market_data.tick_blocks')";
    Ok(sqlx::query_scalar(query).fetch_one(db).await?)
}
