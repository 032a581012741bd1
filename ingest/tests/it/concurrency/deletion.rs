//! Old ticks are deleted while a late one for the same blocks is stored: it is deleted too, or refused, and its candle
//! says which.

use common::tick::Tick;
use ingest::retain;

use super::park::{PARKED, PASSING, Park, Point, blocked};
use crate::database::{DAYS, Database, TICKS, VERSIONS, tick};
use crate::retention::{entry, time};

const MIDNIGHT: &str = "2024-03-05T00:00:00Z";

/// A block with three ticks before midnight and one after it.
async fn over_midnight(db: &Database) {
    let ticks = [
        ("2024-03-04T10:00:00Z", 1, "10"),
        ("2024-03-04T10:00:02Z", 2, "12"),
        ("2024-03-04T23:59:59Z", 3, "11"),
        ("2024-03-05T00:00:00Z", 4, "13"),
    ];
    db.store(&ticks.map(|(at, sequence, price)| ("A", tick(at, sequence, price, "1"))))
        .await;
}

/// One for the middle of that block, which lifts the day's high.
fn late() -> Tick {
    tick("2024-03-04T10:00:01Z", 5, "99", "1")
}

#[tokio::test]
async fn ticks_are_deleted_while_a_late_one_is_stored() {
    for version in VERSIONS {
        for point in Point::OF_A_BATCH {
            // GIVEN a late tick on its way into a block
            let db = Database::new(version).await;
            over_midnight(&db).await;
            let symbol = entry(&db, "A").await;
            let park = Park::at(&db, point).await;
            let mut worker = db.worker(PARKED, 1);
            let storing = tokio::spawn(async move { worker.store(&[("A", late())]).await });
            park.reached().await;

            // WHEN the ticks of its day are deleted
            let sessions = db.worker(PASSING, 0).sessions;
            let deleting =
                async move { retain::ticks(&sessions, &symbol, time(MIDNIGHT), false).await };
            let (deleted, outcome) = if point.holds_symbols() {
                let deleting = tokio::spawn(deleting);
                blocked(&db).await;
                park.release().await;
                let outcome = storing.await.unwrap();
                (deleting.await.unwrap().unwrap(), outcome)
            } else {
                let deleted = deleting.await.unwrap();
                park.release().await;
                (deleted, storing.await.unwrap())
            };

            // THEN it came first and is deleted with them, or after them and is refused; its candle agrees
            let ticks = db.rows(TICKS).await;
            assert_eq!(ticks.len(), 1, "{version} {point:?}: {ticks:?}");
            let day = db.rows(DAYS).await.swap_remove(0);
            if point.holds_symbols() {
                assert_eq!((deleted.rows, outcome.added), (4, 1), "{version} {point:?}");
                assert!(day.ends_with(" 10 99 10 11 4 132 4"), "{day}");
            } else {
                assert_eq!((deleted.rows, outcome.added), (3, 0), "{version} {point:?}");
                assert_eq!(outcome.letters["below-floor"], 1);
                assert!(day.ends_with(" 10 12 10 11 3 33 3"), "{day}");
            }
            assert!(db.differences().await.is_empty(), "{version} {point:?}");
        }
    }
}

#[tokio::test]
async fn a_late_tick_waits_for_a_deletion_and_is_refused() {
    for version in VERSIONS {
        // GIVEN a deletion that has raised the floor and stands before its blocks
        let db = Database::new(version).await;
        over_midnight(&db).await;
        let symbol = entry(&db, "A").await;
        let park = Park::at(&db, Point::BeforeBlocks).await;
        let sessions = db.worker(PARKED, 0).sessions;
        let deleting =
            tokio::spawn(
                async move { retain::ticks(&sessions, &symbol, time(MIDNIGHT), false).await },
            );
        park.reached().await;
        // WHEN a late tick for one of them comes
        let mut worker = db.worker(PASSING, 1);
        let storing = tokio::spawn(async move { worker.store(&[("A", late())]).await });
        blocked(&db).await;
        park.release().await;
        // THEN it is a dead letter, and no candle has it
        assert_eq!(deleting.await.unwrap().unwrap().rows, 3, "{version}");
        assert_eq!(
            storing.await.unwrap().letters["below-floor"],
            1,
            "{version}"
        );
        assert_eq!(db.rows(TICKS).await.len(), 1, "{version}");
        let day = db.rows(DAYS).await.swap_remove(0);
        assert!(day.ends_with(" 10 12 10 11 3 33 3"), "{day}");
        assert!(db.differences().await.is_empty(), "{version}");
    }
}
