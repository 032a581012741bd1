//! Clients that waste the server's time, its memory or its connections to the database get a clear answer or none, and
//! the server goes on.

use std::time::{Duration, Instant};

use testbed::process::Signal;
use testbed::{Tick, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::api::Api;
use crate::pipeline::{PATIENCE, Pipeline};

/// Long enough to tell waiting from answering.
const SOON: Duration = Duration::from_secs(5);

async fn connect(api: &Api) -> TcpStream {
    TcpStream::connect(api.public_address()).await.unwrap()
}

/// All that a server sends until it closes; what came before it broke off, where it did.
async fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    drop(read.expect("the server closes the connection"));
    bytes
}

/// What a server sends until it closes, as text.
async fn read_text(stream: &mut TcpStream) -> String {
    String::from_utf8_lossy(&read_all(stream).await).into_owned()
}

async fn is_answered(api: &Api, path: &str) {
    let answer = tokio::time::timeout(SOON, api.get(path)).await;
    let (status, text) = answer.expect("an answer in time").unwrap();
    assert_eq!(status, 200, "{path}: {text}");
}

/// What the chart lets an api have, in MiB: `resources.limits.memory`.
const CHART_LIMIT: u64 = 256;

/// The memory of a process, in MiB.
fn resident(pid: u32) -> u64 {
    memory(pid, "VmRSS:")
}

/// The most memory that a process has had, in MiB.
fn peak(pid: u32) -> u64 {
    memory(pid, "VmHWM:")
}

fn memory(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib / 1_024
}

/// A symbol with 12 000 minutes.
async fn with_minutes(pipeline: &Pipeline) {
    let _ingest = pipeline.ingest(&[]);
    let ticks: Vec<Tick> = (0..12_000)
        .map(|n| Tick::new("A", 1_700_000_000_000_000 + n * 60_000_000, n, "1.5", "10"))
        .collect();
    pipeline.publish(&ticks).await;
    pipeline.caught_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_are_bounded_and_closed_and_hold_nobody_up() {
    // GIVEN a server for 1500 clients, and 1499 that say nothing
    let pipeline = Pipeline::new("idle_connections").await;
    let mut api = Api::start(
        &pipeline,
        &[
            ("FDA_HTTP__MAX_CONNECTIONS", "1500"),
            ("FDA_HTTP__HEADER_TIMEOUT", "15s"),
        ],
    );
    api.ready().await;
    let pid = api.process().pid();
    let before = resident(pid);
    let mut idle = Vec::new();
    let start = Instant::now();
    for _ in 0..1_499 {
        idle.push(connect(&api).await);
    }
    // WHEN another one asks
    // THEN it is answered, and memory has hardly grown
    is_answered(&api, "/v1/symbols").await;
    let grown = resident(pid).saturating_sub(before);
    assert!(grown < 64, "{grown} MiB for 1500 connections");
    // WHEN one more comes than there is room for, while that one keeps its connection
    idle.push(connect(&api).await);
    let full = eventually("no room", SOON, async || {
        let mut late = connect(&api).await;
        late.write_all(b"GET /v1/symbols HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .map_err(|error| error.to_string())?;
        let mut start = [0; 12];
        late.read_exact(&mut start)
            .await
            .map_err(|error| error.to_string())?;
        if &start == b"HTTP/1.1 503" {
            Ok(read_text(&mut late).await)
        } else {
            idle.push(late);
            Err(String::from_utf8_lossy(&start).into_owned())
        }
    })
    .await
    .unwrap();
    // THEN it is told so
    assert!(
        full.contains("retry-after: 1")
            && full.contains("x-request-id: ")
            && full.contains("too-many-connections"),
        "{full}"
    );
    let (_, metrics) = api.admin("/metrics").await.unwrap();
    assert!(
        !metrics.contains("api_connections_refused_total 0"),
        "{metrics}"
    );
    assert!(metrics.contains("api_connections 1500"), "{metrics}");
    // THEN and clients that say nothing, or only half of it, are closed in time, and there is room again
    let mut half = idle.swap_remove(0);
    drop(half.write_all(b"GET /v1/symbols HTTP/1.1\r\nhost: ").await);
    assert!(!read_text(&mut half).await.contains("200 OK"));
    for stream in &mut idle {
        read_all(stream).await;
    }
    assert!(
        start.elapsed() >= Duration::from_secs(15),
        "closed too soon"
    );
    is_answered(&api, "/v1/symbols").await;
}

/// A page of some megabytes, see [`with_minutes`].
const LONG_PAGE: &str = "/v1/candles/A?interval=1m&from=2023-01-01&limit=10000";

/// The same and more, as a whole range that goes out as it is read.
const EXPORT: &str = "/v1/candles/A?interval=1m&from=2023-01-01&format=ndjson";

async fn ask_and_do_not_read(api: &Api, target: &str, coding: &str) -> TcpStream {
    // The system would hold all of a page for a client that does not read, if it were let.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let address = api.public_address().parse().unwrap();
    let mut client = socket.connect(address).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nhost: a\r\naccept-encoding: {coding}\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    client
}

/// How many requests for candles have an answer, read or not.
async fn answered(api: &Api) -> usize {
    let (_, metrics) = api.admin("/metrics").await.unwrap();
    let counts = metrics.lines().filter(|line| {
        line.starts_with("api_http_request_duration_seconds_count")
            && line.contains("/v1/candles/{symbol}")
    });
    counts
        .map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_reads_share_a_bounded_memory() {
    // GIVEN a server with memory for four long pages
    let pipeline = Pipeline::new("unread_answers").await;
    with_minutes(&pipeline).await;
    let mut api = Api::start(&pipeline, &[("FDA_HTTP__UNREAD_MIB", "16")]);
    api.ready().await;
    let pid = api.process().pid();
    let mut clients = Vec::new();
    for (target, coding) in [
        (EXPORT, "zstd"),
        (EXPORT, "identity"),
        (LONG_PAGE, "zstd"),
        (LONG_PAGE, "gzip"),
        (LONG_PAGE, "identity"),
    ] {
        // WHEN many clients ask for one, in any form, and do not read
        let before = answered(&api).await;
        clients.clear();
        for _ in 0..60 {
            clients.push(ask_and_do_not_read(&api, target, coding).await);
        }
        let all = "all have an answer, or a refusal";
        eventually(all, PATIENCE, async || {
            match answered(&api).await - before {
                60.. => Ok(()),
                few => Err(format!("{few} have")),
            }
        })
        .await
        .unwrap();
        // THEN memory is bounded
        let resident = resident(pid);
        assert!(
            resident < CHART_LIMIT / 2,
            "{resident} MiB, {coding} {target}"
        );
    }
    // THEN another one is told so
    eventually("there is no memory left", PATIENCE, async || {
        match api.get(LONG_PAGE).await.unwrap() {
            (503, text) if text.contains("problem:unread") => Ok(()),
            (status, text) => Err(format!("{status} {text:.200}")),
        }
    })
    .await
    .unwrap();
    let (_, metrics) = api.admin("/metrics").await.unwrap();
    assert!(!metrics.contains("api_unread_bytes 0\n"), "{metrics}");
    // THEN and who asks for less is answered
    is_answered(&api, "/v1/candles/A?interval=1d").await;
    // WHEN they go away THEN there is memory again
    drop(clients);
    eventually("there is memory again", PATIENCE, async || {
        match api.get(LONG_PAGE).await.unwrap() {
            (200, _) => Ok(()),
            (status, text) => Err(format!("{status} {text:.200}")),
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_do_not_read_are_given_up() {
    // GIVEN pages of some megabytes, and clients that ask for them and do not read
    let pipeline = Pipeline::new("slow_readers").await;
    with_minutes(&pipeline).await;
    let mut api = Api::start(
        &pipeline,
        &[
            ("FDA_HTTP__WRITE_TIMEOUT", "2s"),
            // As in the chart.
            ("FDA_DATABASE__MAX_CONNECTIONS", "16"),
            // Room for all of them, so that time alone gives them up.
            ("FDA_HTTP__UNREAD_MIB", "128"),
        ],
    );
    api.ready().await;
    let pid = api.process().pid();
    let (_, page) = api.get(LONG_PAGE).await.unwrap();
    assert!(page.len() > 3_000_000, "{} bytes", page.len());
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(ask_and_do_not_read(&api, LONG_PAGE, "identity").await);
    }
    // WHEN others ask meanwhile, THEN they are answered
    is_answered(&api, "/v1/candles/A?interval=1d").await;
    // THEN and those that do not read lose their connection, with a part of the answer that tells that it is one
    let in_flight = "the connections are given up";
    eventually(in_flight, PATIENCE, async || {
        let log = api.log();
        let sockets = open_sockets(pid);
        // Those of sessions among them.
        if sockets < 16 + 7 {
            Ok(())
        } else {
            Err(format!("{sockets} sockets\n{log}"))
        }
    })
    .await
    .unwrap();
    for client in &mut clients {
        let bytes = read_all(client).await;
        assert!(
            bytes.len() < page.len(),
            "{} bytes of {}",
            bytes.len(),
            page.len()
        );
    }
    is_answered(&api, LONG_PAGE).await;
    assert!(peak(pid) < CHART_LIMIT, "{} MiB", peak(pid));
    api.process().signal(Signal::SIGTERM);
}

/// A minute of 300 000 ticks, one in 200 microseconds, in blocks of 400; the minute and the day bear no more than is
/// looked at.
const DENSE: [&str; 3] = [
    "insert into market_data.tick_blocks (symbol_id, first_time, first_sequence, last_time, last_sequence, count, \
        price_scale, size_scale, price_base, size_base, times, sequences, prices, sizes) \
     select s.id, timestamptz '2024-01-02T00:00:00Z' + b * interval '80 milliseconds', b * 400, \
        timestamptz '2024-01-02T00:00:00Z' + b * interval '80 milliseconds' + interval '79800 microseconds', b * 400 + 399, \
        400, 0, 0, 10, 1, array(select n * 200 from generate_series(0, 399) n), \
        array(select n from generate_series(0, 399) n), array(select n % 7 from generate_series(0, 399) n), \
        array_fill(0, array[400]) \
     from market_data.symbols s, generate_series(0, 749) b",
    "insert into market_data.candles_1m select id, timestamptz '2024-01-02T00:00:00Z', 10, 16, 10, 16, 300000, 3900000, 300000, \
        timestamptz '2024-01-02T00:00:00Z', 0, timestamptz '2024-01-02T00:00:59.9998Z', 299999, 1, clock_timestamp() \
     from market_data.symbols",
    "insert into market_data.candles_1d select m.*, date '2024-01-02' from market_data.candles_1m m",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_of_any_number_of_ticks_needs_no_memory_for_them() {
    // GIVEN a minute with 300 000 ticks
    let pipeline = Pipeline::new("dense_minute").await;
    pipeline.insert_symbols(&[("A", "UTC")]).await;
    for statement in DENSE {
        let done = sqlx::query(statement).execute(pipeline.pool()).await;
        done.unwrap();
    }
    let mut api = Api::start(&pipeline, &[("FDA_HTTP__REQUEST_TIMEOUT", "90s")]);
    api.ready().await;
    // WHEN its seconds are asked for, from both ends, while others do
    let ask = async |order: &str| {
        let target = format!("/v1/candles/A?interval=1s&order={order}&fields=trades");
        let (status, text) = api.get(&target).await.unwrap();
        assert_eq!(status, 200, "{text}");
        let page: serde_json::Value = serde_json::from_str(&text).unwrap();
        let trades = page["candles"].as_array().unwrap().iter();
        let trades: Vec<i64> = trades.map(|row| row["trades"].as_i64().unwrap()).collect();
        // THEN each second has its ticks
        assert_eq!(trades, [5_000; 60]);
    };
    tokio::join!(ask("asc"), ask("desc"));
    // THEN and memory has not grown with them
    let pid = api.process().pid();
    assert!(peak(pid) < CHART_LIMIT / 2, "{} MiB", peak(pid));
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_do_not_end_take_little_memory() {
    // GIVEN a server, and clients that send half of a head and wait
    let pipeline = Pipeline::new("endless_heads").await;
    let mut api = Api::start(&pipeline, &[]);
    api.ready().await;
    let pid = api.process().pid();
    let before = resident(pid);
    let mut clients = Vec::new();
    for _ in 0..300 {
        let mut client = connect(&api).await;
        let head = format!("GET / HTTP/1.1\r\nx: {}", "A".repeat(200_000));
        // WHEN it is longer than any head may be, THEN it is not kept
        drop(client.write_all(head.as_bytes()).await);
        clients.push(client);
    }
    for client in &mut clients {
        let text = tokio::time::timeout(SOON, read_text(client)).await;
        let text = text.expect("an end before the head's time is up");
        assert!(
            text.is_empty() || text.starts_with("HTTP/1.1 431"),
            "{text}"
        );
    }
    is_answered(&api, "/v1/symbols").await;
    let grown = resident(pid).saturating_sub(before);
    assert!(grown < 64, "{grown} MiB");
}

/// How many sockets a process has.
fn open_sockets(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_go_away_leave_no_session_behind() {
    // GIVEN an api with two sessions, and a lock that answers with candles wait for
    let pipeline = Pipeline::new("gone_clients").await;
    pipeline.insert_symbols(&[("A", "UTC")]).await;
    let api = Api::start(&pipeline, &[("FDA_DATABASE__MAX_CONNECTIONS", "2")]);
    api.ready().await;
    let mut lock = pipeline.pool().begin().await.unwrap();
    sqlx::query("lock table market_data.candles_1d in access exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    // WHEN many clients ask for candles, and go away once their statement waits
    for _ in 0..6 {
        let mut client = connect(&api).await;
        client
            .write_all(b"GET /v1/candles/A?interval=1d HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        waiting(&mut lock, |sessions| sessions > 0).await;
        drop(client);
        // THEN others are answered at once
        is_answered(&api, "/_healthcheck").await;
    }
    // THEN and the database gives up the statements that nobody waits for, while the lock still stands
    waiting(&mut lock, |sessions| sessions == 0).await;
}

async fn waiting(connection: &mut sqlx::PgConnection, enough: impl Fn(i64) -> bool) {
    let sql = "select count(*) from pg_stat_activity where usename = 'market_data_api' \
        and datname = current_database() and wait_event_type = 'Lock'";
    eventually("sessions of the api", PATIENCE, async || {
        // A transaction sees the same sessions until it is told to look again.
        sqlx::query("select pg_stat_clear_snapshot()")
            .execute(&mut *connection)
            .await
            .map_err(|error| error.to_string())?;
        let sessions: i64 = sqlx::query_scalar(sql)
            .fetch_one(&mut *connection)
            .await
            .map_err(|error| error.to_string())?;
        if enough(sessions) {
            Ok(())
        } else {
            Err(format!("{sessions} wait"))
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_of_any_length_are_refused_and_the_server_goes_on() {
    // GIVEN a server
    let pipeline = Pipeline::new("long_targets").await;
    let mut api = Api::start(&pipeline, &[]);
    api.ready().await;
    let pid = api.process().pid();
    for (length, statuses) in [
        (8_000, ["200", "200"]),
        (9_000, ["414", "414"]),
        (60_000, ["414", "414"]),
        // What is longer than the head of a request may be is refused before it is read to its end.
        (1_000_000, ["414", "431"]),
    ] {
        for name in ["q", "symbols", "cursor"] {
            // WHEN a request has a long parameter
            let path = if name == "symbols" {
                "latest"
            } else {
                "symbols"
            };
            let value = "A".repeat(length);
            let request = format!(
                "GET /v1/{path}?{name}={value} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
            );
            let mut client = connect(&api).await;
            // The server may answer and close before it has read all.
            drop(client.write_all(request.as_bytes()).await);
            let text = read_text(&mut client).await;
            // THEN it is refused
            if length == 8_000 && name != "q" {
                let within = text.starts_with("HTTP/1.1 400") || text.starts_with("HTTP/1.1 200");
                assert!(within, "{name}: {text:.200}");
                continue;
            }
            let refused = statuses
                .iter()
                .any(|status| text.starts_with(&format!("HTTP/1.1 {status}")));
            assert!(
                refused || text.is_empty() && length > 500_000,
                "{name} of {length}: {text:.200}"
            );
        }
        is_answered(&api, "/v1/symbols").await;
    }
    assert!(resident(pid) < 200, "{} MiB", resident(pid));
}
