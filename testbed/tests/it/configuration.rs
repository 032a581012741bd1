//! A wrong configuration is refused with its key, and no password is ever shown.

use std::collections::BTreeSet;
use std::path::PathBuf;

use testbed::workspace;

use crate::program::{run, run_of};

/// A file of settings that goes with the process.
fn settings_file(name: &str, yaml: &str) -> PathBuf {
    let file = std::env::temp_dir().join(format!("testbed-it-{}-{name}.yaml", std::process::id()));
    std::fs::write(&file, yaml).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_configuration_is_refused_before_anything_is_reached_and_names_its_key() {
    for (name, yaml, settings, named) in [
        ("section", "kafak: {}", vec![], "kafak"),
        ("key", "kafka: {brokres: a}", vec![], "brokres"),
        (
            "type",
            "batch: {max_messages: many}",
            vec![],
            "max_messages",
        ),
        (
            "format",
            "kafka: {topics: {a: xml}}",
            vec![],
            "`xml`, expected `json` or `avro`",
        ),
        (
            "protocol",
            "{}",
            vec![("FDA_KAFKA__SECURITY_PROTOCOL", "SSL")],
            "expected one of `plaintext`, `ssl`, `sasl_plaintext`, `sasl_ssl`",
        ),
        (
            "avro",
            "kafka: {topics: {a: avro}}",
            vec![],
            "kafka.schema_registry_url",
        ),
        (
            "url",
            "database: {url: 'mysql://h/d'}",
            vec![],
            "database.url",
        ),
        (
            "range",
            "batch: {max_messages: 0}",
            vec![],
            "batch.max_messages",
        ),
        (
            "variable",
            "{}",
            vec![("FDA_KAFKA__BROKRES", "a")],
            "brokres",
        ),
        (
            "listen",
            "{}",
            vec![("FDA_ADMIN__LISTEN", "nowhere")],
            "listen",
        ),
        ("filter", "log: {filter: 'a=b=c'}", vec![], "log.filter"),
        (
            "file",
            "kafka: {ssl_key_file: /nowhere.pem}",
            vec![],
            "kafka.ssl_key_file: /nowhere.pem cannot be read: No such file",
        ),
        ("yaml", "kafka: [", vec![], "testbed-it-"),
    ] {
        // GIVEN a fault
        let file = settings_file(name, yaml);
        // WHEN a command reads it
        for command in ["run", "migrate", "verify"] {
            let arguments = [command, "--config", file.to_str().unwrap()];
            let (code, text) = run(&arguments, &settings).await;
            // THEN the exit code is 2 and the text names the key
            assert!(
                code == 2 && text.contains(named),
                "{name} {command}: {code} {text}"
            );
        }
        std::fs::remove_file(file).unwrap();
    }
    let (code, text) = run(&["run", "--config", "/nowhere.yaml"], &[]).await;
    assert!(code == 2 && text.contains("/nowhere.yaml"), "{code} {text}");
    let (code, text) = run(&["run"], &[("ENVIRONMENT", "staging")]).await;
    assert!(code == 2 && text.contains("ENVIRONMENT"), "{code} {text}");
    let (code, _) = run(&["fly"], &[]).await;
    assert_eq!(code, 2);
    // All faults are told at once.
    let four = [
        ("FDA_DATABASE__URL", "mysql://h/d"),
        ("FDA_BATCH__MAX_BYTES", "1"),
        ("FDA_BATCH__LINGER", "soon"),
        ("FDA_KAFKA__BROKRES", "a"),
    ];
    let (_, text) = run(&["run"], &four).await;
    for named in ["database.url", "batch.max_bytes", "batch.linger", "brokres"] {
        assert!(text.contains(named), "{named}: {text}");
    }
    // So is a name that is none.
    let set = ["symbols", "set", "A\nB", "--timezone", "UTC"];
    let (code, text) = run(&set, &[]).await;
    assert!(
        code == 2 && text.contains("control characters"),
        "{code} {text}"
    );
    // Names are taken as they are written.
    let names = [("FDA_KAFKA__TOPIC", "0042"), ("FDA_KAFKA__GROUP", "1e3")];
    let (code, text) = run(&["config", "check"], &names).await;
    assert!(
        code == 0 && text.contains("\"0042\"") && text.contains("\"1e3\""),
        "{code} {text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_cannot_do_as_asked_says_why() {
    // GIVEN a range that is none, and an address where nobody is
    let reversed = ["verify", "--from", "2023-01-01", "--to", "2022-01-01"];
    let (code, text) = run(&reversed, &[]).await;
    assert!(code == 2 && text.contains("exchange them"), "{code} {text}");
    let nobody = [
        ("FDA_DATABASE__URL", "postgres://127.0.0.1:1/d"),
        ("FDA_DATABASE__CONNECT_TIMEOUT", "200ms"),
    ];
    // WHEN it reads from there THEN it names the key of the address
    let (code, text) = run(&["symbols", "list"], &nobody).await;
    assert!(code == 1 && text.contains("database.url"), "{code} {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_program_leaves_the_sections_of_the_other_alone() {
    // GIVEN a file with every section that the README tells; `admin` is both programs' and needs its key
    let readme = std::fs::read_to_string(workspace::root().join("README.md")).unwrap();
    let sections: BTreeSet<&str> = readme
        .lines()
        .filter(|line| line.contains("`FDA_"))
        .filter_map(|line| line.strip_prefix("| `")?.split('.').next())
        .filter(|section| *section != "admin")
        .collect();
    assert!(sections.len() >= 8, "{sections:?}");
    let yaml = Vec::from_iter(sections).join(": {}\n") + ": {}\n";
    let file = settings_file("sections", &yaml);
    for program in ["ingest", "api"] {
        // WHEN a program reads it THEN it takes it
        let arguments = ["config", "check", "--config", file.to_str().unwrap()];
        let (code, text) = run_of(program, &arguments, &[]).await;
        assert_eq!(code, 0, "{program}: {text}");
    }
    std::fs::remove_file(file).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_is_shown_without_its_passwords() {
    // GIVEN a password in every place for one, and a refused configuration with one
    let secret = "Tr0ub4dor";
    let registry = format!("http://me:{secret}@registry:8081");
    let good = format!("postgres://me:{secret}@db:5432/prices?password=p@{secret}");
    let bad = format!("mysql://me:{secret}@db/prices");
    for (url, expected) in [(&good, 0), (&bad, 2)] {
        // WHEN it is checked
        let settings = [
            ("FDA_DATABASE__URL", url.as_str()),
            ("FDA_KAFKA__SCHEMA_REGISTRY_URL", &registry),
        ];
        let (code, text) = run(&["config", "check"], &settings).await;
        // THEN what is printed holds the rest, and no password
        assert_eq!(code, expected, "{text}");
        assert!(!text.contains(secret), "{text}");
        assert!(text.contains("me:***@db"), "{text}");
    }
}
