//! The command line: the worker and what operators do by hand.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use common::database::{self, Database};
use common::{admin, config, telemetry};
use tokio_util::sync::CancellationToken;

use crate::config::IngestConfig;
use crate::verify::{self, Scope};

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
    /// Recompute every candle from its ticks and report what differs.
    Verify {
        /// Only this symbol.
        #[arg(long)]
        symbol: Option<String>,
    },
    /// The stored positions.
    #[command(subcommand)]
    Offsets(Offsets),
    /// The configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Ask a running worker whether it is ready; for container health checks.
    Healthcheck,
}

#[derive(Debug, Subcommand)]
enum Offsets {
    /// Print the position of each partition.
    Show,
    /// Forget the positions of a topic, so that it is read from its earliest message. Ticks that are
    /// stored already are recognised. Stop the workers first.
    Reset {
        /// The topic.
        #[arg(long)]
        topic: String,
        /// Only this partition.
        #[arg(long)]
        partition: Option<i32>,
        /// Say what would be forgotten, and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
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
        Self {
            code: if error.is::<config::ConfigError>() {
                2
            } else {
                1
            },
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
    match cli.command.unwrap_or(Command::Run) {
        Command::Run => Ok(crate::run(config, stop).await?),
        Command::Migrate => {
            let applied = database::migrate(&config.database).await?;
            println!(
                "{}: {} migrations applied",
                config.database.url,
                applied.len()
            );
            Ok(())
        }
        Command::Verify { symbol } => verify(&database(&config)?, Scope { symbol }).await,
        Command::Offsets(command) => offsets(&database(&config)?, command).await,
        Command::Config(ConfigCommand::Check) => {
            println!("{}", serde_json::to_string_pretty(&config)?);
            Ok(())
        }
        Command::Healthcheck => Ok(admin::healthcheck(config.admin.listen).await?),
    }
}

fn database(config: &IngestConfig) -> sqlx::Result<Database> {
    Database::new(&config.database, "ingest-operator")
}

async fn verify(database: &Database, scope: Scope) -> Result<(), Failure> {
    let report = verify::verify(database, &scope, |report, symbol| {
        eprintln!(
            "{symbol}: {} symbols, {} ticks, {} differences so far",
            report.symbols, report.ticks, report.differences
        );
    })
    .await?;
    for sentence in &report.sentences {
        println!("{sentence}");
    }
    if report.differences > report.sentences.len() as u64 {
        println!("… and more; these are the first {}", report.sentences.len());
    }
    println!(
        "{} symbols, {} ticks, {} candles and {} rows of views compared: {} differences",
        report.symbols, report.ticks, report.candles, report.view_rows, report.differences
    );
    if report.differences == 0 {
        Ok(())
    } else {
        Err(anyhow::anyhow!("{} differences", report.differences).into())
    }
}

type PositionRow = (
    String,
    String,
    i32,
    Option<i64>,
    Option<chrono::DateTime<chrono::Utc>>,
);

async fn offsets(database: &Database, command: Offsets) -> Result<(), Failure> {
    let show = |rows: &[PositionRow]| {
        for (cluster, topic, partition, next, updated) in rows {
            let next = next.map_or_else(|| "none yet".into(), |next| next.to_string());
            let updated = updated.map_or_else(String::new, |time| {
                time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
            });
            println!("cluster {cluster}  {topic} [{partition}]  next offset {next}  {updated}");
        }
    };
    match command {
        Offsets::Show => {
            let rows: Vec<PositionRow> = sqlx::query_as(
                "select cluster_id, topic, \"partition\", next_offset, updated_at from ingest_offsets order by 1, 2, 3",
            )
            .fetch_all(&mut *database.acquire().await?)
            .await?;
            show(&rows);
            println!("{} partitions", rows.len());
        }
        Offsets::Reset {
            topic,
            partition,
            dry_run,
        } => {
            let mut tx = database.begin().await?;
            let rows: Vec<PositionRow> = sqlx::query_as(
                "delete from ingest_offsets where topic = $1 and \"partition\" = coalesce($2, \"partition\") \
                 returning cluster_id, topic, \"partition\", next_offset, updated_at",
            )
            .bind(&topic)
            .bind(partition)
            .fetch_all(&mut *tx)
            .await?;
            show(&rows);
            if rows.is_empty() {
                return Err(anyhow::anyhow!(
                    "no position of topic {topic:?} is stored; `ingest offsets show` lists them"
                )
                .into());
            }
            if dry_run {
                println!(
                    "{} positions would be forgotten; nothing was changed",
                    rows.len()
                );
            } else {
                tx.commit().await?;
                println!(
                    "{} positions forgotten: the topic will be read from its earliest message",
                    rows.len()
                );
            }
        }
    }
    Ok(())
}
