//! What a program knows in secret is seen nowhere: not in its log, however much it tells, nor in its metrics and probes,
//! nor among the system's processes, nor in a core file.

use std::fs;

use crate::positions::ticks;
use crate::program::{Program, log_of, run_of};
use crate::secured::{AWS_KEY, Site, aws, login};

const PASSWORD: &str = "n0body-5ees-th1s";
const BROKER_PASSWORD: &str = "n0r-do-th3y-see-th1s";
const SECRETS: [&str; 3] = [PASSWORD, BROKER_PASSWORD, AWS_KEY];
/// Everything that a program and its libraries can say.
const TALKATIVE: (&str, &str) = ("FDA_LOG__FILTER", "trace");

fn holds_no_secret(what: &str, text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{what} tells {secret}");
    }
}

/// What others see of a running program, and what it may leave behind.
async fn tells_nothing(program: &mut Program) {
    for path in ["/metrics", "/readyz", "/livez"] {
        let (_, text) = program.admin(path).await.unwrap();
        holds_no_secret(path, &text);
    }
    let process = program.process();
    let log = log_of(process);
    assert!(log.contains("TRACE"), "the log is not talkative");
    holds_no_secret("the log", &log);
    let proc = format!("/proc/{}", process.pid());
    holds_no_secret(
        "the command line",
        &fs::read_to_string(format!("{proc}/cmdline")).unwrap(),
    );
    let limits = fs::read_to_string(format!("{proc}/limits")).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    let words: Vec<&str> = core.split_whitespace().collect();
    // One byte: Linux then neither writes a file nor hands the memory to another program.
    assert_eq!(words[4..6], ["1", "1"], "{core}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_seen_in_logs_metrics_processes_or_core_files() {
    // GIVEN logins in secrets, a password for the broker, and programs that log all they can
    let site = Site::new("leaks").await;
    let writer = site.make_login("ingest", "writer", PASSWORD).await;
    let reader = site.make_login("api", "reader", PASSWORD).await;
    site.put("ingest", &login(&writer, PASSWORD)).await;
    site.put("api", &login(&reader, PASSWORD)).await;
    let mut worker = site.worker("ingest", &[TALKATIVE]);
    let mut api = site.api("api", &[TALKATIVE]);
    // WHEN they work, and meet what goes wrong
    site.pipeline.publish(&ticks("A", 0..5)).await;
    site.pipeline.caught_up().await;
    api.ready().await;
    assert_eq!(api.get("/v1/candles/A?interval=1m").await.unwrap().0, 200);
    site.end_idle(&reader).await;
    site.end_idle(&writer).await;
    api.ready().await;
    assert_eq!(api.get("/v1/candles/A?interval=bad").await.unwrap().0, 400);
    // THEN neither tells what it knows
    tells_nothing(&mut worker).await;
    tells_nothing(&mut api).await;
    // AND a worker with a password for a broker that asks for none says no more
    let broker = [
        ("FDA_KAFKA__SECURITY_PROTOCOL", "sasl_plaintext"),
        ("FDA_KAFKA__SASL_USERNAME", "worker"),
        ("FDA_KAFKA__SASL_PASSWORD", BROKER_PASSWORD),
    ];
    let mut refused = site.worker("ingest", &[&[TALKATIVE][..], &broker].concat());
    refused.waits_for(site.pipeline.brokers()).await;
    tells_nothing(&mut refused).await;
    // AND the checked configuration masks them
    let secret = site.secret("ingest");
    let url = format!("postgres://{writer}:{PASSWORD}@localhost/it");
    let own = aws(site.door.url(), &secret);
    let with_url = [&own[..], &[("FDA_DATABASE__URL", url.as_str())]].concat();
    let with_broker = [&with_url[..], &broker].concat();
    for (program, settings) in [("api", &with_url), ("ingest", &with_broker)] {
        let (code, text) = run_of(program, &["config", "check"], settings).await;
        assert!(code == 0 && text.contains(&secret), "{text}");
        holds_no_secret("config check", &text);
    }
}
