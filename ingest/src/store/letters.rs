//! Dead letters: messages that cannot become ticks, whole, with the reason.

use sqlx::PgConnection;

use super::timestamp;
use crate::batch::TopicPartition;
use crate::dead_letter::DeadLetter;

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
        // A text column holds no zero byte.
        .bind(
            letters
                .iter()
                .map(|letter| letter.fault.detail.replace('\0', "\\0"))
                .collect::<Vec<_>>(),
        )
        .bind(
            letters
                .iter()
                .map(|letter| {
                    letter
                        .source
                        .timestamp
                        .map(|millis| timestamp(millis.saturating_mul(1000)))
                })
                .collect::<Vec<_>>(),
        )
        .execute(db)
        .await?;
    Ok(())
}
