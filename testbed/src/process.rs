//! Child processes that never outlive the process that started them.
//!
//! Each child leads a process group of its own, so that a terminal's Ctrl-C reaches only the parent, which then stops its
//! children in order. Beside each child a small shell waits on a pipe that only the parent holds: when the parent dies,
//! however it dies, the pipe closes and the shell ends the child. (A parent-death signal would need unsafe code, exists
//! on Linux alone and fires when the starting *thread* ends.)

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
pub use nix::sys::signal::Signal;
use nix::sys::signal::{kill, killpg};
use nix::unistd::Pid;

use crate::eventually_while;
use crate::unprivileged::Login;

/// Waits for the pipe to close, then ends process `$2`: signal `$1` first, KILL after five seconds, and KILL for what is
/// left of its group; removes `$3` if given.
const WATCHDOG: &str = r#"trap "" HUP INT TERM
read -r _
kill -s "$1" "$2" 2>/dev/null
for _ in 1 2 3 4 5; do kill -s 0 "$2" 2>/dev/null || break; sleep 1; done
kill -s KILL "$2" "-$2" 2>/dev/null
if [ -n "$3" ]; then rm -rf -- "$3"; fi"#;

/// How long a service may take until it answers.
const START: Duration = Duration::from_mins(1);
/// How much of a log is read to show its end.
const TAIL_BYTES: i64 = 64 * 1024;

/// What to start, and how to stop it.
#[derive(Debug)]
pub struct Launch {
    name: String,
    command: Command,
    log: PathBuf,
    stop_with: Signal,
    scratch: Option<PathBuf>,
}

impl Launch {
    /// A program whose output is appended to the file `log` and that is stopped by SIGTERM.
    pub fn new(name: impl Into<String>, command: Command, log: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            command,
            log: log.into(),
            stop_with: Signal::SIGTERM,
            scratch: None,
        }
    }

    /// Stops the program with another signal than SIGTERM.
    #[must_use]
    pub fn stop_with(mut self, signal: Signal) -> Self {
        self.stop_with = signal;
        self
    }

    /// Runs the program as another user; `None` changes nothing.
    #[must_use]
    pub fn as_login(mut self, login: Option<Login>) -> Self {
        if let Some(login) = login {
            self.command.uid(login.uid).gid(login.gid);
        }
        self
    }

    /// A folder to remove when the parent dies without cleaning up.
    #[must_use]
    pub fn scratch(mut self, folder: Option<PathBuf>) -> Self {
        self.scratch = folder;
        self
    }

    /// Starts the program.
    ///
    /// # Errors
    ///
    /// When the program or its log cannot be opened.
    pub fn start(mut self) -> Result<Process> {
        if let Some(folder) = self.log.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot write the log {}", self.log.display()))?;
        let errors = output.try_clone()?;
        self.command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0);
        let child = self.command.spawn().with_context(|| {
            format!(
                "cannot start {} ({})",
                self.name,
                self.command.get_program().display()
            )
        })?;
        let mut process = Process {
            name: self.name,
            child,
            watchdog: None,
            log: self.log,
            stop_with: self.stop_with,
            status: None,
        };
        // When this fails, dropping `process` ends the child.
        process.watchdog = Some(watch(
            process.pid(),
            process.stop_with,
            self.scratch.as_deref(),
        )?);
        Ok(process)
    }
}

fn watch(pid: u32, signal: Signal, scratch: Option<&Path>) -> Result<Child> {
    let signal = signal.as_str().trim_start_matches("SIG");
    Command::new("/bin/sh")
        .args(["-c", WATCHDOG, "watchdog", signal, &pid.to_string()])
        .arg(scratch.unwrap_or(Path::new("")))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("cannot start /bin/sh")
}

/// A running child process; dropping it stops it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    watchdog: Option<Child>,
    log: PathBuf,
    stop_with: Signal,
    status: Option<ExitStatus>,
}

impl Process {
    /// The name it was started under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The file that takes its output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How it ended, or nothing while it runs.
    ///
    /// # Errors
    ///
    /// When the system cannot tell.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self
                .child
                .try_wait()
                .with_context(|| format!("cannot ask after {}", self.name))?;
            if self.status.is_some() {
                // What it started and left behind when it crashed, such as nginx's workers.
                let _none = killpg(Pid::from_raw(self.pid().cast_signed()), Signal::SIGKILL);
                self.unwatch();
            }
        }
        Ok(self.status)
    }

    /// Fails when the process has ended, with the last lines of its log.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn check_alive(&mut self) -> Result<()> {
        let Some(status) = self.exited()? else {
            return Ok(());
        };
        let tail = tail(&self.log, 15);
        let hint = if tail.contains("No space left on device") {
            "\nThe disk is full: free some space and start again."
        } else {
            ""
        };
        bail!(
            "{} ended by itself ({status}). The end of {}:\n{tail}{hint}",
            self.name,
            self.log.display()
        )
    }

    /// Asks `probe` until it gives a value, for a minute at most, as long as the process runs.
    ///
    /// # Errors
    ///
    /// When the process has ended, with the last lines of its log, or the time is up.
    pub async fn until<T, E, F>(&mut self, what: &str, probe: F) -> Result<T>
    where
        E: Display,
        F: AsyncFnMut() -> Result<T, E>,
    {
        eventually_while(what, START, || self.check_alive(), probe).await
    }

    /// Sends a signal, when the process still runs.
    pub fn signal(&mut self, signal: Signal) {
        if let (Ok(None), Ok(pid)) = (self.exited(), i32::try_from(self.pid())) {
            // It may end in between, and then there is nobody to signal.
            let _gone = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Ends it at once, as a crash would (SIGKILL), and waits until it is gone.
    pub fn kill9(&mut self) {
        self.signal(Signal::SIGKILL);
        while matches!(self.exited(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Asks it to stop, waits up to `patience`, then kills it. Returns how it ended, nothing if the system cannot tell.
    pub fn stop(&mut self, patience: Duration) -> Option<ExitStatus> {
        self.signal(self.stop_with);
        let start = Instant::now();
        while matches!(self.exited(), Ok(None)) {
            if start.elapsed() >= patience {
                self.kill9();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.status
    }

    fn unwatch(&mut self) {
        if let Some(mut watchdog) = self.watchdog.take() {
            // Killed before its pipe closes, so that it does nothing; it cannot fail in a way that matters.
            drop(watchdog.kill());
            drop(watchdog.wait());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop(Duration::from_secs(3));
        self.unwatch();
    }
}

/// The last lines of a file, as far as they can be read.
pub fn tail(file: &Path, lines: usize) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(file)?;
        let length = i64::try_from(file.metadata()?.len()).unwrap_or(0);
        file.seek(SeekFrom::End(-length.min(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Runs a program to its end and returns what it printed.
///
/// # Errors
///
/// When it cannot be started or fails; the text ends with what it printed last.
pub async fn run(what: &str, mut command: Command) -> Result<String> {
    command.process_group(0).stdin(Stdio::null());
    let program = command.get_program().to_owned();
    let output = tokio::process::Command::from(command)
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("{what}: cannot start {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let all = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
        let lines: Vec<&str> = all.trim_end().lines().collect();
        bail!(
            "{what}: failed ({}):\n{}",
            output.status,
            lines[lines.len().saturating_sub(15)..].join("\n")
        );
    }
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests;
