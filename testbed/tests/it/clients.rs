//! The examples of `docs/clients.md`: each is run against a live api and prints what the page says.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use chrono::DateTime;
use serde_json::Value;
use testbed::{Tick, process, workspace};

use crate::pipeline::{PATIENCE, Pipeline};

/// Where the page says that the api listens.
const BASE: &str = "http://127.0.0.1:8080";

/// A block of the page between fences.
#[derive(Debug)]
struct Block {
    language: String,
    text: String,
}

/// All blocks of a page, in their order.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            continue;
        };
        let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push(Block {
            language: language.to_owned(),
            text: text.join("\n") + "\n",
        });
    }
    blocks
}

/// The tick of a message.
fn tick(message: &str) -> Tick {
    let message: Value = serde_json::from_str(message).unwrap();
    let text = |key: &str| message[key].as_str().unwrap();
    let time = DateTime::parse_from_rfc3339(text("event_time")).unwrap();
    let sequence = message["sequence"].as_i64().unwrap();
    Tick::new(
        text("symbol"),
        time.timestamp_micros(),
        sequence,
        text("price"),
        text("size"),
    )
}

/// The programs that examples need beside Python; what is missing is said aloud, and no reason to pass in CI.
fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
        return true;
    }
    let reason = format!("SKIPPED: {program} is not installed");
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "{reason}"
    );
    // Past the test harness, which would show nothing of a test that passes.
    std::io::stderr()
        .write_all(format!("\n{reason}\n").as_bytes())
        .unwrap();
    false
}

/// Runs an example in a folder and returns what it prints; nothing when its program is not installed.
async fn run(block: &Block, folder: &Path) -> Option<String> {
    let venv = workspace::work().join("venv/bin");
    let (program, arguments): (&str, &[&str]) = match block.language.as_str() {
        "sh" => {
            if !(is_there("curl") && is_there("jq")) {
                return None;
            }
            ("bash", &["-euo", "pipefail", "-c"])
        }
        "python" => ("python", &["-c"]),
        "js" => {
            if !is_there("node") {
                return None;
            }
            ("node", &["--input-type=module", "-e"])
        }
        other => panic!("no program runs {other}"),
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(venv).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(folders).unwrap();
    // The search for a program uses this process's PATH.
    let mut command = Command::new("env");
    command
        .arg(format!("PATH={}", path.to_str().unwrap()))
        .arg(program)
        .args(arguments)
        .arg(&block.text)
        .current_dir(folder);
    // Nothing is fetched from elsewhere, and nothing goes through a proxy.
    for proxy in [
        "http_proxy",
        "https_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "all_proxy",
    ] {
        command.env_remove(proxy);
    }
    Some(process::run(&block.text, command).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_prints_what_the_page_says() {
    // GIVEN the ticks of the page
    let page = std::fs::read_to_string(workspace::root().join("docs/clients.md")).unwrap();
    let blocks = blocks(&page);
    let (ticks, examples) = blocks.split_first().unwrap();
    assert_eq!(ticks.language, "json");
    let ticks: Vec<Tick> = ticks.text.lines().map(tick).collect();
    let pipeline = Pipeline::new("clients").await;
    let _ingest = pipeline.ingest(&[]);
    pipeline.publish(&ticks).await;
    pipeline.caught_up().await;
    let base = pipeline.api().await.base();

    let mut languages = Vec::new();
    for pair in examples.chunks(2) {
        let [example, expected] = pair else {
            panic!("an example without its output: {pair:?}")
        };
        assert_eq!(expected.language, "text", "{example:?}");
        // WHEN an example is run
        let here = Block {
            language: example.language.clone(),
            text: example.text.replace(BASE, &base),
        };
        let told = tokio::time::timeout(PATIENCE, run(&here, pipeline.folder())).await;
        let Some(told) = told.unwrap_or_else(|_| panic!("{example:?} does not end")) else {
            continue;
        };
        // THEN it prints what the page says
        assert_eq!(
            told.replace("\r\n", "\n"),
            expected.text,
            "{}",
            example.text
        );
        languages.push(example.language.as_str());
    }
    languages.sort_unstable();
    languages.dedup();
    assert!(languages.contains(&"python"), "{languages:?}");
}
