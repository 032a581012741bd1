//! Reading: a page of 500 daily candles from the `api`, beside the same rows by a prepared SELECT, and from nginx's cache.
//!
//! Each is asked by the same number of clients, one answer after the other on a connection that is kept. The clients are
//! in this process and share the machine with all they ask.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::header::{ETAG, IF_NONE_MATCH};
use reqwest::{Client, StatusCode};
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinSet;

use crate::nginx::Nginx;
use crate::process::{Launch, Process};
use crate::publish::{self, Reading};
use crate::publisher::{Encoding, Publisher};
use crate::{Postgres, eventually, http, ports, workspace};

/// As many as the api has sessions by default.
const CLIENTS: usize = 8;
/// How long each is asked.
const TIME: Duration = Duration::from_secs(5);
const PATH: &str = "/v1/candles/AMZN?interval=1d&limit=500";
/// The rows of that page.
const SELECT: &str = include_str!("read.sql");

/// What was measured: answers a second.
pub(super) struct Reads {
    /// By a prepared SELECT.
    pub(super) select: f64,
    /// By the api.
    pub(super) api: f64,
    /// By the api, of a page that the client has already: 304.
    pub(super) unchanged: f64,
    /// By nginx from its cache, where nginx is installed.
    pub(super) cached: Option<f64>,
    /// Size of an answer.
    pub(super) bytes: usize,
}

/// Publishes the daily bars that the page is made of; returns how many ticks they are.
pub(super) async fn prepare(publisher: &Publisher) -> Result<u64> {
    let file = workspace::root().join("testbed/data/stocks_daily.csv");
    let reading = Reading {
        float32: true,
        ..Reading::default()
    };
    let mut count = 0;
    for tick in publish::ticks(&file, &reading)? {
        publisher.send(&tick?, Encoding::Json)?;
        count += 1;
    }
    publisher.settle().await?;
    Ok(count)
}

/// Measures.
pub(super) async fn run(server: &Postgres) -> Result<Reads> {
    let folder = workspace::work().join("bench");
    let port = ports::free()?;
    let mut command = Command::new(workspace::binary("api")?);
    command
        .arg("run")
        .env(
            "FDA_DATABASE__URL",
            server.url_as("market_data_api", "bench"),
        )
        .env("FDA_HTTP__LISTEN", format!("127.0.0.1:{port}"))
        .env("FDA_ADMIN__LISTEN", format!("127.0.0.1:{}", ports::free()?));
    let _api = Launch::new("api", command, folder.join("api.log")).start()?;
    let url = format!("http://127.0.0.1:{port}{PATH}");
    let client = http::local()?;
    let ask = async || client.get(&url).send().await?.error_for_status();
    let page = eventually("the api answers", Duration::from_mins(1), ask).await?;
    let tag = page.headers().get(ETAG).context("the page has no ETag")?;
    let tag = tag.to_str()?.to_owned();
    let bytes = page.bytes().await?.len();

    let select = rate(|until| rows(server.url_as("market_data_api", "bench"), until)).await?;
    let api = rate(|until| pages(client.clone(), url.clone(), None, until)).await?;
    let unchanged = rate(|until| pages(client.clone(), url.clone(), Some(tag.clone()), until));
    let unchanged = unchanged.await?;
    let cached = match front(&folder, port).await? {
        Some((_nginx, base)) => {
            let url = format!("{base}{PATH}");
            Some(rate(|until| pages(client.clone(), url.clone(), None, until)).await?)
        }
        None => None,
    };
    Ok(Reads {
        select,
        api,
        unchanged,
        cached,
        bytes,
    })
}

/// Answers a second of all clients, each of which counts its own.
async fn rate<F>(client: impl Fn(Instant) -> F) -> Result<f64>
where
    F: Future<Output = Result<u32>> + Send + 'static,
{
    let begun = Instant::now();
    let mut clients: JoinSet<Result<u32>> = (0..CLIENTS).map(|_| client(begun + TIME)).collect();
    let mut answers = 0.0;
    while let Some(counted) = clients.join_next().await {
        answers += f64::from(counted??);
    }
    Ok(answers / begun.elapsed().as_secs_f64())
}

async fn rows(url: String, until: Instant) -> Result<u32> {
    let mut db = PgConnection::connect(&url).await?;
    let mut answers = 0;
    while Instant::now() < until {
        let rows = sqlx::query(SELECT).bind("AMZN").fetch_all(&mut db).await?;
        ensure!(rows.len() == 500, "{} rows, not 500", rows.len());
        answers += 1;
    }
    Ok(answers)
}

async fn pages(client: Client, url: String, tag: Option<String>, until: Instant) -> Result<u32> {
    let expected = match tag {
        Some(_) => StatusCode::NOT_MODIFIED,
        None => StatusCode::OK,
    };
    let mut answers = 0;
    while Instant::now() < until {
        let mut request = client.get(&url);
        if let Some(tag) = &tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let answer = request.send().await?;
        if answer.status() != expected {
            bail!("{url} is answered by {}", answer.status());
        }
        answer.bytes().await?;
        answers += 1;
    }
    Ok(answers)
}

/// nginx in front of the api, as it is deployed, and where it answers.
async fn front(folder: &std::path::Path, api: u16) -> Result<Option<(Process, String)>> {
    let Some(program) = Nginx::find() else {
        return Ok(None);
    };
    let port = ports::free()?;
    let nginx = Nginx::prepare(program, &folder.join("nginx"), port, api).await?;
    let process = nginx.start(&folder.join("nginx.log"))?;
    let base = format!("http://127.0.0.1:{port}");
    let (client, url) = (http::local()?, format!("{base}{PATH}"));
    let ask = async || client.get(&url).send().await?.error_for_status().map(drop);
    eventually("nginx answers", Duration::from_mins(1), ask).await?;
    Ok(Some((process, base)))
}
