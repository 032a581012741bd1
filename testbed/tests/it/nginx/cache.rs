//! What is stored, for whom, and what stands in for the api while it fails.

use std::net::Ipv4Addr;
use std::time::Duration;

use testbed::{Tick, eventually, ports};

use super::front::{Front, receive};
use super::upstream::Upstream;
use super::{api_at, check_headers, check_problem, tick, until};
use crate::api::Api;
use crate::pipeline::{PATIENCE, Pipeline};

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one api and one nginx for all of it")]
async fn answers_of_the_api_are_stored_and_validated_as_it_says() {
    // GIVEN candles of 2024 behind nginx
    let pipeline = Pipeline::with_partitions("nginx_cache", 1).await;
    let _ingest = pipeline.ingest(&[]);
    let ticks: Vec<Tick> = (0..60).map(tick).collect();
    pipeline.publish(&ticks).await;
    pipeline.caught_up().await;
    let api = api_at(ports::free().unwrap(), &pipeline).await;
    let Some(front) = Front::start("cache", &[("NGINX_API", &api.public_address())]).await else {
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
    // AND how old its data was is told when it is asked of the api, and not once that is old itself
    assert!(!miss.header("x-data-lag-ms").is_empty());
    assert_eq!(hit.header("x-data-lag-ms"), "");
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
    // AND likewise of Arrow
    let small = front
        .ask(
            "GET",
            &format!("{settled}&format=arrow"),
            &[("Accept-Encoding", "zstd, gzip")],
        )
        .await;
    assert_eq!(small.header("content-encoding"), "gzip");

    // WHEN the admin listener is looked for THEN there is no way to it, by name, by address or around
    for target in [
        "/metrics".to_owned(),
        "/livez".to_owned(),
        "/readyz".to_owned(),
        "//metrics".to_owned(),
        "/v1/../metrics".to_owned(),
        "/%6detrics".to_owned(),
        "/metrics/".to_owned(),
        format!("http://{}/metrics", api.address()),
    ] {
        check_problem(&front.get(&target).await, 404, &target);
    }
    let host = format!(
        "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        api.address()
    );
    check_problem(
        &front.raw(Ipv4Addr::LOCALHOST, &host).await.unwrap(),
        404,
        "Host",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_origin_gets_the_leave_that_is_its_own() {
    // GIVEN pages of two origins that may read candles of 2024 behind nginx
    let pipeline = Pipeline::with_partitions("nginx_origins", 1).await;
    let _ingest = pipeline.ingest(&[]);
    pipeline.publish(&[tick(0)]).await;
    pipeline.caught_up().await;
    let (one, other) = ("https://one.example", "https://other.example:8443");
    let origins = format!("{one},{other}");
    let api = Api::start(&pipeline, &[("FDA_HTTP__CORS_ORIGINS", &origins)]);
    api.ready().await;
    let Some(front) = Front::start("origins", &[("NGINX_API", &api.public_address())]).await else {
        return;
    };
    let settled = "/v1/candles/A?interval=1m&to=2024-01-02";
    for (origin, leave) in [
        (Some(one), one),
        (Some(other), other),
        (Some("https://third.example"), ""),
        (None, ""),
    ] {
        let headers: Vec<_> = origin.iter().map(|origin| ("Origin", *origin)).collect();
        for cache in ["MISS", "HIT"] {
            // WHEN one of them asks, or another, or nobody's page
            let answer = front.ask("GET", settled, &headers).await;
            // THEN each gets its own leave, and the stored answer the next time
            assert_eq!(
                (answer.status, answer.cache().as_str()),
                (200, cache),
                "{origin:?}: {answer:?}"
            );
            assert_eq!(
                answer.header("access-control-allow-origin"),
                leave,
                "{origin:?}"
            );
        }
    }
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
    let seen = eventually(
        "the new one is asked for",
        PATIENCE,
        async || match upstream.seen().len() {
            2 => Ok(()),
            other => Err(other),
        },
    );
    seen.await.unwrap();
    // AND the new one when it has come
    upstream.open();
    assert_eq!(until(&front, "/x", "HIT").await.text(), "second");
}
