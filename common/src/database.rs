//! Connections to PostgreSQL, and the migrations.
//!
//! Every session has the same settings, whatever the server's defaults: schema `market_data`, zone
//! UTC, bounded statements.

use std::borrow::Cow;
use std::fmt;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Postgres, Transaction};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::calendar::UnknownZone;
use crate::config::DatabaseConfig;
use crate::lock::lock;
use crate::secrets::{Login, Secret, SecretError};

/// The schema of all objects.
pub const SCHEMA: &str = "market_data";

/// Longest time between two askings for a secret, while its login is of no use.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

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
            let version = login.version.load(Ordering::Acquire);
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

/// The login in use, and when the secret may be asked again.
struct SecretLogin {
    secret: Secret,
    session: PgConnectOptions,
    /// Raised with each login that differs from the one before; 0: none yet.
    version: AtomicU64,
    state: Mutex<LoginState>,
    /// The asking under way, or the last one.
    asking: Mutex<Option<Shared<BoxFuture<'static, ()>>>>,
}

impl fmt::Debug for SecretLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretLogin({})", self.secret.name())
    }
}

#[derive(Default)]
struct LoginState {
    login: Option<Login>,
    /// Why the secret cannot be read.
    unreadable: Option<String>,
    /// Why the database refuses the login.
    refused: Option<String>,
    /// Askings in a row that brought nothing new.
    in_vain: u32,
    not_before: Option<Instant>,
}

impl LoginState {
    /// The next asking waits longer than this one did: 0.2 s to 30 s.
    fn put_off(&mut self) {
        let wait = Duration::from_millis(200).saturating_mul(1 << self.in_vain.min(8));
        self.in_vain += 1;
        self.not_before = Some(Instant::now() + wait.min(LONGEST_WAIT));
    }
}

impl SecretLogin {
    fn new(secret: &str, session: PgConnectOptions) -> Self {
        Self {
            secret: Secret::new(secret),
            session,
            version: AtomicU64::new(0),
            state: Mutex::default(),
            asking: Mutex::default(),
        }
    }

    /// Notes that the database takes the login, which it may have refused for a while.
    fn accepted(&self) {
        lock(&self.state).refused = None;
    }

    /// Notes that the database refuses the login of that version.
    fn refused(&self, version: u64, error: &sqlx::Error) {
        let mut state = lock(&self.state);
        if self.version.load(Ordering::Acquire) == version {
            state.refused = Some(format!(
                "the database refuses the login of secret {}: {}",
                self.secret.name(),
                explain(error)
            ));
        }
    }

    /// Why there is no login that works.
    fn trouble(&self) -> Option<String> {
        let state = lock(&self.state);
        let reasons: Vec<&str> = [&state.refused, &state.unreadable]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        if !reasons.is_empty() {
            return Some(reasons.join("; "));
        }
        let unasked = || format!("no answer yet about secret {}", self.secret.name());
        state.login.is_none().then(unasked)
    }

    /// Waits until the secret was read again after `version`; `pools` connect with it.
    async fn renewed(self: &Arc<Self>, pools: [&PgPool; 2], version: u64) {
        let asking = {
            let mut asking = lock(&self.asking);
            if self.version.load(Ordering::Acquire) != version {
                return;
            }
            if let Some(asking) = asking.as_ref().filter(|asking| asking.peek().is_none()) {
                asking.clone()
            } else {
                // A task of its own: whoever began it may give up, and leaves it to the others.
                let (login, pools) = (self.clone(), pools.map(Clone::clone));
                let task = tokio::spawn(async move { login.renew(&pools).await });
                asking.insert(task.map(drop).boxed().shared()).clone()
            }
        };
        asking.await;
    }

    /// Reads the secret, when it is time to.
    async fn renew(&self, pools: &[PgPool]) {
        let time = lock(&self.state).not_before;
        if let Some(time) = time {
            if time.elapsed() > LONGEST_WAIT {
                // The trouble of then is over.
                lock(&self.state).in_vain = 0;
            }
            tokio::time::sleep_until(time).await;
        }
        let secret = self.secret.name();
        let answer = self.secret.login().await;
        let mut state = lock(&self.state);
        match answer {
            Err(error) => {
                warn!(%error, "cannot read the database login");
                state.unreadable = Some(error.to_string());
                state.put_off();
            }
            Ok(login) if state.login.as_ref() == Some(&login) => {
                let username = login.username();
                warn!(
                    secret,
                    username, "the database refuses the login of the secret"
                );
                state.unreadable = None;
                state.put_off();
            }
            Ok(login) => {
                let username = login.username();
                info!(secret, username, "read the database login");
                for pool in pools {
                    pool.set_connect_options(with_login(self.session.clone(), &login));
                }
                *state = LoginState {
                    login: Some(login),
                    ..LoginState::default()
                };
                self.version.fetch_add(1, Ordering::AcqRel);
            }
        }
    }
}

fn with_login(options: PgConnectOptions, login: &Login) -> PgConnectOptions {
    options
        .username(login.username())
        .password(login.expose_password())
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
    let Some(database) = error.as_database_error() else {
        return error.to_string();
    };
    let code = database.code().unwrap_or_default();
    let hint = match code.as_ref() {
        // No such table, column, function or schema.
        "42P01" | "42703" | "42883" | "3F000" => {
            "; the schema is missing or old, `ingest migrate` brings it up to date"
        }
        _ => "",
    };
    format!("{} (SQLSTATE {code}){hint}", database.message())
}

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// The database refused or is away.
    #[error("cannot migrate: {}", explain(.0))]
    Database(#[from] sqlx::Error),
    /// The login cannot be had.
    #[error("cannot migrate: {0}")]
    Secret(#[from] SecretError),
    /// A migration failed or was edited after it ran.
    #[error("cannot migrate: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
}

/// Brings the schema up to date; returns the versions applied by this call. Safe to run from several
/// places at once: one at a time, the others find nothing to do.
///
/// # Errors
/// When the database is away, refuses, or holds a migration that this binary does not know.
pub async fn migrate(config: &DatabaseConfig) -> Result<Vec<i64>, MigrateError> {
    let mut options = options(config, "migrate")?.options([
        ("statement_timeout", "0"),
        // "already exists" is no news.
        ("client_min_messages", "warning"),
    ]);
    if !config.secret.is_empty() {
        options = with_login(options, &Secret::new(&config.secret).login().await?);
    }
    let mut connection = options.connect().await?;
    // `create schema if not exists` may still collide with itself, so the lock comes before it.
    sqlx::query("select pg_advisory_lock(hashtext('market_data.migrate'))")
        .execute(&mut connection)
        .await?;
    sqlx::query("create schema if not exists market_data")
        .execute(&mut connection)
        .await?;
    let before = applied(&mut connection).await?;
    MIGRATIONS.run(&mut connection).await?;
    let after = applied(&mut connection).await?;
    // The lock ends with the session.
    sqlx::Connection::close(connection).await?;
    Ok(after
        .into_iter()
        .filter(|version| !before.contains(version))
        .collect())
}

async fn applied(connection: &mut sqlx::PgConnection) -> Result<Vec<i64>, sqlx::Error> {
    let exists: bool =
        sqlx::query_scalar("select to_regclass('market_data._sqlx_migrations') is not null")
            .fetch_one(&mut *connection)
            .await?;
    if !exists {
        return Ok(Vec::new());
    }
    sqlx::query_scalar("select version from _sqlx_migrations where success order by version")
        .fetch_all(connection)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_no_trouble_once_the_login_is_taken_again() {
        // GIVEN a login that the database refuses
        let login = SecretLogin::new("db", PgConnectOptions::new());
        lock(&login.state).refused = Some("the database refuses the login".into());
        assert!(login.trouble().is_some_and(|why| why.contains("refuses")));
        // WHEN a session begins with it THEN nothing is said of that any more
        login.accepted();
        assert!(!login.trouble().is_some_and(|why| why.contains("refuses")));
    }
}
