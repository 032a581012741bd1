//! nginx in front of the api, by the configuration of the image: what is stored, what is limited, what every answer
//! bears, and that no request is lost.

mod cache;
mod front;
mod requests;
mod rollout;
mod upstream;

use testbed::{Tick, eventually};

use self::front::{Answer, Front};
use crate::api::Api;
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

/// An `api` at a port, ready.
async fn api_at(port: u16, pipeline: &Pipeline) -> Api {
    let api = Api::start_at(port, pipeline, &[]);
    api.ready().await;
    api
}

/// A tick of 2024, one a minute.
fn tick(minute: i64) -> Tick {
    let start = 1_704_067_200_000_000;
    Tick::new("A", start + minute * 60_000_000, minute, "10.5", "1")
}
