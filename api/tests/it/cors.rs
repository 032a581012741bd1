//! Pages of other origins read answers when their origin is configured, and learn why one was refused.

use axum::http::Method;

use crate::fixture::{Fixture, header};

#[tokio::test]
async fn a_page_of_a_configured_origin_reads_answers_and_problems() {
    // GIVEN an origin that may read
    let fixture = Fixture::with(|config| {
        config.http.cors_origins = "https://charts.example, http://localhost:3000".into();
    })
    .await;
    for (target, status) in [
        ("/v1/symbols", 200),
        ("/v1/symbols?limit=0", 400),
        ("/v1/nothing", 404),
        (&*format!("/v1/symbols?q={}", "x".repeat(9_000)), 414),
    ] {
        // WHEN its page asks
        let origin = [("origin", "http://localhost:3000")];
        let answer = fixture.send(Method::GET, target, &origin).await;
        // THEN it may read the answer, and what is not always readable
        assert_eq!(answer.status, status, "{target}");
        assert_eq!(
            header(&answer, "access-control-allow-origin"),
            "http://localhost:3000"
        );
        let exposed = header(&answer, "access-control-expose-headers");
        assert!(
            exposed.contains("x-request-id") && exposed.contains("etag"),
            "{exposed}"
        );
        // Caches keep answers to several origins apart, beside forms and codings.
        let vary: Vec<_> = answer.headers.get_all("vary").iter().collect();
        assert!(format!("{vary:?}").contains("origin"), "{vary:?}");
        assert_eq!(header(&answer, "access-control-allow-credentials"), "");
    }
    // WHEN another page asks, THEN it gets no leave
    let origin = [("origin", "https://other.example")];
    let answer = fixture.send(Method::GET, "/v1/symbols", &origin).await;
    assert_eq!(header(&answer, "access-control-allow-origin"), "");
}

#[tokio::test]
async fn a_preflight_tells_methods_and_headers_and_a_plain_question_tells_methods() {
    let fixture = Fixture::with(|config| config.http.cors_origins = "*".into()).await;
    // WHEN a browser asks before it asks
    let asked = [
        ("origin", "https://charts.example"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "if-none-match"),
    ];
    let answer = fixture.send(Method::OPTIONS, "/v1/symbols", &asked).await;
    // THEN
    assert_eq!(answer.status, 200);
    assert_eq!(header(&answer, "access-control-allow-origin"), "*");
    assert_eq!(
        header(&answer, "access-control-allow-methods"),
        "GET,HEAD,OPTIONS"
    );
    let allowed = header(&answer, "access-control-allow-headers");
    assert!(allowed.contains("if-none-match"), "{allowed}");
    assert_ne!(header(&answer, "x-request-id"), "");
    // WHEN it is no browser that asks, THEN the answer is as without CORS
    let answer = fixture.send(Method::OPTIONS, "/v1/symbols", &[]).await;
    assert_eq!(
        (answer.status.as_u16(), header(&answer, "allow")),
        (204, "GET, HEAD, OPTIONS")
    );
}

#[tokio::test]
async fn without_configured_origins_no_page_of_another_one_gets_leave() {
    let fixture = Fixture::new().await;
    let asked = [
        ("origin", "https://charts.example"),
        ("access-control-request-method", "GET"),
    ];
    for method in [Method::GET, Method::OPTIONS] {
        let answer = fixture.send(method, "/v1/symbols", &asked).await;
        assert!(answer.status.is_success());
        assert_eq!(header(&answer, "access-control-allow-origin"), "");
    }
}
