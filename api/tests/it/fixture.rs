//! A migrated database for each test on one server, ticks in it with their candles, and requests
//! through the real router.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use api::App;
use api::config::ApiConfig;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use chrono::{DateTime, Utc};
use common::config::DatabaseUrl;
use serde_json::Value;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool, Transaction};
use testbed::Postgres;
use testbed::postgres::NEWEST;
use tokio::sync::OnceCell;
use tower::ServiceExt as _;

/// Ends with this process.
static SERVER: OnceCell<Postgres> = OnceCell::const_new();
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A trade: event time, sequence, price and size in hundredths.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trade {
    pub(crate) time: i64,
    pub(crate) sequence: i64,
    pub(crate) price: i64,
    pub(crate) size: i64,
}

impl Trade {
    /// One of size 1 at a price of 1.
    pub(crate) const fn new(time: i64, sequence: i64) -> Self {
        Self {
            time,
            sequence,
            price: 100,
            size: 100,
        }
    }
}

pub(crate) struct Fixture {
    /// As the superuser.
    pub(crate) pool: PgPool,
    /// As the role of `api`.
    pub(crate) router: Router,
    pub(crate) app: App,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    /// The body where it is no text.
    pub(crate) bytes: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The parameters that a problem says something is wrong with, in its order.
    pub(crate) fn faults(&self) -> Vec<String> {
        let body = self.json();
        let faults = body["errors"].as_array().unwrap().iter();
        faults
            .map(|fault| fault["parameter"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// A header, or nothing.
pub(crate) fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer
        .headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

/// A whole number of 10^-`scale` as an answer prints it: without trailing zeros.
pub(crate) fn decimal(units: i128, scale: usize) -> String {
    let digits = format!("{units:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() {
        whole.to_owned()
    } else {
        format!("{whole}.{fraction}")
    }
}

pub(crate) fn at(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text)
        .unwrap()
        .timestamp_micros()
}

fn timestamp(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap()
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// One whose api is configured in another way.
    pub(crate) async fn with(change: impl FnOnce(&mut ApiConfig)) -> Self {
        let server = SERVER
            .get_or_init(async || Postgres::temporary(NEWEST).await.unwrap())
            .await;
        let name = format!("api_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let url = server.create_database(&name).await.unwrap();
        let mut config = ApiConfig::default();
        config.database.url = DatabaseUrl::new(&url);
        common::database::migrate(&config.database).await.unwrap();
        let options = common::database::options(&config.database, "test").unwrap();
        let pool = PgPoolOptions::new()
            .max_connections(2)
            .connect_with(options)
            .await
            .unwrap();
        config.database.url = DatabaseUrl::new(&server.url_as("market_data_api", &name));
        config.database.max_connections = 2;
        change(&mut config);
        let app = App::new(&config).unwrap();
        Self {
            pool,
            router: app.router(),
            app,
        }
    }

    pub(crate) async fn add_symbol(&self, name: &str, tz: &str) -> i32 {
        let insert = "insert into symbols (symbol, timezone, price_scale, size_scale) values ($1, $2, 2, 2) returning id";
        sqlx::query_scalar(insert)
            .bind(name)
            .bind(tz)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// Adds a symbol with all its trades, as one block, and candles that the database makes of them.
    pub(crate) async fn add_trades(&self, name: &str, tz: &str, trades: &[Trade]) -> i32 {
        let id = self.add_symbol(name, tz).await;
        let mut trades = trades.to_vec();
        trades.sort_by_key(|trade| (trade.time, trade.sequence));
        self.add_block(id, &trades).await;
        for statement in include_str!("candles.sql")
            .split(';')
            .filter(|text| text.contains("insert"))
        {
            sqlx::query(statement)
                .bind(id)
                .bind(name)
                .bind(tz)
                .execute(&self.pool)
                .await
                .unwrap();
        }
        id
    }

    /// Adds a block of ticks, which are sorted.
    pub(crate) async fn add_block(&self, id: i32, trades: &[Trade]) {
        let (first, last) = (trades[0], trades[trades.len() - 1]);
        sqlx::query(include_str!("block.sql"))
            .bind(id)
            .bind(timestamp(first.time))
            .bind(first.sequence)
            .bind(timestamp(last.time))
            .bind(last.sequence)
            .bind(i32::try_from(trades.len()).unwrap())
            .bind(trades.iter().map(|trade| trade.time).collect::<Vec<_>>())
            .bind(
                trades
                    .iter()
                    .map(|trade| trade.sequence)
                    .collect::<Vec<_>>(),
            )
            .bind(trades.iter().map(|trade| trade.price).collect::<Vec<_>>())
            .bind(trades.iter().map(|trade| trade.size).collect::<Vec<_>>())
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// The URL of the database for the role of `api`.
    pub(crate) async fn url(&self) -> String {
        let (name, port): (String, String) =
            sqlx::query_as("select current_database()::text, current_setting('port')")
                .fetch_one(&self.pool)
                .await
                .unwrap();
        format!("postgres://market_data_api@127.0.0.1:{port}/{name}")
    }

    /// Waits until so many sessions of the api wait for a lock.
    pub(crate) async fn waiting_sessions(&self, count: i64) {
        let sql = "select count(*) from pg_stat_activity \
            where usename = 'market_data_api' and datname = current_database() and wait_event_type = 'Lock'";
        testbed::eventually("sessions wait", Duration::from_secs(30), async || {
            let found: i64 = sqlx::query_scalar(sql)
                .fetch_one(&self.pool)
                .await
                .map_err(|error| error.to_string())?;
            if found == count {
                Ok(())
            } else {
                Err(format!("{found} wait"))
            }
        })
        .await
        .unwrap();
    }

    /// Locks a table, so that answers made of it wait until the lock is rolled back.
    pub(crate) async fn lock(&self, table: &str) -> Transaction<'static, sqlx::Postgres> {
        let mut lock = self.pool.begin().await.unwrap();
        let sql = format!("lock table {table} in access exclusive mode");
        sqlx::query(AssertSqlSafe(sql))
            .execute(&mut *lock)
            .await
            .unwrap();
        lock
    }

    pub(crate) async fn execute(&self, sql: &'static str) {
        sqlx::query(sql).execute(&self.pool).await.unwrap();
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.send(Method::GET, target, &[]).await
    }

    /// The body of a 200.
    pub(crate) async fn json(&self, target: &str) -> Value {
        let answer = self.get(target).await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text);
        answer.json()
    }

    /// One field of each candle.
    pub(crate) async fn column(&self, target: &str, field: &str) -> Vec<Value> {
        self.json(target).await["candles"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row[field].clone())
            .collect()
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        send(&self.router, method, target, headers).await
    }
}

pub(crate) async fn send(
    router: &Router,
    method: Method,
    target: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router
        .clone()
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    Answer {
        status: head.status,
        headers: head.headers,
        text: String::from_utf8_lossy(&body).into_owned(),
        bytes: body,
    }
}
