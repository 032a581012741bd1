//! A topic with gaps: repetitions under one key that Kafka's compaction has taken away before anybody read them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::feed::COMPACTED;
use super::topics;
use crate::{Encoding, Publisher, Tick};

/// How long compaction may take.
const PATIENCE: Duration = Duration::from_mins(2);
/// 2024-01-15T12:00:00Z.
const NOON: i64 = 1_705_320_000_000_000;

/// Publishes repetitions until compaction has taken some; returns how many offsets are gone.
///
/// # Errors
///
/// When it takes none in time.
pub(super) async fn gaps(brokers: &str, partitions: i32) -> Result<i64> {
    let (address, topic) = (brokers.to_owned(), COMPACTED);
    let publisher =
        tokio::task::spawn_blocking(move || Publisher::connect(&address, topic)).await??;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        // Each round fills the segment that is open; the one before is old enough to be compacted.
        for number in 0..i64::from(20 * partitions) {
            let tick = Tick::new("GAPS", NOON + number, number, "10.5", "1");
            let partition = i32::try_from(number)? % partitions;
            let (key, payload) = (format!("GAPS {number}"), Encoding::Json.encode(&tick)?);
            publisher.send_raw(Some(key.as_bytes()), Some(&payload), Some(partition))?;
        }
        publisher.settle().await?;
        tokio::time::sleep(Duration::from_millis(600)).await;
        let gone = gone(brokers).await?;
        if gone > 0 {
            return Ok(gone);
        }
    }
    bail!("compaction took nothing within {PATIENCE:?}")
}

/// Offsets of the topic under which there is no record.
async fn gone(brokers: &str) -> Result<i64> {
    let ends = topics::ends(brokers, &[COMPACTED]).await?;
    let total: i64 = ends.values().sum();
    let file = std::env::temp_dir().join(format!("testbed-chaos-gaps-{}", std::process::id()));
    let (brokers, target) = (brokers.to_owned(), file.clone());
    let read: BTreeMap<String, u64> =
        tokio::task::spawn_blocking(move || topics::dump(&brokers, &ends, &target)).await??;
    drop(std::fs::remove_file(file));
    Ok(total - i64::try_from(read.values().sum::<u64>())?)
}
