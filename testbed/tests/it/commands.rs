//! What operators do by hand, on the real path: dead letters, positions, zones and retention.

use std::collections::BTreeSet;
use std::time::Duration;

use testbed::process::Signal;
use testbed::{Encoding, Tick, eventually};

use crate::avro;
use crate::pipeline::Pipeline;
use crate::positions::counts;
use crate::program::{self, Program, log_of};
use crate::worker::Worker;

/// 2024-01-15T12:00:00Z.
const NOON: i64 = 1_705_320_000_000_000;
const HOUR: i64 = 3_600_000_000;
/// Long enough for what does not wait.
const SOON: Duration = Duration::from_secs(5);

/// Runs a command that must succeed; returns what it printed.
async fn done(pipeline: &Pipeline, arguments: &[&str]) -> String {
    let (code, text) = pipeline.ingest_command(arguments).await;
    assert_eq!(code, 0, "{arguments:?}: {text}");
    text
}

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_shown_and_replayed_once_the_configuration_takes_them() {
    // GIVEN a tick of today and one of three days ahead, which is a dead letter
    let pipeline = Pipeline::with_partitions("command_letters", 1).await;
    let now = chrono::Utc::now().timestamp_micros();
    let ticks = [
        Tick::new("A", now, 1, "10", "1"),
        Tick::new("A", now + 72 * HOUR, 2, "11", "1"),
    ];
    pipeline.publish(&ticks).await;
    let _worker = Worker::start(&pipeline, &[]);
    pipeline.caught_up().await;

    // WHEN they are listed THEN it is there, with its number, by which it is shown whole
    let list = done(&pipeline, &["dead-letters", "list"]).await;
    has(&list, &["offset 1 ", "time-out-of-range", "1 letters"]);
    let id = list.split_whitespace().next().unwrap();
    let show = done(&pipeline, &["dead-letters", "show", id]).await;
    has(&show, &["command_letters [0] offset 1", r#""sequence":2"#]);

    // WHEN a letter or a reason is named that there is not THEN it is told
    let (code, text) = pipeline
        .ingest_command(&["dead-letters", "replay", id, "999999"])
        .await;
    assert_eq!(code, 1, "{text}");
    has(&text, &["there is no letter 999999"]);
    let (code, text) = pipeline
        .ingest_command(&["dead-letters", "list", "--reason", "bogus"])
        .await;
    assert_eq!(code, 2, "{text}");

    // WHEN it is replayed as it is THEN it stays, and the exit code says so
    let replay = ["dead-letters", "replay", "--reason", "time-out-of-range"];
    let (code, text) = pipeline.ingest_command(&replay).await;
    assert_eq!(code, 1, "{text}");
    has(&text, &["1 left: time-out-of-range"]);
    assert_eq!(counts(&pipeline).await, [("A".to_owned(), 1)]);

    // WHEN the configuration has no format for its topic THEN it is the configuration that is told to be wrong
    let url = pipeline.url_as("market_data_ingest");
    let other = [
        pipeline.settings(&url).as_slice(),
        &[("FDA_KAFKA__TOPIC", "other")],
    ]
    .concat();
    let (code, text) = program::run(&replay, &other).await;
    assert_eq!(code, 2, "{text}");
    has(&text, &["\"command_letters\" is not configured"]);

    // WHEN the configuration takes it THEN a dry run says what a replay does, and only that one does it
    let settings = [
        pipeline.settings(&url).as_slice(),
        &[("FDA_ACCEPT__AHEAD", "7days")],
    ]
    .concat();
    let dry = [replay.as_slice(), &["--dry-run"]].concat();
    for (arguments, stored) in [(&dry[..], 1), (&replay, 2), (&replay, 2)] {
        let (code, text) = program::run(arguments, &settings).await;
        assert_eq!(code, 0, "{text}");
        assert_eq!(
            counts(&pipeline).await,
            [("A".to_owned(), stored)],
            "{text}"
        );
    }
    has(
        &done(&pipeline, &["dead-letters", "list"]).await,
        &["0 letters"],
    );
    let (code, text) = pipeline.ingest_command(&["dead-letters", "show", id]).await;
    assert_eq!(code, 1, "{text}");
    pipeline.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_in_avro_are_replayed_by_their_writers_schema() {
    // GIVEN a tick in Avro of three days ahead, which is a dead letter, and what no schema can read
    let registry = avro::registry().await;
    let pipeline = Pipeline::with_partitions("command_avro", 1).await;
    let subject = "command_avro-value";
    let schema_id = registry
        .register(subject, testbed::avro::SCHEMA)
        .await
        .unwrap();
    let ahead = chrono::Utc::now().timestamp_micros() + 72 * HOUR;
    let tick = Tick::new("A", ahead, 1, "95.455002", "100");
    let good = Encoding::Avro { schema_id }.encode(&tick).unwrap();
    let publisher = pipeline.publisher().await;
    for payload in [&good[..], b"garbage"] {
        publisher.send_raw(Some(b"A"), Some(payload), None).unwrap();
    }
    publisher.settle().await.unwrap();
    let (url, registry_url) = (pipeline.url_as("market_data_ingest"), registry.url());
    let format = [
        ("FDA_KAFKA__FORMAT", "avro"),
        ("FDA_KAFKA__SCHEMA_REGISTRY_URL", registry_url.as_str()),
    ];
    let _worker = Worker::start(&pipeline, &format);
    pipeline.caught_up().await;
    assert_eq!(counts(&pipeline).await, []);

    // WHEN they are replayed with a configuration that takes the tick
    let ahead = [("FDA_ACCEPT__AHEAD", "7days")];
    let settings = [&pipeline.settings(&url)[..], &format, &ahead].concat();
    let (code, text) = program::run(&["dead-letters", "replay"], &settings).await;
    // THEN it is stored, and the other one stays what it was
    assert_eq!(code, 1, "{text}");
    has(&text, &["1 letters stored", "1 left: not-avro"]);
    assert_eq!(counts(&pipeline).await, [("A".to_owned(), 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_of_one_cluster_are_shown_and_reset_alone() {
    // GIVEN positions of one topic in two clusters
    let pipeline = Pipeline::with_partitions("command_offsets", 2).await;
    for cluster in ["east", "west"] {
        let insert = "insert into market_data.ingest_offsets (cluster_id, topic, \"partition\", next_offset) \
             select $1, 'command_offsets', n, 7 from generate_series(0, 1) n";
        sqlx::query(insert)
            .bind(cluster)
            .execute(pipeline.pool())
            .await
            .unwrap();
    }
    let reset = ["offsets", "reset", "--topic", "command_offsets"];
    let left = async || done(&pipeline, &["offsets", "show"]).await;

    // WHEN the cluster is not named THEN nothing is forgotten, and it is said why
    let (code, text) = pipeline.ingest_command(&reset).await;
    assert_eq!(code, 1, "{text}");
    has(&text, &["--cluster", "Nothing was changed"]);
    has(&left().await, &["4 partitions"]);

    // WHEN it is named THEN its positions alone are shown, and forgotten
    let east = done(&pipeline, &["offsets", "show", "--cluster", "east"]).await;
    assert!(!east.contains("west"), "{east}");
    let reset = [reset.as_slice(), &["--cluster", "east"]].concat();
    done(&pipeline, &[&reset[..], &["--dry-run"]].concat()).await;
    has(&left().await, &["4 partitions"]);
    has(&done(&pipeline, &reset).await, &["2 positions forgotten"]);
    let left = left().await;
    assert!(left.contains("west") && !left.contains("east"), "{left}");
}

/// Start and volume of each daily candle that `api` answers.
async fn days(pipeline: &Pipeline) -> Vec<String> {
    let answer = pipeline
        .get_json("/v1/candles/A?interval=1d&partial=include")
        .await;
    let candles = answer["candles"].as_array().unwrap();
    candles
        .iter()
        .map(|day| format!("{} {}", day["open_time"], day["volume"]))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_zone_shows_readers_the_old_days_or_the_new_ones() {
    // GIVEN two hundred days of a symbol in UTC, and an api that answers with them
    let pipeline = Pipeline::with_partitions("command_zone", 1).await;
    let ticks: Vec<Tick> = (0..2_400)
        .map(|n| Tick::new("A", NOON + 2 * HOUR * n, n, "10", "1"))
        .collect();
    pipeline.publish(&ticks).await;
    let _worker = Worker::start(&pipeline, &[]);
    pipeline.caught_up().await;
    let before = days(&pipeline).await;
    let set = ["symbols", "set", "A", "--timezone", "America/New_York"];
    let dry = done(&pipeline, &[&set[..], &["--dry-run"]].concat()).await;
    has(&dry, &["would be moved from UTC", "nothing was changed"]);
    assert_eq!(days(&pipeline).await, before);

    // WHEN its zone changes while it is read
    let (setting, reading) = (done(&pipeline, &set), async {
        let mut seen = BTreeSet::from([days(&pipeline).await]);
        while seen.len() < 2 {
            seen.insert(days(&pipeline).await);
        }
        seen
    });
    let (text, seen) = tokio::time::timeout(crate::pipeline::PATIENCE, async {
        tokio::join!(setting, reading)
    })
    .await
    .unwrap();

    // THEN each answer was the days of one zone or of the other
    has(&text, &["moved from UTC to America/New_York"]);
    let after = days(&pipeline).await;
    assert_ne!(before, after);
    assert_eq!(seen, BTreeSet::from([before, after.clone()]));
    assert!(after[1].contains("T05:00:00Z"), "{after:?}");
    has(
        &done(&pipeline, &["symbols", "list"]).await,
        &["A  America/New_York", "1 symbols"],
    );
    pipeline.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_told_to_stop_changes_nothing_more() {
    // GIVEN a symbol whose row another session holds, and no worker that could wait for it
    let pipeline = Pipeline::with_partitions("command_stop", 1).await;
    let mut worker = Worker::start(&pipeline, &[]);
    pipeline
        .publish(&[Tick::new("A", NOON, 1, "10", "1")])
        .await;
    pipeline.caught_up().await;
    worker.stops().await;
    let mut lock = pipeline.pool().begin().await.unwrap();
    sqlx::query("select from market_data.symbols for update")
        .execute(&mut *lock)
        .await
        .unwrap();
    for (others, arguments) in [
        &["symbols", "set", "A", "--timezone", "Asia/Tokyo"][..],
        &["ticks", "retain", "--older-than", "2024-01-20"],
    ]
    .into_iter()
    .enumerate()
    {
        // WHEN a command waits for it and is told to stop
        let url = pipeline.url_as("market_data_ingest");
        let settings = pipeline.settings(&url);
        let command = Program::launch("ingest", pipeline.folder(), arguments, &settings);
        // The server does not know yet that those before have gone.
        waiting(&pipeline, others + 1).await;
        let mut process = command.into_process();
        process.signal(Signal::SIGTERM);
        // THEN it ends at once, as failed
        let ended = eventually("the command ends", SOON, async || {
            process.exited().unwrap().ok_or("it runs")
        });
        assert_eq!(ended.await.unwrap().code(), Some(1), "{}", log_of(&process));
        has(&log_of(&process), &["stopped: earlier steps stay"]);
    }
    // THEN and nothing has changed once the row is free
    lock.rollback().await.unwrap();
    has(&done(&pipeline, &["symbols", "list"]).await, &["A  UTC"]);
    assert_eq!(counts(&pipeline).await, [("A".to_owned(), 1)]);
}

/// Waits until so many sessions wait for a lock.
async fn waiting(pipeline: &Pipeline, sessions: usize) {
    let sessions = i64::try_from(sessions).unwrap();
    let sql = "select count(*) >= $1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
    eventually("a session waits", crate::pipeline::PATIENCE, async || {
        let waits = sqlx::query_scalar(sql)
            .bind(sessions)
            .fetch_one(pipeline.pool())
            .await;
        match waits {
            Ok(true) => Ok(()),
            Ok(false) => Err("too few".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn old_ticks_are_deleted_and_reading_the_topic_again_brings_none_back() {
    // GIVEN ten days of ticks of two symbols
    let pipeline = Pipeline::with_partitions("command_retain", 1).await;
    let ticks: Vec<Tick> = (0..240)
        .flat_map(|n| ["A", "B"].map(|symbol| Tick::new(symbol, NOON + HOUR * n, n, "10", "1")))
        .collect();
    pipeline.publish(&ticks).await;
    let mut worker = Worker::start(&pipeline, &[]);
    pipeline.caught_up().await;
    let all = days(&pipeline).await;

    // WHEN those of A before the 20th are deleted, after a dry run
    let retain = [
        "ticks",
        "retain",
        "--older-than",
        "2024-01-20T10:00:00Z",
        "--symbol",
        "A",
    ];
    let dry = done(&pipeline, &[&retain[..], &["--dry-run"]].concat()).await;
    has(&dry, &["108 ticks would be deleted", "nothing was changed"]);
    let text = done(&pipeline, &retain).await;
    has(&text, &["A: 108 ticks deleted before 2024-01-20T00:00:00Z"]);
    // THEN they are gone, B's are not, and the candles are what they were
    let kept = [("A".to_owned(), 132), ("B".to_owned(), 240)];
    assert_eq!(counts(&pipeline).await, kept);
    assert_eq!(days(&pipeline).await, all);
    pipeline.verify().await;

    // WHEN the topic is read again
    worker.stops().await;
    done(
        &pipeline,
        &["offsets", "reset", "--topic", pipeline.topic()],
    )
    .await;
    let _worker = Worker::start(&pipeline, &[]);
    pipeline.caught_up().await;
    // THEN none comes back: each is a dead letter
    assert_eq!(counts(&pipeline).await, kept);
    let list = done(&pipeline, &["dead-letters", "list", "--limit", "0"]).await;
    has(&list, &["108 of command_retain: below-floor"]);

    // WHEN candles go THEN only A's do, and no days
    let candles = ["candles", "retain", "--older-than", "2024-02-01"];
    let text = done(&pipeline, &candles).await;
    has(
        &text,
        &[
            "A: 108 candles_1m deleted",
            "A: 108 candles_1h deleted",
            "1 symbols keep all",
        ],
    );
    assert_eq!(days(&pipeline).await, all);
    pipeline.verify().await;
    // AND what is made of them in part is not told: B, whose ticks are the same, has the whole
    for query in [
        "interval=30s",
        "interval=2h&tz=Asia/Kolkata",
        "interval=1w&tz=America/New_York",
    ] {
        let mut told = Vec::new();
        for symbol in ["A", "B"] {
            let target =
                format!("/v1/candles/{symbol}?{query}&fields=open_time,volume&limit=10000");
            let page = pipeline.get_json(&target).await;
            told.push(page["candles"].as_array().unwrap().clone());
        }
        let whole = told.pop().unwrap();
        let kept = whole
            .iter()
            .filter(|row| row["open_time"].as_str() >= Some("2024-01-20"));
        assert_eq!(told, [kept.cloned().collect::<Vec<_>>()], "{query}");
        assert!(told[0].len() < whole.len(), "{query}");
    }

    // AND what makes no sense is refused
    for wrong in ["2999-01-01", "soon"] {
        let (code, text) = pipeline
            .ingest_command(&["ticks", "retain", "--older-than", wrong])
            .await;
        assert_eq!(code, 2, "{text}");
    }
}
