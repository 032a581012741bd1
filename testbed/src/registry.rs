//! A real schema registry for tests (Apicurio, which speaks Confluent's API), and the one call publishers make to any.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, anyhow};
use serde::Deserialize;

use crate::process::{self, Launch, Process};
use crate::{cache, http, java, ports};

/// The newest version that runs on Java 17.
pub const VERSION: &str = "3.0.9";

/// A running registry; it keeps its schemas over a restart, and loses them when it is dropped.
#[derive(Debug)]
pub struct Registry {
    process: Process,
    folder: PathBuf,
    port: u16,
}

impl Registry {
    /// Fetches what is missing, and starts an empty registry.
    ///
    /// # Errors
    ///
    /// When Java or Maven is missing, nothing can be fetched, or the registry does not start.
    pub async fn start() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        java::check().await?;
        let application = application().await?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("testbed-registry-{}-{number}", std::process::id()));
        if folder.exists() {
            std::fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let port = ports::free()?;
        let process = launch(&application, &folder, port)?;
        let mut registry = Self {
            process,
            folder,
            port,
        };
        registry.wait().await?;
        Ok(registry)
    }

    /// Starts the registry again on the same port, with the schemas it had, after ending it if it still runs.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.kill9();
        self.process = launch(&application().await?, &self.folder, self.port)?;
        self.wait().await
    }

    /// The base URL of Confluent's API.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/apis/ccompat/v7", self.port)
    }

    /// Registers an Avro schema under a subject and returns its id.
    ///
    /// # Errors
    ///
    /// When the registry refuses it.
    pub async fn register(&self, subject: &str, schema: &str) -> Result<u32> {
        register(&self.url(), subject, schema).await
    }

    /// The registry's process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    async fn wait(&mut self) -> Result<()> {
        let url = format!("{}/subjects", self.url());
        let client = http::local()?;
        let probe = async || {
            let answer = client.get(&url).send().await?;
            answer.error_for_status().map(drop)
        };
        let ready = self.process.until("the schema registry answers", probe);
        ready.await
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It keeps nothing that a clean end could save.
        self.process.kill9();
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// Registers an Avro schema under a subject at any registry that speaks Confluent's API, and returns its id.
///
/// # Errors
///
/// When the registry cannot be reached or refuses the schema.
pub async fn register(url: &str, subject: &str, schema: &str) -> Result<u32> {
    #[derive(Deserialize)]
    struct Registered {
        id: u32,
    }
    let address = format!("{}/subjects/{subject}/versions", url.trim_end_matches('/'));
    let body = serde_json::json!({ "schema": schema, "schemaType": "AVRO" }).to_string();
    let response = http::client()?
        .post(&address)
        .header("content-type", "application/vnd.schemaregistry.v1+json")
        .body(body)
        .send()
        .await
        .with_context(|| format!("the schema registry {url} cannot be reached"))?;
    let status = response.status();
    let text = response.text().await?;
    if !status.is_success() {
        return Err(anyhow!(
            "the schema registry {url} refused the schema of {subject} ({status}): {text}"
        ));
    }
    let registered: Registered = serde_json::from_str(&text)
        .with_context(|| format!("the schema registry {url} answered: {text}"))?;
    Ok(registered.id)
}

fn launch(application: &Path, folder: &Path, port: u16) -> Result<Process> {
    // Written at once, and not locked by a process that was killed.
    let database = format!(
        "jdbc:h2:file:{}/schemas;WRITE_DELAY=0;FILE_LOCK=NO",
        folder.display()
    );
    let mut command = Command::new("java");
    command
        .args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .arg("-Dquarkus.http.host=127.0.0.1")
        .arg(format!("-Dquarkus.http.port={port}"))
        .arg("-Dapicurio.storage.kind=sql")
        .arg(format!("-Dapicurio.datasource.url={database}"))
        .arg("-jar")
        .arg(application.join(format!("apicurio-registry-app-{VERSION}-runner.jar")))
        .current_dir(application);
    Launch::new("the schema registry", command, folder.join("registry.log"))
        .scratch(Some(folder.to_path_buf()))
        .start()
}

async fn application() -> Result<PathBuf> {
    let folder = cache::folder().join("registry").join(VERSION);
    cache::fetch_once(&folder, async |folder| {
        eprintln!("Fetching the Apicurio schema registry {VERSION} (about 200 MB, once) …");
        std::fs::create_dir_all(folder)?;
        // Its parent is not published, so that Maven cannot resolve it: Maven says where artifacts lie, and the file
        // is fetched from there.
        let arguments = [
            "help:evaluate",
            "-Dexpression=project.repositories[0].url",
            "-DforceStdout",
        ];
        let base = java::maven("asking Maven for its repository", folder, &arguments).await?;
        let name = format!("apicurio-registry-app-{VERSION}-all.tar.gz");
        let url = format!("{base}/io/apicurio/apicurio-registry-app/{VERSION}/{name}");
        let response = http::client()?.get(&url).send().await?.error_for_status()?;
        std::fs::write(folder.join(&name), response.bytes().await?)?;
        let mut unpack = Command::new("tar");
        unpack.args(["-xzf", &name]).current_dir(folder);
        process::run("unpacking the schema registry", unpack).await?;
        std::fs::remove_file(folder.join(&name))?;
        Ok(())
    })
    .await
    .context("the schema registry could not be fetched: check the network and the free disk space")
}
