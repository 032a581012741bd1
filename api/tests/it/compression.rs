//! gzip and zstd, each with a tag of its own; HEAD tells what GET does.

use std::io::Read as _;

use axum::http::Method;

use crate::fixture::{Answer, Fixture, Trade, at, header};

fn decoded(answer: &Answer) -> String {
    match header(answer, "content-encoding") {
        "gzip" => {
            let mut text = String::new();
            flate2::read::GzDecoder::new(answer.bytes.as_ref())
                .read_to_string(&mut text)
                .unwrap();
            text
        }
        "zstd" => String::from_utf8(zstd::decode_all(answer.bytes.as_ref()).unwrap()).unwrap(),
        "" => answer.text.clone(),
        other => panic!("{other}"),
    }
}

async fn fixture() -> Fixture {
    let fixture = Fixture::new().await;
    let trades: Vec<Trade> = (0..6_000)
        .map(|n| Trade {
            time: at("2024-01-01T00:00:00Z") + n * 60_000_000,
            sequence: n,
            price: 100 + n % 7,
            size: 100,
        })
        .collect();
    fixture.add_trades("A", "UTC", &trades).await;
    fixture
}

#[tokio::test]
async fn each_coding_has_the_same_content_and_its_own_strong_tag() {
    let fixture = fixture().await;
    for target in [
        "/v1/candles/A?interval=1m&limit=300",
        "/v1/candles/A?interval=1m&limit=300&format=csv",
        // An export.
        "/v1/candles/A?interval=1m&format=ndjson",
        "/v1/ticks/A?limit=300",
        "/stocks/time-series/A?interval=1&frequency=Daily",
        "/v1/symbols",
    ] {
        let plain = fixture.get(target).await;
        assert_eq!(plain.status, 200, "{target}: {}", plain.text);
        let long = plain.text.len() > 1_024;
        let mut tags = vec![header(&plain, "etag").to_owned()];
        for (accept, coding) in [
            ("gzip", "gzip"),
            ("zstd", "zstd"),
            ("gzip, deflate, br, zstd", "zstd"),
            ("gzip;q=1, zstd;q=0.5", "gzip"),
            ("br", ""),
            ("identity", ""),
        ] {
            let headers = [("accept-encoding", accept)];
            let answer = fixture.send(Method::GET, target, &headers).await;
            assert_eq!(answer.status, 200);
            assert_eq!(
                header(&answer, "content-encoding"),
                if long { coding } else { "" },
                "{target} {accept}"
            );
            assert_eq!(header(&answer, "vary"), "Accept, Accept-Encoding");
            assert_eq!(decoded(&answer), plain.text, "{target} {accept}");
            let tag = header(&answer, "etag").to_owned();
            let own = format!("{}-{coding}\"", tags[0].trim_end_matches('"'));
            assert_eq!(
                tag,
                if long && !coding.is_empty() {
                    own
                } else {
                    tags[0].clone()
                }
            );

            // HEAD tells the same, without a body
            let head = fixture.send(Method::HEAD, target, &headers).await;
            assert_eq!(
                (head.status.as_u16(), head.bytes.len()),
                (200, 0),
                "{target}"
            );
            for name in [
                "etag",
                "content-type",
                "content-encoding",
                "content-length",
                "vary",
                "cache-control",
            ] {
                assert_eq!(
                    header(&head, name),
                    header(&answer, name),
                    "{target} {accept} {name}"
                );
            }
            tags.push(tag);
        }
        // A tag of any coding is known, whatever coding is asked for now
        for tag in &tags {
            for accept in ["gzip", "identity"] {
                let headers = [("accept-encoding", accept), ("if-none-match", tag.as_str())];
                let answer = fixture.send(Method::GET, target, &headers).await;
                assert_eq!(
                    (answer.status.as_u16(), answer.bytes.len()),
                    (304, 0),
                    "{target} {tag}"
                );
                assert_eq!(header(&answer, "etag"), tag);
                assert_eq!(header(&answer, "content-encoding"), "");
            }
        }
    }
}

#[tokio::test]
async fn parquet_is_compressed_within_and_not_without() {
    let fixture = fixture().await;
    let headers = [("accept-encoding", "gzip, zstd")];
    let target = "/v1/candles/A?interval=1m&format=parquet";
    let answer = fixture.send(Method::GET, target, &headers).await;
    assert_eq!(header(&answer, "content-encoding"), "");
    assert!(answer.bytes.starts_with(b"PAR1") && answer.bytes.ends_with(b"PAR1"));
}

#[tokio::test]
async fn a_coding_that_is_not_there_is_no_answer_when_nothing_else_is_taken() {
    let fixture = fixture().await;
    let headers = [("accept-encoding", "br, identity;q=0")];
    let answer = fixture.send(Method::GET, "/v1/ticks/A", &headers).await;
    assert_eq!(answer.status, 406);
    assert_eq!(header(&answer, "content-type"), "application/problem+json");
    assert_eq!(answer.json()["status"], 406);
    assert_eq!(header(&answer, "etag"), "");
}
