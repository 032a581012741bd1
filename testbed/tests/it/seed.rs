//! The seed's answers, from its file through real Kafka, exactly.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use testbed::{process, workspace};

use crate::pipeline::Pipeline;

/// The seed's file of daily bars, or `None` where it is absent: it lies beside the repository, not in it.
fn file() -> Option<PathBuf> {
    let file = workspace::root().join("../shared/data/stocks_ohlcv.csv");
    if file.is_file() {
        return Some(file);
    }
    let reason = format!(
        "SKIPPED: {} is absent, and with it what the seed answered",
        file.display()
    );
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "{reason}"
    );
    // Past the test harness, which would show nothing of a test that passes.
    let text = format!("\n{reason}\n");
    std::io::stderr().write_all(text.as_bytes()).unwrap();
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn seed_file_through_kafka_gives_the_seeds_answers_exactly() {
    let Some(file) = file() else { return };
    // GIVEN the seed's bars, published by the command that a user types
    let pipeline = Pipeline::new("seed").await;
    let _ingest = pipeline.ingest(&[]);
    let mut publish = Command::new(workspace::binary("testbed").unwrap());
    publish.arg("publish").arg(&file).arg("--float32");
    publish.args(["--brokers", pipeline.brokers(), "--topic", pipeline.topic()]);
    process::run("testbed publish", publish).await.unwrap();
    pipeline.caught_up().await;

    // WHEN the years are asked for
    let (status, annual) = pipeline
        .get("/stocks/time-series/AMZN?interval=1&frequency=Annual")
        .await;
    // THEN they are the four that the issue names
    let year = |year, open, high, low, close, volume| {
        format!(
            r#"{{"close":{close},"high":{high},"low":{low},"open":{open},"period_start":"{year}-01-01","symbol":"AMZN","volume":{volume}}}"#
        )
    };
    let expected = [
        year(2019, "95.455", "101.79", "84.253", "92.392", "8154332000"),
        year(
            2020,
            "93.75",
            "177.6125",
            "81.3015",
            "162.8465",
            "24950814000",
        ),
        year(2021, "163.5", "188.654", "144.05", "166.717", "17076362000"),
        year(2022, "167.55", "171.4", "101.26", "116.46", "10032250600"),
    ];
    assert_eq!((status, annual), (200, format!("[{}]", expected.join(","))));

    // AND every answer, raw and of all frequencies, is what the file says
    let answers = pipeline
        .oracle("seed.py", &[file.into(), "AMZN".into(), "TSLA".into()])
        .await;
    assert_eq!(answers.lines().count(), 2 * (1 + 5 * 5));
    for line in answers.lines() {
        let (path, body) = line.split_once('\t').unwrap();
        assert_eq!(pipeline.get(path).await, (200, body.to_owned()), "{path}");
    }
    pipeline.verify().await;
}
