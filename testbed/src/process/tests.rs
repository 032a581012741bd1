//! Tests of `process`.

use super::*;

fn log(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("testbed-process-{}-{name}.log", std::process::id()))
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

#[test]
fn process_that_ignores_the_request_to_stop_is_killed() {
    // GIVEN a process that ignores SIGTERM
    let log = log("stubborn");
    let script = r#"trap "" TERM; echo ready; while :; do sleep 0.05; done"#;
    let mut process = Launch::new("stubborn", shell(script), &log)
        .start()
        .unwrap();
    while tail(&log, 1) != "ready" {
        std::thread::sleep(Duration::from_millis(5));
    }
    // WHEN it is stopped with little patience
    let status = process.stop(Duration::from_millis(100)).unwrap();
    // THEN it was killed
    assert!(!status.success());
    std::fs::remove_file(log).unwrap();
}

#[test]
fn process_that_ends_by_itself_is_told_with_its_last_words() {
    let log = log("dying");
    let mut process = Launch::new("dying", shell("echo the last words; exit 3"), &log)
        .start()
        .unwrap();
    while process.exited().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let error = process.check_alive().unwrap_err().to_string();
    assert!(
        error.contains("dying") && error.contains("the last words") && error.contains('3'),
        "{error}"
    );
    std::fs::remove_file(log).unwrap();
}

#[test]
fn watchdog_ends_the_process_when_its_pipe_closes() {
    // GIVEN a process and its watchdog
    let log = log("orphan");
    let mut process = Launch::new("orphan", shell("exec sleep 60"), &log)
        .start()
        .unwrap();
    // WHEN the pipe closes, as it does when the parent dies
    drop(process.watchdog.as_mut().and_then(|w| w.stdin.take()));
    // THEN the process ends
    let start = Instant::now();
    while process.exited().unwrap().is_none() {
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "the process still runs"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    std::fs::remove_file(log).unwrap();
}

#[test]
fn what_a_crashed_process_leaves_behind_is_ended() {
    // GIVEN a process with a child of its own
    let log = log("parent");
    let mut process = Launch::new("parent", shell("sleep 60 & echo $!; wait"), &log)
        .start()
        .unwrap();
    let child = loop {
        if let Ok(pid) = tail(&log, 1).parse() {
            break Pid::from_raw(pid);
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    // WHEN it crashes
    process.kill9();
    // THEN the child ends too; it may be seen as a zombie until its new parent has noticed
    let start = Instant::now();
    while kill(child, None).is_ok() && !zombie(child) {
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "the child still runs"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    std::fs::remove_file(log).unwrap();
}

fn zombie(pid: Pid) -> bool {
    let state = Command::new("ps")
        .args(["-o", "state=", "-p", &pid.to_string()])
        .output()
        .unwrap();
    state.stdout.starts_with(b"Z")
}
