//! Avro messages need their writer's schema: the poll loop asks the registry, once for each schema.
//!
//! A registry that does not answer holds up the message that needs it and what follows, never what came
//! before, and the worker stays in its group meanwhile.

use std::time::{Duration, Instant};

use tracing::warn;

use super::{Consume, ConsumeError, Interrupted};
use crate::dead_letter::{Fault, Reason};
use crate::decode::registry::{Lookup, Registry};
use crate::decode::{self, Decoded, RecordInfo, avro};

impl Consume<'_> {
    /// Decodes Avro, waiting for the registry where a schema is not known yet.
    pub(super) fn decode_avro(
        &mut self,
        payload: &[u8],
        record: RecordInfo,
    ) -> Result<Result<Result<Decoded<'static>, Fault>, Interrupted>, ConsumeError> {
        let (id, body) = match avro::split(payload) {
            Ok(parts) => parts,
            Err(fault) => return Ok(Ok(Err(fault))),
        };
        let Some(mut registry) = self.registry.take() else {
            return Err(ConsumeError::Fatal(
                "a topic is avro but kafka.schema_registry_url is not set".into(),
            ));
        };
        let lookup = match registry.remembered(id) {
            Some(lookup) => Ok(lookup),
            None => self.ask_registry(&mut registry, id)?,
        };
        self.registry = Some(registry);
        Ok(lookup.map(|lookup| match lookup {
            Lookup::Known(schema) => avro::decode(&schema, body, record, &self.rules),
            Lookup::Unknown(detail) => Err(decode::fault(Reason::UnknownSchema, &detail)),
        }))
    }

    pub(super) fn ask_registry(
        &mut self,
        registry: &mut Registry,
        id: u32,
    ) -> Result<Result<Lookup, Interrupted>, ConsumeError> {
        let links = self.links;
        // A registry that hangs must not hold up a stop.
        let mut ask = || {
            links.runtime.block_on(async {
                tokio::select! {
                    answer = registry.ask(id) => Some(answer),
                    () = links.stop.cancelled() => None,
                }
            })
        };
        if let Some(Ok(lookup)) = ask() {
            return Ok(Ok(lookup));
        }
        // What came before does not wait with this message.
        if !self.batch.is_empty() {
            if self.wait_for_writer()?.is_err() {
                return Ok(Err(Interrupted));
            }
            self.flush();
        }
        let mut attempt = 0;
        let mut ask_again_at = Instant::now();
        let outcome = self.while_paused(|_| {
            if ask_again_at > Instant::now() {
                return None;
            }
            match ask()? {
                Ok(lookup) => Some(lookup),
                Err(error) => {
                    warn!(%error, "waiting for the schema registry");
                    links.health.kafka_answers(Some(error.to_string()));
                    attempt += 1;
                    ask_again_at = Instant::now()
                        + crate::failure::backoff(attempt, 0.5).min(Duration::from_secs(1));
                    None
                }
            }
        })?;
        if outcome.is_ok() {
            links.health.kafka_answers(None);
        }
        Ok(outcome)
    }
}
