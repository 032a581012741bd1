//! Blocks keep every value exactly, in whatever form, and merging them changes nothing.

use common::tick::{EventTime, Price, Size, Tick, TickKey};

use crate::database::{
    DAYS, Database, MINUTES, TICKS, VERSIONS, cancelled, corrected, done, pool, tick,
};

#[tokio::test]
async fn extreme_values_come_back_as_they_were() {
    for version in VERSIONS {
        // GIVEN blocks in every form: narrow, wide, numeric
        let db = Database::new(version).await;
        let max = "9999999999999999999999999999";
        let small = "0.000000000000000001";
        let extremes = [
            tick("1970-01-01T00:00:00Z", i64::MIN, max, max),
            tick("1970-01-01T00:00:00Z", i64::MAX, small, small),
            tick("9999-12-31T23:59:59.999999Z", 0, "0.00000798374", "0"),
        ];
        let wide = [
            tick("2024-01-01T00:00:00Z", 1, "1", "100"),
            tick("2024-06-01T00:00:00Z", 5_000_000_000, "9000000000", "0.5"),
        ];
        let narrow = [
            tick("2024-01-01T00:00:00Z", 1, "1.5", "100"),
            tick("2024-01-01T00:00:01Z", 2, "1.25", "1000000"),
        ];
        // WHEN they are stored
        for (symbol, ticks) in [("X", extremes.as_slice()), ("W", &wide), ("N", &narrow)] {
            let ticks: Vec<_> = ticks.iter().map(|tick| (symbol, *tick)).collect();
            db.store(&ticks).await;
        }
        // THEN the view shows each exactly
        assert_eq!(
            db.rows(TICKS).await,
            [
                "N 2024-01-01 00:00:00.000000 1 1.5 100 0".to_owned(),
                "N 2024-01-01 00:00:01.000000 2 1.25 1000000 0".into(),
                "W 2024-01-01 00:00:00.000000 1 1 100 0".into(),
                "W 2024-06-01 00:00:00.000000 5000000000 9000000000 0.5 0".into(),
                format!("X 1970-01-01 00:00:00.000000 {} {max} {max} 0", i64::MIN),
                format!(
                    "X 1970-01-01 00:00:00.000000 {} {small} {small} 0",
                    i64::MAX
                ),
                "X 9999-12-31 23:59:59.999999 0 0.00000798374 0 0".into(),
            ],
            "{version}"
        );
        // AND the sums keep every digit
        assert_eq!(
            db.rows("select concat_ws(' ', volume, turnover) from candles_1d where local_date = '1970-01-01'").await,
            [format!("{max}.{} {}", &small[2..], "99999999999999999999999999980000000000000000000000000001.000000000000000000000000000000000001")]
        );
        assert!(db.differences().await.is_empty());
    }
}

#[tokio::test]
async fn ticks_between_reads_exactly_the_range() {
    for version in VERSIONS {
        // GIVEN ticks in many blocks, several at one instant across a block's edge
        let db = Database::new(version).await;
        let ticks: Vec<Tick> = (0..700_i64)
            .map(|n| Tick {
                key: TickKey {
                    event_time: EventTime::from_micros(1_000_000 * (n / 7)),
                    sequence: n,
                },
                price: Price::new("1".parse().unwrap()).unwrap(),
                size: Size::new("1".parse().unwrap()).unwrap(),
                revision: 0,
                cancelled: n % 11 == 0,
            })
            .collect();
        let messages: Vec<_> = ticks.iter().map(|tick| ("A", *tick)).collect();
        db.store(&messages).await;
        // WHEN ranges are asked THEN each has the ticks of a plain filter
        for (from, to) in [
            (0, 1),
            (0, 200),
            (42, 43),
            (43, 86),
            (50, 50),
            (99, 200),
            (-5, 0),
        ] {
            let got: Vec<i64> = sqlx::query_scalar(
                "select sequence from ticks_between('A', to_timestamp($1::bigint), to_timestamp($2::bigint))",
            )
            .bind(from)
            .bind(to)
            .fetch_all(&db.owner)
            .await
            .unwrap();
            let expected: Vec<i64> = (0..700)
                .filter(|n| n % 11 != 0 && (from..to).contains(&(n / 7)))
                .collect();
            assert_eq!(got, expected, "{version}: {from} {to}");
        }
    }
}

#[tokio::test]
async fn ticks_between_needs_no_search_path() {
    for version in VERSIONS {
        // GIVEN a tick, and a session of the reading role that looks nowhere
        let db = Database::new(version).await;
        db.store(&[("A", tick("2024-03-04T10:00:01Z", 1, "10", "1"))])
            .await;
        let reader = pool(&(db.url_of)("market_data_api"), "reader");
        let mut session = reader.acquire().await.unwrap();
        sqlx::query("set search_path = ''")
            .execute(&mut *session)
            .await
            .unwrap();
        // WHEN it asks by the qualified name THEN it has the tick
        let prices: Vec<String> = sqlx::query_scalar(
            "select price::text from market_data.ticks_between('A', '-infinity', 'infinity')",
        )
        .fetch_all(&mut *session)
        .await
        .unwrap();
        assert_eq!(prices, ["10"], "{version}");
    }
}

#[tokio::test]
async fn merging_small_blocks_changes_neither_ticks_nor_candles() {
    for version in VERSIONS {
        // GIVEN many small blocks, a large one between them, corrections and cancels
        let db = Database::new(version).await;
        let at = |n: i64| {
            let seconds = n * 7;
            tick(
                &format!(
                    "2024-03-04T{:02}:{:02}:{:02}Z",
                    seconds / 3600,
                    seconds / 60 % 60,
                    seconds % 60
                ),
                n,
                &(100 + n % 13).to_string(),
                "2",
            )
        };
        for n in 0..40 {
            db.store(&[("A", at(3 * n)), ("A", at(3 * n + 1)), ("B", at(n))])
                .await;
        }
        let large: Vec<_> = (200..500).map(|n| ("A", at(n))).collect();
        db.store(&large).await;
        for n in 600..630 {
            db.store(&[("A", at(n))]).await;
        }
        db.store(&[("A", corrected(at(3), 1, "7")), ("A", cancelled(at(4)))])
            .await;
        let before = (
            db.rows(TICKS).await,
            db.rows(MINUTES).await,
            db.rows(DAYS).await,
        );

        // WHEN they are merged
        let merged = done(&ingest::upkeep::merge_blocks(&db.sessions).await);

        // THEN there are few, and all reads as before
        assert!(merged > 100, "{version}: {merged}");
        assert_eq!(
            db.rows("select concat_ws(' ', s.symbol, count(*), sum(count)) from tick_blocks join symbols s on s.id = symbol_id group by s.symbol order by 1").await,
            ["A 3 410", "B 1 40"]
        );
        assert_eq!(
            (
                db.rows(TICKS).await,
                db.rows(MINUTES).await,
                db.rows(DAYS).await
            ),
            before
        );
        assert!(db.differences().await.is_empty());

        // AND late ticks and corrections still find their blocks
        let outcome = db
            .store(&[
                ("A", at(2)),
                ("A", corrected(at(620), 1, "1")),
                ("A", at(3)),
                ("A", at(1000)),
            ])
            .await;
        assert_eq!(
            (
                outcome.added,
                outcome.late,
                outcome.corrections,
                outcome.stale
            ),
            (2, 1, 1, 1)
        );
        assert!(db.differences().await.is_empty());
    }
}
