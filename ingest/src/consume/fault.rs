//! What the client reports: most of it passes, some is an operator's to mend.

use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use tracing::warn;

use super::{Consume, ConsumeError, WATERMARK, assignment};

impl Consume<'_> {
    pub(super) fn on_error(&mut self, error: &KafkaError) -> Result<(), ConsumeError> {
        match error {
            KafkaError::PartitionEOF(partition) => {
                self.ends.insert(*partition);
                Ok(())
            }
            KafkaError::MessageConsumption(
                RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange,
            ) => Err(ConsumeError::Fatal(self.what_is_gone(error))),
            KafkaError::MessageConsumption(
                RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::SaslAuthenticationFailed,
            )
            | KafkaError::MessageConsumptionFatal(_) => {
                Err(ConsumeError::Fatal(format!("kafka: {error}")))
            }
            _ => {
                let unavailable = self.consumer.context().unavailable();
                warn!(%error, unavailable, "kafka");
                if unavailable.is_some() {
                    self.unavailable = unavailable;
                    if self.partitions.is_empty() {
                        self.wait_for_partitions();
                    }
                }
                Ok(())
            }
        }
    }

    /// Kafka does not have a position: which one, where it can be told.
    pub(super) fn what_is_gone(&self, error: &KafkaError) -> String {
        for (partition, next) in self.partitions.positions() {
            let (topic, number) = (&partition.topic, partition.partition);
            match self.consumer.fetch_watermarks(topic, number, WATERMARK) {
                Ok((low, high)) if next < low || next > high => {
                    return assignment::outside(partition, next, low, high);
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        assignment::gone(&format!("a position of {}: {error}", self.topics))
    }
}
