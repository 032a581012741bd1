//! What is let through, counted, streamed and logged.

use std::net::Ipv4Addr;
use std::time::Duration;

use testbed::{eventually, ports};
use tokio::io::AsyncReadExt as _;

use super::front::{Front, receive};
use super::upstream::Upstream;
use super::{api_at, check_headers, check_problem};
use crate::pipeline::{PATIENCE, Pipeline};

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
async fn only_so_many_requests_are_under_way_at_once() {
    // GIVEN two that the api has not answered, as many as may be
    let upstream = Upstream::start("no-store").await;
    let settings = [
        ("NGINX_API", upstream.address.as_str()),
        ("NGINX_MAX_REQUESTS", "2"),
    ];
    let Some(front) = Front::start("requests", &settings).await else {
        return;
    };
    upstream.hold();
    let mut waiting = Vec::new();
    for target in ["/a", "/b"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        waiting.push(front.send(Ipv4Addr::LOCALHOST, &request).await.unwrap());
    }
    eventually("both are with the api", PATIENCE, async || {
        match upstream.seen().len() {
            2 => Ok(()),
            other => Err(other),
        }
    })
    .await
    .unwrap();
    // WHEN a third one comes THEN it is refused, and nginx can be asked whether it lives
    let refused = front.get("/c").await;
    check_problem(&refused, 503, "one too many");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(front.get("/_nginx/livez").await.status, 204);
    // AND when the two have their answers others get theirs
    upstream.open();
    for stream in waiting {
        assert_eq!(receive(stream).await.unwrap().status, 200);
    }
    eventually("room again", PATIENCE, async || {
        match front.get("/c").await.status {
            200 => Ok(()),
            other => Err(other),
        }
    })
    .await
    .unwrap();
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
async fn export_waits_for_its_reader_and_not_on_disk() {
    // GIVEN an answer that is not stored, larger than all buffers of the way
    let upstream = Upstream::start("no-store").await;
    let export = "x".repeat(16 << 20);
    upstream.answer(200, "X-Accel-Expires: 0\r\n", &export);
    let Some(front) = Front::start("export", &[("NGINX_API", &upstream.address)]).await else {
        return;
    };
    // WHEN its client does not read
    let request = "GET /export HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    let stream = front.send(Ipv4Addr::LOCALHOST, request).await.unwrap();
    // THEN nginx puts nothing aside: it would say so within this time, its files have no name
    let spilt = eventually("a temporary file", Duration::from_millis(700), async || {
        let log = std::fs::read_to_string(front.process.log()).unwrap();
        if log.contains("temporary file") {
            Ok(log)
        } else {
            Err("none")
        }
    });
    assert!(spilt.await.is_err(), "{}", front.log());
    // AND the client gets all of it when it does
    let answer = receive(stream).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, export.len()));
    assert!(!front.log().contains("temporary file"), "{}", front.log());
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
async fn page_of_the_contract_may_load_its_own_files_and_nothing_else() {
    // GIVEN the api's own page behind nginx
    let pipeline = Pipeline::with_partitions("nginx_docs", 1).await;
    let api = api_at(ports::free().unwrap(), &pipeline).await;
    let Some(front) = Front::start("docs", &[("NGINX_API", &api.public_address())]).await else {
        return;
    };
    // WHEN a browser opens it
    let page = front.get("/docs/").await;
    assert_eq!((page.status, page.cache().as_str()), (200, "MISS"));
    // THEN it may load what it names, images within its styles, styles that its script makes, and ask the api
    assert_eq!(
        page.header("content-security-policy"),
        "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; object-src 'none'"
    );
    // No script stands in the page, which the policy would refuse.
    let text = page.text();
    let scripts = text.matches("<script").count();
    assert!(scripts > 0 && scripts == text.matches("<script src=\"./").count());
    let mut files: Vec<&str> = ["src=\"", "href=\""]
        .iter()
        .flat_map(|name| text.split(name).skip(1))
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    files.push("../openapi.json");
    for file in files {
        let target = file.strip_prefix("../").map_or_else(
            || format!("/docs/{}", file.trim_start_matches("./")),
            |rest| format!("/{rest}"),
        );
        let answer = front
            .ask("GET", &target, &[("Accept-Encoding", "gzip")])
            .await;
        assert_eq!(answer.status, 200, "{target}");
        check_headers(&answer, &target);
        // Images are compressed within.
        let image = answer.header("content-type").starts_with("image/");
        let coding = if image { "" } else { "gzip" };
        let length = answer.header("content-length").parse();
        if length.is_ok_and(|length: usize| length < 1024) {
            continue;
        }
        assert_eq!(answer.header("content-encoding"), coding, "{target}");
    }
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
