//! What the user gives, checked before anything is built on it.

use std::str::FromStr as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

/// How long the database may take to take a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// Checks that `KAFKA` is one address or several.
///
/// # Errors
///
/// When it is not.
pub(super) fn check_broker(addresses: &str) -> Result<()> {
    for address in addresses.split(',') {
        let (host, port) = address.rsplit_once(':').unwrap_or_default();
        let plain = !host.is_empty() && !host.contains(['/', '@', ' ']);
        if !plain || port.parse::<u16>().is_err() {
            bail!("KAFKA={addresses} is no address of a broker: it must look like 127.0.0.1:9092");
        }
    }
    Ok(())
}

/// Checks that `DATABASE_URL` leads to a database whose login may create roles.
///
/// # Errors
///
/// When it does not; the text says what to look at, and never holds the URL, which may bear a password.
pub(super) async fn check_database(url: &str) -> Result<()> {
    ensure!(
        url.starts_with("postgres://") || url.starts_with("postgresql://"),
        "DATABASE_URL is no PostgreSQL URL: it must look like postgres://user:password@host:5432/name"
    );
    let options = PgConnectOptions::from_str(url).context(
        "DATABASE_URL cannot be read: it must look like postgres://user:password@host:5432/name",
    )?;
    let cannot = "the database DATABASE_URL cannot be used: check host, port, login and name";
    let mut db = tokio::time::timeout(PATIENCE, options.connect())
        .await
        .with_context(|| format!("{cannot}; no answer in {} s", PATIENCE.as_secs()))?
        .context(cannot)?;
    let may: bool = sqlx::query_scalar(
        "select rolsuper or rolcreaterole from pg_roles where rolname = current_user",
    )
    .fetch_one(&mut db)
    .await
    .context(cannot)?;
    db.close().await.context(cannot)?;
    ensure!(
        may,
        "the login of DATABASE_URL may not create roles, which the migrations do: give another, or let an \
         administrator run `alter role … createrole`"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_brokers_are_host_and_port() {
        for good in ["127.0.0.1:9092", "[::1]:9092", "a.example:1,b.example:2"] {
            check_broker(good).unwrap();
        }
        for bad in [
            "kafka",
            "kafka:",
            ":9092",
            "kafka:http",
            "tcp://kafka:9092",
            "a:1,",
            "a:70000",
        ] {
            let error = check_broker(bad).unwrap_err().to_string();
            assert!(error.contains("127.0.0.1:9092"), "{error}");
        }
    }

    #[tokio::test]
    async fn unusable_databases_are_told_without_their_password() {
        let port = crate::ports::free().unwrap();
        for (url, expected) in [
            (
                "mysql://a:hidden@127.0.0.1/x".to_owned(),
                "no PostgreSQL URL",
            ),
            (
                "postgres://a:hidden@127.0.0.1:x/y".to_owned(),
                "cannot be read",
            ),
            (
                format!("postgres://a:hidden@127.0.0.1:{port}/x"),
                "check host, port",
            ),
        ] {
            let error = format!("{:#}", check_database(&url).await.unwrap_err());
            assert!(
                error.contains(expected) && !error.contains("hidden"),
                "{error}"
            );
        }
    }
}
