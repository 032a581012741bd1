//! The database login that AWS Secrets Manager keeps.
//!
//! A secret's text never leaves this module but as a [`Login`], whose password does not print.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::http::HttpResponse;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
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
        /// In the SDK's words, or in ours.
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
            reason: reason(&error),
        })?;
        parse(answer.secret_string().unwrap_or_default()).ok_or_else(|| SecretError::NotALogin {
            name: self.name.clone(),
        })
    }
}

/// Why there is no secret. The SDK's debug form would hold its answer, and a parser's words may quote it.
fn reason<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: Error + ProvideErrorMetadata + 'static,
{
    if let Some(answer) = error.raw_response()
        && error.code().is_none()
    {
        return format!(
            "the answer, of status {}, cannot be read",
            answer.status().as_u16()
        );
    }
    let chain = std::iter::successors(Some(error as &dyn Error), |&error| error.source());
    let mut words: Vec<String> = chain.map(ToString::to_string).collect();
    // An error of the service is its own source.
    words.dedup();
    words.join(": ")
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
    use aws_sdk_secretsmanager::Config;
    use aws_sdk_secretsmanager::config::{Credentials, Region};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// What is said of a secret when the server gives this answer to every request.
    async fn said_of(status: &str, body: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 64 * 1024];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
                // What is left unread would reset the connection.
                stream.read_to_end(&mut request).await.unwrap();
            }
        });
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::new("id", "key", None, None, "test"))
            .endpoint_url(format!("http://{address}"))
            .http_client(Builder::new().build_http())
            .build();
        let secret = Secret {
            name: "db".into(),
            client: OnceCell::new_with(Some(Client::from_conf(config))),
        };
        let said = secret.login().await.unwrap_err().to_string();
        server.abort();
        said
    }

    #[tokio::test]
    async fn no_answer_is_quoted_that_may_hold_the_secret() {
        // GIVEN answers that end too early, or hold what JSON does not
        let whole =
            r#"{"Name":"db","SecretString":"{\"username\":\"me\",\"password\":\"Tr0ub4dor\"}"#;
        for body in [whole, "Tr0ub4dor", r#"{"SecretString":"\Tr0ub4dor"}"#] {
            // WHEN the secret is asked for THEN what is said has nothing of them
            assert_eq!(
                said_of("200 OK", body).await,
                "secret db: the answer, of status 200, cannot be read"
            );
        }
        // AND an error is told in the words of the service
        let body = r#"{"__type":"ResourceNotFoundException","Message":"Secrets Manager can't find the specified secret."}"#;
        assert_eq!(
            said_of("400 Bad Request", body).await,
            "secret db: service error: ResourceNotFoundException: Secrets Manager can't find the specified secret."
        );
    }

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
