//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// What the command line says.
#[derive(Parser)]
#[command(version, about = "Serves candles by HTTP GET from PostgreSQL.")]
pub(crate) struct Arguments {
    /// Configuration file instead of config/<ENVIRONMENT>.yaml
    #[arg(long, global = true)]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Serve (the default)
    Run,
    /// Ask a running `api` whether it is ready
    Healthcheck,
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// What to do with the configuration.
#[derive(Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the effective configuration, secrets masked
    Check,
}
