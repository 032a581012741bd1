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
        // Not parsed here: topic 0042 is not topic 42. Each key parses what it wants.
        .try_parsing(false);
    let unreadable = |error: config::ConfigError| ConfigError(error.to_string());
    let sources = builder.add_source(variables).build().map_err(unreadable)?;
    let (loaded, mut faults) = match sources.clone().try_deserialize::<T>() {
        Ok(loaded) => (loaded, Vec::new()),
        Err(_) => one_by_one(&sources).map_err(unreadable)?,
    };
    faults.extend(loaded.faults());
    if faults.is_empty() {
        Ok(loaded)
    } else {
        Err(ConfigError(faults.join("; ")))
    }
}

/// Takes each key by itself: the faults of all of them, and what is left without the faulty ones.
fn one_by_one<T: DeserializeOwned>(
    sources: &config::Config,
) -> Result<(T, Vec<String>), config::ConfigError> {
    let keys =
        config::Source::collect(sources)?
            .into_iter()
            .flat_map(|(section, value)| match value.clone().into_table() {
                Ok(table) if !table.is_empty() => table
                    .into_iter()
                    .map(|(key, value)| (format!("{section}.{key}"), value))
                    .collect(),
                _ => vec![(section, value)],
            });
    let mut faults = Vec::new();
    let mut sound = config::Config::builder();
    for (key, value) in keys {
        let alone = config::Config::builder().set_override(&key, value.clone())?;
        match alone.build()?.try_deserialize::<T>() {
            Ok(_) => sound = sound.set_override(&key, value)?,
            Err(error) => {
                let reason = allowed_names::<T>(&key, value).unwrap_or_else(|| error.to_string());
                faults.push(format!("{key}: {reason}"));
            }
        }
    }
    faults.sort_unstable();
    Ok((sound.build()?.try_deserialize()?, faults))
}

/// When a value is none of the names that its key takes: what serde says, which lists them. The crate's own text does not.
fn allowed_names<T: DeserializeOwned>(key: &str, value: config::Value) -> Option<String> {
    let value: serde_json::Value = value.try_deserialize().ok()?;
    let whole = key
        .rsplit('.')
        .fold(value, |value, name| serde_json::json!({ name: value }));
    let error = serde_json::from_value::<T>(whole).err()?.to_string();
    error.starts_with("unknown variant").then_some(error)
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
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return f.write_str("***");
        };
        let (plain, query) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
        // The last @ ends the user part: a password may hold one.
        let (user, host) = plain.rsplit_once('@').unwrap_or(("", plain));
        let (authority, path) = host.split_at(host.find('/').unwrap_or(host.len()));
        // A password may also hold a question mark, or nobody may have said whose it is. Then there is no
        // telling where it ends.
        let port = authority.rsplit(']').next().unwrap_or_default();
        let port = port.split_once(':').map_or("", |(_, port)| port);
        if !port.bytes().all(|byte| byte.is_ascii_digit())
            || (path.is_empty() && query.contains('@'))
        {
            return write!(f, "{scheme}://***");
        }
        let name = user.split(':').next().unwrap_or_default();
        let mask = if user.contains(':') { ":***" } else { "" };
        let at = if user.is_empty() { "" } else { "@" };
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

/// A password, which never prints.
#[derive(Clone, Default, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The password, for the client alone.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "" } else { "***" })
    }
}

impl Serialize for Password {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{self:?}"))
    }
}

/// Where the database is and how it is used.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// `postgres://[user[:password]@]host:port/name`; objects lie in its schema `market_data`.
    pub url: DatabaseUrl,
    /// Name or ARN of a secret in AWS Secrets Manager, whose login replaces that of `url`. Its text is
    /// `{"DB_USERNAME": …, "DB_PASSWORD": …}`; RDS's `username` and `password` are read too.
    pub secret: String,
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
            secret: String::new(),
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

impl LogConfig {
    /// What is wrong with it.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        tracing_subscriber::EnvFilter::try_new(&self.filter)
            .err()
            .map(|error| format!("log.filter {:?}: {error}", self.filter))
            .into_iter()
            .collect()
    }
}

#[cfg(test)]
mod tests;
