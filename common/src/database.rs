//! Connections to PostgreSQL.
//!
//! Every session has the same settings, whatever the server's defaults: schema `market_data`, zone
//! UTC, bounded statements; that of [`migrate()`] alone has no bound.

mod login;
mod migrate;

use std::borrow::Cow;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Postgres, Transaction};
use tokio::time::Instant;

pub use self::migrate::{MigrateError, migrate};

use self::login::SecretLogin;
use crate::calendar::UnknownZone;
use crate::config::DatabaseConfig;

/// The schema of all objects.
pub const SCHEMA: &str = "market_data";

/// Options of a session named `application`, as `pg_stat_activity` shows it. The login of a secret is
/// not in them yet.
///
/// # Errors
/// When the URL is not one.
pub fn options(
    config: &DatabaseConfig,
    application: &str,
) -> Result<PgConnectOptions, sqlx::Error> {
    let timeout = config.statement_timeout.as_millis().to_string();
    let idle = Duration::from_mins(1).as_millis().to_string();
    let options: PgConnectOptions = config.url.expose().parse()?;
    Ok(options
        .application_name(application)
        .options([
            ("search_path", SCHEMA),
            ("timezone", "UTC"),
            ("statement_timeout", timeout.as_str()),
            ("idle_in_transaction_session_timeout", idle.as_str()),
        ])
        .log_statements(tracing::log::LevelFilter::Trace)
        .log_slow_statements(tracing::log::LevelFilter::Debug, Duration::from_secs(1)))
}

/// A pool of sessions, whose login may come from a secret. It connects when it is first used, so that a
/// program can start before its database.
///
/// The secret is read once and kept. When the database refuses the login it is read again, by one task
/// for all that wait, while the sessions that are open serve on.
#[derive(Debug, Clone)]
pub struct Database {
    pool: PgPool,
    /// One session that no other work takes.
    spare: PgPool,
    login: Option<Arc<SecretLogin>>,
    patience: Duration,
}

impl Database {
    /// Sessions named `application`.
    ///
    /// # Errors
    /// When the URL is not one.
    pub fn new(config: &DatabaseConfig, application: &str) -> Result<Self, sqlx::Error> {
        Ok(Self::of(config, &options(config, application)?))
    }

    /// Sessions with these options.
    pub fn of(config: &DatabaseConfig, session: &PgConnectOptions) -> Self {
        let login = (!config.secret.is_empty())
            .then(|| Arc::new(SecretLogin::new(&config.secret, session.clone())));
        let pool = |sessions| {
            let mut options = PgPoolOptions::new()
                .max_connections(sessions)
                .acquire_timeout(config.connect_timeout);
            if let Some(login) = login.clone() {
                options = options.after_connect(move |_, _| {
                    login.accepted();
                    async { Ok(()) }.boxed()
                });
            }
            options.connect_lazy_with(session.clone())
        };
        Self {
            pool: pool(config.max_connections),
            spare: pool(1),
            login,
            patience: config.connect_timeout,
        }
    }

    /// The pool, for what it tells about itself.
    #[must_use]
    pub const fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A session.
    ///
    /// # Errors
    /// When there is none within `database.connect_timeout`.
    pub async fn acquire(&self) -> sqlx::Result<PoolConnection<Postgres>> {
        self.connecting(&self.pool, |pool| async move { pool.acquire().await })
            .await
    }

    /// The session that is left when all others are at work. It is for statements that take no time: there is one.
    ///
    /// # Errors
    /// As for [`Self::acquire`].
    pub async fn acquire_spare(&self) -> sqlx::Result<PoolConnection<Postgres>> {
        self.connecting(&self.spare, |pool| async move { pool.acquire().await })
            .await
    }

    /// A transaction.
    ///
    /// # Errors
    /// As for [`Self::acquire`].
    pub async fn begin(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        self.begin_with("begin").await
    }

    /// A transaction of one read-only snapshot.
    ///
    /// # Errors
    /// As for [`Self::acquire`].
    pub async fn snapshot(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        self.begin_with("begin isolation level repeatable read, read only")
            .await
    }

    /// Why there was no session in the time that a caller had, which may be less than
    /// `database.connect_timeout`.
    #[must_use]
    pub fn timed_out(&self) -> sqlx::Error {
        let trouble = self.login.as_ref().and_then(|login| login.trouble());
        trouble.map_or(sqlx::Error::PoolTimedOut, waiting)
    }

    async fn begin_with(
        &self,
        statement: &'static str,
    ) -> sqlx::Result<Transaction<'static, Postgres>> {
        match self.try_begin(statement).await {
            // It was ended, as an administrator may do, after the pool had looked at it. Nothing has been done in it.
            Err(error) if is_ended_session(&error) => self.try_begin(statement).await,
            result => result,
        }
    }

    async fn try_begin(
        &self,
        statement: &'static str,
    ) -> sqlx::Result<Transaction<'static, Postgres>> {
        self.connecting(&self.pool, |pool| async move {
            pool.begin_with(statement).await
        })
        .await
    }

    async fn connecting<T, F>(
        &self,
        pool: &PgPool,
        attempt: impl Fn(PgPool) -> F,
    ) -> sqlx::Result<T>
    where
        F: Future<Output = sqlx::Result<T>>,
    {
        let Some(login) = &self.login else {
            return attempt(pool.clone()).await;
        };
        let deadline = Instant::now() + self.patience;
        loop {
            let version = login.version();
            if version > 0 {
                match attempt(pool.clone()).await {
                    Err(error) if is_refused_login(&error) => login.refused(version, &error),
                    result => return result,
                }
            }
            let renewed = login.renewed([&self.pool, &self.spare], version);
            if tokio::time::timeout_at(deadline, renewed).await.is_err() {
                return Err(self.timed_out());
            }
        }
    }

    /// Closes all sessions.
    pub async fn close(&self) {
        self.spare.close().await;
        self.pool.close().await;
    }
}

impl From<PgPool> for Database {
    /// Sessions whose login does not change.
    fn from(pool: PgPool) -> Self {
        Self {
            spare: pool.clone(),
            pool,
            login: None,
            patience: Duration::ZERO,
        }
    }
}

impl From<UnknownZone> for sqlx::Error {
    /// What is stored is not what this program can read.
    fn from(error: UnknownZone) -> Self {
        Self::Decode(Box::new(error))
    }
}

/// A failure that passes, as a server that is away is one.
fn waiting(reason: String) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::other(reason))
}

/// Whether the server does not accept the login: SQLSTATE class 28.
fn is_refused_login(error: &sqlx::Error) -> bool {
    sqlstate(error).is_some_and(|code| code.starts_with("28"))
}

/// Whether the session is gone: SQLSTATE 57P01, or a connection that was cut.
#[must_use]
pub fn is_ended_session(error: &sqlx::Error) -> bool {
    if let sqlx::Error::Io(error) = error {
        let cut = [
            ErrorKind::UnexpectedEof,
            ErrorKind::ConnectionReset,
            ErrorKind::BrokenPipe,
        ];
        return cut.contains(&error.kind());
    }
    sqlstate(error).is_some_and(|code| code == "57P01")
}

/// The SQLSTATE of a failure, where the server gave one.
#[must_use]
pub fn sqlstate(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error()?.code()
}

/// A failure in one sentence: the server's own words and the SQLSTATE, without the line of its source.
#[must_use]
pub fn explain(error: &sqlx::Error) -> String {
    if matches!(error, sqlx::Error::PoolTimedOut) {
        return "no session within database.connect_timeout: nothing answers at database.url, or all sessions are at work"
            .into();
    }
    if let sqlx::Error::Decode(cause) = error {
        return cause.to_string();
    }
    let Some(database) = error.as_database_error() else {
        return error.to_string();
    };
    let code = database.code().unwrap_or_default();
    let hint = match code.as_ref() {
        // No such table, column, function or schema.
        "42P01" | "42703" | "42883" | "3F000" => {
            "; the schema is missing or old, and `ingest migrate` brings it up to date, or this login may not use it"
        }
        _ => "",
    };
    format!("{} (SQLSTATE {code}){hint}", database.message())
}
