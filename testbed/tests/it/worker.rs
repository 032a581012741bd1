//! One `ingest` process whose probes and metrics a test asks.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testbed::process::{Launch, tail};
use testbed::{Process, eventually, http, ports, workspace};

use crate::pipeline::{PATIENCE, Pipeline};

/// A worker.
pub(crate) struct Worker {
    process: Process,
    base: String,
    client: reqwest::Client,
}

impl Worker {
    /// Starts a worker of a pipeline, with further settings.
    pub(crate) fn start(pipeline: &Pipeline, settings: &[(&str, &str)]) -> Self {
        Self::start_with(pipeline, &["run"], settings)
    }

    /// Starts a worker of a pipeline, with other arguments and further settings.
    pub(crate) fn start_with(
        pipeline: &Pipeline,
        arguments: &[&str],
        settings: &[(&str, &str)],
    ) -> Self {
        let url = pipeline.url_as("market_data_ingest");
        let own = [
            ("FDA_DATABASE__URL", url.as_str()),
            ("FDA_KAFKA__BROKERS", pipeline.brokers()),
            ("FDA_KAFKA__TOPIC", pipeline.topic()),
            ("FDA_KAFKA__GROUP", pipeline.topic()),
            ("FDA_KAFKA__SESSION_TIMEOUT", "6s"),
        ];
        Self::launch(pipeline.folder(), arguments, &[&own, settings].concat())
    }

    /// Starts a worker that belongs to no pipeline; its log goes to a file of `folder`.
    pub(crate) fn launch(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let port = ports::free().unwrap();
        let address = format!("{}:{port}", Ipv4Addr::LOCALHOST);
        let mut command = command(arguments, settings);
        command.env("FDA_ADMIN__LISTEN", &address);
        let log = folder.join(format!("ingest-at-{port}.log"));
        Self {
            process: Launch::new("ingest", command, log).start().unwrap(),
            base: format!("http://{address}"),
            client: http::local().unwrap(),
        }
    }

    /// Where its probes and metrics are, `host:port`.
    pub(crate) fn address(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    /// The process.
    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The end of its log.
    pub(crate) fn log(&self) -> String {
        tail(self.process.log(), 60)
    }

    /// The status and text of an admin path.
    pub(crate) async fn get(&self, path: &str) -> reqwest::Result<(u16, String)> {
        let response = self
            .client
            .get(format!("{}{path}", self.base))
            .send()
            .await?;
        Ok((response.status().as_u16(), response.text().await?))
    }

    /// Waits until the worker is ready.
    pub(crate) async fn ready(&self) {
        self.readiness("ready", |status, _| status == 200).await;
    }

    /// Waits until the worker is not ready and says why in words that have `reason` in them; it is alive meanwhile.
    pub(crate) async fn waits_for(&self, reason: &str) {
        self.readiness(reason, |status, text| {
            status == 503 && text.contains(reason)
        })
        .await;
        assert_eq!(self.get("/livez").await.unwrap().0, 200);
    }

    async fn readiness(&self, what: &str, enough: impl Fn(u16, &str) -> bool) {
        let seen = eventually(what, PATIENCE, async || match self.get("/readyz").await {
            Ok((status, text)) if enough(status, &text) => Ok(()),
            Ok((status, text)) => Err(format!("{status}: {text}")),
            Err(error) => Err(error.to_string()),
        });
        if let Err(error) = seen.await {
            panic!("{error:#}\n{}", self.log());
        }
    }

    /// The value of a series, such as `ingest_messages_total{outcome="added"}`.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let (_, text) = self.get("/metrics").await.unwrap();
        text.lines()
            .find_map(|line| {
                line.strip_prefix(series)?
                    .strip_prefix(' ')?
                    .trim()
                    .parse()
                    .ok()
            })
            .unwrap_or_else(|| panic!("no series {series} in\n{text}"))
    }

    /// Waits until a series has a value that will do.
    pub(crate) async fn metric_becomes(&self, series: &str, enough: impl Fn(f64) -> bool) {
        let seen = eventually(series, PATIENCE, async || {
            let value = self.metric(series).await;
            if enough(value) { Ok(()) } else { Err(value) }
        });
        if let Err(error) = seen.await {
            panic!("{error:#}\n{}", self.log());
        }
    }

    /// Waits until the worker ends by itself; returns its exit code and the end of its log.
    pub(crate) async fn ends(&mut self) -> (i32, String) {
        let process = &mut self.process;
        let status = eventually("the worker ends", PATIENCE, async || {
            process
                .exited()
                .map_err(|error| error.to_string())?
                .ok_or_else(|| "it runs".to_owned())
        })
        .await;
        let status = status.unwrap_or_else(|error| panic!("{error:#}\n{}", self.log()));
        (status.code().unwrap(), self.log())
    }

    /// Asks the worker to stop, as an orchestrator does, and checks that it does so in time and in peace.
    pub(crate) async fn stops(&mut self) {
        let within = Duration::from_secs(5);
        self.process.signal(testbed::process::Signal::SIGTERM);
        let process = &mut self.process;
        let ended = eventually("the worker stops", within, async || {
            process
                .exited()
                .map_err(|error| error.to_string())?
                .ok_or_else(|| "it runs".to_owned())
        });
        match ended.await {
            Ok(status) => assert_eq!(status.code(), Some(0), "{}", self.log()),
            Err(error) => panic!("{error:#}\n{}", self.log()),
        }
    }
}

/// `ingest` with arguments and settings, and nothing else of this program's environment.
pub(crate) fn command(arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    command_of("ingest", arguments, settings)
}

/// The same for either program.
pub(crate) fn command_of(program: &str, arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(workspace::binary(program).unwrap());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FDA_") {
            command.env_remove(name);
        }
    }
    // No configuration file lies there: every setting is a default or one of these.
    command
        .current_dir(std::env::temp_dir())
        .env("ENVIRONMENT", "test")
        .args(arguments)
        .envs(settings.iter().copied());
    command
}

/// Runs `ingest` to its end; returns its exit code and what it printed.
pub(crate) async fn run(arguments: &[&str], settings: &[(&str, &str)]) -> (i32, String) {
    run_of("ingest", arguments, settings).await
}

/// The same for either program.
pub(crate) async fn run_of(
    program: &str,
    arguments: &[&str],
    settings: &[(&str, &str)],
) -> (i32, String) {
    let mut command = tokio::process::Command::from(command_of(program, arguments, settings));
    let output = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output())
        .await
        .unwrap_or_else(|_| panic!("{program} {arguments:?} {settings:?} does not end"))
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(text).unwrap(),
    )
}
