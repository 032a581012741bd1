//! A real Apache Kafka broker (KRaft) or a cluster of them for tests, fetched by Maven and run by this process.
//!
//! The broker keeps its data over [`Kafka::kill9`] and [`Kafka::restart`] and loses it when the value is dropped.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use rand::RngExt as _;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::metadata::MetadataTopic;
use rdkafka::types::RDKafkaErrorCode;

use crate::certificates::{Authority, Certificate};
use crate::process::{self, Launch, Process, Signal};
use crate::{cache, eventually, java, ports};

/// The version that is fetched.
pub const VERSION: &str = "4.3.1";

/// What Maven is to fetch: the broker, the tool that formats its disk, and a logger that prints.
const POM: &str = include_str!("kafka/pom.xml");

/// Settings that make a single broker quick to start, and quick to come back after a kill.
const SETTINGS: &str = include_str!("kafka/server.properties");

/// What a node of a cluster needs beside them.
const MEMBER: &str = include_str!("kafka/member.properties");

/// What a listener with TLS and SCRAM-SHA-512 needs beside them.
const SECURED: &str = include_str!("kafka/secured.properties");

/// A listener with TLS, certificates of clients and a login.
#[derive(Debug)]
pub struct Secured<'a> {
    /// Of the broker.
    pub certificate: &'a Certificate,
    /// Who signs the certificates that clients must have.
    pub clients: &'a Authority,
    /// Who may log in, by SCRAM-SHA-512.
    pub username: &'a str,
    /// With this password.
    pub password: &'a str,
}

/// A place in a cluster.
#[derive(Debug, Clone)]
struct Member {
    cluster: String,
    /// 1 and up; the first one is the controller too.
    node: u32,
    nodes: u32,
    controller_port: u16,
}

/// A running broker.
#[derive(Debug)]
pub struct Kafka {
    process: Process,
    libraries: PathBuf,
    folder: PathBuf,
    port: u16,
    secured_port: Option<u16>,
}

impl Kafka {
    /// Fetches what is missing, and starts a broker with an empty disk.
    ///
    /// # Errors
    ///
    /// When Java or Maven is missing, nothing can be fetched, or the broker does not start.
    pub async fn start() -> Result<Self> {
        Self::start_with(None, None).await
    }

    /// Starts brokers that hold copies of each other's partitions. The first one is the controller: without it no leader
    /// changes.
    ///
    /// # Errors
    ///
    /// As [`Kafka::start`].
    pub async fn cluster(nodes: u32) -> Result<Vec<Self>> {
        let member = Member {
            cluster: cluster_id(),
            node: 1,
            nodes,
            controller_port: ports::free()?,
        };
        let mut brokers = vec![Self::start_with(None, Some(member.clone())).await?];
        for node in 2..=nodes {
            let member = Member {
                node,
                ..member.clone()
            };
            brokers.push(Self::start_with(None, Some(member)).await?);
        }
        Ok(brokers)
    }

    /// As [`Kafka::start`], with a second listener.
    ///
    /// # Errors
    ///
    /// As [`Kafka::start`].
    pub async fn secured(secured: &Secured<'_>) -> Result<Self> {
        Self::start_with(Some(secured), None).await
    }

    async fn start_with(secured: Option<&Secured<'_>>, member: Option<Member>) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        java::check().await?;
        let libraries = libraries().await?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("testbed-kafka-{}-{number}", std::process::id()));
        if folder.exists() {
            std::fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let port = ports::free()?;
        let secured_port = secured.map(|_| ports::free()).transpose()?;
        let mut settings = SETTINGS.to_owned();
        if let (Some(secured), Some(port)) = (secured, secured_port) {
            let keystore = folder.join("keystore.pem");
            let Certificate { certificate, key } = secured.certificate;
            std::fs::write(&keystore, format!("{key}{certificate}"))?;
            let truststore = folder.join("truststore.pem");
            std::fs::write(&truststore, secured.clients.pem())?;
            let more = SECURED
                .replace("@SECURED_PORT@", &port.to_string())
                .replace("@KEYSTORE@", &keystore.display().to_string())
                .replace("@TRUSTSTORE@", &truststore.display().to_string());
            settings.push_str(&more);
        }
        let member = match member {
            Some(member) => {
                settings.push_str(&member.settings());
                member
            }
            None => Member {
                cluster: cluster_id(),
                node: 1,
                nodes: 1,
                controller_port: ports::free()?,
            },
        };
        let settings = settings
            .replace("@PORT@", &port.to_string())
            .replace("@CONTROLLER_PORT@", &member.controller_port.to_string())
            .replace("@DATA@", &folder.join("data").display().to_string());
        std::fs::write(folder.join("server.properties"), settings)?;
        let mut format = java_command(&libraries, &folder);
        format.args([
            "kafka.tools.StorageTool",
            "format",
            "-t",
            &member.cluster,
            "-c",
            "server.properties",
        ]);
        if let Some(Secured {
            username, password, ..
        }) = secured
        {
            let user = format!("SCRAM-SHA-512=[name={username},password={password}]");
            format.args(["--add-scram", &user]);
        }
        process::run("formatting the disk of a Kafka broker", format).await?;
        let process = launch(&libraries, &folder)?;
        let mut broker = Self {
            process,
            libraries,
            folder,
            port,
            secured_port,
        };
        broker.wait().await?;
        Ok(broker)
    }

    /// The broker's address, `127.0.0.1:port`.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The address of the listener with TLS and a login, where there is one.
    pub fn secured_bootstrap(&self) -> Option<String> {
        self.secured_port.map(|port| format!("127.0.0.1:{port}"))
    }

    /// The broker's process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Creates a topic unless it exists.
    ///
    /// # Errors
    ///
    /// When the broker refuses.
    pub async fn create_topic(&self, name: &str, partitions: i32) -> Result<()> {
        create_topic(&self.bootstrap(), name, partitions).await
    }

    /// Ends the broker at once, as a crash would.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Starts the broker again on the same port and disk, after ending it if it still runs.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.stop(Duration::from_secs(10));
        self.process = launch(&self.libraries, &self.folder)?;
        self.wait().await
    }

    async fn wait(&mut self) -> Result<()> {
        let bootstrap = self.bootstrap();
        let probe = async || describe(&bootstrap).await;
        self.process.until("Kafka answers", probe).await
    }
}

impl Member {
    fn settings(&self) -> String {
        let mut text = MEMBER
            .replace("@COPIES@", &self.nodes.min(3).to_string())
            .replace("@IN_SYNC@", &self.nodes.min(2).to_string());
        if self.node > 1 {
            let node = format!(
                "process.roles=broker\nnode.id={}\nlisteners=PLAINTEXT://127.0.0.1:@PORT@\n",
                self.node
            );
            text.push_str(&node);
        }
        text
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // Its disk goes with it: there is nothing to put in order.
        self.process.kill9();
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// Creates a topic on any broker unless it exists.
///
/// # Errors
///
/// When the broker cannot be reached or refuses.
pub async fn create_topic(bootstrap: &str, name: &str, partitions: i32) -> Result<()> {
    let admin = admin(bootstrap)?;
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
    let results = admin
        .create_topics([&topic], &options)
        .await
        .with_context(|| format!("the broker {bootstrap} did not create the topic {name}"))?;
    for result in results {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                return Err(anyhow!(
                    "the broker {bootstrap} refused the topic {topic}: {code}"
                ));
            }
        }
    }
    Ok(())
}

/// Deletes a topic, and waits until the broker has forgotten it, so that its name is free again.
///
/// # Errors
///
/// When the broker cannot be reached or refuses.
pub async fn delete_topic(bootstrap: &str, name: &str) -> Result<()> {
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
    let results = admin(bootstrap)?.delete_topics(&[name], &options).await?;
    for result in results {
        result.map_err(|(topic, code)| {
            anyhow!("the broker {bootstrap} did not delete the topic {topic}: {code}")
        })?;
    }
    let what = format!("the topic {name} is gone");
    eventually(&what, Duration::from_secs(20), async || {
        let (client, wanted) = (admin(bootstrap)?, name.to_owned());
        let found = tokio::task::spawn_blocking(move || {
            let metadata = client
                .inner()
                .fetch_metadata(None, Duration::from_secs(5))?;
            let known = |topic: &MetadataTopic| topic.name() == wanted;
            Ok::<_, anyhow::Error>(metadata.topics().iter().any(known))
        });
        if found.await?? {
            Err(anyhow!("it is still listed"))
        } else {
            Ok(())
        }
    })
    .await
}

pub(crate) fn admin(bootstrap: &str) -> Result<AdminClient<DefaultClientContext>> {
    let mut config = ClientConfig::new();
    // Silent: a broker that is still starting refuses connections for a while, which is no news.
    config
        .set("bootstrap.servers", bootstrap)
        .set("log_level", "0")
        .set("socket.timeout.ms", "20000");
    config.create().context("cannot make a Kafka client")
}

async fn describe(bootstrap: &str) -> Result<()> {
    let admin = admin(bootstrap)?;
    let asked = tokio::task::spawn_blocking(move || {
        admin
            .inner()
            .fetch_metadata(None, Duration::from_secs(2))
            .map(|metadata| metadata.brokers().len())
    });
    match asked.await? {
        Ok(0) => Err(anyhow!("no broker has registered yet")),
        Ok(_) => Ok(()),
        Err(error) => Err(anyhow!(error)),
    }
}

async fn libraries() -> Result<PathBuf> {
    let folder = cache::folder().join("kafka").join(VERSION);
    cache::fetch_once(&folder, async |folder| {
        eprintln!("Fetching Apache Kafka {VERSION} (about 100 MB, once) …");
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("pom.xml"), POM.replace("@VERSION@", VERSION))?;
        let arguments = [
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            "-DoutputDirectory=libs",
        ];
        java::maven("fetching Apache Kafka", folder, &arguments)
            .await
            .map(drop)
    })
    .await
}

fn java_command(libraries: &Path, folder: &Path) -> Command {
    let mut command = Command::new("java");
    command
        .args([
            "-Xmx256m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-cp",
        ])
        // Java itself expands the star.
        .arg(libraries.join("libs/*"))
        .current_dir(folder);
    command
}

fn launch(libraries: &Path, folder: &Path) -> Result<Process> {
    let mut command = java_command(libraries, folder);
    command.args(["kafka.Kafka", "server.properties"]);
    Launch::new("Kafka", command, folder.join("broker.log"))
        .stop_with(Signal::SIGTERM)
        .scratch(Some(folder.to_path_buf()))
        .start()
}

/// Sixteen random bytes as Kafka writes them: URL-safe base64 without padding, 22 characters, of which the last carries
/// two bits. Letters and digits only, so that no tool takes it for an option.
fn cluster_id() -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = rand::rng();
    let mut id: String = (0..21)
        .map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())]))
        .collect();
    id.push('A');
    id
}
