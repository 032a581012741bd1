//! The `ingest` binary: reads the command line, and stops on SIGTERM or Ctrl-C.

use std::process::ExitCode;

use clap::Parser as _;
use ingest::command::{Cli, execute};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let stop = CancellationToken::new();
    let on_signal = stop.clone();
    match (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::spawn(async move {
                tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
                on_signal.cancel();
            });
        }
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("ingest: cannot wait for signals: {error}");
            return ExitCode::FAILURE;
        }
    }
    match execute(cli, stop).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("ingest: {:#}", failure.error);
            ExitCode::from(failure.code)
        }
    }
}
