//! Connections to PostgreSQL, and the migrations.
//!
//! Every session has the same settings, whatever the server's defaults: schema `market_data`, zone
//! UTC, bounded statements.

use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use crate::config::DatabaseConfig;

/// The schema of all objects.
pub const SCHEMA: &str = "market_data";

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// Options of a session named `application`, as `pg_stat_activity` shows it.
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

/// A pool that connects when it is first used, so that a program can start before its database.
///
/// # Errors
/// When the URL is not one.
pub fn pool(config: &DatabaseConfig, application: &str) -> Result<PgPool, sqlx::Error> {
    Ok(pool_of(config, options(config, application)?))
}

/// The same, of sessions with these options.
pub fn pool_of(config: &DatabaseConfig, session: PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(config.max_connections)
        .acquire_timeout(config.connect_timeout)
        .connect_lazy_with(session)
}

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// The database refused or is away.
    #[error("cannot migrate: {0}")]
    Database(#[from] sqlx::Error),
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
    let mut connection = options(config, "migrate")?
        .options([("statement_timeout", "0")])
        .connect()
        .await?;
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
