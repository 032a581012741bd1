//! A real PostgreSQL server, fetched and run by this process.
//!
//! The server runs as a direct child, listens on a free loopback port, trusts every login unless it is a
//! [`Postgres::secured`] one, and is stopped when the value is dropped. As root it runs under a user without rights.

mod binaries;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::certificates::Certificate;
use crate::process::{self, Launch, Process, Signal};
use crate::{eventually, ports, unprivileged};

/// The newest release line that is supported, and the one `testbed run` uses.
pub const NEWEST: &str = "18.6.0";
/// The oldest release line that is supported.
pub const OLDEST: &str = "15.19.0";

/// How a server is to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Exact version of the binaries on Maven Central, such as [`NEWEST`].
    pub version: String,
    /// The data folder; made when missing.
    pub data: PathBuf,
    /// Where the server's output goes.
    pub log: PathBuf,
    /// Whether commits survive a crash of the machine. Tests do without: they are several times quicker.
    pub durable: bool,
    /// Further settings, name and value.
    pub settings: Vec<(String, String)>,
}

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    options: Options,
    port: u16,
    scratch: Option<PathBuf>,
}

impl Postgres {
    /// Starts a server for tests on `data`, without durability.
    ///
    /// # Errors
    ///
    /// When the binaries cannot be had, or the server does not start.
    pub async fn start(version: &str, data: &Path) -> Result<Self> {
        let log = data.with_extension("log");
        Self::start_with(Options {
            version: version.to_owned(),
            data: data.to_path_buf(),
            log,
            durable: false,
            settings: Vec::new(),
        })
        .await
    }

    /// Starts a server for tests on a new folder that goes when the server does.
    ///
    /// # Errors
    ///
    /// As [`Postgres::start`].
    pub async fn temporary(version: &str) -> Result<Self> {
        let (options, folder) = scratch(version)?;
        Self::start_in(options, Some(folder)).await
    }

    /// As [`Postgres::temporary`], but every role other than the superuser needs TLS and its password (SCRAM-SHA-256).
    ///
    /// # Errors
    ///
    /// As [`Postgres::start`].
    pub async fn secured(version: &str, certificate: &Certificate) -> Result<Self> {
        const LOGINS: &str = "host all postgres 127.0.0.1/32 trust\n\
                              hostssl all all 127.0.0.1/32 scram-sha-256\n";
        let (mut options, folder) = scratch(version)?;
        let files = unprivileged::place(&folder.join("secured"))?;
        unprivileged::private_folder(&files)?;
        options.settings.push(("ssl".into(), "on".into()));
        for (setting, name, text) in [
            (
                "ssl_cert_file",
                "server.crt",
                certificate.certificate.as_str(),
            ),
            ("ssl_key_file", "server.key", &certificate.key),
            ("hba_file", "logins.conf", LOGINS),
        ] {
            let file = files.join(name);
            unprivileged::private_file(&file, text)?;
            options
                .settings
                .push((setting.into(), file.display().to_string()));
        }
        Self::start_in(options, Some(folder)).await
    }

    /// Starts a server.
    ///
    /// # Errors
    ///
    /// As [`Postgres::start`].
    pub async fn start_with(options: Options) -> Result<Self> {
        Self::start_in(options, None).await
    }

    async fn start_in(options: Options, scratch: Option<PathBuf>) -> Result<Self> {
        let port = ports::free()?;
        let process = launch(&options, port, scratch.clone()).await?;
        let mut server = Self {
            process,
            options,
            port,
            scratch,
        };
        server.wait().await?;
        Ok(server)
    }

    /// Starts the server again on the same port and data, after stopping it if it still runs.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        self.end();
        self.process = launch(&self.options, self.port, self.scratch.clone()).await?;
        self.wait().await
    }

    async fn wait(&mut self) -> Result<()> {
        let url = self.url("postgres");
        // A server that crashed first replays its log, which may take a while.
        let probe = async || PgConnection::connect(&url).await;
        let ready = self.process.until("PostgreSQL accepts connections", probe);
        ready
            .await?
            .close()
            .await
            .context("PostgreSQL closed its first connection")
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database for the superuser `postgres`.
    pub fn url(&self, database: &str) -> String {
        self.url_as("postgres", database)
    }

    /// The URL of a database for another role, without a password.
    pub fn url_as(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{database}", self.port)
    }

    /// Creates a database unless it exists, and returns its URL for the superuser.
    ///
    /// # Errors
    ///
    /// When the server refuses, or the name needs quoting.
    pub async fn create_database(&self, name: &str) -> Result<String> {
        if !name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        {
            bail!("`{name}` is no plain database name: use lower-case letters, digits and _");
        }
        let mut connection = PgConnection::connect(&self.url("postgres")).await?;
        let found: Option<i32> = sqlx::query_scalar("select 1 from pg_database where datname = $1")
            .bind(name)
            .fetch_optional(&mut connection)
            .await?;
        if found.is_none() {
            // The name was checked above to need no quoting.
            sqlx::query(AssertSqlSafe(format!("create database {name}")))
                .execute(&mut connection)
                .await?;
        }
        connection.close().await?;
        Ok(self.url(name))
    }

    /// The file that takes the server's output.
    pub fn log(&self) -> &Path {
        self.process.log()
    }

    /// The server's process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    fn end(&mut self) {
        if matches!(self.process.exited(), Ok(None)) {
            self.process.signal(Signal::SIGINT);
            // Immediate shutdown after that: the next start replays the log.
            self.process.stop(Duration::from_secs(3));
        }
    }

    /// Stops the server: connections end, everything committed is kept.
    pub fn stop(&mut self) {
        self.end();
        if let Some(folder) = self.scratch.take() {
            // What cannot be removed is left to the system's own cleaning of its temporary folder.
            drop(std::fs::remove_dir_all(folder));
        }
    }
}

/// A server for tests on a new folder, and that folder.
fn scratch(version: &str) -> Result<(Options, PathBuf)> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder =
        std::env::temp_dir().join(format!("testbed-postgres-{}-{number}", std::process::id()));
    if folder.exists() {
        std::fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    let options = Options {
        version: version.to_owned(),
        data: folder.join("data"),
        log: folder.join("server.log"),
        durable: false,
        settings: Vec::new(),
    };
    Ok((options, folder))
}

async fn launch(options: &Options, port: u16, scratch: Option<PathBuf>) -> Result<Process> {
    let binaries = binaries::folder(&options.version).await?;
    let data = unprivileged::place(&options.data)?;
    if data.join("PG_VERSION").exists() {
        check_version(&data, &options.version)?;
        clear_stale_lock(&data).await?;
    } else {
        create_cluster(&binaries, &data).await?;
    }
    let mut command = Command::new(binaries.join("bin/postgres"));
    command.arg("-D").arg(&data).current_dir("/");
    for (name, value) in settings(options, port) {
        command.args(["-c", &format!("{name}={value}")]);
    }
    Launch::new("PostgreSQL", command, &options.log)
        .as_login(unprivileged::login())
        // A fast shutdown: connections are ended, everything committed is kept.
        .stop_with(Signal::SIGINT)
        .scratch(scratch)
        .start()
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

fn settings(options: &Options, port: u16) -> Vec<(String, String)> {
    let mut settings = vec![
        ("port", port.to_string()),
        ("listen_addresses", "127.0.0.1".to_owned()),
        ("unix_socket_directories", String::new()),
        ("max_connections", "100".to_owned()),
        ("shared_buffers", "128MB".to_owned()),
        ("timezone", "UTC".to_owned()),
        ("log_timezone", "UTC".to_owned()),
    ];
    if !options.durable {
        settings.push(("fsync", "off".to_owned()));
        settings.push(("full_page_writes", "off".to_owned()));
    }
    let own = settings
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    own.chain(options.settings.iter().cloned()).collect()
}

async fn create_cluster(binaries: &Path, data: &Path) -> Result<()> {
    if data.exists() && data.read_dir()?.next().is_some() {
        bail!(
            "{} is not empty and holds no PostgreSQL data: remove it or choose another folder",
            data.display()
        );
    }
    // Made under another name, so that an interrupted start leaves no half-made cluster behind.
    let partial = data.with_extension("partial");
    if partial.exists() {
        std::fs::remove_dir_all(&partial)
            .with_context(|| format!("cannot remove {}", partial.display()))?;
    }
    unprivileged::private_folder(&partial)?;
    let mut command = Command::new(binaries.join("bin/initdb"));
    command
        .arg("-D")
        .arg(&partial)
        .args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ])
        .current_dir("/");
    if let Some(login) = unprivileged::login() {
        use std::os::unix::process::CommandExt as _;
        command.uid(login.uid).gid(login.gid);
    }
    process::run("creating a PostgreSQL cluster", command).await?;
    if data.exists() {
        std::fs::remove_dir(data)
            .with_context(|| format!("cannot replace the folder {}", data.display()))?;
    }
    std::fs::rename(&partial, data)
        .with_context(|| format!("cannot make the folder {}", data.display()))
}

fn check_version(data: &Path, version: &str) -> Result<()> {
    let found = std::fs::read_to_string(data.join("PG_VERSION"))?;
    let wanted = version.split('.').next().unwrap_or(version);
    if found.trim() != wanted {
        bail!(
            "{} was written by PostgreSQL {}, and this is {wanted}: remove the folder (`make clean-data`) or keep the \
             old version",
            data.display(),
            found.trim()
        );
    }
    Ok(())
}

/// A lock file whose process is gone, or whose number now belongs to another program, is removed; a server that still
/// stops is waited for.
async fn clear_stale_lock(data: &Path) -> Result<()> {
    let lock = data.join("postmaster.pid");
    let Ok(text) = std::fs::read_to_string(&lock) else {
        return Ok(());
    };
    let pid = text
        .lines()
        .next()
        .and_then(|line| line.trim().parse::<i32>().ok());
    let what = "the server that uses this data folder ends";
    let gone = eventually(what, Duration::from_secs(8), async || match pid {
        Some(pid) if is_postgres(pid, data).await => Err(format!("process {pid} still runs")),
        _ => Ok(()),
    });
    gone.await.with_context(|| {
        format!(
            "{} is in use by another run: stop that one first, or choose another folder",
            data.display()
        )
    })?;
    match std::fs::remove_file(&lock) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", lock.display()))
        }
        _ => Ok(()),
    }
}

async fn is_postgres(pid: i32, data: &Path) -> bool {
    let arguments = if let Ok(bytes) = std::fs::read(format!("/proc/{pid}/cmdline")) {
        String::from_utf8_lossy(&bytes).into_owned()
    } else {
        let mut command = Command::new("ps");
        command.args(["-o", "args=", "-p", &pid.to_string()]);
        process::run("ps", command).await.unwrap_or_default()
    };
    arguments.contains("postgres") && arguments.contains(&data.display().to_string())
}
