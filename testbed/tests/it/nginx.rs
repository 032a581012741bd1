//! nginx in front of the api, by the configuration of the image: what is stored, what is limited, what every answer
//! bears, and that no request is lost.

mod front;
mod upstream;

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use testbed::process::Launch;
use testbed::{Process, Tick, eventually, http, ports, workspace};
use tokio::io::AsyncReadExt as _;

use self::front::{Answer, Front, receive, send};
use self::upstream::Upstream;
use crate::pipeline::{PATIENCE, Pipeline};

/// On every answer, whoever wrote it.
const SECURITY: [(&str, &str); 4] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    (
        "content-security-policy",
        "default-src 'none'; frame-ancestors 'none'",
    ),
];

fn check_headers(answer: &Answer, what: &str) {
    for (name, value) in SECURITY {
        assert_eq!(answer.header(name), value, "{what}: {name} in {answer:?}");
    }
    assert_eq!(answer.header("server"), "nginx", "{what}: {answer:?}");
    let id = answer.header("x-request-id");
    assert!(!id.is_empty() && !id.contains(','), "{what}: {answer:?}");
}

/// Checks a problem document and that it names its own answer.
fn check_problem(answer: &Answer, status: u16, what: &str) {
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    check_headers(answer, what);
    assert_eq!(
        answer.header("content-type"),
        "application/problem+json",
        "{what}"
    );
    assert_eq!(answer.header("cache-control"), "no-store", "{what}");
    let problem: serde_json::Value = serde_json::from_str(answer.text()).unwrap();
    assert_eq!(problem["status"], status, "{what}");
    assert_eq!(problem["instance"], answer.header("x-request-id"), "{what}");
    for key in ["type", "title", "detail"] {
        assert!(
            problem[key].as_str().is_some_and(|text| !text.is_empty()),
            "{what}: {problem}"
        );
    }
}

/// Asks until the cache says that it did `status`.
async fn until(front: &Front, target: &str, status: &str) -> Answer {
    let answer = eventually(status, PATIENCE, async || {
        let answer = front.get(target).await;
        if answer.cache() == status {
            Ok(answer)
        } else {
            Err(format!("{answer:?}"))
        }
    });
    answer.await.unwrap()
}

/// A real `api`.
struct Api {
    process: Process,
    port: u16,
    admin: u16,
}

impl Api {
    fn start(pipeline: &Pipeline, port: u16) -> Self {
        let admin = ports::free().unwrap();
        let mut command = Command::new(workspace::binary("api").unwrap());
        command
            .current_dir(pipeline.folder())
            .arg("run")
            .env("ENVIRONMENT", "test")
            .env("FDA_DATABASE__URL", pipeline.url_as("market_data_api"))
            .env("FDA_HTTP__LISTEN", format!("127.0.0.1:{port}"))
            .env("FDA_ADMIN__LISTEN", format!("127.0.0.1:{admin}"));
        let log = pipeline.folder().join(format!("api-at-{port}.log"));
        let process = Launch::new("api", command, log).start().unwrap();
        Self {
            process,
            port,
            admin,
        }
    }

    async fn ready(pipeline: &Pipeline, port: u16) -> Self {
        let api = Self::start(pipeline, port);
        let (client, url) = (
            http::local().unwrap(),
            format!("http://127.0.0.1:{}/readyz", api.admin),
        );
        eventually("api is ready", PATIENCE, async || {
            client.get(&url).send().await?.error_for_status()
        })
        .await
        .unwrap();
        api
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// A tick of 2024, one a minute.
fn tick(minute: i64) -> Tick {
    let start = 1_704_067_200_000_000;
    Tick::new("A", start + minute * 60_000_000, minute, "10.5", "1")
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one api and one nginx for all of it")]
async fn answers_of_the_api_are_stored_and_validated_as_it_says() {
    // GIVEN candles of 2024 behind nginx
    let pipeline = Pipeline::with_partitions("nginx_cache", 1).await;
    let _ingest = pipeline.ingest(&[]);
    let ticks: Vec<Tick> = (0..60).map(tick).collect();
    pipeline.publish(&ticks).await;
    pipeline.caught_up().await;
    let api = Api::ready(&pipeline, ports::free().unwrap()).await;
    let Some(front) = Front::start("cache", &[("NGINX_API", &api.address())]).await else {
        return;
    };

    // WHEN a range is past all corrections THEN its first answer serves the next ones, whole or as 304
    let settled = "/v1/candles/A?interval=1m&to=2024-01-02";
    let miss = front.get(settled).await;
    assert_eq!(
        (miss.status, miss.cache().as_str()),
        (200, "MISS"),
        "{miss:?}"
    );
    assert!(miss.text().starts_with(r#"{"symbol":"A","interval":"1m""#));
    let hit = front
        .ask("GET", settled, &[("X-Request-Id", "mine-1")])
        .await;
    assert_eq!((hit.cache().as_str(), &hit.body), ("HIT", &miss.body));
    assert_eq!(hit.header("x-request-id"), "mine-1");
    assert_ne!(miss.header("x-request-id"), hit.header("x-request-id"));
    let tag = hit.header("etag");
    let known = front.ask("GET", settled, &[("If-None-Match", &tag)]).await;
    assert_eq!(
        (known.status, known.cache().as_str(), known.body.len()),
        (304, "HIT", 0)
    );
    assert_eq!(known.header("vary"), "Accept, Accept-Encoding");
    check_headers(&known, "304");
    let head = front.ask("HEAD", settled, &[]).await;
    assert_eq!(
        (head.status, head.cache().as_str(), head.body.len()),
        (200, "HIT", 0)
    );
    // AND another form of the same query is another entry
    assert_eq!(
        front
            .get("/v1/candles/A?to=2024-01-02&interval=1m")
            .await
            .cache(),
        "MISS"
    );

    // WHEN corrections may come THEN each use is validated, and a change is seen at once
    let recent = "/v1/candles/A?interval=1m";
    let first = front.get(recent).await;
    assert_eq!(
        (
            first.cache().as_str(),
            first.header("cache-control").as_str()
        ),
        ("MISS", "no-cache")
    );
    assert_eq!(first.header("x-accel-expires"), "");
    assert_eq!(front.get(recent).await.cache(), "REVALIDATED");
    let known = front
        .ask("GET", recent, &[("If-None-Match", &first.header("etag"))])
        .await;
    assert_eq!((known.status, known.cache().as_str()), (304, "REVALIDATED"));
    pipeline.publish(&[tick(60)]).await;
    pipeline.caught_up().await;
    let changed = front
        .ask("GET", recent, &[("If-None-Match", &first.header("etag"))])
        .await;
    assert_eq!((changed.status, changed.cache().as_str()), (200, "EXPIRED"));
    assert!(
        changed.text().contains("2024-01-01T01:00:00Z"),
        "{changed:?}"
    );
    assert_ne!(changed.header("etag"), first.header("etag"));

    // WHEN a parameter is unknown THEN the fault is told each time anew
    let wrong = "/v1/candles/A?interval=1m&to=2024-01-02&x=1";
    for _ in 0..2 {
        let answer = front.get(wrong).await;
        check_problem(&answer, 400, wrong);
        assert_eq!(answer.cache(), "MISS");
    }
    let answer = front.get("/stocks/time-series/A?x=1").await;
    assert_eq!((answer.status, answer.text()), (400, r#""Bad Request""#));
    check_headers(&answer, "the seed's fault");
    assert_eq!(front.get("/stocks/time-series/A?x=1").await.cache(), "MISS");
    check_problem(
        &front.get("/v1/candles/NONE?interval=1m").await,
        404,
        "unknown symbol",
    );

    // WHEN a client can read gzip THEN it gets it, and its tag, made weak, is known
    let small = front
        .ask("GET", settled, &[("Accept-Encoding", "gzip")])
        .await;
    assert_eq!(
        (
            small.header("content-encoding").as_str(),
            small.cache().as_str()
        ),
        ("gzip", "HIT")
    );
    assert_eq!(small.header("etag"), format!("W/{tag}"));
    let known = front
        .ask("GET", settled, &[("If-None-Match", &small.header("etag"))])
        .await;
    assert_eq!(known.status, 304);

    // WHEN the admin listener is looked for THEN there is no way to it, by name, by address or around
    for target in [
        "/metrics".to_owned(),
        "/livez".to_owned(),
        "/readyz".to_owned(),
        "//metrics".to_owned(),
        "/v1/../metrics".to_owned(),
        "/%6detrics".to_owned(),
        "/metrics/".to_owned(),
        format!("http://127.0.0.1:{}/metrics", api.admin),
    ] {
        check_problem(&front.get(&target).await, 404, &target);
    }
    let host = format!(
        "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n",
        api.admin
    );
    check_problem(
        &front.raw(Ipv4Addr::LOCALHOST, &host).await.unwrap(),
        404,
        "Host",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hundred_concurrent_misses_are_one_request() {
    // GIVEN an api that has not answered yet
    let upstream = Upstream::start("public, max-age=60").await;
    let Some(front) = Front::start("lock", &[("NGINX_API", &upstream.address)]).await else {
        return;
    };
    upstream.hold();
    // WHEN a hundred clients ask the same
    let request =
        "GET /v1/candles/A?interval=1d HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(front.send(Ipv4Addr::LOCALHOST, request).await.unwrap());
    }
    // A second request to the api would come within this time.
    let second = eventually("a second request", Duration::from_millis(700), async || {
        let seen = upstream.seen().len();
        if seen > 1 { Ok(seen) } else { Err(seen) }
    });
    assert!(second.await.is_err(), "{} requests", upstream.seen().len());
    upstream.open();
    // THEN one request reaches it, and its answer is everybody's
    let mut misses = 0;
    for stream in streams {
        let answer = receive(stream).await.unwrap();
        assert_eq!(
            (answer.status, answer.text()),
            (200, "first"),
            "{}",
            front.log()
        );
        misses += usize::from(answer.cache() == "MISS");
    }
    assert_eq!((upstream.seen().len(), misses), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_answer_stands_in_for_a_failing_api_where_the_api_allows_it() {
    // GIVEN an answer that may stand in, one that may not, and one that must be validated
    let allowed = "public, max-age=1, stale-while-revalidate=1, stale-if-error=60";
    let upstream = Upstream::start(allowed).await;
    let Some(front) = Front::start("stale", &[("NGINX_API", &upstream.address)]).await else {
        return;
    };
    assert_eq!(front.get("/allowed").await.cache(), "MISS");
    upstream.answer(200, "Cache-Control: public, max-age=1\r\n", "first");
    assert_eq!(front.get("/plain").await.cache(), "MISS");
    upstream.answer(
        200,
        "X-Accel-Expires: @1\r\nCache-Control: no-cache\r\nETag: \"1\"\r\n",
        "first",
    );
    assert_eq!(front.get("/validated").await.cache(), "MISS");
    // WHEN the api fails
    upstream.answer(500, "Cache-Control: no-store\r\n", "failed");
    // THEN the first does, when it has expired, again and again, and the others tell of the failure
    let failing = async || {
        let stale = until(&front, "/allowed", "STALE").await;
        assert_eq!((stale.status, stale.text()), (200, "first"));
        check_headers(&stale, "stale");
        for target in ["/plain", "/validated"] {
            until(&front, target, "EXPIRED").await;
        }
    };
    failing().await;
    for target in ["/plain", "/validated"] {
        let answer = front.get(target).await;
        assert_eq!((answer.status, answer.text()), (500, "failed"), "{target}");
        check_headers(&answer, target);
    }
    // AND likewise when it is gone
    drop(upstream);
    eventually("the api is gone", PATIENCE, async || {
        let answer = front.get("/validated").await;
        if answer.status == 502 {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    })
    .await
    .unwrap();
    failing().await;
    for target in ["/plain", "/validated"] {
        let answer = front.get(target).await;
        check_problem(&answer, 502, target);
        assert_eq!(answer.header("retry-after"), "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_answer_is_served_while_the_new_one_is_fetched() {
    // GIVEN an answer that has expired, and an api that takes its time
    let rule = "Cache-Control: public, max-age=1, stale-while-revalidate=600\r\n";
    let upstream = Upstream::start("no-store").await;
    upstream.answer(200, rule, "first");
    let Some(front) = Front::start("updating", &[("NGINX_API", &upstream.address)]).await else {
        return;
    };
    assert_eq!(front.get("/x").await.cache(), "MISS");
    upstream.answer(200, rule, "second");
    upstream.hold();
    // WHEN it is asked for THEN all get the old one at once, and one request is under way
    assert_eq!(until(&front, "/x", "STALE").await.text(), "first");
    for _ in 0..5 {
        let answer = front.get("/x").await;
        assert_eq!(
            (answer.cache().as_str(), answer.text()),
            ("UPDATING", "first")
        );
        check_headers(&answer, "updating");
    }
    assert_eq!(upstream.seen().len(), 2);
    // AND the new one when it has come
    upstream.open();
    assert_eq!(until(&front, "/x", "HIT").await.text(), "second");
}

#[tokio::test(flavor = "multi_thread")]
async fn limit_counts_the_real_address_whatever_a_client_says_of_itself() {
    // GIVEN a limit, and one trusted proxy
    let (client, victim, proxy) = (
        Ipv4Addr::new(127, 0, 0, 2),
        Ipv4Addr::new(127, 0, 0, 3),
        Ipv4Addr::new(127, 0, 0, 4),
    );
    let upstream = Upstream::start("no-store").await;
    let settings = [
        ("NGINX_API", upstream.address.as_str()),
        ("NGINX_RATE_LIMIT", "1r/m"),
        ("NGINX_BURST", "4"),
        ("NGINX_TRUSTED_PROXIES", "127.0.0.4/32 10.9.0.0/16"),
    ];
    let Some(front) = Front::start("limit", &settings).await else {
        return;
    };
    let ask = async |from, forwarded: &str| {
        front
            .ask_from(from, "GET", "/x", &[("X-Forwarded-For", forwarded)])
            .await
    };
    let spend = async |from, forwarded: fn(usize) -> String| {
        let mut statuses = Vec::new();
        for n in 0..7 {
            statuses.push(ask(from, &forwarded(n)).await.status);
        }
        assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429]);
    };
    // WHEN a client gives another address each time, its neighbour's among them, THEN it is limited all the same
    spend(client, |n| format!("127.0.0.{n}")).await;
    let refused = ask(client, "127.0.0.3").await;
    check_problem(&refused, 429, "limit");
    assert_eq!(refused.header("retry-after"), "1");
    // AND its neighbour is not
    assert_eq!(ask(victim, "").await.status, 200);
    // WHEN clients come through the proxy THEN the address that the proxy saw counts, however many of its own a client
    // puts before it
    spend(proxy, |n| format!("198.51.100.{n}, 127.0.0.3, 203.0.113.1")).await;
    assert_eq!(ask(proxy, "203.0.113.1, 10.9.0.1").await.status, 429);
    assert_eq!(ask(proxy, "203.0.113.1, 203.0.113.2").await.status, 200);
    assert_eq!(ask(victim, "").await.status, 200);
    // AND the api is told the same address
    let seen = upstream.seen();
    let told = |address: &str| {
        seen.iter()
            .filter(|head| head.contains(&format!("X-Forwarded-For: {address}\r\n")))
            .count()
    };
    assert_eq!(
        (told("127.0.0.2"), told("203.0.113.1"), told("127.0.0.3")),
        (5, 5, 2),
        "{seen:?}"
    );
    // AND nginx itself can always be asked whether it lives
    assert_eq!(
        front
            .ask_from(client, "GET", "/_nginx/livez", &[])
            .await
            .status,
        204
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn first_event_comes_at_once_and_a_stream_has_no_timeout() {
    // GIVEN an api that sends one event and then nothing for a while, and a short timeout
    let upstream = Upstream::start("no-store").await;
    let settings = [
        ("NGINX_API", upstream.address.as_str()),
        ("NGINX_READ_TIMEOUT", "1s"),
    ];
    let Some(front) = Front::start("stream", &settings).await else {
        return;
    };
    upstream.hold();
    // WHEN a client listens
    let request =
        "GET /v1/stream?symbols=A HTTP/1.1\r\nHost: test\r\nAccept-Encoding: gzip\r\n\r\n";
    let mut stream = front.send(Ipv4Addr::LOCALHOST, request).await.unwrap();
    // THEN it gets the first event, though the answer goes on
    let mut text = String::new();
    let mut read = async |wanted: &str| {
        let reading = async {
            while !text.contains(wanted) {
                let mut bytes = [0; 1024];
                let count = stream.read(&mut bytes).await.unwrap();
                assert!(count > 0, "the stream ended: {text}");
                text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
            }
        };
        tokio::time::timeout(Duration::from_secs(10), reading)
            .await
            .unwrap();
        text.clone()
    };
    let head = read(": first\n\n").await;
    assert!(
        !head.contains("X-Cache-Status") && !head.contains("Content-Encoding"),
        "{head}"
    );
    assert!(
        head.contains("X-Content-Type-Options: nosniff\r\n"),
        "{head}"
    );
    // WHEN as much time has passed as ends another request THEN the stream goes on
    let timeout = front.get("/slow").await;
    check_problem(&timeout, 504, "timeout");
    upstream.open();
    read("data: second\n\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_reading_methods_pass_and_every_refusal_is_a_problem() {
    let upstream = Upstream::start("no-store").await;
    let Some(front) = Front::start("methods", &[("NGINX_API", &upstream.address)]).await else {
        return;
    };
    for method in ["POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "FOO"] {
        let answer = front
            .ask(method, "/v1/symbols", &[("Content-Length", "0")])
            .await;
        check_problem(&answer, 405, method);
        assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS", "{method}");
    }
    let head = front.ask("POST", "/_problem", &[]).await;
    check_problem(&head, 405, "the error page itself");
    check_problem(&front.get("/_problem").await, 404, "the error page itself");
    let long = "x".repeat(20_000);
    let cases = [
        (414, format!("GET /{long} HTTP/1.1\r\nHost: test\r\n\r\n")),
        (431, format!("GET / HTTP/1.1\r\nHost: test\r\nX: {long}\r\n\r\n")),
        (413, "GET / HTTP/1.1\r\nHost: test\r\nContent-Length: 5000\r\nConnection: close\r\n\r\n".to_owned()),
        (400, "GET / HTTP/1.1\r\n\r\n".to_owned()),
        (400, "nonsense\r\n\r\n".to_owned()),
        (400, "GET / HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n".to_owned()),
    ];
    for (status, request) in cases {
        // Such a connection is closed by nginx.
        let answer = front.raw(Ipv4Addr::LOCALHOST, &request).await.unwrap();
        check_problem(&answer, status, &request[..request.len().min(60)]);
    }
    // What the admin listener has is not even asked for.
    for target in ["/metrics", "//livez", "/%72eadyz", "/v1/../metrics/x"] {
        check_problem(&front.get(target).await, 404, target);
    }
    assert_eq!(upstream.seen(), Vec::<String>::new());
    // A body within the limit is taken from the client and goes no further; the request does.
    let request =
        "GET /x HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody";
    assert_eq!(
        front
            .raw(Ipv4Addr::LOCALHOST, request)
            .await
            .unwrap()
            .status,
        200
    );
    assert_eq!(front.ask("OPTIONS", "/x", &[]).await.status, 200);
    let seen = upstream.seen();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(
        !seen[0].to_lowercase().contains("content-length"),
        "{seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn request_ids_go_to_the_api_and_into_a_json_log() {
    let upstream = Upstream::start("public, max-age=60").await;
    // One process, so that the lines of the log are in the order of the answers.
    let settings = [
        ("NGINX_API", upstream.address.as_str()),
        ("NGINX_WORKERS", "1"),
    ];
    let Some(front) = Front::start("ids", &settings).await else {
        return;
    };
    // WHEN an id comes along THEN it is kept when it is harmless, else replaced
    let own = front
        .ask(
            "GET",
            "/x?a=%22b",
            &[("X-Request-Id", "mine-1.2_3"), ("User-Agent", "a\"b\\")],
        )
        .await;
    assert_eq!(own.header("x-request-id"), "mine-1.2_3");
    let odd = front
        .ask("GET", "/y", &[("X-Request-Id", "a b<script>")])
        .await;
    let made = odd.header("x-request-id");
    assert!(
        made.len() == 32 && made.bytes().all(|b| b.is_ascii_hexdigit()),
        "{made}"
    );
    for (head, id) in upstream.seen().iter().zip(["mine-1.2_3", &made]) {
        assert!(head.contains(&format!("X-Request-Id: {id}\r\n")), "{head}");
    }
    let hit = front.get("/x?a=%22b").await;
    assert_eq!(hit.cache(), "HIT");
    front.ask("POST", "/z", &[]).await;
    // THEN each request is a line of JSON with its id and what the cache did
    let lines = eventually("four lines", PATIENCE, async || {
        let log = std::fs::read_to_string(front.process.log()).unwrap();
        let lines: Vec<serde_json::Value> = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|line: &serde_json::Value| line["request_id"].is_string())
            .collect();
        if lines.len() == 4 {
            Ok(lines)
        } else {
            Err(log)
        }
    })
    .await
    .unwrap();
    let text = |line: usize, key: &str| lines[line][key].as_str().unwrap().to_owned();
    assert_eq!(text(0, "request_id"), "mine-1.2_3");
    assert_eq!(text(0, "target"), "/x?a=%22b");
    assert_eq!(text(0, "user_agent"), "a\"b\\");
    assert_eq!(
        (text(0, "cache"), text(2, "cache"), text(3, "cache")),
        ("MISS".into(), "HIT".into(), String::new())
    );
    assert_eq!(text(1, "request_id"), made);
    assert_eq!(text(0, "upstream"), upstream.address);
    assert!(text(0, "upstream_seconds").parse::<f64>().is_ok() && lines[0]["seconds"].is_number());
    assert_eq!(
        (&lines[3]["status"], &lines[3]["method"]),
        (&405.into(), &"POST".into())
    );
}

/// Clients of a [`Load`].
const CLIENTS: usize = 4;

/// Clients that ask without pause, each on a new connection, until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<tokio::task::JoinHandle<Result<(), String>>>,
}

impl Load {
    fn start(port: u16, target: &'static str) -> Self {
        let (stop, answered) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let client = |number: usize| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            async move {
                let mut n = 0;
                while !stop.load(Ordering::Relaxed) {
                    // Each its own target, so that the cache answers none.
                    let request = format!(
                        "GET {target}&limit={} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
                        1 + (number * 2_000 + n) % 10_000
                    );
                    n += 1;
                    let stream = send(port, Ipv4Addr::LOCALHOST, &request)
                        .await
                        .map_err(|error| error.to_string())?;
                    let answer = receive(stream).await.map_err(|error| error.to_string())?;
                    if answer.status != 200 {
                        return Err(format!("{answer:?}"));
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }
        };
        let clients = (0..CLIENTS)
            .map(|number| tokio::spawn(client(number)))
            .collect();
        Self {
            stop,
            answered,
            clients,
        }
    }

    /// Waits until so many more requests are answered.
    async fn goes_on(&self, requests: usize) {
        let before = self.answered.load(Ordering::Relaxed);
        eventually("requests are answered", PATIENCE, async || {
            let now = self.answered.load(Ordering::Relaxed);
            if now >= before + requests
                || self
                    .clients
                    .iter()
                    .any(tokio::task::JoinHandle::is_finished)
            {
                Ok(())
            } else {
                Err(format!("{now} after {before}"))
            }
        })
        .await
        .unwrap();
    }

    /// Ends it; fails when a single request did.
    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_drops_no_request() {
    // GIVEN requests under way, all of them held by the api
    let (old, new) = (
        Upstream::start("no-store").await,
        Upstream::start("no-store").await,
    );
    new.answer(200, "Cache-Control: no-store\r\n", "new");
    let Some(mut front) = Front::start("reload", &[("NGINX_API", &old.address)]).await else {
        return;
    };
    let load = Load::start(front.port, "/x?a=1");
    load.goes_on(100).await;
    old.hold();
    eventually("all are with the api", PATIENCE, async || {
        let waiting = old.seen().len() - load.answered.load(Ordering::Relaxed);
        if waiting == CLIENTS {
            Ok(())
        } else {
            Err(waiting)
        }
    })
    .await
    .unwrap();
    // WHEN nginx is told to reload, with another api
    front.reload_with("NGINX_API", &new.address).await;
    eventually("the new configuration", PATIENCE, async || {
        // One that still meets the old configuration is held, as the others are.
        let answer = tokio::time::timeout(Duration::from_millis(500), front.get("/x")).await;
        if answer.is_ok_and(|answer| answer.text() == "new") {
            Ok(())
        } else {
            Err("not yet")
        }
    })
    .await
    .unwrap();
    // THEN the held ones are answered by the old, those that follow by the new, and none fails
    old.open();
    load.goes_on(100).await;
    load.end().await;
    assert!(new.seen().len() >= 100 - CLIENTS);

    // WHEN it is told so again and again under load THEN likewise
    let load = Load::start(front.port, "/x?a=2");
    for target in [&old, &new, &old, &new] {
        front.reload_with("NGINX_API", &target.address).await;
        load.goes_on(100).await;
    }
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rollout_of_the_api_drops_no_request() {
    // GIVEN one api of two places, and requests under way
    let pipeline = Pipeline::with_partitions("nginx_rollout", 1).await;
    let _ingest = pipeline.ingest(&[]);
    pipeline
        .publish(&(0..200).map(tick).collect::<Vec<_>>())
        .await;
    pipeline.caught_up().await;
    let (first, second) = (ports::free().unwrap(), ports::free().unwrap());
    let mut old = Api::ready(&pipeline, first).await;
    let addresses = format!("127.0.0.1:{first} 127.0.0.1:{second}");
    let Some(front) = Front::start("rollout", &[("NGINX_API", &addresses)]).await else {
        return;
    };
    let load = Load::start(front.port, "/v1/candles/A?interval=1m");
    load.goes_on(100).await;
    // WHEN a new one comes and the old one is told to go
    let new = Api::ready(&pipeline, second).await;
    load.goes_on(100).await;
    let status = old.process.stop(Duration::from_secs(15)).unwrap();
    load.goes_on(100).await;
    // THEN it goes in order, the new one answers, and no request failed
    assert!(status.success(), "{status}");
    load.end().await;
    // AND the same the other way round
    let load = Load::start(front.port, "/v1/candles/A?interval=2m");
    let _third = Api::ready(&pipeline, first).await;
    load.goes_on(100).await;
    drop(new);
    load.goes_on(100).await;
    load.end().await;
}
