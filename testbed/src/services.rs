//! `testbed services`: PostgreSQL, Kafka and a schema registry to work against by hand.

use anyhow::Result;
use clap::Args;

use crate::{Kafka, Postgres, Registry, postgres, signals};

/// What `testbed services` is told.
#[derive(Debug, Clone, Args)]
pub struct Services {
    /// The version of PostgreSQL.
    #[arg(long, default_value = postgres::NEWEST)]
    pub postgres: String,
    /// Partitions of the topic `ticks`.
    #[arg(long, default_value_t = 4)]
    pub partitions: i32,
}

/// Starts them with empty disks, prints where they listen, and stops them when asked to.
///
/// # Errors
///
/// When one does not start.
pub async fn services(options: &Services) -> Result<()> {
    let serve = async {
        let postgres = Postgres::temporary(&options.postgres).await?;
        println!(
            "DATABASE_URL={}",
            postgres.create_database("financial_data").await?
        );
        let kafka = Kafka::start().await?;
        kafka.create_topic("ticks", options.partitions).await?;
        println!("KAFKA={}", kafka.bootstrap());
        let registry = Registry::start().await?;
        println!(
            "SCHEMA_REGISTRY={}\nCtrl-C stops them; their data goes with them.",
            registry.url()
        );
        std::future::pending::<Result<()>>().await
    };
    tokio::select! {
        stopped = signals::stop_requested() => stopped,
        failed = serve => failed,
    }
}
