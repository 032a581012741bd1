//! An emulation of AWS Secrets Manager for tests (moto). It forgets its secrets when it ends.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, bail};
use reqwest::Client;
use serde_json::{Value, json};

use crate::process::{Launch, Process};
use crate::{http, ports, workspace};

/// The region it plays. Any would do.
pub const REGION: &str = "eu-central-1";

/// A running emulation.
#[derive(Debug)]
pub struct Moto {
    process: Process,
    client: Client,
    folder: PathBuf,
    port: u16,
}

impl Moto {
    /// Starts one that knows no secret.
    ///
    /// # Errors
    ///
    /// When `testbed/test.sh oracle` has not prepared it, or it does not start.
    pub async fn start() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("testbed-moto-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let port = ports::free()?;
        let mut moto = Self {
            process: launch(&folder, port)?,
            client: http::local()?,
            folder,
            port,
        };
        moto.wait().await?;
        Ok(moto)
    }

    /// Starts it again on the same port, without the secrets it had, after ending it if it still runs.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.kill9();
        self.process = launch(&self.folder, self.port)?;
        self.wait().await
    }

    /// For `AWS_ENDPOINT_URL`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Gives a secret a value; makes the secret when there is none of that name.
    ///
    /// # Errors
    ///
    /// When it refuses.
    pub async fn put(&self, name: &str, text: &str) -> Result<()> {
        let value = json!({"SecretId": name, "SecretString": text});
        let Err(error) = self.ask("PutSecretValue", value).await else {
            return Ok(());
        };
        if !format!("{error:#}").contains("ResourceNotFoundException") {
            return Err(error);
        }
        self.ask("CreateSecret", json!({"Name": name, "SecretString": text}))
            .await
    }

    async fn ask(&self, action: &str, body: Value) -> Result<()> {
        // It looks for the service's name here, and at no signature.
        let scope =
            format!("AWS4-HMAC-SHA256 Credential=x/20260101/{REGION}/secretsmanager/aws4_request");
        let response = self
            .client
            .post(self.url())
            .header("x-amz-target", format!("secretsmanager.{action}"))
            .header("content-type", "application/x-amz-json-1.1")
            .header("authorization", scope)
            .body(body.to_string())
            .send()
            .await?;
        let status = response.status();
        if !status.is_success() {
            bail!(
                "moto refuses {action} ({status}): {}",
                response.text().await?
            );
        }
        Ok(())
    }

    async fn wait(&mut self) -> Result<()> {
        let url = format!("{}/moto-api/", self.url());
        let client = &self.client;
        let probe = async || client.get(&url).send().await.map(drop);
        self.process.until("moto answers", probe).await
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.process.kill9();
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

fn launch(folder: &std::path::Path, port: u16) -> Result<Process> {
    let python = workspace::work().join("venv/bin/python");
    if !python.is_file() {
        bail!(
            "{} is missing: `testbed/test.sh oracle` makes it",
            python.display()
        );
    }
    let mut command = Command::new(python);
    command
        .args(["-c", "from moto.server import main; main()"])
        .args(["-H", "127.0.0.1", "-p", &port.to_string()])
        .current_dir(folder);
    Launch::new("moto", command, folder.join("moto.log"))
        .scratch(Some(folder.to_path_buf()))
        .start()
}
