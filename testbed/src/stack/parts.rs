//! The parts of the stack: database, broker, and the project's own programs behind nginx.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow};

use super::{Run, given};
use crate::nginx::Nginx;
use crate::postgres::{self, Options, Postgres};
use crate::process::{self, Launch, Process, Signal};
use crate::publisher::Publisher;
use crate::{MockKafka, eventually_while, http, kafka, ports, workspace};

const DATABASE: &str = "financial_data";
/// Several, so that the stack shows what a real one does, and few enough to read.
const PARTITIONS: i32 = 4;
/// How long the programs get together to stop; the database follows, and all of it must take less than five seconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// A database: our own server or the user's.
pub(super) enum Database {
    Own(Box<Postgres>),
    Given(String),
}

impl Database {
    pub(super) async fn start(given: Option<String>, data: &Path) -> Result<Self> {
        if let Some(url) = given {
            given::check_database(&url).await?;
            return Ok(Self::Given(url));
        }
        let log = fresh_log(data, "postgres")?;
        let server = Postgres::start_with(Options {
            version: postgres::NEWEST.to_owned(),
            data: data.join("postgres"),
            log,
            durable: true,
            settings: Vec::new(),
        })
        .await?;
        server.create_database(DATABASE).await?;
        Ok(Self::Own(Box::new(server)))
    }

    pub(super) fn describe(&self) -> String {
        match self {
            Self::Own(server) => {
                format!("PostgreSQL {} on port {}", postgres::NEWEST, server.port())
            }
            Self::Given(_) => "your own database".to_owned(),
        }
    }

    /// For migrations and questions about what is loaded.
    pub(super) fn owner_url(&self) -> String {
        self.url_as("postgres")
    }

    /// For people: a given URL may hold a password, and is known to who gave it.
    pub(super) fn shown_url(&self) -> String {
        match self {
            Self::Own(_) => self.owner_url(),
            Self::Given(_) => "DATABASE_URL, as given".to_owned(),
        }
    }

    fn url_as(&self, role: &str) -> String {
        match self {
            Self::Own(server) => server.url_as(role, DATABASE),
            Self::Given(url) => url.clone(),
        }
    }

    pub(super) fn check_alive(&mut self) -> Result<()> {
        match self {
            Self::Own(server) => server.process().check_alive(),
            Self::Given(_) => Ok(()),
        }
    }
}

/// A broker: the one in this process or the user's.
pub(super) struct Broker {
    pub(super) address: String,
    pub(super) topic: String,
    /// Kept alive for as long as the stack runs.
    embedded: Option<MockKafka>,
}

impl Broker {
    pub(super) async fn start(given: Option<String>) -> Result<Self> {
        if let Some(address) = given {
            given::check_broker(&address)?;
            let topic = "ticks".to_owned();
            kafka::create_topic(&address, &topic, PARTITIONS)
                .await
                .with_context(|| format!("the broker KAFKA={address} cannot be used: check the address and that it runs"))?;
            return Ok(Self {
                address,
                topic,
                embedded: None,
            });
        }
        let embedded = MockKafka::start()?;
        // The embedded broker begins at offset 0 each time: a topic of another name is another topic, so a stored
        // position is never taken for one of this run.
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_secs());
        let topic = format!("ticks-{seconds}");
        embedded.create_topic(&topic, PARTITIONS)?;
        Ok(Self {
            address: embedded.bootstrap(),
            topic,
            embedded: Some(embedded),
        })
    }

    pub(super) fn describe(&self) -> String {
        let kind = if self.embedded.is_some() {
            "an embedded broker"
        } else {
            "your own broker"
        };
        format!("{kind} at {}, topic {}", self.address, self.topic)
    }

    pub(super) async fn publisher(&self) -> Result<Publisher> {
        let (address, topic) = (self.address.clone(), self.topic.clone());
        tokio::task::spawn_blocking(move || Publisher::connect(&address, &topic)).await?
    }
}

/// `ingest` and `api`, and nginx where it is installed.
pub(super) struct Programs {
    nginx: Option<Process>,
    api: Process,
    ingest: Process,
    ingest_admin: u16,
    api_admin: u16,
}

impl Programs {
    pub(super) async fn start(options: &Run, database: &Database, broker: &Broker) -> Result<Self> {
        let (ingest, api) = (workspace::binary("ingest")?, workspace::binary("api")?);
        let mut migrate = Command::new(&ingest);
        migrate
            .arg("migrate")
            .env("FDA_DATABASE__URL", database.owner_url());
        process::run("preparing the database (ingest migrate)", migrate).await?;

        let ingest_admin = ports::free()?;
        let mut command = Command::new(&ingest);
        command
            .arg("run")
            .env("FDA_KAFKA__BROKERS", &broker.address)
            .env("FDA_KAFKA__TOPIC", &broker.topic)
            .env("FDA_KAFKA__GROUP", "ingest")
            .env("FDA_DATABASE__URL", database.url_as("market_data_ingest"))
            .env("FDA_ADMIN__LISTEN", format!("127.0.0.1:{ingest_admin}"));
        let ingest = Launch::new("ingest", command, fresh_log(&options.data, "ingest")?).start()?;

        let mut api_port = ports::free()?;
        let nginx = front(options, api_port).await?;
        if nginx.is_none() {
            api_port = options.port;
        }
        let api_admin = ports::free()?;
        let mut command = Command::new(&api);
        command
            .arg("run")
            .env("FDA_DATABASE__URL", database.url_as("market_data_api"))
            .env("FDA_HTTP__LISTEN", format!("127.0.0.1:{api_port}"))
            .env("FDA_ADMIN__LISTEN", format!("127.0.0.1:{api_admin}"));
        let api = Launch::new("api", command, fresh_log(&options.data, "api")?).start()?;
        Ok(Self {
            nginx,
            api,
            ingest,
            ingest_admin,
            api_admin,
        })
    }

    pub(super) fn behind_nginx(&self) -> bool {
        self.nginx.is_some()
    }

    pub(super) fn admin_urls(&self) -> [String; 2] {
        [self.ingest_admin, self.api_admin].map(|port| format!("http://127.0.0.1:{port}/metrics"))
    }

    pub(super) fn check_alive(&mut self) -> Result<()> {
        self.ingest.check_alive()?;
        self.api.check_alive()?;
        self.nginx.as_mut().map_or(Ok(()), Process::check_alive)
    }

    pub(super) async fn wait_until_ready(&mut self) -> Result<()> {
        let client = http::local()?;
        for (name, port) in [("ingest", self.ingest_admin), ("api", self.api_admin)] {
            let url = format!("http://127.0.0.1:{port}/readyz");
            let what = format!("{name} is ready ({url})");
            let probe = async || {
                let response = client.get(&url).send().await.map_err(|e| anyhow!(e))?;
                let status = response.status();
                let text = response.text().await.unwrap_or_default();
                if status.is_success() {
                    Ok(())
                } else {
                    Err(anyhow!("{status} {text}"))
                }
            };
            let limit = Duration::from_mins(1);
            eventually_while(&what, limit, || self.check_alive(), probe).await?;
        }
        Ok(())
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        // All are asked at once and waited for together.
        let mut all: Vec<&mut Process> = self.nginx.iter_mut().collect();
        all.extend([&mut self.api, &mut self.ingest]);
        for process in &mut all {
            process.signal(Signal::SIGTERM);
        }
        let start = Instant::now();
        for process in all {
            process.stop(PATIENCE.saturating_sub(start.elapsed()));
        }
    }
}

/// nginx on the port asked for, where it is installed and usable.
async fn front(options: &Run, api_port: u16) -> Result<Option<Process>> {
    let Some(program) = Nginx::find() else {
        return Ok(None);
    };
    match Nginx::prepare(program, &options.data.join("nginx"), options.port, api_port).await {
        Ok(nginx) => nginx.start(&fresh_log(&options.data, "nginx")?).map(Some),
        Err(error) => {
            super::say(&format!(
                "         nginx is installed but cannot be used, so api answers itself: {error:#}"
            ));
            Ok(None)
        }
    }
}

/// A log file for a new run; the last run's is kept beside it.
fn fresh_log(data: &Path, name: &str) -> Result<std::path::PathBuf> {
    let folder = data.join("log");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let log = folder.join(format!("{name}.log"));
    if log.exists() {
        std::fs::rename(&log, folder.join(format!("{name}.log.old")))
            .with_context(|| format!("cannot rename {}", log.display()))?;
    }
    Ok(log)
}
