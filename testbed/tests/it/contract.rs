//! The server does what its `OpenAPI` document says: its own examples, and whatever Schemathesis makes of the document.

use std::process::Command;

use testbed::{Tick, process, workspace};

use crate::api::Api;
use crate::pipeline::Pipeline;

/// Seconds for all that is made up.
const SECONDS: &str = "75";

/// An api over a symbol of a few weeks of 2019, one that has a slash in its name, and one without ticks.
async fn served(name: &str) -> (Pipeline, Api) {
    let pipeline = Pipeline::new(name).await;
    pipeline
        .insert_symbols(&[("AMZN", "America/New_York"), ("EMPTY", "Asia/Kolkata")])
        .await;
    let ingest = pipeline.ingest(&[]);
    let ticks: Vec<Tick> = (0..1_200)
        .flat_map(|n| {
            let time = 1_561_000_000_000_000 + n * 5_400_000_000;
            ["AMZN", "BTC/USD"]
                .map(|symbol| Tick::new(symbol, time, n, format!("95.4{n}"), "100.5"))
        })
        .collect();
    pipeline.publish(&ticks).await;
    pipeline.caught_up().await;
    drop(ingest);
    let api = Api::start(&pipeline, &[]);
    api.ready().await;
    (pipeline, api)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_of_the_document_is_answered_as_it_says() {
    // GIVEN a server
    let (pipeline, api) = served("contract_examples").await;
    // WHEN each example of its document is asked
    let answers = pipeline.oracle("contract.py", &[api.base().into()]).await;
    // THEN each is a success that fits the document, of every operation, and of every parameter but the cursor
    let names: Vec<(&str, &str)> = answers
        .lines()
        .map(|line| {
            let mut words = line.split(' ');
            (words.next().unwrap(), words.next().unwrap())
        })
        .collect();
    for operation in [
        "candles",
        "symbols",
        "symbol",
        "latest",
        "limits",
        "time_series",
        "health",
        "contract",
    ] {
        assert!(names.contains(&(operation, "-")), "{operation}: {answers}");
    }
    for parameter in [
        "tz",
        "from",
        "to",
        "limit",
        "order",
        "partial",
        "fill",
        "anchor",
        "updated_since",
        "numbers",
    ] {
        assert!(
            names.contains(&("candles", parameter)),
            "{parameter}: {answers}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing() {
    // GIVEN a server
    let (pipeline, mut api) = served("contract_fuzzed").await;
    // WHEN Schemathesis asks what its document allows, what it forbids, and follows its links
    let mut command = Command::new(workspace::work().join("venv/bin/python"));
    command
        .args(["-m", "schemathesis.cli", "--config-file"])
        .arg(workspace::root().join("testbed/oracle/schemathesis.toml"))
        .arg("run")
        .arg(format!("{}/openapi.json", api.base()))
        .args([
            "--max-time",
            SECONDS,
            "--phases",
            "examples,coverage,fuzzing,stateful",
        ])
        // What the schema allows may still be refused: a range that ends before it begins, a cursor of another query,
        // months of an even grid. Nobody logs in, and nothing is created or deleted.
        .args(["--checks", "all"])
        .args([
            "--exclude-checks",
            "positive_data_acceptance,use_after_free,ensure_resource_availability,ignored_auth",
        ])
        .args(["--max-failures", "5", "--warnings", "off", "--no-color"])
        .args(["--generation-database", "none", "--request-timeout", "30"])
        .current_dir(pipeline.folder());
    let found = process::run("schemathesis", command).await;
    // THEN nothing is found: no 5xx, no status, header or body that the document does not know
    let text = found.unwrap_or_else(|error| panic!("{error:#}\n{}", api.log()));
    assert!(text.contains("No issues found"), "{text}");
    for phase in ["Examples", "Coverage", "Fuzzing", "Stateful"] {
        let done = text
            .lines()
            .any(|line| line.contains(phase) && line.contains('✅'));
        assert!(done, "{phase}: {text}");
    }
    api.process().check_alive().unwrap();
}
