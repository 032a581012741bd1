//! `testbed`: runs the whole service on one machine, publishes files, simulates a market.

use std::io::ErrorKind;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use testbed::{bench, chaos, publish, services, simulate, stack};

/// Local stack, tick publisher and simulator.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything on this machine: database, broker, ingest, api, nginx, history and a simulated market.
    Run(stack::Run),
    /// Publish a CSV file of daily bars or ticks.
    Publish(publish::Publish),
    /// Publish simulated live ticks until stopped.
    Simulate(simulate::Simulate),
    /// Measure the worker beside a bare COPY of the same ticks.
    Bench(bench::Bench),
    /// Do to the service all that can be done to it, and compare the result with what was published.
    Chaos(chaos::Chaos),
    /// Run PostgreSQL, Kafka and a schema registry to work against by hand.
    Services(services::Services),
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(options) => stack::run(&options).await,
        Command::Publish(options) => publish::publish(&options).await.map(drop),
        Command::Simulate(options) => simulate::simulate(&options).await,
        Command::Bench(options) => bench::bench(&options).await,
        Command::Chaos(options) => chaos::chaos(&options).await,
        Command::Services(options) => services::services(&options).await,
    };
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    eprintln!("testbed: {error:#}");
    let full = |cause: &std::io::Error| cause.kind() == ErrorKind::StorageFull;
    if error
        .chain()
        .filter_map(|cause| cause.downcast_ref())
        .any(full)
    {
        eprintln!("The disk is full: free some space and start again.");
    }
    ExitCode::FAILURE
}
