//! The whole path for one test: its own topic, database and group on a broker and a server that all tests share.
//!
//! The services are started by the first test that asks for them and end with this program, however it ends: nothing
//! here depends on a destructor. A test's processes end when it drops them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres as Postgresql, Transaction};
use testbed::postgres::NEWEST;
use testbed::process::{self, tail};
use testbed::{Encoding, Kafka, Postgres, Process, Publisher, Tick, eventually, workspace};
use tokio::sync::OnceCell;

use crate::api::Api;
use crate::program;
use crate::stream::Message;
use crate::worker::Worker;

/// How long a condition may take to hold before the test fails: far above what it takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The database that the tests' databases are copies of.
const TEMPLATE: &str = "it_template";

/// What all tests share.
struct Services {
    kafka: Kafka,
    postgres: Postgres,
}

static SERVICES: OnceCell<Services> = OnceCell::const_new();
static TEMPLATE_MADE: OnceCell<()> = OnceCell::const_new();

async fn services() -> &'static Services {
    SERVICES
        .get_or_init(async || {
            let (kafka, postgres) =
                tokio::try_join!(Kafka::start(), Postgres::temporary(NEWEST)).unwrap();
            Services { kafka, postgres }
        })
        .await
}

/// One test's pipeline.
pub(crate) struct Pipeline {
    /// The name of its topic, database and group.
    name: String,
    brokers: String,
    partitions: i32,
    postgres_port: u16,
    pool: PgPool,
    api: OnceCell<Api>,
    folder: PathBuf,
}

impl Pipeline {
    /// A pipeline with three partitions. `name` is the test's own: lower-case letters, digits and `_`.
    pub(crate) async fn new(name: &str) -> Self {
        Self::with_partitions(name, 3).await
    }

    /// A pipeline with so many partitions.
    pub(crate) async fn with_partitions(name: &str, partitions: i32) -> Self {
        let postgres = &services().await.postgres;
        TEMPLATE_MADE
            .get_or_init(async || {
                postgres.create_database(TEMPLATE).await.unwrap();
                migrate(&postgres.url(TEMPLATE)).await;
            })
            .await;
        let mut connection = PgConnection::connect(&postgres.url("postgres"))
            .await
            .unwrap();
        // Tests name themselves.
        let copy = AssertSqlSafe(format!("create database it_{name} template {TEMPLATE}"));
        sqlx::query(copy).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        Self::make(name, partitions, postgres).await
    }

    /// A pipeline whose database lies on a server of the test's own.
    pub(crate) async fn on(postgres: &Postgres, name: &str, partitions: i32) -> Self {
        migrate(
            &postgres
                .create_database(&format!("it_{name}"))
                .await
                .unwrap(),
        )
        .await;
        Self::make(name, partitions, postgres).await
    }

    async fn make(name: &str, partitions: i32, postgres: &Postgres) -> Self {
        let kafka = &services().await.kafka;
        kafka.create_topic(name, partitions).await.unwrap();
        let folder = std::env::temp_dir().join(format!("testbed-it-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self {
            name: name.to_owned(),
            brokers: kafka.bootstrap(),
            partitions,
            postgres_port: postgres.port(),
            pool: PgPoolOptions::new()
                .max_connections(2)
                .connect_lazy(&postgres.url(&format!("it_{name}")))
                .unwrap(),
            api: OnceCell::new(),
            folder,
        }
    }

    /// The topic; also the name of the consumer group.
    pub(crate) fn topic(&self) -> &str {
        &self.name
    }

    /// The broker's address.
    pub(crate) fn brokers(&self) -> &str {
        &self.brokers
    }

    /// A folder for the test's files, gone when the test has passed.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The database, as its superuser; the objects lie in the schema `market_data`.
    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// The URL of the database for a role.
    pub(crate) fn url_as(&self, role: &str) -> String {
        format!(
            "postgres://{role}@127.0.0.1:{}/it_{}",
            self.postgres_port, self.name
        )
    }

    /// What a worker is told that logs in by `url`.
    pub(crate) fn settings<'a>(&'a self, url: &'a str) -> [(&'a str, &'a str); 5] {
        [
            ("FDA_DATABASE__URL", url),
            ("FDA_KAFKA__BROKERS", &self.brokers),
            ("FDA_KAFKA__TOPIC", &self.name),
            ("FDA_KAFKA__GROUP", &self.name),
            // The shortest that a broker grants by default: a killed worker's partitions are free again soon.
            ("FDA_KAFKA__SESSION_TIMEOUT", "6s"),
        ]
    }

    /// Starts a worker, with further settings. It need not be ready when this returns.
    pub(crate) fn ingest(&self, settings: &[(&str, &str)]) -> Process {
        Worker::start(self, settings).into_process()
    }

    /// Runs an `ingest` subcommand to its end; returns its exit code and what it printed.
    pub(crate) async fn ingest_command(&self, arguments: &[&str]) -> (i32, String) {
        let url = self.url_as("market_data_ingest");
        program::run(arguments, &self.settings(&url)).await
    }

    /// Starts `api`, the first time it is asked for, and returns it once it is ready.
    pub(crate) async fn api(&self) -> &Api {
        self.api
            .get_or_init(async || {
                let api = Api::start(self, &[]);
                api.ready().await;
                api
            })
            .await
    }

    /// The status and the text that `api` answers.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        self.api().await.get(path).await.unwrap()
    }

    /// The body of a 200. Numbers with more digits than a double holds are rounded: compare those in [`Self::get`]'s text.
    pub(crate) async fn get_json(&self, path: &str) -> serde_json::Value {
        let (status, text) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// A publisher to the topic.
    pub(crate) async fn publisher(&self) -> Publisher {
        let (brokers, topic) = (self.brokers.clone(), self.name.clone());
        tokio::task::spawn_blocking(move || Publisher::connect(&brokers, &topic))
            .await
            .unwrap()
            .unwrap()
    }

    /// Publishes ticks as JSON, each to its symbol's partition, and waits until they are confirmed.
    pub(crate) async fn publish(&self, ticks: &[Tick]) {
        let publisher = self.publisher().await;
        for tick in ticks {
            publisher.send(tick, Encoding::Json).unwrap();
        }
        publisher.settle().await.unwrap();
    }

    /// Publishes messages in order, each to its symbol's partition, and waits until they are confirmed.
    pub(crate) async fn publish_messages(&self, messages: &[Message]) {
        let publisher = self.publisher().await;
        for message in messages {
            publisher
                .send_raw(
                    Some(message.symbol.as_bytes()),
                    Some(message.payload.as_bytes()),
                    None,
                )
                .unwrap();
        }
        publisher.settle().await.unwrap();
    }

    /// The offset after the last message, for each partition.
    pub(crate) async fn ends(&self) -> Vec<i64> {
        let (brokers, topic, partitions) =
            (self.brokers.clone(), self.name.clone(), self.partitions);
        let ask = move || {
            let consumer: BaseConsumer = ClientConfig::new()
                .set("bootstrap.servers", brokers)
                .create()
                .unwrap();
            let end = |partition| {
                consumer
                    .fetch_watermarks(&topic, partition, Duration::from_secs(10))
                    .unwrap()
                    .1
            };
            (0..partitions).map(end).collect()
        };
        tokio::task::spawn_blocking(ask).await.unwrap()
    }

    /// The stored position of each partition, 0 where there is none.
    pub(crate) async fn positions(&self) -> sqlx::Result<Vec<i64>> {
        let rows: Vec<(i32, i64)> = sqlx::query_as(
            r#"select "partition", coalesce(next_offset, 0) from market_data.ingest_offsets where topic = $1"#,
        )
        .bind(&self.name)
        .fetch_all(&self.pool)
        .await?;
        let of = |partition| {
            rows.iter()
                .find(|row| row.0 == partition)
                .map_or(0, |row| row.1)
        };
        Ok((0..self.partitions).map(of).collect())
    }

    /// Waits until all that is published now is stored.
    pub(crate) async fn caught_up(&self) {
        let ends = self.ends().await;
        let total = ends.iter().sum();
        self.stored(total, "all is stored", |positions| {
            positions.iter().zip(&ends).all(|(at, end)| at >= end)
        })
        .await;
    }

    /// Waits until so many messages, of all partitions together, are stored.
    pub(crate) async fn stored_at_least(&self, messages: i64) {
        self.stored(messages, "enough is stored", |positions| {
            positions.iter().sum::<i64>() >= messages
        })
        .await;
    }

    async fn stored(&self, messages: i64, what: &str, enough: impl Fn(&[i64]) -> bool) {
        let done = eventually(what, PATIENCE, async || match self.positions().await {
            Ok(positions) if enough(&positions) => Ok(()),
            Ok(positions) => Err(format!("{positions:?} of {messages}")),
            Err(error) => Err(error.to_string()),
        });
        if let Err(error) = done.await {
            panic!("{}: {error:#}\n{}", self.name, self.logs());
        }
    }

    /// Makes symbols, each with its zone, before their first tick.
    pub(crate) async fn insert_symbols(&self, symbols: &[(&str, &str)]) {
        for (symbol, zone) in symbols {
            sqlx::query("insert into market_data.symbols (symbol, timezone) values ($1, $2)")
                .bind(symbol)
                .bind(zone)
                .execute(&self.pool)
                .await
                .unwrap();
        }
    }

    /// Locks all symbols until the transaction ends: a worker waits for them inside its own, after the fence.
    pub(crate) async fn lock_symbols(&self) -> Transaction<'static, Postgresql> {
        let mut lock = self.pool.begin().await.unwrap();
        sqlx::query("select from market_data.symbols order by id for update")
            .execute(&mut *lock)
            .await
            .unwrap();
        lock
    }

    /// Waits until as many sessions of workers as that are in a state, such as `wait_event_type = 'Lock'`.
    pub(crate) async fn worker_sessions(&self, state: &'static str, enough: impl Fn(i64) -> bool) {
        let sql = format!(
            "select count(*) from pg_stat_activity \
             where usename = 'market_data_ingest' and datname = current_database() and {state}"
        );
        let seen = eventually(state, PATIENCE, async || {
            let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql.clone()))
                .fetch_one(&self.pool)
                .await
                .map_err(|error| error.to_string())?;
            if enough(count) {
                Ok(())
            } else {
                Err(format!("{count} sessions"))
            }
        });
        if let Err(error) = seen.await {
            panic!("{}: {error:#}\n{}", self.name, self.logs());
        }
    }

    /// Proves with `ingest verify` that each candle is the aggregate of its ticks.
    pub(crate) async fn verify(&self) {
        let (code, text) = self.ingest_command(&["verify"]).await;
        assert_eq!(code, 0, "{}: {text}", self.name);
    }

    /// Runs one of the oracle's programs, `testbed/oracle/<program>`, and returns what it prints.
    pub(crate) async fn oracle(&self, program: &str, arguments: &[OsString]) -> String {
        oracle(program, arguments).await
    }

    /// The ends of all logs.
    fn logs(&self) -> String {
        let mut logs: Vec<PathBuf> = std::fs::read_dir(&self.folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .collect();
        logs.sort();
        let end = |log: &PathBuf| format!("--- {}\n{}\n", log.display(), tail(log, 20));
        logs.iter().map(end).collect()
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            drop(std::fs::remove_dir_all(&self.folder));
        }
    }
}

/// Brings a database's schema up to date.
pub(crate) async fn migrate(url: &str) {
    let mut command = Command::new(workspace::binary("ingest").unwrap());
    command
        .arg("migrate")
        .env("ENVIRONMENT", "test")
        .env("FDA_DATABASE__URL", url);
    process::run("ingest migrate", command).await.unwrap();
}

/// Runs one of the oracle's programs, `testbed/oracle/<program>`, with the Python that `testbed/test.sh` prepares, and
/// returns what it prints.
pub(crate) async fn oracle(program: &str, arguments: &[OsString]) -> String {
    let python = workspace::work().join("venv/bin/python");
    assert!(
        python.is_file(),
        "{} is missing: `testbed/test.sh oracle` makes it",
        python.display()
    );
    let mut command = Command::new(python);
    command
        .arg(workspace::root().join("testbed/oracle").join(program))
        .args(arguments);
    process::run(program, command).await.unwrap()
}
