//! `api`: serves candles over HTTP.

use std::path::PathBuf;
use std::process::ExitCode;

use api::config::ApiConfig;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
#[command(version, about = "Serves candles by HTTP GET from PostgreSQL.")]
struct Arguments {
    /// Configuration file instead of config/<ENVIRONMENT>.yaml
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve (the default)
    Run,
    /// Ask a running `api` whether it is ready
    Healthcheck,
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Print the effective configuration, secrets masked
    Check,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match common::config::load::<ApiConfig>(arguments.config.as_deref()) {
        Ok(config) => match command(arguments.command.unwrap_or(Command::Run), config).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("api: {error:#}");
                ExitCode::FAILURE
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
            common::telemetry::start(&config.log)?;
            let shutdown = CancellationToken::new();
            let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            let stop = shutdown.clone();
            tokio::spawn(async move {
                tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
                stop.cancel();
            });
            api::run(config, shutdown).await
        }
    }
}
