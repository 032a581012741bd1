//! What runs in a chaos run: brokers, a database, workers that reach it through proxies, and the API.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use rand::rngs::StdRng;
use sqlx::postgres::{PgPool, PgPoolOptions};

use super::disk::{self, Disk};
use super::feed::{AVRO, COMPACTED, SYMBOLS, TICKS};
use super::producer::Shared;
use super::topics::{self, Partition};
use super::worker::{Api, Worker, program};
use crate::postgres::{NEWEST, Options};
use crate::{Kafka, Postgres, Registry, avro, eventually, eventually_while, process};

const DATABASE: &str = "chaos";
const FOLDER: &str = "testbed-chaos-";
/// How long until all that was published is stored, after a fault: far above what it takes on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_mins(3);

/// How large a world is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) brokers: u32,
    pub(super) workers: usize,
    pub(super) partitions: i32,
    /// Whether there is a registry and a topic of Avro messages.
    pub(super) avro: bool,
    /// Whether the database lies on a small disk of its own, where that can be had.
    pub(super) disk: bool,
}

/// All that runs.
#[derive(Debug)]
pub(super) struct World {
    pub(super) size: Size,
    pub(super) api: Api,
    pub(super) workers: Vec<Worker>,
    pub(super) registry: Option<Registry>,
    pub(super) brokers: Vec<Kafka>,
    /// As the superuser, without a proxy between.
    pub(super) owner: PgPool,
    pub(super) postgres: Postgres,
    /// The database's, or why there is none.
    pub(super) disk: Result<Disk, String>,
    pub(super) shared: Arc<Shared>,
    /// What faults draw by.
    pub(super) random: StdRng,
    folder: PathBuf,
}

impl World {
    /// Starts everything but the workers.
    ///
    /// # Errors
    ///
    /// When a part does not start.
    pub(super) async fn start(size: Size, random: StdRng) -> Result<Self> {
        disk::clear_stale(FOLDER);
        let folder = std::env::temp_dir().join(format!("{FOLDER}{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let place = folder.join("disk");
        let disk = if size.disk {
            Disk::mount(&place)
                .await
                .map_err(|error| format!("{error:#}"))
        } else {
            Err("a short run leaves it out".to_owned())
        };
        let options = Options {
            version: NEWEST.to_owned(),
            data: place.join("data"),
            log: folder.join("postgres.log"),
            durable: false,
            // Small, so that the disk can be.
            settings: vec![("max_wal_size".into(), "128MB".into())],
        };
        let (postgres, brokers) =
            tokio::try_join!(Postgres::start_with(options), Kafka::cluster(size.brokers))?;
        let url = postgres.create_database(DATABASE).await?;
        migrate(&url).await?;
        let owner = PgPoolOptions::new()
            .max_connections(6)
            .acquire_timeout(Duration::from_secs(5))
            .connect_lazy(&url)?;
        for (symbol, zone) in SYMBOLS {
            sqlx::query("insert into market_data.symbols (symbol, timezone) values ($1, $2)")
                .bind(symbol)
                .bind(zone)
                .execute(&owner)
                .await?;
        }
        let registry = if size.avro {
            Some(Registry::start().await?)
        } else {
            None
        };
        let api = Api::start(&folder, &postgres.url_as("market_data_api", DATABASE))?;
        let mut world = Self {
            size,
            api,
            workers: Vec::new(),
            registry,
            brokers,
            owner,
            postgres,
            disk,
            shared: Arc::new(Shared::new(size.partitions)),
            random,
            folder,
        };
        world.create_topics().await?;
        Ok(world)
    }

    async fn create_topics(&mut self) -> Result<()> {
        let (brokers, partitions) = (self.bootstrap(), self.size.partitions);
        let copies = i32::try_from(self.size.brokers.min(3))?;
        topics::create(&brokers, TICKS, partitions, copies, &[]).await?;
        let compacted = [
            ("cleanup.policy", "compact"),
            ("segment.ms", "500"),
            ("min.cleanable.dirty.ratio", "0.001"),
            ("max.compaction.lag.ms", "500"),
        ];
        topics::create(&brokers, COMPACTED, partitions, copies, &compacted).await?;
        if let Some(registry) = &self.registry {
            topics::create(&brokers, AVRO, partitions, copies, &[]).await?;
            let id = registry.register("avro-value", avro::SCHEMA).await?;
            self.shared.use_schema(id);
        }
        Ok(())
    }

    /// Starts the workers.
    ///
    /// # Errors
    ///
    /// When one cannot be started.
    pub(super) async fn start_workers(&mut self) -> Result<()> {
        let mut settings = vec![
            ("FDA_KAFKA__BROKERS".to_owned(), self.bootstrap()),
            ("FDA_KAFKA__GROUP".into(), "chaos".into()),
            // The shortest that a broker grants by default.
            ("FDA_KAFKA__SESSION_TIMEOUT".into(), "6s".into()),
            ("FDA_BATCH__MAX_MESSAGES".into(), "400".into()),
            ("FDA_UPKEEP__REFRESH_INTERVAL".into(), "500ms".into()),
            ("FDA_UPKEEP__MERGE_INTERVAL".into(), "200ms".into()),
            ("FDA_LOG__FORMAT".into(), "text".into()),
        ];
        for topic in self.topics() {
            let format = if *topic == AVRO { "avro" } else { "json" };
            settings.push((format!("FDA_KAFKA__TOPICS__{topic}"), format.into()));
        }
        if let Some(registry) = &self.registry {
            settings.push(("FDA_KAFKA__SCHEMA_REGISTRY_URL".into(), registry.url()));
        }
        for number in 0..self.size.workers {
            let url = |port| format!("postgres://market_data_ingest@127.0.0.1:{port}/{DATABASE}");
            let mut worker =
                Worker::new(number, &self.folder, self.postgres.port(), url, &settings).await?;
            worker.start(&[])?;
            self.workers.push(worker);
        }
        for worker in &mut self.workers {
            worker.ready().await?;
        }
        Ok(())
    }

    /// The topics of this world.
    pub(super) fn topics(&self) -> &'static [&'static str] {
        if self.size.avro {
            &[TICKS, COMPACTED, AVRO]
        } else {
            &[TICKS, COMPACTED]
        }
    }

    /// Addresses of all brokers.
    pub(super) fn bootstrap(&self) -> String {
        let all: Vec<String> = self.brokers.iter().map(Kafka::bootstrap).collect();
        all.join(",")
    }

    /// Where files of this run lie.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes the files; after a failure they are of use.
    pub(super) fn forget(self) {
        let folder = self.folder.clone();
        drop(self);
        drop(std::fs::remove_dir_all(folder));
    }

    /// What the database's server has logged since its log had that length.
    pub(super) fn postgres_log(&self, since: u64) -> String {
        log_since(self.postgres.log(), since)
    }

    /// The length of the server's log.
    pub(super) fn postgres_mark(&self) -> u64 {
        length(self.postgres.log())
    }

    /// The lengths of the workers' logs.
    pub(super) fn marks(&self) -> Vec<u64> {
        self.workers.iter().map(Worker::mark).collect()
    }

    /// The first worker whose log says something new, if any does.
    pub(super) fn who_says(&self, marks: &[u64], text: &str) -> Option<usize> {
        let logs = self.workers.iter().zip(marks);
        logs.map(|(worker, mark)| worker.log_since(*mark))
            .position(|log| log.contains(text))
    }

    /// Waits until a worker's log says something new; returns its name.
    ///
    /// # Errors
    ///
    /// When none does in time.
    pub(super) async fn says(&self, marks: &[u64], text: &str) -> Result<String> {
        let what = format!("a worker says {text:?}");
        let said = eventually(&what, PATIENCE, async || {
            let who = self.who_says(marks, text);
            who.map(|number| self.workers[number].name.clone())
                .ok_or("none does")
        });
        said.await
    }

    /// Fails when a worker has ended that nobody has killed.
    pub(super) fn check_alive(&mut self) -> Result<()> {
        self.workers.iter_mut().try_for_each(Worker::check_alive)?;
        self.api.check_alive()
    }

    /// Where all partitions end, waiting for brokers that are away.
    pub(super) async fn ends(&self) -> Result<BTreeMap<Partition, i64>> {
        let (brokers, topics) = (self.bootstrap(), self.topics());
        let ask = async || topics::ends(&brokers, topics).await;
        eventually("the brokers tell where partitions end", PATIENCE, ask).await
    }

    /// The stored positions.
    pub(super) async fn positions(&self) -> sqlx::Result<BTreeMap<Partition, i64>> {
        positions(&self.owner).await
    }

    /// Waits until all that is published now is stored; says how long that took.
    ///
    /// # Errors
    ///
    /// When it is not in time, or a worker ends meanwhile.
    pub(super) async fn recovered(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        let ends = self.ends().await?;
        let owner = self.owner.clone();
        let what = "all that was published is stored";
        let stored = eventually_while(
            what,
            PATIENCE,
            || self.workers.iter_mut().try_for_each(Worker::check_alive),
            async || match missing(&owner, &ends).await {
                Ok(missing) if missing.is_empty() => Ok(()),
                Ok(missing) => Err(anyhow!("not yet: {}", missing.join(", "))),
                Err(error) => Err(anyhow!(error)),
            },
        );
        if let Err(error) = stored.await {
            let mut logs = String::new();
            for worker in &self.workers {
                logs.push_str(&worker.tail());
            }
            bail!("{error:#}\n{logs}");
        }
        Ok(begun.elapsed())
    }

    /// Runs `ingest` with a subcommand to its end, as a worker would; returns what it printed.
    ///
    /// # Errors
    ///
    /// When it fails.
    pub(super) async fn ingest(&self, arguments: &[&str], role: &str) -> Result<String> {
        let mut command = program("ingest")?;
        command
            .args(arguments)
            .env("FDA_DATABASE__URL", self.postgres.url_as(role, DATABASE));
        process::run(&format!("ingest {}", arguments.join(" ")), command).await
    }
}

/// Partitions whose stored positions are not at these ends.
async fn missing(owner: &PgPool, ends: &BTreeMap<Partition, i64>) -> sqlx::Result<Vec<String>> {
    let positions = positions(owner).await?;
    let late = ends.iter().filter_map(|(partition, end)| {
        let position = positions.get(partition).copied().unwrap_or(0);
        let (topic, number) = partition;
        (position < *end).then(|| format!("{topic} [{number}] {position} of {end}"))
    });
    Ok(late.collect())
}

async fn positions(owner: &PgPool) -> sqlx::Result<BTreeMap<Partition, i64>> {
    let sql =
        r#"select topic, "partition", coalesce(next_offset, 0) from market_data.ingest_offsets"#;
    let rows: Vec<(String, i32, i64)> = sqlx::query_as(sql).fetch_all(owner).await?;
    let position = |(topic, partition, next)| ((topic, partition), next);
    Ok(rows.into_iter().map(position).collect())
}

async fn migrate(url: &str) -> Result<()> {
    let mut command: Command = program("ingest")?;
    command.arg("migrate").env("FDA_DATABASE__URL", url);
    process::run("ingest migrate", command).await.map(drop)
}

/// The length of a log.
pub(super) fn length(log: &Path) -> u64 {
    log.metadata().map_or(0, |metadata| metadata.len())
}

/// What a log says after its first `since` bytes.
pub(super) fn log_since(log: &Path, since: u64) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let from = usize::try_from(since)
        .unwrap_or(usize::MAX)
        .min(bytes.len());
    String::from_utf8_lossy(&bytes[from..]).into_owned()
}

/// Waits until a log says something new.
///
/// # Errors
///
/// When it does not in time.
pub(super) async fn log_says(log: &Path, since: u64, text: &str) -> Result<String> {
    let what = format!("{} says {text:?}", log.display());
    let seen = eventually(&what, Duration::from_secs(90), async || {
        let new = log_since(log, since);
        let line = new.lines().find(|line| line.contains(text));
        line.map(ToOwned::to_owned).ok_or("it does not")
    });
    seen.await.context("a fault was not seen to have happened")
}
