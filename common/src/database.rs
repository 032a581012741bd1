//! Connections to PostgreSQL, and the migrations.
//!
//! Every session has the same settings, whatever the server's defaults: schema `market_data`, zone
//! UTC, bounded statements.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Postgres, Transaction};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::config::DatabaseConfig;
use crate::secrets::{Login, Secret, SecretError};

/// The schema of all objects.
pub const SCHEMA: &str = "market_data";

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
    login: Option<Arc<SecretLogin>>,
    patience: Duration,
}

impl Database {
    /// Sessions named `application`.
    ///
    /// # Errors
    /// When the URL is not one.
    pub fn new(config: &DatabaseConfig, application: &str) -> Result<Self, sqlx::Error> {
        Ok(Self::of(config, options(config, application)?))
    }

    /// Sessions with these options.
    pub fn of(config: &DatabaseConfig, session: PgConnectOptions) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(config.max_connections)
            .acquire_timeout(config.connect_timeout)
            .connect_lazy_with(session.clone());
        let login = (!config.secret.is_empty()).then(|| {
            Arc::new(SecretLogin {
                secret: Secret::new(&config.secret),
                session,
                version: AtomicU64::new(0),
                state: Mutex::default(),
            })
        });
        Self {
            pool,
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
        self.connecting(async |pool| pool.acquire().await).await
    }

    /// A transaction.
    ///
    /// # Errors
    /// As for [`Self::acquire`].
    pub async fn begin(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        self.connecting(async |pool| pool.begin().await).await
    }

    /// A transaction of one read-only snapshot.
    ///
    /// # Errors
    /// As for [`Self::acquire`].
    pub async fn snapshot(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        const BEGIN: &str = "begin isolation level repeatable read, read only";
        self.connecting(async |pool| pool.begin_with(BEGIN).await)
            .await
    }

    async fn connecting<T>(
        &self,
        attempt: impl AsyncFn(&PgPool) -> sqlx::Result<T>,
    ) -> sqlx::Result<T> {
        let Some(login) = &self.login else {
            return attempt(&self.pool).await;
        };
        let deadline = Instant::now() + self.patience;
        loop {
            let version = login.version.load(Ordering::Acquire);
            let refused = if version == 0 {
                None
            } else {
                match attempt(&self.pool).await {
                    Err(error) if is_refused_login(&error) => Some(error),
                    result => return result,
                }
            };
            let renewed = login.renew(&self.pool, version);
            match tokio::time::timeout_at(deadline, renewed).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(waiting(error.to_string())),
                Err(_) => {
                    return Err(waiting(match refused {
                        Some(error) => format!(
                            "the database refuses the login of secret {}: {}",
                            login.secret.name(),
                            explain(&error)
                        ),
                        None => format!("no answer about secret {}", login.secret.name()),
                    }));
                }
            }
        }
    }

    /// Closes all sessions.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

impl From<PgPool> for Database {
    /// Sessions whose login does not change.
    fn from(pool: PgPool) -> Self {
        Self {
            pool,
            login: None,
            patience: Duration::ZERO,
        }
    }
}

/// A failure that passes, as a server that is away is one.
fn waiting(reason: String) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::other(reason))
}

/// Whether the server does not accept the login: SQLSTATE class 28.
fn is_refused_login(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code.starts_with("28"))
}

/// The login in use, and when the secret may be asked again.
#[derive(Debug)]
struct SecretLogin {
    secret: Secret,
    session: PgConnectOptions,
    /// Raised with each login that differs from the one before; 0: none yet.
    version: AtomicU64,
    state: Mutex<LoginState>,
}

#[derive(Debug, Default)]
struct LoginState {
    login: Option<Login>,
    /// Askings in a row that brought nothing new.
    in_vain: u32,
    not_before: Option<Instant>,
}

impl LoginState {
    /// The next asking waits longer than this one did: 0.2 s to 30 s.
    fn put_off(&mut self) {
        let wait = Duration::from_millis(200).saturating_mul(1 << self.in_vain.min(8));
        self.in_vain += 1;
        self.not_before = Some(Instant::now() + wait.min(Duration::from_secs(30)));
    }
}

impl SecretLogin {
    /// Reads the secret again, unless another task has done so since `version`.
    async fn renew(&self, pool: &PgPool, version: u64) -> Result<(), SecretError> {
        let mut state = self.state.lock().await;
        if self.version.load(Ordering::Acquire) != version {
            return Ok(());
        }
        if let Some(time) = state.not_before {
            tokio::time::sleep_until(time).await;
        }
        let secret = self.secret.name();
        let login = self.secret.login().await.inspect_err(|error| {
            state.put_off();
            warn!(%error, "cannot read the database login");
        })?;
        if state.login.as_ref() == Some(&login) {
            state.put_off();
            warn!(
                secret,
                username = login.username(),
                "the database refuses the login of the secret"
            );
            return Ok(());
        }
        info!(
            secret,
            username = login.username(),
            "read the database login"
        );
        pool.set_connect_options(with_login(self.session.clone(), &login));
        *state = LoginState {
            login: Some(login),
            ..LoginState::default()
        };
        self.version.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }
}

fn with_login(options: PgConnectOptions, login: &Login) -> PgConnectOptions {
    options
        .username(login.username())
        .password(login.expose_password())
}

/// A failure in one sentence: the server's own words and the SQLSTATE, without the line of its source.
#[must_use]
pub fn explain(error: &sqlx::Error) -> String {
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
