//! Reading: a page of daily candles from the `api`, beside the same rows by a prepared SELECT, and from nginx's cache.
//!
//! Each is asked by the same number of clients, one answer after the other on a connection that is kept and has been
//! used before. The clients are in this process and share the machine with all they ask.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use reqwest::header::{ETAG, IF_NONE_MATCH};
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use sqlx::{Connection as _, PgConnection, Row as _};
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
/// Rows of the page.
const ROWS: usize = 500;
/// The page, older than corrections are expected: caches may keep it.
const PATH: &str = "/v1/candles/AMZN?interval=1d&to=2023-09-01&limit=500";
/// The rows of that page; $1: symbol.
const SELECT: &str = include_str!("read.sql");

/// What was measured.
pub(super) struct Reads {
    /// Answers a second by a prepared SELECT.
    pub(super) select: f64,
    /// The same by the api.
    pub(super) api: f64,
    /// The same by the api, of a page that the client has already: 304.
    pub(super) unchanged: f64,
    /// The same by nginx from its cache, where nginx is installed.
    pub(super) cached: Option<f64>,
    /// Bytes of an answer, not compressed.
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

/// Measures, one after the other.
pub(super) async fn run(server: &Postgres) -> Result<Reads> {
    let folder = workspace::work().join("bench");
    let port = ports::free()?;
    let database = server.url_as("market_data_api", "bench");
    let mut command = Command::new(workspace::binary("api")?);
    command
        .arg("run")
        .env("FDA_DATABASE__URL", &database)
        .env("FDA_HTTP__LISTEN", format!("127.0.0.1:{port}"))
        .env("FDA_ADMIN__LISTEN", format!("127.0.0.1:{}", ports::free()?));
    let _api = Launch::new("api", command, folder.join("api.log")).start()?;
    let api = Page::new(&format!("http://127.0.0.1:{port}"), StatusCode::OK)?;
    let answer = eventually("the api answers", Duration::from_mins(1), async || {
        api.ask().await
    })
    .await?;
    let tag = answer.headers().get(ETAG).context("the page has no ETag")?;
    let unchanged = Page {
        tag: Some(tag.to_str()?.to_owned()),
        status: StatusCode::NOT_MODIFIED,
        ..api.clone()
    };
    let body = answer.bytes().await?;
    let mut sessions = Vec::new();
    for _ in 0..CLIENTS {
        let mut session = PgConnection::connect(&database).await?;
        same_rows(&mut session, &body).await?;
        sessions.push(session);
    }

    let select = rate(sessions, rows).await?;
    let api_rate = rate(vec![api.clone(); CLIENTS], pages).await?;
    let unchanged = rate(vec![unchanged; CLIENTS], pages).await?;
    let cached = match front(&folder, port).await? {
        Some((_nginx, page)) => Some(rate(vec![page; CLIENTS], pages).await?),
        None => None,
    };
    Ok(Reads {
        select,
        api: api_rate,
        unchanged,
        cached,
        bytes: body.len(),
    })
}

/// Answers a second of all clients, each of which counts its own until a time.
async fn rate<C, F>(clients: Vec<C>, work: impl Fn(C, Instant) -> F) -> Result<f64>
where
    F: Future<Output = Result<u32>> + Send + 'static,
{
    let begun = Instant::now();
    let mut counting: JoinSet<Result<u32>> = clients
        .into_iter()
        .map(|client| work(client, begun + TIME))
        .collect();
    let mut answers = 0.0;
    while let Some(counted) = counting.join_next().await {
        answers += f64::from(counted??);
    }
    Ok(answers / begun.elapsed().as_secs_f64())
}

async fn rows(mut session: PgConnection, until: Instant) -> Result<u32> {
    let mut answers = 0;
    while Instant::now() < until {
        let rows = sqlx::query(SELECT).bind("AMZN").fetch_all(&mut session);
        ensure!(rows.await?.len() == ROWS, "not {ROWS} rows");
        answers += 1;
    }
    Ok(answers)
}

async fn pages(page: Page, until: Instant) -> Result<u32> {
    let mut answers = 0;
    while Instant::now() < until {
        page.ask().await?.bytes().await?;
        answers += 1;
    }
    Ok(answers)
}

/// Fails unless the page has the rows of the SELECT.
async fn same_rows(session: &mut PgConnection, body: &[u8]) -> Result<()> {
    #[derive(Deserialize)]
    struct Answer {
        candles: Vec<Candle>,
    }
    #[derive(Deserialize)]
    struct Candle {
        open_time: DateTime<Utc>,
    }
    let answer: Answer = serde_json::from_slice(body).context("the page cannot be read")?;
    let told: Vec<_> = answer.candles.iter().map(|row| row.open_time).collect();
    let rows = sqlx::query(SELECT).bind("AMZN").fetch_all(session).await?;
    let mut stored = rows
        .iter()
        .map(|row| row.try_get("open_time"))
        .collect::<Result<Vec<DateTime<Utc>>, _>>()?;
    // The newest come first.
    stored.reverse();
    ensure!(
        told.len() == ROWS && told == stored,
        "the page has other rows than the SELECT"
    );
    Ok(())
}

/// A page and how it is asked for.
#[derive(Clone)]
struct Page {
    client: Client,
    url: String,
    tag: Option<String>,
    status: StatusCode,
    /// Whether nginx must have it in its cache.
    cached: bool,
}

impl Page {
    fn new(base: &str, status: StatusCode) -> Result<Self> {
        Ok(Self {
            client: http::local()?,
            url: format!("{base}{PATH}"),
            tag: None,
            status,
            cached: false,
        })
    }

    async fn ask(&self) -> Result<Response> {
        let mut request = self.client.get(&self.url);
        if let Some(tag) = &self.tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let answer = request.send().await?;
        let (status, url) = (answer.status(), &self.url);
        ensure!(status == self.status, "{url} is answered by {status}");
        let hit = answer.headers().get("x-cache-status");
        ensure!(
            !self.cached || hit.is_some_and(|hit| hit == "HIT"),
            "nginx says {hit:?} of {url}, not HIT"
        );
        Ok(answer)
    }
}

/// nginx in front of the api, as it is deployed, with the page in its cache.
async fn front(folder: &Path, api: u16) -> Result<Option<(Process, Page)>> {
    let Some(program) = Nginx::find() else {
        return Ok(None);
    };
    let port = ports::free()?;
    let nginx = Nginx::prepare(program, &folder.join("nginx"), port, api).await?;
    let process = nginx.start(&folder.join("nginx.log"))?;
    let page = Page {
        cached: true,
        ..Page::new(&format!("http://127.0.0.1:{port}"), StatusCode::OK)?
    };
    eventually("nginx has the page", Duration::from_mins(1), async || {
        page.ask().await
    })
    .await?;
    Ok(Some((process, page)))
}
