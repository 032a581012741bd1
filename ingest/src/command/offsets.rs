//! `ingest offsets`: the stored positions.

use chrono::SecondsFormat;
use clap::{Args, Subcommand};
use common::database::Database;

use super::Failure;
use crate::store::positions::{self, Kept};

#[derive(Debug, Subcommand)]
pub(super) enum Offsets {
    /// Print the position of each partition.
    Show {
        /// Only those of this Kafka cluster.
        #[arg(long)]
        cluster: Option<String>,
    },
    /// Forget the positions of a topic, so that it is read from its earliest message. Ticks that are
    /// stored already are recognised. Stop the workers first.
    Reset(Reset),
}

#[derive(Debug, Args)]
pub(super) struct Reset {
    /// The topic.
    #[arg(long)]
    topic: String,
    /// Only this partition.
    #[arg(long)]
    partition: Option<i32>,
    /// The id of the topic's Kafka cluster; needed where topics of this name in several clusters are stored.
    #[arg(long)]
    cluster: Option<String>,
    /// Say what would be forgotten, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn execute(database: &Database, command: Offsets) -> Result<(), Failure> {
    match command {
        Offsets::Show { cluster } => {
            let mut db = database.acquire().await?;
            let kept = positions::list(&mut db, cluster.as_deref()).await?;
            show(&kept);
            println!("{} partitions", kept.len());
            Ok(())
        }
        Offsets::Reset(reset) => self::reset(database, reset).await,
    }
}

async fn reset(database: &Database, reset: Reset) -> Result<(), Failure> {
    let Reset {
        topic,
        partition,
        cluster,
        dry_run,
    } = reset;
    let mut tx = database.begin().await?;
    let forgotten = positions::forget(&mut tx, cluster.as_deref(), &topic, partition).await?;
    show(&forgotten);
    let Some(first) = forgotten.first() else {
        let of = partition.map_or_else(String::new, |partition| format!(" [{partition}]"));
        let of = of + &cluster.map_or_else(String::new, |cluster| format!(" of cluster {cluster}"));
        return Err(anyhow::anyhow!(
            "no position of topic {topic:?}{of} is stored; `ingest offsets show` lists them"
        )
        .into());
    };
    if forgotten
        .iter()
        .any(|kept| kept.cluster_id != first.cluster_id)
    {
        return Err(anyhow::anyhow!(
            "topics {topic:?} of several clusters are stored; say which one with --cluster. Nothing was changed"
        )
        .into());
    }
    let count = forgotten.len();
    if dry_run {
        println!("{count} positions would be forgotten; nothing was changed");
    } else {
        tx.commit().await?;
        println!("{count} positions forgotten: the topic will be read from its earliest message");
    }
    Ok(())
}

fn show(kept: &[Kept]) {
    for Kept {
        cluster_id,
        topic,
        partition,
        next_offset,
        updated_at,
    } in kept
    {
        let next = next_offset.map_or_else(|| "none yet".into(), |next| next.to_string());
        let updated = updated_at.to_rfc3339_opts(SecondsFormat::Secs, true);
        println!("cluster {cluster_id}  {topic} [{partition}]  next offset {next}  {updated}");
    }
}
