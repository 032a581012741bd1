//! A server that asks for TLS and passwords, and secrets behind a door that counts who asks.
//!
//! Each test has logins of its own, members of the roles that the migrations make, and secrets of its own names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use sqlx::AssertSqlSafe;
use testbed::certificates::Authority;
use testbed::moto::{Moto, REGION};
use testbed::postgres::NEWEST;
use testbed::{Postgres, eventually, http};
use tokio::sync::{OnceCell, watch};

use crate::api::Api;
use crate::pipeline::{PATIENCE, Pipeline};
use crate::stand_in;
use crate::worker::Worker;

/// What the emulation is given as an AWS key: it must not be seen anywhere either.
pub(crate) const AWS_KEY: &str = "wJalrXUtnFEMIK7MDENGbPxRfiCYKEY";

/// What the tests of logins share.
pub(crate) struct Servers {
    /// Who signed the server's certificate, which is for `localhost` alone.
    pub(crate) authority: Authority,
    pub(crate) postgres: Postgres,
    pub(crate) moto: Moto,
}

static SERVERS: OnceCell<Servers> = OnceCell::const_new();

pub(crate) async fn servers() -> &'static Servers {
    SERVERS
        .get_or_init(async || {
            let authority = Authority::new().unwrap();
            let certificate = authority.issue(&["localhost"]).unwrap();
            let (postgres, moto) =
                tokio::try_join!(Postgres::secured(NEWEST, &certificate), Moto::start()).unwrap();
            Servers {
                authority,
                postgres,
                moto,
            }
        })
        .await
}

/// The text of a secret.
pub(crate) fn login(username: &str, password: &str) -> String {
    serde_json::json!({"DB_USERNAME": username, "DB_PASSWORD": password}).to_string()
}

/// One test's pipeline, logins and secrets.
pub(crate) struct Site {
    pub(crate) pipeline: Pipeline,
    pub(crate) door: Door,
    name: String,
}

impl Site {
    pub(crate) async fn new(name: &str) -> Self {
        let servers = servers().await;
        Self {
            pipeline: Pipeline::on(&servers.postgres, name, 1).await,
            door: Door::to(servers.moto.url()).await,
            name: name.to_owned(),
        }
    }

    /// The name of a secret of this test.
    pub(crate) fn secret(&self, name: &str) -> String {
        format!("{}/{name}", self.name)
    }

    /// Gives one of them a value.
    pub(crate) async fn put(&self, name: &str, text: &str) {
        let moto = &servers().await.moto;
        moto.put(&self.secret(name), text).await.unwrap();
    }

    /// Makes a login that may do what `ingest` or `api` may; returns its name.
    pub(crate) async fn make_login(&self, program: &str, name: &str, password: &str) -> String {
        let role = format!("{}_{name}", self.name);
        let password = password.replace('\'', "''");
        let sql =
            format!("create role {role} login password '{password}' in role market_data_{program}");
        self.execute(&sql).await;
        role
    }

    pub(crate) async fn execute(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(self.pipeline.pool())
            .await
            .unwrap();
    }

    /// How many sessions of a login there are, in a state such as `state = 'idle'`.
    pub(crate) async fn sessions(&self, role: &str, state: &str) -> i64 {
        let sql =
            format!("select count(*) from pg_stat_activity where usename = '{role}' and {state}");
        sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(self.pipeline.pool())
            .await
            .unwrap()
    }

    /// Waits until a login has sessions.
    pub(crate) async fn has_sessions(&self, role: &str) {
        eventually("the login has sessions", PATIENCE, async || {
            match self.sessions(role, "true").await {
                0 => Err(format!("{role} has none")),
                _ => Ok(()),
            }
        })
        .await
        .unwrap();
    }

    /// Ends all idle sessions of a login.
    pub(crate) async fn end_idle(&self, role: &str) {
        self.execute(&format!(
            "select pg_terminate_backend(pid) from pg_stat_activity \
             where usename = '{role}' and state = 'idle'"
        ))
        .await;
    }

    /// Starts a worker whose login is in a secret, with further settings.
    pub(crate) fn worker(&self, secret: &str, settings: &[(&str, &str)]) -> Worker {
        let secret = self.secret(secret);
        let own = aws(&self.door.url, &secret);
        Worker::start(&self.pipeline, &[&own, settings].concat())
    }

    /// Starts an `api` whose login is in a secret, with further settings.
    pub(crate) fn api(&self, secret: &str, settings: &[(&str, &str)]) -> Api {
        let secret = self.secret(secret);
        let own = aws(&self.door.url, &secret);
        Api::start(&self.pipeline, &[&own, settings].concat())
    }
}

/// The settings of a program that takes its login from `secret`.
pub(crate) fn aws<'a>(endpoint: &'a str, secret: &'a str) -> [(&'a str, &'a str); 5] {
    [
        ("FDA_DATABASE__SECRET", secret),
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_REGION", REGION),
        ("AWS_ACCESS_KEY_ID", "AKIDTESTBED"),
        ("AWS_SECRET_ACCESS_KEY", AWS_KEY),
    ]
}

/// The authority's certificate as a file that goes with the test.
pub(crate) fn authority_file(pipeline: &Pipeline, name: &str, authority: &Authority) -> PathBuf {
    let file = pipeline.folder().join(name);
    std::fs::write(&file, authority.pem()).unwrap();
    file
}

/// The way to the emulation: it counts the askings for each secret, keeps who asked, and lets answers wait.
pub(crate) struct Door {
    url: String,
    asked: Arc<Mutex<BTreeMap<String, u32>>>,
    signers: Arc<Mutex<BTreeSet<String>>>,
    open: watch::Sender<bool>,
}

impl Door {
    async fn to(moto: String) -> Self {
        let asked: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
        let signers: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let (open, is_open) = watch::channel(true);
        let (counts, keys, client) = (asked.clone(), signers.clone(), http::local().unwrap());
        let pass = move |headers: HeaderMap, body: Bytes| {
            let (counts, keys) = (counts.clone(), keys.clone());
            let (client, moto) = (client.clone(), moto.clone());
            let mut is_open = is_open.clone();
            async move {
                let request: serde_json::Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(headers["x-amz-target"], "secretsmanager.GetSecretValue");
                let secret = request["SecretId"].as_str().unwrap().to_owned();
                *counts.lock().unwrap().entry(secret).or_default() += 1;
                // AWS4-HMAC-SHA256 Credential=KEY/DATE/…
                let signature = headers["authorization"].to_str().unwrap();
                let key = signature.split(['=', '/']).nth(1).unwrap().to_owned();
                keys.lock().unwrap().insert(key);
                is_open.wait_for(|open| *open).await.unwrap();
                match client.post(moto).headers(headers).body(body).send().await {
                    Ok(answer) => (answer.status(), answer.bytes().await.unwrap()).into_response(),
                    Err(_) => StatusCode::BAD_GATEWAY.into_response(),
                }
            }
        };
        let url = stand_in::serve(axum::Router::new().fallback(pass)).await;
        Self {
            url,
            asked,
            signers,
            open,
        }
    }

    /// Where it is, for `AWS_ENDPOINT_URL`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// How often a secret was asked for.
    pub(crate) fn asked(&self, secret: &str) -> u32 {
        let asked = self.asked.lock().unwrap();
        asked.get(secret).copied().unwrap_or_default()
    }

    /// The access keys that requests were signed with.
    pub(crate) fn signers(&self) -> BTreeSet<String> {
        self.signers.lock().unwrap().clone()
    }

    /// Waits until a secret was asked for so often.
    pub(crate) async fn asked_at_least(&self, secret: &str, times: u32) {
        eventually("the secret is asked for", PATIENCE, async || {
            match self.asked(secret) {
                asked if asked >= times => Ok(()),
                asked => Err(format!("{secret}: {asked} of {times}")),
            }
        })
        .await
        .unwrap();
    }

    /// Answers wait from now on.
    pub(crate) fn shut(&self) {
        self.open.send_replace(false);
    }

    /// They wait no longer.
    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }
}
