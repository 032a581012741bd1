//! The `ingest` binary: reads the command line, and stops on SIGTERM or Ctrl-C.

use std::process::ExitCode;

use clap::Parser as _;
use ingest::command::{Cli, execute};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

// One worker thread: the poll loop has its own, the writer is one task, and each further thread would
// keep a heap of a whole transaction's size.
#[tokio::main(worker_threads = 1)]
async fn main() -> ExitCode {
    if let Err(error) = common::process::no_core_dump() {
        eprintln!("ingest: cannot forbid core files: {error}");
        return ExitCode::FAILURE;
    }
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
    let code = match execute(cli, stop).await {
        Ok(()) => 0,
        Err(failure) => {
            eprintln!("ingest: {:#}", failure.error);
            failure.code
        }
    };
    // Returning would wait for blocking calls, and Kafka's client may be in one that has no end.
    std::process::exit(code.into())
}
