//! The migrations: forward only, and one process at a time, under an advisory lock.

use sqlx::ConnectOptions as _;
use sqlx::migrate::Migrator;

use super::login::with_login;
use super::{explain, options};
use crate::config::DatabaseConfig;
use crate::secrets::{Secret, SecretError};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

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
    #[error("cannot migrate: {}", explain_migration(.0))]
    Migration(#[from] sqlx::migrate::MigrateError),
}

fn explain_migration(error: &sqlx::migrate::MigrateError) -> String {
    match error {
        sqlx::migrate::MigrateError::Execute(error) => explain(error),
        sqlx::migrate::MigrateError::ExecuteMigration(error, version) => {
            format!("migration {version}: {}", explain(error))
        }
        error => error.to_string(),
    }
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
