//! librdkafka's mock broker, in this process: what `make run` uses when no broker is given.
//!
//! It forgets everything when it ends and keeps only about 5 MiB a partition, so a run names its topic after the time it
//! began, and history is published at the pace of its reader.

use anyhow::{Context as _, Result};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

/// A running mock broker.
pub struct MockKafka {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl MockKafka {
    /// Starts a mock broker on a free loopback port.
    ///
    /// # Errors
    ///
    /// When librdkafka cannot make it.
    pub fn start() -> Result<Self> {
        let cluster = MockCluster::new(1).context("the embedded broker did not start")?;
        Ok(Self { cluster })
    }

    /// The broker's address.
    pub fn bootstrap(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// Creates a topic.
    ///
    /// # Errors
    ///
    /// When it exists already.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<()> {
        self.cluster
            .create_topic(name, partitions, 1)
            .with_context(|| format!("the embedded broker did not create the topic {name}"))
    }
}

impl std::fmt::Debug for MockKafka {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MockKafka")
            .field("bootstrap", &self.bootstrap())
            .finish()
    }
}
