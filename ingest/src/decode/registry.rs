//! Writer schemas from a registry with the Confluent API.
//!
//! A registry that does not answer is waited for; only an id that it says it does not know makes a
//! message a dead letter.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apache_avro::Schema;
use serde::Deserialize;

use super::schema::is_recursive;

/// How long an unknown id is remembered: a schema may be registered after its first message.
const UNKNOWN_FOR: Duration = Duration::from_secs(30);
/// Most ids remembered; garbage can name any of four billion.
const MAX_REMEMBERED: usize = 10_000;

/// What is known of a schema id.
#[derive(Debug, Clone)]
pub enum Lookup {
    /// Its schema.
    Known(Arc<Schema>),
    /// Why it is of no use: not registered, or no schema that can be read.
    Unknown(String),
}

/// The registry's answer was none: to be asked again.
#[derive(Debug, thiserror::Error)]
#[error("schema registry: {0}")]
pub struct Unreachable(String);

/// A client with what it has learnt.
#[derive(Debug)]
pub struct Registry {
    client: reqwest::Client,
    url: String,
    known: HashMap<u32, (Lookup, Instant)>,
}

#[derive(Deserialize)]
struct Answer {
    schema: String,
    #[serde(rename = "schemaType", default)]
    kind: Option<String>,
    #[serde(default)]
    references: Vec<serde_json::Value>,
}

impl Registry {
    /// A client of the registry at `url`.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(url: &str) -> Result<Self, reqwest::Error> {
        // reqwest is built without a TLS provider of its own; a second call keeps the first.
        let _first = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(5))
            .build()?;
        Ok(Self {
            client,
            url: url.trim_end_matches('/').to_owned(),
            known: HashMap::new(),
        })
    }

    /// What is remembered of an id.
    pub fn remembered(&self, id: u32) -> Option<Lookup> {
        let (lookup, learnt) = self.known.get(&id)?;
        let fresh = matches!(lookup, Lookup::Known(_)) || learnt.elapsed() < UNKNOWN_FOR;
        fresh.then(|| lookup.clone())
    }

    /// Asks for an id and remembers the answer.
    ///
    /// # Errors
    /// When the registry cannot be reached or fails: ask again.
    pub async fn ask(&mut self, id: u32) -> Result<Lookup, Unreachable> {
        let unreachable = |error: reqwest::Error| Unreachable(error.without_url().to_string());
        let response = self
            .client
            .get(format!("{}/schemas/ids/{id}", self.url))
            .send()
            .await
            .map_err(unreachable)?;
        let lookup = match response.status().as_u16() {
            200 => parse(&response.json().await.map_err(unreachable)?),
            404 if is_unknown(response).await => {
                Lookup::Unknown(format!("the registry has no schema {id}"))
            }
            404 => {
                return Err(Unreachable(
                    "status 404: kafka.schema_registry_url is not the base of a Confluent API"
                        .into(),
                ));
            }
            status => return Err(Unreachable(format!("schema {id}: status {status}"))),
        };
        if self.known.len() >= MAX_REMEMBERED {
            self.known.clear();
        }
        self.known.insert(id, (lookup.clone(), Instant::now()));
        Ok(lookup)
    }
}

/// Whether a 404 is the registry's own: it then has Confluent's code "schema not found". Any other
/// comes from a wrong address, which must not make dead letters of good messages.
async fn is_unknown(response: reqwest::Response) -> bool {
    #[derive(Deserialize)]
    struct Refusal {
        error_code: u32,
    }
    let refusal = response.json::<Refusal>().await;
    refusal.is_ok_and(|refusal| refusal.error_code == 40403)
}

fn parse(answer: &Answer) -> Lookup {
    if answer.kind.as_deref().is_some_and(|kind| kind != "AVRO") {
        return Lookup::Unknown("the schema is not Avro".into());
    }
    if !answer.references.is_empty() {
        return Lookup::Unknown(
            "the schema refers to other schemas, which is not supported".into(),
        );
    }
    match Schema::parse_str(&answer.schema) {
        Ok(schema) if is_recursive(&schema) => {
            Lookup::Unknown("the schema contains itself, which is not supported".into())
        }
        Ok(schema) => Lookup::Known(Arc::new(schema)),
        Err(error) => Lookup::Unknown(format!("the schema cannot be read: {error}")),
    }
}
