//! Databases for tests: one server a version, one fresh database a test.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use common::config::{DatabaseConfig, DatabaseUrl};
use common::database;
use common::tick::{EventTime, Price, Size, Tick, TickKey};
use ingest::batch::{Batch, Source, TopicPartition};
use ingest::transaction::{self, Known, Outcome, TransactionError};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use testbed::postgres::{NEWEST, OLDEST, Postgres};
use tokio::sync::OnceCell;

static SERVERS: [OnceCell<Postgres>; 2] = [OnceCell::const_new(), OnceCell::const_new()];
/// The database on each server that all others are copies of.
const TEMPLATE: &str = "it_template";
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// The versions that every test of SQL runs on.
pub(crate) const VERSIONS: [&str; 2] = [NEWEST, OLDEST];

/// The address of a database for a role.
pub(crate) type UrlOf = Box<dyn Fn(&str) -> String + Send + Sync>;

/// A migrated database of its own, as `ingest` uses it.
pub(crate) struct Database {
    /// As the role of `ingest`.
    pub(crate) sessions: database::Database,
    /// The same, for statements of a test's own.
    pub(crate) pool: PgPool,
    /// As a superuser.
    pub(crate) owner: PgPool,
    /// Its address for a role.
    pub(crate) url_of: UrlOf,
    /// What the worker that stores knows.
    pub(crate) known: tokio::sync::Mutex<Known>,
    next: tokio::sync::Mutex<i64>,
}

/// The configuration of a connection to `url`.
pub(crate) fn config(url: &str) -> DatabaseConfig {
    DatabaseConfig {
        url: DatabaseUrl::new(url),
        max_connections: 5,
        ..DatabaseConfig::default()
    }
}

/// Connections to `url`.
pub(crate) fn pool(url: &str, application: &str) -> PgPool {
    let database = database::Database::new(&config(url), application).unwrap();
    database.pool().clone()
}

/// What a turn of the upkeep did, when it did all of it.
pub(crate) fn done(turn: &ingest::upkeep::Turn) -> u64 {
    assert!(turn.failure.is_none(), "{turn:?}");
    turn.done
}

impl Database {
    pub(crate) async fn new(version: &str) -> Self {
        Self::copy(version, TEMPLATE).await.0
    }

    /// A database without a schema, and its address for the superuser.
    pub(crate) async fn empty(version: &str) -> (Self, String) {
        Self::copy(version, "template0").await
    }

    async fn copy(version: &str, template: &str) -> (Self, String) {
        let slot = VERSIONS.iter().position(|known| *known == version).unwrap();
        let server = SERVERS[slot]
            .get_or_init(async || {
                let server = Postgres::temporary(version).await.unwrap();
                let template = server.create_database(TEMPLATE).await.unwrap();
                database::migrate(&config(&template)).await.unwrap();
                server
            })
            .await;
        let name = format!("it_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let mut postgres = PgConnection::connect(&server.url("postgres"))
            .await
            .unwrap();
        let copy = format!("create database {name} template {template}");
        sqlx::query(AssertSqlSafe(copy))
            .execute(&mut postgres)
            .await
            .unwrap();
        postgres.close().await.unwrap();
        let url = server.url(&name);
        let url_of: UrlOf = Box::new(move |role| server.url_as(role, &name));
        (Self::of(&url, url_of), url)
    }

    /// A database at `url`, the superuser's.
    pub(crate) fn of(url: &str, url_of: UrlOf) -> Self {
        let ingest = config(&url_of("market_data_ingest"));
        let sessions = database::Database::new(&ingest, "ingest").unwrap();
        Self {
            pool: sessions.pool().clone(),
            sessions,
            owner: pool(url, "owner"),
            url_of,
            known: tokio::sync::Mutex::default(),
            next: tokio::sync::Mutex::new(0),
        }
    }

    /// Stores one batch of these ticks at the position after the last one.
    pub(crate) async fn store(&self, ticks: &[(&str, Tick)]) -> Outcome {
        let mut next = self.next.lock().await;
        let batch = batch(*next, ticks);
        let outcome = self.store_batch(&batch).await.unwrap();
        *next += i64::try_from(ticks.len()).unwrap();
        outcome
    }

    /// Stores a batch as it is.
    pub(crate) async fn store_batch(&self, batch: &Batch) -> Result<Outcome, TransactionError> {
        let mut known = self.known.lock().await;
        store(&self.sessions, &mut known, batch).await
    }

    /// A worker with a partition of its own, whose sessions bear a name.
    pub(crate) fn worker(&self, application: &str, partition: i32) -> Worker {
        let config = config(&(self.url_of)("market_data_ingest"));
        Worker {
            sessions: database::Database::new(&config, application).unwrap(),
            known: Known::default(),
            partition,
            next: 0,
        }
    }

    /// Rows of a query as text, sorted by the query.
    pub(crate) async fn rows(&self, query: &'static str) -> Vec<String> {
        sqlx::query_scalar(query)
            .fetch_all(&self.owner)
            .await
            .unwrap()
    }

    /// Every difference that `ingest verify` finds.
    pub(crate) async fn differences(&self) -> Vec<String> {
        let scope = ingest::verify::Scope::default();
        ingest::verify::verify(&self.sessions, &scope, |_, _| {})
            .await
            .unwrap()
            .sentences
    }
}

async fn store(
    sessions: &database::Database,
    known: &mut Known,
    batch: &Batch,
) -> Result<Outcome, TransactionError> {
    ingest::store::positions::read(sessions, "cluster", &batch.partitions)
        .await
        .unwrap();
    transaction::store(sessions, "cluster", known, batch).await
}

/// One of several workers that share a database.
pub(crate) struct Worker {
    /// Its sessions.
    pub(crate) sessions: database::Database,
    known: Known,
    partition: i32,
    next: i64,
}

impl Worker {
    /// Stores one batch of these ticks at the position after the last one.
    pub(crate) async fn store(&mut self, ticks: &[(&str, Tick)]) -> Outcome {
        let batch = batch_of(self.partition, self.next, ticks);
        let outcome = store(&self.sessions, &mut self.known, &batch)
            .await
            .unwrap();
        self.next += i64::try_from(ticks.len()).unwrap();
        outcome
    }
}

/// A batch of these ticks, one message each, from offset `start` of partition 0.
pub(crate) fn batch(start: i64, ticks: &[(&str, Tick)]) -> Batch {
    batch_of(0, start, ticks)
}

/// The same of any partition.
pub(crate) fn batch_of(partition: i32, start: i64, ticks: &[(&str, Tick)]) -> Batch {
    let topic: Arc<str> = "ticks".into();
    let mut batch = Batch::new(vec![TopicPartition { topic, partition }]);
    for (offset, (symbol, tick)) in (start..).zip(ticks) {
        let source = Source {
            partition: 0,
            offset,
            timestamp: Some(1_700_000_000_000),
        };
        let payload = format!("payload {offset}");
        batch.push(
            symbol,
            *tick,
            source,
            Some(symbol.as_bytes()),
            payload.as_bytes(),
        );
        let from = (start != 0).then_some(start);
        batch.advance(0, from, offset + 1, Some((offset, source.timestamp)));
    }
    batch
}

/// A tick at `time`, RFC 3339.
pub(crate) fn tick(time: &str, sequence: i64, price: &str, size: &str) -> Tick {
    let time = chrono::DateTime::parse_from_rfc3339(time).unwrap();
    Tick {
        key: TickKey {
            event_time: EventTime::from_micros(time.timestamp_micros()),
            sequence,
        },
        price: Price::new(price.parse().unwrap()).unwrap(),
        size: Size::new(size.parse().unwrap()).unwrap(),
        revision: 0,
        cancelled: false,
    }
}

/// The same tick as a correction.
pub(crate) fn corrected(tick: Tick, revision: i32, price: &str) -> Tick {
    Tick {
        revision,
        price: Price::new(price.parse().unwrap()).unwrap(),
        ..tick
    }
}

/// The same tick, cancelled.
pub(crate) fn cancelled(tick: Tick) -> Tick {
    Tick {
        cancelled: true,
        ..tick
    }
}

/// Candles of a level as one line each, revision and time of the change left out.
pub(crate) const MINUTES: &str = "select concat_ws(' ', s.symbol, to_char(open_time, 'MM-DD HH24:MI'), open, high, low, close, volume, turnover, trades) \
     from candles_1m join symbols s on s.id = symbol_id order by s.symbol, open_time";
/// As [`MINUTES`].
pub(crate) const HOURS: &str = "select concat_ws(' ', s.symbol, to_char(open_time, 'MM-DD HH24:MI'), open, high, low, close, volume, turnover, trades) \
     from candles_1h join symbols s on s.id = symbol_id order by s.symbol, open_time";
/// As [`MINUTES`].
pub(crate) const DAYS: &str = "select concat_ws(' ', s.symbol, local_date, to_char(open_time, 'MM-DD HH24:MI'), open, high, low, close, volume, turnover, trades) \
     from candles_1d join symbols s on s.id = symbol_id order by s.symbol, open_time";
/// Ticks as the view shows them.
pub(crate) const TICKS: &str = "select concat_ws(' ', symbol, to_char(event_time, 'YYYY-MM-DD HH24:MI:SS.US'), sequence, price, size, revision) \
     from ticks order by symbol, event_time, sequence";
/// The row versions of everything that a replay must leave alone.
pub(crate) const VERSIONS_OF_ROWS: &str = "select concat_ws(' ', t, x) from ( \
       select 'b' as t, array_agg(xmin::text order by symbol_id, first_time, first_sequence)::text as x from tick_blocks \
       union all select 'm', array_agg(xmin::text order by symbol_id, open_time)::text from candles_1m \
       union all select 'h', array_agg(xmin::text order by symbol_id, open_time)::text from candles_1h \
       union all select 'd', array_agg(xmin::text order by symbol_id, open_time)::text from candles_1d \
       union all select 'c', array_agg(xmin::text order by symbol_id, hour)::text from changed_hours \
       union all select 's', array_agg(xmin::text order by id)::text from symbols) all_of_them order by 1";
