//! The document tells every route and parameter, and the page beside it asks nobody else.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::fixture::{Fixture, Trade, at};

async fn document(fixture: &Fixture) -> Value {
    fixture.json("/openapi.json").await
}

fn parameters(operation: &Value, place: &str) -> BTreeSet<String> {
    let all = operation["parameters"].as_array().into_iter().flatten();
    all.filter(|parameter| parameter["in"] == place)
        .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn every_parameter_that_a_route_reads_is_in_the_document() {
    // GIVEN the document and a symbol
    let fixture = Fixture::new().await;
    let trade = Trade::new(at("2024-01-01T00:00:00Z"), 1);
    fixture.add_trades("A", "UTC", &[trade]).await;
    let document = document(&fixture).await;
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    let mut asked = 0;
    for (path, item) in paths {
        // Two routes of their own time: one refuses without a word, one reads nothing.
        if ["/stocks/time-series/{symbol}", "/_healthcheck"].contains(&path.as_str()) {
            continue;
        }
        // WHEN a parameter is given that no route knows
        let target = format!("{}?no-such-parameter=1", path.replace("{symbol}", "A"));
        let refused = fixture.get(&target).await;
        assert_eq!(refused.status, 400, "{target}");
        // THEN the names that the refusal allows are those of the document
        let body = refused.json();
        let fault = body["errors"]
            .as_array()
            .unwrap()
            .iter()
            .find(|fault| fault["parameter"] == "no-such-parameter")
            .unwrap();
        let allowed: BTreeSet<String> = fault["allowed"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap().to_owned())
            .collect();
        assert_eq!(parameters(&item["get"], "query"), allowed, "{path}");
        let in_path: BTreeSet<String> = path
            .contains("{symbol}")
            .then(|| "symbol".to_owned())
            .into_iter()
            .collect();
        assert_eq!(parameters(&item["get"], "path"), in_path, "{path}");
        asked += 1;
    }
    assert!(asked >= 6, "only {asked} routes");
}

#[tokio::test]
async fn operations_have_names_of_their_own_and_links_lead_to_them() {
    let fixture = Fixture::new().await;
    let document = document(&fixture).await;
    let operations: Vec<&Value> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .map(|item| &item["get"])
        .collect();
    let names: BTreeSet<&str> = operations
        .iter()
        .map(|operation| operation["operationId"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), operations.len());
    let links: Vec<&Value> = operations
        .iter()
        .filter_map(|operation| operation["responses"]["200"]["links"].as_object())
        .flat_map(|links| links.values())
        .collect();
    assert!(links.len() >= 4, "{links:?}");
    for link in links {
        assert!(
            names.contains(link["operationId"].as_str().unwrap()),
            "{link}"
        );
    }
}

#[tokio::test]
async fn the_page_of_the_document_names_no_other_host() {
    let fixture = Fixture::new().await;
    // WHEN a person opens the page
    let moved = fixture.get("/docs").await;
    assert_eq!(
        (
            moved.status.as_u16(),
            moved.headers["location"].to_str().unwrap()
        ),
        (303, "/docs/")
    );
    let page = fixture.get("/docs/").await;
    assert_eq!(
        (
            page.status.as_u16(),
            page.headers["content-type"].to_str().unwrap()
        ),
        (200, "text/html")
    );
    let start = fixture.get("/docs/swagger-initializer.js").await;
    assert_eq!(start.status, 200);
    // THEN it reads the document here, and nothing elsewhere
    assert!(start.text.contains("/openapi.json"), "{}", start.text);
    assert!(
        start.text.contains(r#""validatorUrl": "none""#),
        "{}",
        start.text
    );
    for text in [&page.text, &start.text] {
        assert!(
            !text.contains("http://") && !text.contains("https://"),
            "{text}"
        );
    }
    let names = page
        .text
        .split(['"', '\''])
        .filter(|name| name.starts_with("./"));
    let mut parts = 0;
    for name in names {
        let part = fixture.get(&format!("/docs/{}", &name[2..])).await;
        assert_eq!(part.status, 200, "{name}");
        parts += 1;
    }
    assert!(parts >= 5, "{}", page.text);
    // THEN and what is not there is a problem as everywhere
    let missing = fixture.get("/docs/missing.js").await;
    assert_eq!(
        (
            missing.status.as_u16(),
            missing.headers["content-type"].to_str().unwrap()
        ),
        (404, "application/problem+json")
    );
}
