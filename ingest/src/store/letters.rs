//! Dead letters: messages that cannot become ticks, whole, with the reason.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::record_time;
use crate::batch::TopicPartition;
use crate::dead_letter::{DeadLetter, Fault};

/// Stores dead letters; one that is there already, from a replay, stays as it is.
///
/// # Errors
/// When the database fails.
pub async fn write(
    db: &mut PgConnection,
    cluster: &str,
    partitions: &[TopicPartition],
    letters: &[&DeadLetter],
) -> sqlx::Result<()> {
    if letters.is_empty() {
        return Ok(());
    }
    let of = |letter: &DeadLetter| &partitions[usize::from(letter.source.partition)];
    sqlx::query(include_str!("letters_write.sql"))
        .bind(cluster)
        .bind(
            letters
                .iter()
                .map(|letter| of(letter).topic.to_string())
                .collect::<Vec<_>>(),
        )
        .bind(
            letters
                .iter()
                .map(|letter| of(letter).partition)
                .collect::<Vec<_>>(),
        )
        .bind(
            letters
                .iter()
                .map(|letter| letter.source.offset)
                .collect::<Vec<_>>(),
        )
        .bind(
            letters
                .iter()
                .map(|letter| letter.key.as_deref())
                .collect::<Vec<_>>(),
        )
        .bind(
            letters
                .iter()
                .map(|letter| letter.payload.as_deref())
                .collect::<Vec<_>>(),
        )
        .bind(
            letters
                .iter()
                .map(|letter| letter.fault.reason.as_str())
                .collect::<Vec<_>>(),
        )
        .bind(
            letters
                .iter()
                .map(|letter| without_nul(&letter.fault.detail))
                .collect::<Vec<_>>(),
        )
        .bind(
            letters
                .iter()
                .map(|letter| letter.source.timestamp.and_then(record_time))
                .collect::<Vec<_>>(),
        )
        .execute(db)
        .await?;
    Ok(())
}

/// A dead letter as it is stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Letter {
    /// Its number.
    pub id: i64,
    /// The cluster of its topic.
    pub cluster_id: String,
    /// Where it came from.
    pub topic: String,
    /// Where it came from.
    pub partition: i32,
    /// Where it came from.
    pub offset: i64,
    /// The message's key.
    pub key: Option<Vec<u8>>,
    /// The message's value.
    pub payload: Option<Vec<u8>>,
    /// The code of its reason.
    pub reason: String,
    /// One sentence.
    pub detail: String,
    /// Its Kafka timestamp.
    pub record_time: Option<DateTime<Utc>>,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
}

/// Which letters are meant.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// These; empty: any.
    pub ids: Vec<i64>,
    /// Of this reason.
    pub reason: Option<String>,
    /// Of this topic.
    pub topic: Option<String>,
}

/// The next letters after the one of this number, at most `limit`, in order of their numbers.
///
/// # Errors
/// When the database fails.
pub async fn after(
    db: &mut PgConnection,
    filter: &Filter,
    id: i64,
    limit: i64,
) -> sqlx::Result<Vec<Letter>> {
    sqlx::query_as(include_str!("letters_after.sql"))
        .bind(id)
        .bind(&filter.ids)
        .bind(filter.reason.as_deref())
        .bind(filter.topic.as_deref())
        .bind(limit)
        .fetch_all(db)
        .await
}

/// The newest letters, at most `limit`, the newest last.
///
/// # Errors
/// When the database fails.
pub async fn newest(
    db: &mut PgConnection,
    filter: &Filter,
    limit: i64,
) -> sqlx::Result<Vec<Letter>> {
    sqlx::query_as(include_str!("letters_newest.sql"))
        .bind(&filter.ids)
        .bind(filter.reason.as_deref())
        .bind(filter.topic.as_deref())
        .bind(limit)
        .fetch_all(db)
        .await
}

/// How many letters there are of each topic and reason.
///
/// # Errors
/// When the database fails.
pub async fn counts(
    db: &mut PgConnection,
    filter: &Filter,
) -> sqlx::Result<Vec<(String, String, i64)>> {
    sqlx::query_as(
        "select topic, reason, count(*) from dead_letters \
         where (cardinality($1::bigint[]) = 0 or id = any($1)) and reason = coalesce($2, reason) and topic = coalesce($3, topic) \
         group by topic, reason order by topic, reason",
    )
    .bind(&filter.ids)
    .bind(filter.reason.as_deref())
    .bind(filter.topic.as_deref())
    .fetch_all(db)
    .await
}

/// Deletes letters: they became ticks.
///
/// # Errors
/// When the database fails.
pub async fn delete(db: &mut PgConnection, ids: &[i64]) -> sqlx::Result<()> {
    sqlx::query("delete from dead_letters where id = any($1)")
        .bind(ids)
        .execute(db)
        .await?;
    Ok(())
}

/// Gives letters the reason that they have now.
///
/// # Errors
/// When the database fails.
pub async fn amend(db: &mut PgConnection, faults: &[(i64, Fault)]) -> sqlx::Result<()> {
    sqlx::query(
        "update dead_letters d set reason = now.reason, detail = now.detail \
         from unnest($1::bigint[], $2::text[], $3::text[]) as now(id, reason, detail) where d.id = now.id",
    )
    .bind(faults.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(
        faults
            .iter()
            .map(|(_, fault)| fault.reason.as_str())
            .collect::<Vec<_>>(),
    )
    .bind(
        faults
            .iter()
            .map(|(_, fault)| without_nul(&fault.detail))
            .collect::<Vec<_>>(),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// A text column holds no zero byte.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\\0")
}
