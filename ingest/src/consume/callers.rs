//! The traces that messages belong to, by their header `traceparent`.

use common::telemetry::traces::{self, Caller};
use rdkafka::message::{Headers as _, Message};

use super::Consume;

/// A batch may continue thousands of traces: it is linked to the first few that differ.
const MOST: usize = 8;

impl Consume<'_> {
    /// Notes the span that a message names, for the batch's own. Nothing is looked at unless spans are
    /// sent.
    pub(super) fn note_caller(&mut self, message: &impl Message) {
        if !traces::on() || self.batch.callers.len() >= MOST {
            return;
        }
        let Some(headers) = message.headers() else {
            return;
        };
        let header = |key| {
            let found = headers.iter().find(|header| header.key == key)?;
            std::str::from_utf8(found.value?).ok()
        };
        if let Some(parent) = header("traceparent")
            && let Some(caller) = Caller::of(parent, header("tracestate"))
            && !self.batch.callers.contains(&caller)
        {
            self.batch.callers.push(caller);
        }
    }
}
