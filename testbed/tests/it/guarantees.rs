//! `docs/guarantees.md` is true to the tests: each line of its tables names tests, and each of them exists.

use std::collections::BTreeMap;
use std::path::Path;

use testbed::workspace;

/// What stands between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_promise_names_a_test_that_exists() {
    // GIVEN the lines of its tables
    let root = workspace::root();
    let page = std::fs::read_to_string(root.join("docs/guarantees.md")).unwrap();
    // What follows tells how to run chaos, and promises nothing.
    let (promises, _) = page.split_once("\n## make chaos").unwrap();
    let rows: Vec<&str> = promises
        .lines()
        // The table there is of settings.
        .take_while(|line| *line != "## make chaos")
        .filter(|line| {
            line.starts_with("| ") && !line.starts_with("| promise") && !line.starts_with("| ---")
        })
        .collect();
    assert!(rows.len() > 20, "{} promises", rows.len());
    // WHEN their last columns are read THEN each name is a test of the file before it
    let mut sources: BTreeMap<&str, String> = BTreeMap::new();
    for row in rows {
        let proof = row
            .trim_end_matches([' ', '|'])
            .rsplit(" | ")
            .next()
            .unwrap();
        let (mut file, mut tests) = (None, 0);
        for name in quoted(proof) {
            if name == "testbed chaos" {
                tests += 1;
            } else if Path::new(name).extension().is_some_and(|end| end == "rs") {
                let read = || {
                    std::fs::read_to_string(root.join(name))
                        .unwrap_or_else(|error| panic!("{name}: {error}"))
                };
                sources.entry(name).or_insert_with(read);
                file = Some(name);
            } else {
                let file = file.unwrap_or_else(|| panic!("no file before {name}"));
                assert!(is_test(&sources[file], name), "{file} has no test {name}");
                tests += 1;
            }
        }
        assert!(tests > 0, "nothing shows: {row}");
    }
}

/// Whether a source has a test of that name.
fn is_test(source: &str, name: &str) -> bool {
    let function = format!("fn {name}(");
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let Some(place) = lines.iter().position(|line| line.contains(&function)) else {
        return false;
    };
    let attributes = lines[..place]
        .iter()
        .rev()
        .take_while(|line| line.starts_with("#[") || line.starts_with("//"));
    attributes
        .into_iter()
        .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
}

#[test]
fn only_what_is_marked_as_a_test_is_one() {
    let source = "#[tokio::test(flavor = \"multi_thread\")]\nasync fn one() {}\n\nfn other() {}\n#[test]\nfn third() {}";
    assert!(is_test(source, "one") && is_test(source, "third"));
    assert!(!is_test(source, "other") && !is_test(source, "thi"));
}
