//! The fence: whoever has lost a partition commits nothing.

use ingest::store::positions::end_frozen_holder;
use ingest::transaction::TransactionError;

use crate::database::{Database, MINUTES, TICKS, VERSIONS, batch, tick};

#[tokio::test]
async fn a_worker_that_lost_its_partition_commits_nothing() {
    for version in VERSIONS {
        // GIVEN two workers at one position, of which one has stored two messages
        let db = Database::new(version).await;
        let ticks = [
            ("A", tick("2024-03-04T10:00:01Z", 1, "10", "1")),
            ("A", tick("2024-03-04T10:00:02Z", 2, "11", "1")),
            ("A", tick("2024-03-04T10:00:03Z", 3, "12", "1")),
        ];
        db.store(&ticks[..2]).await;
        let rows = db.rows(TICKS).await;

        // WHEN the other comes with one message, or with three
        for stale in [&ticks[..1], &ticks[..3]] {
            let refused = db.store_batch(&batch(0, stale)).await;
            // THEN it is refused and nothing has changed
            assert!(matches!(refused, Err(TransactionError::Lost)), "{version}");
            assert_eq!(db.rows(TICKS).await, rows);
        }
    }
}

#[tokio::test]
async fn a_batch_that_was_committed_unnoticed_is_recognised() {
    for version in VERSIONS {
        let db = Database::new(version).await;
        let whole = batch(0, &[("A", tick("2024-03-04T10:00:01Z", 1, "10", "1"))]);
        db.store_batch(&whole).await.unwrap();
        let again = db.store_batch(&whole).await.unwrap();
        assert!(again.already_stored, "{version}");
        assert_eq!(db.rows(MINUTES).await.len(), 1);
    }
}

#[tokio::test]
async fn a_session_frozen_inside_its_transaction_is_ended() {
    for version in VERSIONS {
        // GIVEN a worker that holds the position and stands still
        let db = Database::new(version).await;
        db.store(&[("A", tick("2024-03-04T10:00:01Z", 1, "10", "1"))])
            .await;
        let mut frozen = db.pool.begin().await.unwrap();
        sqlx::query("select from ingest_offsets for no key update")
            .execute(&mut *frozen)
            .await
            .unwrap();
        let next = batch(1, &[("A", tick("2024-03-04T10:00:02Z", 2, "10", "1"))]);

        // WHEN its successor ends whoever holds the position
        let ended = end_frozen_holder(&db.sessions, "cluster", &next)
            .await
            .unwrap();

        // THEN the successor can store, and the frozen one cannot go on
        assert!(ended, "{version}");
        db.store_batch(&next).await.unwrap();
        assert!(
            sqlx::query("select 1").execute(&mut *frozen).await.is_err(),
            "the frozen session lives"
        );
        // AND where nobody holds it, nobody is ended
        let free = batch(2, &[("A", tick("2024-03-04T10:00:03Z", 3, "10", "1"))]);
        assert!(
            !end_frozen_holder(&db.sessions, "cluster", &free)
                .await
                .unwrap()
        );
    }
}

#[tokio::test]
async fn a_commit_that_ends_with_its_session_may_have_been_done() {
    for version in VERSIONS {
        // GIVEN a session that an administrator ends while it commits
        let db = Database::new(version).await;
        sqlx::raw_sql(
            "create function market_data.end_me() returns trigger language plpgsql \
                 as $$ begin perform pg_terminate_backend(pg_backend_pid()); return null; end $$; \
             create constraint trigger ended after insert on market_data.tick_blocks deferrable initially deferred \
                 for each row execute function market_data.end_me();",
        )
        .execute(&db.owner)
        .await
        .unwrap();
        let whole = batch(0, &[("A", tick("2024-03-04T10:00:01Z", 1, "10", "1"))]);
        // WHEN a batch is stored
        let stored = db.store_batch(&whole).await;
        // THEN what it did, if it did, is not lost
        let Err(TransactionError::Unanswered { outcome, .. }) = stored else {
            panic!("{version}: {stored:?}")
        };
        assert_eq!((outcome.added, outcome.candles), (1, 3), "{version}");
        // AND storing it again finds out
        sqlx::query("drop trigger ended on market_data.tick_blocks")
            .execute(&db.owner)
            .await
            .unwrap();
        let again = db.store_batch(&whole).await.unwrap();
        assert_eq!((again.already_stored, again.added), (false, 1), "{version}");
    }
}
