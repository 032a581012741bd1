//! A worker behind a proxy of its own, and the API.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::proxy::Proxy;
use super::world::{length, log_since};
use crate::process::{Launch, Signal, tail};
use crate::{Process, eventually, eventually_while, http, ports, workspace};

const START: Duration = Duration::from_mins(2);

/// A program of this project with nothing of this one's settings.
///
/// # Errors
///
/// When it has not been built.
pub(super) fn program(name: &str) -> Result<Command> {
    let mut command = Command::new(workspace::binary(name)?);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FDA_") {
            command.env_remove(name);
        }
    }
    // No configuration file lies there.
    command
        .current_dir(std::env::temp_dir())
        .env("ENVIRONMENT", "test");
    Ok(command)
}

/// A worker, running or not.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) name: String,
    pub(super) proxy: Proxy,
    process: Option<Process>,
    settings: Vec<(String, String)>,
    admin: String,
    log: PathBuf,
}

impl Worker {
    /// A worker that reaches the server at port `postgres` through a proxy, at the URL of the proxy's port.
    ///
    /// # Errors
    ///
    /// When there is no free port.
    pub(super) async fn new(
        number: usize,
        folder: &Path,
        postgres: u16,
        url: impl Fn(u16) -> String,
        settings: &[(String, String)],
    ) -> Result<Self> {
        let proxy = Proxy::start(postgres).await?;
        let admin = format!("{}:{}", Ipv4Addr::LOCALHOST, ports::free()?);
        let mut settings = settings.to_vec();
        settings.push(("FDA_DATABASE__URL".into(), url(proxy.port())));
        settings.push(("FDA_ADMIN__LISTEN".into(), admin.clone()));
        let name = format!("worker {}", number + 1);
        Ok(Self {
            log: folder.join(format!("worker-{}.log", number + 1)),
            name,
            proxy,
            process: None,
            settings,
            admin,
        })
    }

    /// Starts it, after ending it if it runs, with further settings.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(super) fn start(&mut self, more: &[(&str, String)]) -> Result<()> {
        self.process = None;
        let mut command = program("ingest")?;
        command
            .arg("run")
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .envs(more.iter().map(|(name, value)| (name, value)));
        self.process = Some(Launch::new(&self.name, command, &self.log).start()?);
        Ok(())
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    ///
    /// When it ends, or the time is up.
    pub(super) async fn ready(&mut self) -> Result<()> {
        let (client, url) = (http::local()?, format!("http://{}/readyz", self.admin));
        let what = format!("{} is ready", self.name);
        let alive = || self.check_alive();
        let ready = eventually_while(&what, START, alive, async || {
            client.get(&url).send().await?.error_for_status().map(drop)
        });
        ready.await
    }

    /// Fails when it has ended by itself.
    ///
    /// # Errors
    ///
    /// When it has.
    pub(super) fn check_alive(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), Process::check_alive)
    }

    /// Kills it; returns how it ended.
    ///
    /// # Errors
    ///
    /// When it did not run.
    pub(super) fn kill9(&mut self) -> Result<String> {
        let mut process = self.process.take().context("the worker does not run")?;
        process.kill9();
        let status = process.exited()?.context("it runs after SIGKILL")?;
        ensure!(
            status.code().is_none(),
            "{} had ended before: {status}",
            self.name
        );
        Ok(format!("{} ended by {status}", self.name))
    }

    /// Asks it to stop; returns how it ended.
    ///
    /// # Errors
    ///
    /// When it did not run, or does not stop in peace.
    pub(super) fn stop(&mut self) -> Result<String> {
        let mut process = self.process.take().context("the worker does not run")?;
        let status = process.stop(Duration::from_secs(20));
        let status = status.context("the system does not tell how it ended")?;
        ensure!(
            status.success(),
            "{} did not stop in peace: {status}\n{}",
            self.name,
            self.tail()
        );
        Ok(format!("{} ended with {status}", self.name))
    }

    /// Freezes it, until [`Self::thaw`].
    ///
    /// # Errors
    ///
    /// When it does not run, or goes on.
    pub(super) async fn freeze(&mut self) -> Result<()> {
        let process = self.process.as_mut().context("the worker does not run")?;
        process.signal(Signal::SIGSTOP);
        let stat = format!("/proc/{}/stat", process.pid());
        let stopped = eventually("the worker stands still", START, async || {
            let text = std::fs::read_to_string(&stat).map_err(|error| error.to_string())?;
            let state = text
                .rsplit(") ")
                .next()
                .and_then(|rest| rest.chars().next());
            if state == Some('T') {
                Ok(())
            } else {
                Err(format!("its state is {state:?}"))
            }
        });
        stopped.await
    }

    /// Lets it go on.
    pub(super) fn thaw(&mut self) {
        if let Some(process) = &mut self.process {
            process.signal(Signal::SIGCONT);
        }
    }

    /// The value of one of its series.
    ///
    /// # Errors
    ///
    /// When it does not tell.
    pub(super) async fn metric(&self, series: &str) -> Result<f64> {
        let url = format!("http://{}/metrics", self.admin);
        let text = http::local()?.get(url).send().await?.text().await?;
        http::metric(&text, series).with_context(|| format!("{} has no {series}", self.name))
    }

    /// Its log.
    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// The length of its log.
    pub(super) fn mark(&self) -> u64 {
        length(&self.log)
    }

    /// What its log says since it had that length.
    pub(super) fn log_since(&self, mark: u64) -> String {
        log_since(&self.log, mark)
    }

    /// The end of its log.
    pub(super) fn tail(&self) -> String {
        let mut text = String::new();
        let _infallible = writeln!(text, "--- {}\n{}", self.name, tail(&self.log, 12));
        text
    }
}

/// The API.
#[derive(Debug)]
pub(super) struct Api {
    process: Process,
    base: String,
}

impl Api {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(super) fn start(folder: &Path, url: &str) -> Result<Self> {
        let address = format!("{}:{}", Ipv4Addr::LOCALHOST, ports::free()?);
        let mut command = program("api")?;
        command
            .arg("run")
            .env("FDA_DATABASE__URL", url)
            .env("FDA_HTTP__LISTEN", &address)
            .env(
                "FDA_ADMIN__LISTEN",
                format!("{}:{}", Ipv4Addr::LOCALHOST, ports::free()?),
            );
        Ok(Self {
            process: Launch::new("api", command, folder.join("api.log")).start()?,
            base: format!("http://{address}"),
        })
    }

    /// Where it answers.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Fails when it has ended.
    ///
    /// # Errors
    ///
    /// When it has.
    pub(super) fn check_alive(&mut self) -> Result<()> {
        self.process.check_alive()
    }

    /// Waits until it answers.
    ///
    /// # Errors
    ///
    /// When it does not in time.
    pub(super) async fn answers(&mut self) -> Result<()> {
        let (client, url) = (http::local()?, format!("{}/_healthcheck", self.base));
        let ask = async || client.get(&url).send().await?.error_for_status().map(drop);
        eventually("the API answers", START, ask).await
    }
}
