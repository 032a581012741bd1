//! A program of this project with the settings that a test gives, and its probes and metrics.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use testbed::process::{Launch, tail};
use testbed::{Process, eventually, http, ports, workspace};

use crate::pipeline::PATIENCE;

/// A running program.
pub(crate) struct Program {
    process: Process,
    base: String,
    client: reqwest::Client,
}

impl Program {
    /// Starts a program whose log goes to a file of `folder`.
    pub(crate) fn launch(
        name: &str,
        folder: &Path,
        arguments: &[&str],
        settings: &[(&str, &str)],
    ) -> Self {
        let port = ports::free().unwrap();
        let address = format!("{}:{port}", Ipv4Addr::LOCALHOST);
        let mut command = command(name, arguments, settings);
        command.env("FDA_ADMIN__LISTEN", &address);
        let log = folder.join(format!("{name}-at-{port}.log"));
        Self {
            process: Launch::new(name, command, log).start().unwrap(),
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

    /// The process alone.
    pub(crate) fn into_process(self) -> Process {
        self.process
    }

    /// The end of its log.
    pub(crate) fn log(&self) -> String {
        tail(self.process.log(), 60)
    }

    /// The status and text of an admin path.
    pub(crate) async fn admin(&self, path: &str) -> reqwest::Result<(u16, String)> {
        let url = format!("{}{path}", self.base);
        let response = self.client.get(url).send().await?;
        Ok((response.status().as_u16(), response.text().await?))
    }

    /// Waits until it is ready.
    pub(crate) async fn ready(&self) {
        self.readiness("ready", |status, _| status == 200).await;
    }

    /// Waits until it is not ready and says why in words that have `reason` in them; it is alive meanwhile.
    pub(crate) async fn waits_for(&self, reason: &str) {
        self.readiness(reason, |status, text| {
            status == 503 && text.contains(reason)
        })
        .await;
        assert_eq!(self.admin("/livez").await.unwrap().0, 200);
    }

    async fn readiness(&self, what: &str, enough: impl Fn(u16, &str) -> bool) {
        let seen = eventually(what, PATIENCE, async || match self.admin("/readyz").await {
            Ok((status, text)) if enough(status, &text) => Ok(()),
            Ok((status, text)) => Err(format!("{status}: {text}")),
            Err(error) => Err(error.to_string()),
        });
        if let Err(error) = seen.await {
            panic!("{error:#}\n{}", self.log());
        }
    }
}

/// A program with arguments and settings, and nothing else of this one's environment.
fn command(name: &str, arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(workspace::binary(name).unwrap());
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

/// Runs a program to its end; returns its exit code and what it printed.
pub(crate) async fn run_of(
    name: &str,
    arguments: &[&str],
    settings: &[(&str, &str)],
) -> (i32, String) {
    let mut command = tokio::process::Command::from(command(name, arguments, settings));
    let output = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output())
        .await
        .unwrap_or_else(|_| panic!("{name} {arguments:?} {settings:?} does not end"))
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(text).unwrap(),
    )
}

/// Runs `ingest` to its end; returns its exit code and what it printed.
pub(crate) async fn run(arguments: &[&str], settings: &[(&str, &str)]) -> (i32, String) {
    run_of("ingest", arguments, settings).await
}

/// Everything that a process has written.
pub(crate) fn log_of(process: &Process) -> String {
    String::from_utf8_lossy(&std::fs::read(process.log()).unwrap()).into_owned()
}
