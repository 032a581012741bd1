//! The database login that AWS Secrets Manager keeps.
//!
//! A secret's text never leaves this module but as a [`Login`], whose password does not print.

use std::fmt;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::DisplayErrorContext;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use serde::Deserialize;
use tokio::sync::OnceCell;

/// Longest time to get a secret, the SDK's own retries included.
const LONGEST: Duration = Duration::from_secs(10);

/// A name and a password. Only the name prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    username: String,
    password: String,
}

impl Login {
    /// The name.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The password, for the driver alone.
    #[must_use]
    pub fn expose_password(&self) -> &str {
        &self.password
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({}, ***)", self.username)
    }
}

/// Why a secret cannot be had. The text holds nothing of the secret itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// AWS refused, or is away.
    #[error("secret {name}: {reason}")]
    Unavailable {
        /// The secret's name.
        name: String,
        /// In the SDK's words.
        reason: String,
    },
    /// It is not a login.
    #[error(
        "secret {name} is not a JSON object with DB_USERNAME and DB_PASSWORD, or username and password, both strings that are not empty"
    )]
    NotALogin {
        /// The secret's name.
        name: String,
    },
}

/// A secret in AWS Secrets Manager. The client is made at the first use, by the SDK's own rules for
/// region, endpoint and credentials: IRSA, Pod Identity, variables, profile, instance.
pub struct Secret {
    name: String,
    client: OnceCell<Client>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.name)
    }
}

impl Secret {
    /// The secret of that name or ARN. Nothing is asked yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            client: OnceCell::new(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks for the login that is current.
    ///
    /// # Errors
    /// When AWS refuses or is away, or the secret is no login.
    pub async fn login(&self) -> Result<Login, SecretError> {
        let client = self.client.get_or_init(client).await;
        let answer = client.get_secret_value().secret_id(&self.name).send().await;
        let answer = answer.map_err(|error| SecretError::Unavailable {
            name: self.name.clone(),
            reason: DisplayErrorContext(error).to_string(),
        })?;
        parse(answer.secret_string().unwrap_or_default()).ok_or_else(|| SecretError::NotALogin {
            name: self.name.clone(),
        })
    }
}

async fn client() -> Client {
    let https = Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let timeouts = TimeoutConfig::builder().operation_timeout(LONGEST).build();
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(https)
        .timeout_config(timeouts)
        .load()
        .await;
    Client::new(&config)
}

/// Our own field names, and those that RDS writes.
#[derive(Deserialize)]
struct Fields {
    #[serde(rename = "DB_USERNAME", alias = "username")]
    username: String,
    #[serde(rename = "DB_PASSWORD", alias = "password")]
    password: String,
}

fn parse(text: &str) -> Option<Login> {
    // The parser's own words could quote the secret.
    let Fields { username, password } = serde_json::from_str(text).ok()?;
    (!username.is_empty() && !password.is_empty()).then_some(Login { username, password })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_read_in_both_spellings_and_nothing_else_is_one() {
        for text in [
            r#"{"DB_USERNAME":"me","DB_PASSWORD":"p@ss"}"#,
            r#"{"username":"me","password":"p@ss","engine":"postgres","port":5432}"#,
        ] {
            let login = parse(text).unwrap();
            assert_eq!((login.username(), login.expose_password()), ("me", "p@ss"));
        }
        for text in [
            "",
            "p@ss",
            r#"{"DB_USERNAME":"me"}"#,
            r#"{"username":"me","password":5}"#,
            r#"{"username":"","password":"p@ss"}"#,
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_login_prints_without_its_password() {
        let login = parse(r#"{"username":"me","password":"p@ss"}"#).unwrap();
        assert_eq!(format!("{login:?}"), "Login(me, ***)");
    }
}
