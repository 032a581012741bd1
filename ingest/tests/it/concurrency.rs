//! Sessions that meet at the same rows: one stands at a named point while another passes or waits, and whatever the
//! order, all of both is there and each candle is the aggregate of its ticks.

mod deletion;
mod park;

use std::collections::BTreeSet;

use common::tick::Tick;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::JoinSet;

use self::park::{PARKED, PASSING, Park, Point, blocked};
use crate::database::{DAYS, Database, MINUTES, TICKS, VERSIONS, cancelled, corrected, done, tick};

/// Lets one worker store `first` up to a point, another one `second`, and then both to their ends.
async fn meet(
    db: &Database,
    point: Point,
    first: Vec<(&'static str, Tick)>,
    second: Vec<(&'static str, Tick)>,
) {
    let park = Park::at(db, point).await;
    let (mut standing, mut passing) = (db.worker(PARKED, 1), db.worker(PASSING, 2));
    let standing = tokio::spawn(async move { standing.store(&first).await });
    park.reached().await;
    let passing = tokio::spawn(async move { passing.store(&second).await });
    if point.holds_symbols() {
        blocked(db).await;
        park.release().await;
        passing.await.unwrap();
    } else {
        // Nothing that it needs is held.
        passing.await.unwrap();
        park.release().await;
    }
    standing.await.unwrap();
}

#[tokio::test]
async fn two_workers_that_correct_one_bucket_both_do() {
    for version in VERSIONS {
        for point in Point::OF_A_BATCH {
            // GIVEN a minute of four ticks
            let db = Database::new(version).await;
            let ticks = [("10", 1), ("11", 2), ("12", 3), ("13", 4)].map(|(price, sequence)| {
                tick(
                    &format!("2024-03-04T10:00:0{sequence}Z"),
                    sequence,
                    price,
                    "1",
                )
            });
            db.store(&ticks.map(|tick| ("A", tick))).await;
            // WHEN one worker lifts its high and cancels a tick, and another one lowers its low
            let first = vec![
                ("A", corrected(ticks[1], 1, "99")),
                ("A", cancelled(ticks[3])),
            ];
            let second = vec![("A", corrected(ticks[2], 1, "2"))];
            meet(&db, point, first, second).await;
            // THEN both are in all candles
            for rows in [db.rows(MINUTES).await, db.rows(DAYS).await] {
                assert!(
                    rows[0].ends_with(" 10 99 2 2 3 111 3"),
                    "{version} {point:?}: {rows:?}"
                );
            }
            assert!(db.differences().await.is_empty());
        }
    }
}

#[tokio::test]
async fn a_symbol_spread_over_two_partitions_is_one_symbol() {
    for version in VERSIONS {
        for point in Point::OF_A_BATCH {
            // GIVEN a symbol whose high-water mark both workers have passed
            let db = Database::new(version).await;
            let ticks: Vec<Tick> = (0..12_i64)
                .map(|n| {
                    let time = format!("2024-03-04T10:00:{:02}Z", n * 7 % 60);
                    tick(&time, n, &(100 + n).to_string(), "1")
                })
                .collect();
            db.store(&[("A", ticks[0])]).await;
            // WHEN one has the even ticks and the other one the odd ones, and one of both
            let half = |rest: usize| {
                let mut half: Vec<(&str, Tick)> = (1..12)
                    .filter(|n| n % 2 == rest)
                    .map(|n| ("A", ticks[n]))
                    .collect();
                half.push(("A", ticks[6]));
                half
            };
            meet(&db, point, half(0), half(1)).await;
            // THEN each is there once
            assert_eq!(db.rows(TICKS).await.len(), 12, "{version} {point:?}");
            assert_eq!(
                db.rows("select concat_ws(' ', sum(trades), sum(turnover)) from candles_1m")
                    .await,
                ["12 1266"]
            );
            assert!(db.differences().await.is_empty());
        }
    }
}

#[tokio::test]
async fn a_symbol_that_two_workers_meet_first_is_made_once() {
    for version in VERSIONS {
        // GIVEN a worker that has made a symbol and not committed it
        let db = Database::new(version).await;
        let park = Park::at(&db, Point::NewSymbol).await;
        let (mut standing, mut waiting) = (db.worker(PARKED, 1), db.worker(PASSING, 2));
        let one = ("NEW", tick("2024-03-04T10:00:01Z", 1, "10", "1"));
        let standing = tokio::spawn(async move { standing.store(&[one]).await });
        park.reached().await;
        // WHEN another one meets the same symbol, and one before it
        let others = [
            ("OLDER", tick("2024-03-04T10:00:02Z", 1, "20", "1")),
            ("NEW", tick("2024-03-04T10:00:02Z", 2, "11", "1")),
        ];
        let waiting = tokio::spawn(async move { waiting.store(&others).await });
        blocked(&db).await;
        park.release().await;
        standing.await.unwrap();
        waiting.await.unwrap();
        // THEN there is one of it, with the ticks of both
        let symbols = db.rows("select concat_ws(' ', symbol, sum(trades)) from symbols join candles_1d on id = symbol_id group by symbol order by 1").await;
        assert_eq!(symbols, ["NEW 2", "OLDER 1"], "{version}");
        assert!(db.differences().await.is_empty());
    }
}

/// Twenty batches of a tick each, which leave small blocks; the ticks.
async fn small_blocks(db: &Database) -> Vec<Tick> {
    let mut ticks = Vec::new();
    for n in 0..20_i64 {
        let tick = tick(&format!("2024-03-04T10:00:{n:02}Z"), n, "10", "1");
        db.store(&[("A", tick)]).await;
        ticks.push(tick);
    }
    ticks
}

const BLOCKS: &str = "select concat_ws(' ', count(*), sum(count)) from tick_blocks";

#[tokio::test]
async fn a_correction_waits_for_a_merge_of_its_blocks_and_hits_the_merged_one() {
    for version in VERSIONS {
        // GIVEN a merge that holds the blocks that it is about to replace
        let db = Database::new(version).await;
        let ticks = small_blocks(&db).await;
        let park = Park::at(&db, Point::BeforeBlocks).await;
        let merger = db.worker(PARKED, 0).sessions;
        let merge = tokio::spawn(async move { ingest::upkeep::merge_blocks(&merger).await });
        park.reached().await;
        // WHEN a correction of a tick in one of them comes, and a tick between two of them
        let mut worker = db.worker(PASSING, 1);
        let messages = [
            ("A", corrected(ticks[7], 1, "99")),
            ("A", tick("2024-03-04T10:00:07.5Z", 1, "1", "1")),
        ];
        let stored = tokio::spawn(async move { worker.store(&messages).await });
        blocked(&db).await;
        park.release().await;
        assert_eq!(done(&merge.await.unwrap()), 20, "{version}");
        stored.await.unwrap();
        // THEN both are in the one block that is left, and in the candle
        assert_eq!(db.rows(BLOCKS).await, ["1 21"]);
        assert!(
            db.rows(MINUTES).await[0].ends_with(" 10 99 1 10 21 290 21"),
            "{:?}",
            db.rows(MINUTES).await
        );
        assert!(db.differences().await.is_empty());
    }
}

#[tokio::test]
async fn a_merge_passes_over_a_symbol_that_is_being_corrected() {
    for version in VERSIONS {
        for point in [Point::BeforeBlocks, Point::BeforeCandles, Point::InCommit] {
            // GIVEN a correction under way
            let db = Database::new(version).await;
            let ticks = small_blocks(&db).await;
            let park = Park::at(&db, point).await;
            let mut worker = db.worker(PARKED, 1);
            let correction = ("A", corrected(ticks[7], 1, "99"));
            let stored = tokio::spawn(async move { worker.store(&[correction]).await });
            park.reached().await;
            // WHEN blocks are merged THEN the merge leaves the symbol alone and does not wait
            let passing = db.worker(PASSING, 0).sessions;
            assert_eq!(
                done(&ingest::upkeep::merge_blocks(&passing).await),
                0,
                "{version} {point:?}"
            );
            park.release().await;
            stored.await.unwrap();
            // AND at the next turn merges them, correction included
            assert_eq!(done(&ingest::upkeep::merge_blocks(&passing).await), 20);
            assert_eq!(db.rows(BLOCKS).await, ["1 20"]);
            assert!(db.differences().await.is_empty());
        }
    }
}

/// The marks of months, with their generations.
const MARKS: &str = "select concat_ws(' ', period, generation) from view_marks where view = 'candles_1mo' order by 1";
/// What the view of months has.
const MONTHS: &str = "select concat_ws(' ', period, high, trades) from candles_1mo order by 1";

async fn refresh_months(sessions: &common::database::Database) -> bool {
    sqlx::query_scalar("select refresh_candle_view('candles_1mo')")
        .fetch_one(sessions.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_period_marked_again_while_a_refresh_runs_stays_marked() {
    for version in VERSIONS {
        // GIVEN a marked month, and a refresh that has read the marks and waits to write the view
        let db = Database::new(version).await;
        let first = tick("2020-03-04T10:00:01Z", 1, "10", "1");
        db.store(&[("A", first)]).await;
        assert_eq!(db.rows(MARKS).await, ["2020-03-01 0"], "{version}");
        let mut ddl = db.owner.begin().await.unwrap();
        sqlx::query("create index on candles_1mo (trades)")
            .execute(&mut *ddl)
            .await
            .unwrap();
        let refresher = db.worker(PASSING, 0).sessions;
        let refresh = tokio::spawn(async move { refresh_months(&refresher).await });
        park::waits_for(&db, PASSING, "relation").await;
        // WHEN a worker marks the month again and commits, and the refresh goes on
        db.store(&[("A", corrected(first, 1, "99"))]).await;
        ddl.rollback().await.unwrap();
        assert!(refresh.await.unwrap());
        // THEN the mark is there, so that nobody reads the view's row for that month
        assert_eq!(db.rows(MARKS).await, ["2020-03-01 1"]);
        assert!(db.differences().await.is_empty());
        // AND the next refresh brings the month up to date and takes the mark
        assert!(refresh_months(&db.sessions).await);
        assert!(db.rows(MARKS).await.is_empty());
        assert_eq!(db.rows(MONTHS).await, ["2020-03-01 99 1"]);
    }
}

#[tokio::test]
async fn a_period_marked_again_after_a_refresh_has_taken_its_mark_is_marked_anew() {
    for version in VERSIONS {
        // GIVEN a refresh that has done all its work and not committed
        let db = Database::new(version).await;
        let first = tick("2020-03-04T10:00:01Z", 1, "10", "1");
        db.store(&[("A", first)]).await;
        let park = Park::at(&db, Point::RefreshDone).await;
        let refresher = db.worker(PARKED, 0).sessions;
        let refresh = tokio::spawn(async move { refresh_months(&refresher).await });
        park.reached().await;
        // WHEN a worker marks the month again
        let mut worker = db.worker(PASSING, 1);
        let correction = ("A", corrected(first, 1, "99"));
        let stored = tokio::spawn(async move { worker.store(&[correction]).await });
        blocked(&db).await;
        park.release().await;
        assert!(refresh.await.unwrap());
        stored.await.unwrap();
        // THEN it is marked, and the view's row, which is old, is not read
        assert_eq!(db.rows(MARKS).await, ["2020-03-01 0"], "{version}");
        assert_eq!(db.rows(MONTHS).await, ["2020-03-01 10 1"]);
        assert!(db.differences().await.is_empty());
    }
}

#[tokio::test]
async fn a_refresh_does_not_wait_for_a_worker_that_marks_its_period() {
    for version in VERSIONS {
        for point in Point::OF_A_BATCH {
            // GIVEN a marked month, and a worker that corrects it
            let db = Database::new(version).await;
            let first = tick("2020-03-04T10:00:01Z", 1, "10", "1");
            db.store(&[("A", first)]).await;
            let park = Park::at(&db, point).await;
            let mut worker = db.worker(PARKED, 1);
            let correction = ("A", corrected(first, 1, "99"));
            let stored = tokio::spawn(async move { worker.store(&[correction]).await });
            park.reached().await;
            // WHEN the view is refreshed THEN it is at once
            assert!(refresh_months(&db.sessions).await, "{version} {point:?}");
            park.release().await;
            stored.await.unwrap();
            // AND the worker's mark is there: the view has the month as it was
            assert_eq!(db.rows(MARKS).await.len(), 1, "{version} {point:?}");
            assert_eq!(db.rows(MONTHS).await, ["2020-03-01 10 1"]);
            assert!(db.differences().await.is_empty());
        }
    }
}

const CROWD: [&str; 8] = ["A", "B", "C", "D", "E", "F", "G", "H"];

/// Ticks of which some correct, cancel or repeat others; the same symbols and minutes come again and again.
fn crowded(random: &mut StdRng) -> Vec<(&'static str, Tick)> {
    let message = |random: &mut StdRng| {
        let sequence = random.random_range(0..40_i64);
        let time = format!("202{}-03-04T10:{:02}:00Z", sequence % 2, sequence % 5);
        let revision = random.random_range(0..3);
        // The content follows from identity and revision: no conflicts.
        let price = 100 + 7 * sequence + i64::from(revision);
        let plain = tick(&time, sequence, &price.to_string(), "1");
        let tick = Tick {
            revision,
            cancelled: random.random_bool(0.1),
            ..plain
        };
        (CROWD[random.random_range(0..CROWD.len())], tick)
    };
    let mut batch: Vec<_> = (0..30).map(|_| message(random)).collect();
    batch.shuffle(random);
    batch
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_merges_and_refreshes_in_a_crowd_do_not_deadlock() {
    const WORKERS: u64 = 4;
    for (version, batches) in VERSIONS.into_iter().zip([60, 20]) {
        // GIVEN symbols with small blocks, and workers whose batches have symbols, buckets and periods in common
        let db = Database::new(version).await;
        let mut sent = Vec::new();
        for n in 0..10 {
            let early = tick(&format!("2019-03-04T10:{n:02}:00Z"), 1000 + n, "5", "1");
            let batch = CROWD.map(|symbol| (symbol, early));
            db.store(&batch).await;
            sent.extend(batch);
        }
        let mut workers = JoinSet::new();
        for number in 0..WORKERS {
            let mut worker = db.worker(PASSING, i32::try_from(number + 1).unwrap());
            let mut random = StdRng::seed_from_u64(number);
            workers.spawn(async move {
                let mut sent = Vec::new();
                for _ in 0..batches {
                    let batch = crowded(&mut random);
                    // A deadlock would end one of its sessions with an error, and the test with it.
                    let outcome = worker.store(&batch).await;
                    assert!(outcome.letters.is_empty(), "{outcome:?}");
                    sent.extend(batch);
                }
                sent
            });
        }
        // WHEN they run beside merges and refreshes without a pause
        let (merger, refresher) = (
            db.worker(PASSING, 0).sessions,
            db.worker(PASSING, 0).sessions,
        );
        let (mut merged, mut refreshed) = (0, 0);
        while !workers.is_empty() {
            tokio::select! {
                ticks = workers.join_next() => sent.extend(ticks.unwrap().unwrap()),
                (merge, refresh) = async {
                    tokio::join!(ingest::upkeep::merge_blocks(&merger), ingest::upkeep::refresh_views(&refresher))
                } => {
                    merged += done(&merge);
                    refreshed += done(&refresh);
                }
            }
        }
        // THEN nobody was ended, all three did something, and each tick is there with its highest revision
        assert!(
            merged > 0 && refreshed > 0,
            "{version}: {merged} blocks merged, {refreshed} views refreshed"
        );
        let mut best = std::collections::BTreeMap::new();
        for (symbol, tick) in sent {
            let held = best.entry((symbol, tick.key)).or_insert(tick);
            if (tick.revision, tick.cancelled) > (held.revision, held.cancelled) {
                *held = tick;
            }
        }
        let expected: BTreeSet<String> = best
            .iter()
            .filter(|(_, tick)| !tick.cancelled)
            .map(|((symbol, key), tick)| format!("{symbol} {} {}", key.sequence, tick.revision))
            .collect();
        let found = db
            .rows("select concat_ws(' ', symbol, sequence, revision) from ticks order by 1")
            .await;
        assert_eq!(
            found.into_iter().collect::<BTreeSet<_>>(),
            expected,
            "{version}"
        );
        assert!(db.differences().await.is_empty());
    }
}
