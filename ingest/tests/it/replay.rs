//! Dead letters are replayed by the path of a message: what is good becomes a tick once, the rest stays.

use ingest::config::IngestConfig;
use ingest::replay::{Replayed, replay};
use ingest::store::letters::Filter;

use crate::database::{Database, TICKS, VERSIONS, VERSIONS_OF_ROWS, tick};

const LETTERS: &str =
    "select concat_ws(' ', \"offset\", reason) from dead_letters order by \"offset\"";

fn json(time: &str, sequence: i64, price: &str) -> String {
    format!(
        r#"{{"symbol":"A","event_time":"{time}","sequence":{sequence},"price":"{price}","size":"1"}}"#
    )
}

/// Letters at these offsets, as if an earlier configuration had refused them.
async fn letters(db: &Database, payloads: &[&str]) {
    for (offset, payload) in (0_i64..).zip(payloads) {
        sqlx::query(
            "insert into dead_letters (cluster_id, topic, \"partition\", \"offset\", key, payload, reason, detail, record_time) \
             values ('cluster', 'ticks', 0, $1, 'A', $2, 'time-out-of-range', 'then', '2024-03-04T12:00:00Z')",
        )
        .bind(offset)
        .bind(payload.as_bytes())
        .execute(&db.pool)
        .await
        .unwrap();
    }
}

async fn replayed(db: &Database, filter: &Filter, dry_run: bool) -> Replayed {
    let config = IngestConfig::default();
    replay(&db.sessions, &config, filter, dry_run)
        .await
        .unwrap()
}

#[tokio::test]
async fn letters_that_are_good_now_become_ticks_and_the_others_say_why_not() {
    for version in VERSIONS {
        // GIVEN letters that are good now, one twice, and some that are not: garbage, a conflict, a tick that is there
        let db = Database::new(version).await;
        db.store(&[("A", tick("2024-03-04T10:00:00Z", 1, "10", "1"))])
            .await;
        // And one that the database alone refuses.
        sqlx::query(
            "alter table market_data.candles_1m add constraint ceiling check (high < 1000000)",
        )
        .execute(&db.owner)
        .await
        .unwrap();
        let good = json("2024-03-04T10:00:05Z", 2, "11");
        letters(
            &db,
            &[
                &good,
                "garbage",
                &good,
                &json("2024-03-04T10:00:00Z", 1, "10.5"),
                &json("2024-03-04T10:00:00Z", 1, "10"),
                &json("2024-03-04T10:00:07Z", 3, "2000000"),
                &json("2024-03-04T09:00:00Z", 4, "9"),
                "",
            ],
        )
        .await;
        let ticks = db.rows(TICKS).await;

        // WHEN it is only asked what would become of them THEN nothing has changed
        let asked = replayed(&db, &Filter::default(), true).await;
        assert_eq!(db.rows(TICKS).await, ticks, "{version}");
        assert_eq!(db.rows(LETTERS).await.len(), 8);

        // WHEN they are replayed
        let done = replayed(&db, &Filter::default(), false).await;
        // THEN it is what was said
        assert_eq!(done, asked, "{version}");
        assert_eq!(done.stored, 4);
        assert_eq!(
            db.rows(TICKS).await,
            [
                "A 2024-03-04 09:00:00.000000 4 9 1 0",
                "A 2024-03-04 10:00:00.000000 1 10 1 0",
                "A 2024-03-04 10:00:05.000000 2 11 1 0",
            ],
            "{version}"
        );
        assert_eq!(
            db.rows(LETTERS).await,
            ["1 not-json", "3 conflict", "5 refused", "7 empty"]
        );
        assert!(db.differences().await.is_empty(), "{version}");

        // AND once more changes nothing
        let rows = db.rows(VERSIONS_OF_ROWS).await;
        let again = replayed(&db, &Filter::default(), false).await;
        assert_eq!((again.stored, again.left), (0, done.left));
        assert_eq!(db.rows(VERSIONS_OF_ROWS).await, rows, "{version}");
    }
}

#[tokio::test]
async fn only_the_letters_that_are_named_are_replayed() {
    for version in VERSIONS {
        let db = Database::new(version).await;
        let payloads: Vec<String> = (0..4)
            .map(|n| json("2024-03-04T10:00:00Z", n, "10"))
            .collect();
        letters(
            &db,
            &payloads.iter().map(String::as_str).collect::<Vec<_>>(),
        )
        .await;
        let id: i64 = sqlx::query_scalar("select id from dead_letters where \"offset\" = 2")
            .fetch_one(&db.pool)
            .await
            .unwrap();
        // WHEN one is named, and then a reason and a topic that none has
        for filter in [
            Filter {
                ids: vec![id],
                ..Filter::default()
            },
            Filter {
                reason: Some("conflict".into()),
                ..Filter::default()
            },
            Filter {
                topic: Some("other".into()),
                ..Filter::default()
            },
        ] {
            replayed(&db, &filter, false).await;
        }
        // THEN that one alone is gone
        assert_eq!(
            db.rows("select \"offset\"::text from dead_letters order by 1")
                .await,
            ["0", "1", "3"],
            "{version}"
        );
    }
}

#[tokio::test]
async fn a_dry_run_makes_no_symbol() {
    for version in VERSIONS {
        // GIVEN a good letter of a symbol that is not known
        let db = Database::new(version).await;
        letters(&db, &[&json("2024-03-04T10:00:00Z", 1, "10")]).await;
        let symbols = "select symbol from symbols";
        for (dry_run, known) in [(true, 0), (false, 1)] {
            // WHEN it is replayed THEN the symbol is made when it is stored, and only then
            assert_eq!(
                replayed(&db, &Filter::default(), dry_run).await.stored,
                1,
                "{version}"
            );
            assert_eq!(db.rows(symbols).await.len(), known, "{version}");
        }
        assert_eq!(db.rows(TICKS).await.len(), 1, "{version}");
    }
}
