//! Late ticks, duplicates, corrections, cancels and conflicts.

use crate::database::{
    DAYS, Database, HOURS, MINUTES, TICKS, VERSIONS, VERSIONS_OF_ROWS, cancelled, corrected, tick,
};

#[tokio::test]
async fn a_correction_that_removes_the_high_lowers_every_level() {
    for version in VERSIONS {
        // GIVEN three ticks, the middle one the high
        let db = Database::new(version).await;
        let high = tick("2024-03-04T10:00:20Z", 2, "15", "2");
        let others = [
            tick("2024-03-04T10:00:10Z", 1, "10", "1"),
            tick("2024-03-04T10:00:30Z", 3, "11", "3"),
        ];
        db.store(&[("A", others[0]), ("A", high), ("A", others[1])])
            .await;

        // WHEN it is corrected
        let outcome = db.store(&[("A", corrected(high, 1, "10.5"))]).await;

        // THEN the high is gone from minute, hour and day
        assert_eq!((outcome.corrections, outcome.candles), (1, 3), "{version}");
        assert_eq!(db.rows(MINUTES).await, ["A 03-04 10:00 10 11 10 11 6 64 3"]);
        assert_eq!(db.rows(HOURS).await, ["A 03-04 10:00 10 11 10 11 6 64 3"]);
        assert_eq!(
            db.rows(DAYS).await,
            ["A 2024-03-04 03-04 00:00 10 11 10 11 6 64 3"]
        );
        assert_eq!(
            db.rows("select distinct revision::text from candles_1m")
                .await,
            ["2"]
        );
        // AND the symbol knows of the new decimals
        assert_eq!(
            db.rows("select price_scale::text from symbols").await,
            ["1"]
        );
        assert!(db.differences().await.is_empty());
    }
}

#[tokio::test]
async fn every_message_has_one_outcome() {
    for version in VERSIONS {
        // GIVEN a tick and its cancel in one batch, another one's cancel before it, a duplicate and a late one
        let db = Database::new(version).await;
        let first = tick("2024-03-04T10:00:10Z", 1, "10", "1");
        let second = tick("2024-03-04T10:00:20Z", 2, "11", "1");
        let late = tick("2024-03-04T10:00:05Z", 9, "12", "1");

        // WHEN they are stored
        let outcomes = [
            db.store(&[
                ("A", first),
                ("A", cancelled(first)),
                ("A", cancelled(second)),
            ])
            .await,
            db.store(&[("A", second), ("A", first), ("A", late), ("A", late)])
                .await,
        ];

        // THEN each is counted once, by what came of it
        let counts = outcomes.map(|o| {
            let late = o.late;
            (
                o.added - late,
                late,
                o.corrections,
                o.cancels_first,
                o.stale,
                o.duplicates,
            )
        });
        assert_eq!(
            counts,
            [(1, 0, 1, 1, 0, 0), (0, 1, 0, 0, 2, 1)],
            "{version}"
        );
    }
}

#[tokio::test]
async fn a_cancel_of_the_only_tick_empties_its_candles_and_a_later_tick_fills_them_again() {
    for version in VERSIONS {
        // GIVEN one tick
        let db = Database::new(version).await;
        let only = tick("2024-03-04T10:00:10Z", 1, "10", "1");
        db.store(&[("A", only)]).await;

        // WHEN it is cancelled
        db.store(&[("A", cancelled(only))]).await;

        // THEN the buckets stay, empty, and the tick is not shown
        assert_eq!(db.rows(MINUTES).await, ["A 03-04 10:00 0 0 0"], "{version}");
        assert!(db.rows(TICKS).await.is_empty());
        assert!(db.differences().await.is_empty());

        // WHEN another tick comes THEN the candle is its own
        db.store(&[("A", tick("2024-03-04T10:00:05Z", 9, "7", "2"))])
            .await;
        assert_eq!(db.rows(MINUTES).await, ["A 03-04 10:00 7 7 7 7 2 14 1"]);
        assert_eq!(
            db.rows("select revision::text from candles_1d").await,
            ["3"]
        );
        assert!(db.differences().await.is_empty());
    }
}

#[tokio::test]
async fn a_cancel_before_its_tick_voids_it() {
    for version in VERSIONS {
        let db = Database::new(version).await;
        let void = tick("2024-03-04T10:00:10Z", 1, "10", "1");
        db.store(&[("A", cancelled(void))]).await;
        let outcome = db.store(&[("A", void)]).await;
        assert_eq!((outcome.stale, outcome.added), (1, 0), "{version}");
        assert!(db.rows(TICKS).await.is_empty());
        assert!(db.rows(MINUTES).await.is_empty());
    }
}

#[tokio::test]
async fn a_conflict_is_a_dead_letter_and_the_first_stays() {
    for version in VERSIONS {
        // GIVEN a stored tick
        let db = Database::new(version).await;
        let first = tick("2024-03-04T10:00:10Z", 1, "10", "1");
        db.store(&[("A", first)]).await;

        // WHEN others come with its identity, one in a batch with a good tick
        let other = corrected(first, 0, "11");
        let outcome = db
            .store(&[
                ("A", other),
                ("A", tick("2024-03-04T10:00:11Z", 2, "12", "1")),
            ])
            .await;

        // THEN only the good one is stored, and the other is kept whole with the reason
        assert_eq!(outcome.letters.get("conflict"), Some(&1), "{version}");
        assert_eq!(db.rows(MINUTES).await, ["A 03-04 10:00 10 12 10 12 2 22 2"]);
        assert_eq!(
            db.rows(
                "select concat_ws(' ', \"offset\", reason, convert_from(key, 'UTF8'), convert_from(payload, 'UTF8')) from dead_letters"
            )
            .await,
            ["1 conflict A payload 1"]
        );
    }
}

#[tokio::test]
async fn late_ticks_move_open_and_close_by_event_time_and_sequence() {
    for version in VERSIONS {
        // GIVEN ticks with one event time, the later sequence first
        let db = Database::new(version).await;
        db.store(&[("A", tick("2024-03-04T10:00:10Z", 2, "11", "1"))])
            .await;
        // WHEN the earlier sequence and days-old ticks arrive
        let outcome = db
            .store(&[
                ("A", tick("2024-03-04T10:00:10Z", 1, "10", "1")),
                ("A", tick("2024-03-01T23:59:59.999999Z", 7, "5", "1")),
                ("A", tick("2024-03-04T09:59:00Z", 3, "9", "1")),
            ])
            .await;
        // THEN each is in its place
        assert_eq!((outcome.added, outcome.late), (3, 3), "{version}");
        assert_eq!(
            db.rows(MINUTES).await,
            [
                "A 03-01 23:59 5 5 5 5 1 5 1",
                "A 03-04 09:59 9 9 9 9 1 9 1",
                "A 03-04 10:00 10 11 10 11 2 21 2"
            ]
        );
        assert!(db.differences().await.is_empty());
    }
}

#[tokio::test]
async fn a_replay_writes_no_row_anew() {
    for version in VERSIONS {
        // GIVEN ticks, a correction, a cancel and a late one
        let db = Database::new(version).await;
        let ticks: Vec<_> = (0..50_i64)
            .map(|n| tick(&format!("2024-03-04T10:{n:02}:00Z"), n, "10", "1"))
            .collect();
        let mut messages: Vec<(&str, _)> = ticks.iter().map(|tick| ("A", *tick)).collect();
        messages.push(("A", corrected(ticks[3], 1, "12")));
        messages.push(("A", cancelled(ticks[4])));
        messages.push(("A", tick("2024-02-04T10:00:00Z", 1, "3", "1")));
        for part in messages.chunks(20) {
            db.store(part).await;
        }
        let before = db.rows(VERSIONS_OF_ROWS).await;

        // WHEN all come again
        let outcome = db.store(&messages).await;

        // THEN nothing is written but the position
        assert_eq!((outcome.added, outcome.candles), (0, 0), "{version}");
        assert_eq!(db.rows(VERSIONS_OF_ROWS).await, before);
    }
}
