//! Configuration: defaults < YAML file < environment < flags.
//!
//! Unknown keys are refused. Both programs read one file, so each names the sections of the other
//! and leaves them alone. Secrets never print.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Why a configuration cannot be used; the text lists every fault that could be seen at once.
#[derive(Debug, thiserror::Error)]
#[error("configuration: {0}")]
pub struct ConfigError(pub String);

/// A configuration that can tell what is wrong with it.
pub trait Validate {
    /// All faults, each naming its key and the way out.
    fn faults(&self) -> Vec<String>;
}

/// Reads a configuration: `file`, or `config/<ENVIRONMENT>.yaml` where that exists (`ENVIRONMENT` is
/// `local` unless set), then `FDA_SECTION__KEY` variables.
///
/// # Errors
/// When a source cannot be read, a key is unknown, or a value is out of range.
pub fn load<T: DeserializeOwned + Validate>(file: Option<&Path>) -> Result<T, ConfigError> {
    let builder = config::Config::builder();
    let builder = if let Some(file) = file {
        builder.add_source(config::File::from(file).required(true))
    } else {
        let environment = std::env::var("ENVIRONMENT").unwrap_or_else(|_| "local".into());
        if !["local", "dev", "test", "prod"].contains(&environment.as_str()) {
            return Err(ConfigError(format!(
                "ENVIRONMENT is {environment}: use local, dev, test or prod"
            )));
        }
        builder.add_source(
            config::File::with_name(&format!("config/{environment}.yaml")).required(false),
        )
    };
    let variables = config::Environment::with_prefix("FDA")
        .prefix_separator("_")
        .separator("__")
        .try_parsing(true);
    let loaded: T = builder
        .add_source(variables)
        .build()
        .and_then(config::Config::try_deserialize)
        .map_err(|error| ConfigError(error.to_string()))?;
    let faults = loaded.faults();
    if faults.is_empty() {
        Ok(loaded)
    } else {
        Err(ConfigError(faults.join("; ")))
    }
}

/// A database URL whose password never prints.
#[derive(Clone, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// The URL of that text.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self(url.into())
    }

    /// The URL with its password, for the driver alone.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The last @ ends the user part: a password may hold one.
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return f.write_str("***");
        };
        let (user, host) = rest
            .rsplit_once('@')
            .map_or(("", rest), |(user, host)| (user, host));
        let name = user.split(':').next().unwrap_or_default();
        let mask = if user.contains(':') { ":***" } else { "" };
        let at = if user.is_empty() { "" } else { "@" };
        let host = host.split_once('?').map_or(host, |(host, _)| host);
        write!(f, "{scheme}://{name}{mask}{at}{host}")
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where the database is and how it is used.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// `postgres://[user[:password]@]host:port/name`; objects lie in its schema `market_data`.
    pub url: DatabaseUrl,
    /// Most connections of this process.
    pub max_connections: u32,
    /// Longest wait for a free or new connection, such as `5s`.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Longest run of one statement, such as `10s`.
    #[serde(with = "humantime_serde")]
    pub statement_timeout: Duration,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            url: DatabaseUrl::new("postgres://127.0.0.1:5432/financial_data"),
            max_connections: 8,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_mins(1),
        }
    }
}

impl DatabaseConfig {
    /// What is wrong with it.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        // The driver takes any scheme.
        let url = self.url.expose();
        let ours = url.starts_with("postgres://") || url.starts_with("postgresql://");
        if !ours || url.parse::<sqlx::postgres::PgConnectOptions>().is_err() {
            faults.push(format!(
                "database.url {} is not postgres://[user[:password]@]host:port/name",
                self.url
            ));
        }
        if self.max_connections < 2 {
            faults.push("database.max_connections must be at least 2".into());
        }
        if self.statement_timeout < Duration::from_millis(1)
            || self.connect_timeout < Duration::from_millis(1)
        {
            faults.push(
                "database.statement_timeout and database.connect_timeout must be at least 1ms"
                    .into(),
            );
        }
        faults
    }
}

/// The listener for metrics and probes, which is never public.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminConfig {
    /// Address of `/metrics`, `/livez` and `/readyz`.
    pub listen: SocketAddr,
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// Logging.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// `text` or `json`.
    pub format: LogFormat,
    /// A `tracing` filter such as `info` or `ingest=debug,info`.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_url_prints_without_its_password() {
        for (url, printed) in [
            (
                "postgres://me:p@ss@host:5432/db?sslmode=require",
                "postgres://me:***@host:5432/db",
            ),
            ("postgres://me@host/db", "postgres://me@host/db"),
            ("postgres://host/db?password=secret", "postgres://host/db"),
            ("secret", "***"),
        ] {
            assert_eq!(DatabaseUrl::new(url).to_string(), printed);
            assert_eq!(format!("{:?}", DatabaseUrl::new(url)), printed);
            assert_eq!(
                serde_json::to_string(&DatabaseUrl::new(url)).unwrap(),
                format!("\"{printed}\"")
            );
        }
    }
}
