//! `make run`'s own path: the built `testbed run`, with real history and simulated ticks, stopped by Ctrl-C and run again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::process::{self, Launch, Signal, tail};
use testbed::{Process, eventually, http, ports, workspace};

use crate::pipeline::{PATIENCE, oracle};

/// A run of the stack on a data folder.
struct Run {
    process: Process,
    base: String,
    client: reqwest::Client,
}

impl Run {
    /// Starts the stack as the Makefile does, and waits until it says that all is ready.
    async fn start(folder: &Path, name: &str) -> Self {
        let port = ports::free().unwrap().to_string();
        let mut command = Command::new(workspace::binary("testbed").unwrap());
        command
            .current_dir(workspace::root())
            .args(["run", "--data"])
            .arg(folder.join("data"))
            .envs([
                ("PORT", port.as_str()),
                ("KAFKA", ""),
                ("DATABASE_URL", ""),
                ("SIMULATE_RATE", "50"),
            ]);
        let log = folder.join(format!("{name}.log"));
        let mut process = Launch::new("testbed run", command, &log)
            .stop_with(Signal::SIGINT)
            .start()
            .unwrap();
        let ready = eventually("testbed run says that all is ready", PATIENCE, async || {
            if let Err(dead) = process.check_alive() {
                return Ok(Err(dead));
            }
            let text = tail(&log, 40);
            if text.contains("Ctrl-C stops everything") {
                Ok(Ok(()))
            } else {
                Err(text)
            }
        });
        ready.await.unwrap().unwrap();
        Self {
            process,
            base: format!("http://127.0.0.1:{port}"),
            client: http::local().unwrap(),
        }
    }

    fn said(&self) -> String {
        tail(self.process.log(), 40)
    }

    async fn ask(&self, path: &str) -> reqwest::Response {
        let url = format!("{}{path}", self.base);
        self.client.get(url).send().await.unwrap()
    }

    async fn get(&self, path: &str) -> String {
        let response = self.ask(path).await;
        assert_eq!(response.status(), 200, "{path}");
        response.text().await.unwrap()
    }

    /// How many simulated trades of a symbol its minutes count.
    async fn simulated(&self) -> u64 {
        let path = "/v1/candles/SIM.AAA?interval=1m&partial=include&from=2020-01-01&limit=10000";
        let response = self.ask(path).await;
        if response.status() == 404 {
            // The first of its trades is still to come.
            return 0;
        }
        assert_eq!(response.status(), 200);
        let page: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        page["candles"]
            .as_array()
            .unwrap()
            .iter()
            .map(|candle| candle["trades"].as_u64().unwrap())
            .sum()
    }

    /// Waits until there are more simulated trades than so many; returns how many.
    async fn grows(&self, than: u64) -> u64 {
        eventually("simulated minutes grow", PATIENCE, async || {
            match self.simulated().await {
                trades if trades > than => Ok(trades),
                trades => Err(trades),
            }
        })
        .await
        .unwrap()
    }

    /// Presses Ctrl-C: everything ends within five seconds, and no process is left.
    async fn interrupt(mut self) {
        let family = family(self.process.pid()).await;
        // At least PostgreSQL, ingest, api, and a watchdog for each.
        assert!(family.len() > 6, "{family:?}");
        let pressed = Instant::now();
        let status = self.process.stop(Duration::from_secs(10)).unwrap();
        let took = pressed.elapsed();
        assert!(
            status.success() && took < Duration::from_secs(5),
            "{status} after {took:?}: {}",
            self.said()
        );
        let left: Vec<u32> = processes()
            .await
            .into_iter()
            .map(|(pid, _)| pid)
            .filter(|pid| family.contains(pid))
            .collect();
        assert!(left.is_empty(), "{left:?} are left");
    }
}

/// The ids of all processes with their parents', but for those that have ended and wait to be noticed.
async fn processes() -> Vec<(u32, u32)> {
    let mut ps = Command::new("ps");
    ps.args(["-A", "-o", "pid=,ppid=,state="]);
    let text = process::run("ps", ps).await.unwrap();
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (pid, parent) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            (!words.next()?.starts_with('Z')).then_some((pid, parent))
        })
        .collect()
}

/// A process and all that descend from it.
async fn family(root: u32) -> Vec<u32> {
    let all = processes().await;
    let mut family = vec![root];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        family.extend(
            all.iter()
                .filter(|(_, of)| *of == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    family
}

/// What another run with the same folder prints.
async fn second_run(folder: &Path) -> anyhow::Result<String> {
    let mut command = Command::new(workspace::binary("testbed").unwrap());
    command
        .current_dir(workspace::root())
        .args(["run", "--data"])
        .arg(folder.join("data"))
        .env("PORT", ports::free().unwrap().to_string());
    process::run("a second run", command).await
}

/// What `make clean-data` prints in a folder.
async fn clean_data(folder: &Path) -> anyhow::Result<String> {
    let mut command = Command::new("make");
    command
        .current_dir(folder)
        .arg("-f")
        .arg(workspace::root().join("Makefile"))
        .arg("clean-data");
    process::run("make clean-data", command).await
}

/// Each path of the oracle, with the answer, over the history in the repository.
async fn expected() -> Vec<(String, String)> {
    let file = workspace::root().join("testbed/data/stocks_daily.csv");
    let symbols = ["AMZN", "AAPL", "GOOG", "META", "NFLX", "NVDA"];
    let arguments: Vec<_> = std::iter::once(file.into())
        .chain(symbols.map(Into::into))
        .collect();
    let text = oracle("seed.py", &arguments).await;
    let wanted = |path: &str| {
        path.starts_with("/stocks/time-series/AMZN") || path.ends_with("=1&frequency=Annual")
    };
    text.lines()
        .filter_map(|line| line.split_once('\t'))
        .filter(|(path, _)| wanted(path))
        .map(|(path, body)| (path.to_owned(), body.to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn run_loads_history_simulates_stops_on_ctrl_c_and_goes_on_from_its_data() {
    let folder: PathBuf =
        std::env::temp_dir().join(format!("testbed-it-{}-history", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let expected = expected().await;
    assert_eq!(expected.len(), 26 + 5);

    // GIVEN an empty data folder WHEN the stack runs
    let run = Run::start(&folder, "first").await;
    // THEN it has the history, exactly, and simulated minutes that grow
    assert!(run.said().contains("history is loaded: "), "{}", run.said());
    for (path, body) in &expected {
        assert_eq!(&run.get(path).await, body, "{path}");
    }
    let some = run.grows(0).await;
    let more = run.grows(some).await;
    // AND its folder is neither used by another run nor removed meanwhile
    let refused = second_run(&folder).await.unwrap_err().to_string();
    assert!(
        refused.contains("another `make run` uses the folder"),
        "{refused}"
    );
    assert!(!folder.join("data/log/ingest.log.old").exists());
    let refused = clean_data(&folder).await.unwrap_err().to_string();
    assert!(refused.contains("stop it first"), "{refused}");
    run.interrupt().await;

    // WHEN it runs again on the same folder
    let run = Run::start(&folder, "second").await;
    // THEN nothing is loaded again, all is still there, and it goes on
    assert!(
        run.said().contains("history is loaded already"),
        "{}",
        run.said()
    );
    for (path, body) in &expected {
        assert_eq!(&run.get(path).await, body, "{path}");
    }
    let still = run.simulated().await;
    assert!(still >= more, "{still} simulated trades after {more}");
    run.grows(still).await;
    run.interrupt().await;

    // AND WHEN nothing runs any more THEN the folder can be removed
    clean_data(&folder).await.unwrap();
    assert!(!folder.join("data").exists());
    std::fs::remove_dir_all(&folder).unwrap();
}
