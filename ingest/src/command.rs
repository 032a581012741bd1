//! The command line: the worker and what operators do by hand.

mod letters;
mod offsets;
mod progress;
mod retain;
mod symbols;
mod verify;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use common::database::{self, Database};
use common::{admin, config, telemetry};
use tokio_util::sync::CancellationToken;

use self::letters::Letters;
use self::offsets::Offsets;
use self::retain::{Candles, Ticks};
use self::symbols::Symbols;
use self::verify::Verify;
use crate::config::IngestConfig;
use crate::replay::ReplayError;

/// Folds price ticks from Kafka into exact candles in PostgreSQL.
///
/// Configuration: defaults < `config/<ENVIRONMENT>.yaml` or `--config` < `FDA_SECTION__KEY` variables.
/// Exit codes: 0 done, 1 failed or differences found, 2 wrong usage or configuration.
#[derive(Debug, Parser)]
#[command(name = "ingest", version)]
pub struct Cli {
    /// A configuration file, instead of `config/<ENVIRONMENT>.yaml`.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the worker (the default).
    Run,
    /// Bring the database's schema up to date; safe to run from several places at once.
    Migrate,
    /// Recompute every candle from its ticks and report what differs; exit code 1 when something does.
    Verify(Verify),
    /// Messages that could not become ticks.
    #[command(subcommand)]
    DeadLetters(Letters),
    /// The stored positions.
    #[command(subcommand)]
    Offsets(Offsets),
    /// The symbols and their zones.
    #[command(subcommand)]
    Symbols(Symbols),
    /// The stored ticks.
    #[command(subcommand)]
    Ticks(Ticks),
    /// The stored candles.
    #[command(subcommand)]
    Candles(Candles),
    /// The configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Ask a running worker whether it is ready; for container health checks.
    Healthcheck,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print the effective configuration, secrets masked.
    Check,
}

/// A failure with its exit code.
#[derive(Debug)]
pub struct Failure {
    /// 1 failed or differences found, 2 wrong usage or configuration.
    pub code: u8,
    /// What to print.
    pub error: anyhow::Error,
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        let unusable = error.is::<config::ConfigError>()
            || matches!(
                error.downcast_ref(),
                Some(ReplayError::UnknownTopic(_) | ReplayError::NoRegistry(_))
            );
        let error = match error.downcast_ref::<sqlx::Error>() {
            Some(refused) => anyhow::anyhow!(database::explain(refused)),
            None => error,
        };
        Self {
            code: if unusable { 2 } else { 1 },
            error,
        }
    }
}

/// Carries out the command line.
///
/// # Errors
/// When the command fails; verify fails when it finds differences.
pub async fn execute(cli: Cli, stop: CancellationToken) -> Result<(), Failure> {
    let config: IngestConfig = config::load(cli.config.as_deref())?;
    let _traces = telemetry::start(&config.log, "ingest")?;
    let command = match cli.command {
        None | Some(Command::Run) => return Ok(crate::run(config, stop).await?),
        Some(command) => command,
    };
    tokio::select! {
        biased;
        done = operate(command, &config) => done,
        () = stop.cancelled() => Err(anyhow::anyhow!(
            "stopped: earlier steps stay, the one under way is undone unless its commit had been sent"
        )
        .into()),
    }
}

/// Carries out what an operator does by hand. One that is dropped leaves its transaction undone.
async fn operate(command: Command, config: &IngestConfig) -> Result<(), Failure> {
    match command {
        // It ends by itself, once what it has taken is stored.
        Command::Run => Ok(()),
        Command::Migrate => {
            let applied = database::migrate(&config.database).await?;
            println!(
                "{}: {} migrations applied",
                config.database.url,
                applied.len()
            );
            Ok(())
        }
        Command::Verify(arguments) => verify::execute(&database(config)?, arguments).await,
        Command::DeadLetters(command) => {
            letters::execute(&database(config)?, config, command).await
        }
        Command::Offsets(command) => offsets::execute(&database(config)?, command).await,
        Command::Symbols(command) => symbols::execute(&database(config)?, command).await,
        Command::Ticks(command) => retain::ticks(&database(config)?, command).await,
        Command::Candles(command) => retain::candles(&database(config)?, command).await,
        Command::Config(ConfigCommand::Check) => {
            println!("{}", serde_json::to_string_pretty(config)?);
            Ok(())
        }
        Command::Healthcheck => Ok(admin::healthcheck(config.admin.listen).await?),
    }
}

fn database(config: &IngestConfig) -> sqlx::Result<Database> {
    Database::new(&config.database, "ingest-operator")
}
