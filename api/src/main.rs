//! `api`: serves candles over HTTP.

mod arguments;

use std::process::ExitCode;

use api::config::ApiConfig;
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::arguments::{Arguments, Command, ConfigCommand};

#[tokio::main]
async fn main() -> ExitCode {
    if let Err(error) = common::process::no_core_dump() {
        eprintln!("api: cannot forbid core files: {error}");
        return ExitCode::FAILURE;
    }
    let arguments = Arguments::parse();
    match common::config::load::<ApiConfig>(arguments.config.as_deref()) {
        Ok(config) => match command(arguments.command.unwrap_or(Command::Run), config).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("api: {error:#}");
                let wrong = error.is::<common::config::ConfigError>();
                ExitCode::from(if wrong { 2 } else { 1 })
            }
        },
        Err(error) => {
            eprintln!("api: {error}");
            ExitCode::from(2)
        }
    }
}

async fn command(command: Command, config: ApiConfig) -> anyhow::Result<()> {
    match command {
        Command::Healthcheck => Ok(common::admin::healthcheck(config.admin.listen).await?),
        Command::Config(ConfigCommand::Check) => {
            println!("{}", serde_json::to_string_pretty(&config)?);
            Ok(())
        }
        Command::Run => {
            let _traces = common::telemetry::start(&config.log, "api")?;
            let shutdown = CancellationToken::new();
            let (mut terminate, mut interrupt) = (
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
            );
            let stop = shutdown.clone();
            tokio::spawn(async move {
                tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
                stop.cancel();
            });
            Ok(api::run(config, shutdown).await?)
        }
    }
}
