//! Sessions of workers that stand still.

use common::database::Database;

/// Longest wait for a lock, in milliseconds. Whatever a worker locks it holds for one transaction of
/// well under a second; who holds longer is looked at.
pub const LOCK_TIMEOUT: &str = "5000";

/// Ends the sessions of workers that have been inside a transaction, waiting for their own program,
/// for as long as a lock is waited for: between statements, or within a COPY. Such a program is frozen
/// or cut off; a timeout alone does not end a session frozen inside COPY. One that goes on after all
/// stores its batch again, behind the fence. Returns whether there were any.
///
/// # Errors
/// When the database fails.
pub async fn end_frozen(database: &Database) -> sqlx::Result<bool> {
    let ended: i64 = sqlx::query_scalar(include_str!("sessions_end_frozen.sql"))
        .bind(LOCK_TIMEOUT)
        .fetch_one(&mut *database.acquire().await?)
        .await?;
    Ok(ended > 0)
}
