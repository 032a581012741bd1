//! Positions: how far each partition is stored, and the fence that a stale worker cannot pass.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use common::database::Database;
use sqlx::PgConnection;

use super::record_time;
use crate::batch::{Batch, TopicPartition};

/// What is stored of a partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// The next offset to store; `None`: nothing is stored yet.
    pub next: Option<i64>,
    /// Offset and Kafka timestamp (milliseconds) of the last record before it.
    pub last: Option<(i64, Option<i64>)>,
}

/// Topic, partition, next offset, last offset and its time.
type Row = (String, i32, Option<i64>, Option<i64>, Option<DateTime<Utc>>);

/// Reads the positions of partitions, making the rows that are not there.
///
/// # Errors
/// When the database fails.
pub async fn read(
    database: &Database,
    cluster: &str,
    partitions: &[TopicPartition],
) -> sqlx::Result<BTreeMap<TopicPartition, Position>> {
    let topics: Vec<String> = partitions
        .iter()
        .map(|partition| partition.topic.to_string())
        .collect();
    let numbers: Vec<i32> = partitions
        .iter()
        .map(|partition| partition.partition)
        .collect();
    // Rows that are there are not offered again: `on conflict` would wait for a frozen worker that
    // has moved one, here where nobody ends it.
    sqlx::query(
        "insert into ingest_offsets (cluster_id, topic, \"partition\") \
         select $1, * from unnest($2::text[], $3::integer[]) as wanted(topic, \"partition\") \
         where not exists (select from ingest_offsets o where o.cluster_id = $1 \
             and o.topic = wanted.topic and o.\"partition\" = wanted.\"partition\") \
         order by 2, 3 on conflict do nothing",
    )
    .bind(cluster)
    .bind(&topics)
    .bind(&numbers)
    .execute(&mut *database.acquire().await?)
    .await?;
    let rows: Vec<Row> = sqlx::query_as(include_str!("positions_read.sql"))
        .bind(cluster)
        .bind(&topics)
        .bind(&numbers)
        .fetch_all(&mut *database.acquire().await?)
        .await?;
    Ok(rows
        .into_iter()
        .map(|(topic, partition, next, last_offset, last_timestamp)| {
            let last = last_offset
                .map(|offset| (offset, last_timestamp.map(|time| time.timestamp_millis())));
            (
                TopicPartition {
                    topic: topic.into(),
                    partition,
                },
                Position { next, last },
            )
        })
        .collect())
}

/// What the fence says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fence {
    /// The positions were as expected and are now the batch's.
    Passed,
    /// All positions are already where the batch would put them: it was committed before.
    AlreadyStored,
    /// Another worker has moved a position.
    Lost,
}

/// Moves the batch's positions, if each is where the batch expects it. The rows stay locked until the
/// transaction ends: a second worker with the same partition waits here, and then fails.
///
/// # Errors
/// When the database fails.
pub async fn fence(db: &mut PgConnection, cluster: &str, batch: &Batch) -> sqlx::Result<Fence> {
    let spans: Vec<_> = batch
        .spans
        .iter()
        .map(|(index, span)| (&batch.partitions[usize::from(*index)], span))
        .collect();
    let topics: Vec<String> = spans
        .iter()
        .map(|(partition, _)| partition.topic.to_string())
        .collect();
    let numbers: Vec<i32> = spans
        .iter()
        .map(|(partition, _)| partition.partition)
        .collect();
    let locked: Vec<(String, i32, Option<i64>)> =
        sqlx::query_as(include_str!("positions_lock.sql"))
            .bind(cluster)
            .bind(&topics)
            .bind(&numbers)
            .fetch_all(&mut *db)
            .await?;
    let held: BTreeMap<(&str, i32), Option<i64>> = locked
        .iter()
        .map(|(topic, partition, next)| ((topic.as_str(), *partition), *next))
        .collect();
    let all = |expected: fn(&crate::batch::Span) -> Option<i64>| {
        spans.iter().all(|(partition, span)| {
            held.get(&(&*partition.topic, partition.partition)) == Some(&expected(span))
        })
    };
    if !all(|span| span.from) {
        return Ok(if all(|span| Some(span.next)) {
            Fence::AlreadyStored
        } else {
            Fence::Lost
        });
    }
    sqlx::query(include_str!("positions_move.sql"))
        .bind(cluster)
        .bind(&topics)
        .bind(&numbers)
        .bind(spans.iter().map(|(_, span)| span.next).collect::<Vec<_>>())
        .bind(
            spans
                .iter()
                .map(|(_, span)| span.last.map(|last| last.0))
                .collect::<Vec<_>>(),
        )
        .bind(
            spans
                .iter()
                .map(|(_, span)| span.last.and_then(|last| last.1).and_then(record_time))
                .collect::<Vec<_>>(),
        )
        .execute(db)
        .await?;
    Ok(Fence::Passed)
}

/// Ends the session that holds a position of the batch and does not let go: a worker that was frozen
/// inside its transaction. It lost its partition, or this worker would not be here; it could not pass
/// the fence of its next batch. Does nothing when the positions are free.
///
/// # Errors
/// When the database fails.
pub async fn end_frozen_holder(
    database: &Database,
    cluster: &str,
    batch: &Batch,
) -> sqlx::Result<bool> {
    let mut waiter = database.begin().await?;
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()")
        .fetch_one(&mut *waiter)
        .await?;
    let partitions: Vec<&TopicPartition> = batch
        .spans
        .keys()
        .map(|index| &batch.partitions[usize::from(*index)])
        .collect();
    let wait = sqlx::query(include_str!("positions_lock.sql"))
        .bind(cluster)
        .bind(
            partitions
                .iter()
                .map(|partition| partition.topic.to_string())
                .collect::<Vec<_>>(),
        )
        .bind(
            partitions
                .iter()
                .map(|partition| partition.partition)
                .collect::<Vec<_>>(),
        )
        .execute(&mut *waiter);
    let ended = AtomicBool::new(false);
    let end = async {
        // The waiter must be waiting before its blocker can be seen.
        for _ in 0..20 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            let holders: Vec<i32> = sqlx::query_scalar(
                "select a.pid from pg_stat_activity a \
                 where a.pid = any(pg_blocking_pids($1)) and a.application_name = current_setting('application_name') \
                     and (a.usename = current_user or pg_has_role('pg_signal_backend', 'member'))",
            )
            .bind(pid)
            .fetch_all(&mut *database.acquire().await?)
            .await?;
            if !holders.is_empty() {
                ended.store(true, Ordering::Relaxed);
                sqlx::query("select pg_terminate_backend(pid) from unnest($1::integer[]) as pid")
                    .bind(&holders)
                    .execute(&mut *database.acquire().await?)
                    .await?;
                break;
            }
        }
        Ok::<(), sqlx::Error>(())
    };
    // The waiter may have the positions before the other session hears that it ended their holder.
    tokio::select! {
        locked = wait => locked.map(|_| ())?,
        done = end => done?,
    }
    Ok(ended.into_inner())
}

/// A stored position as operators see it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Kept {
    /// The id of the Kafka cluster.
    pub cluster_id: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The next offset to store; `None`: nothing is stored yet.
    pub next_offset: Option<i64>,
    /// When it moved last.
    pub updated_at: DateTime<Utc>,
}

/// All positions, or those of one cluster, in order.
///
/// # Errors
/// When the database fails.
pub async fn list(db: &mut PgConnection, cluster: Option<&str>) -> sqlx::Result<Vec<Kept>> {
    sqlx::query_as(
        "select cluster_id, topic, \"partition\", next_offset, updated_at from ingest_offsets \
         where cluster_id = coalesce($1, cluster_id) order by 1, 2, 3",
    )
    .bind(cluster)
    .fetch_all(db)
    .await
}

/// Deletes the positions of a topic, of one partition and one cluster where they are given; returns them.
///
/// # Errors
/// When the database fails.
pub async fn forget(
    db: &mut PgConnection,
    cluster: Option<&str>,
    topic: &str,
    partition: Option<i32>,
) -> sqlx::Result<Vec<Kept>> {
    sqlx::query_as(
        "with gone as (delete from ingest_offsets \
             where cluster_id = coalesce($1, cluster_id) and topic = $2 and \"partition\" = coalesce($3, \"partition\") \
             returning cluster_id, topic, \"partition\", next_offset, updated_at) \
         select * from gone order by 1, 2, 3",
    )
    .bind(cluster)
    .bind(topic)
    .bind(partition)
    .fetch_all(db)
    .await
}
