//! Logs, traces, and the metrics that both programs have.

pub mod metrics;
pub mod traces;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{ConfigError, LogConfig, LogFormat};
use crate::telemetry::traces::Traces;

/// Starts logging to standard error, and tracing where the environment names a collector. Spans that
/// were not sent yet are sent when what is returned is dropped.
///
/// # Errors
/// When the filter is not one, or the collector's address is no URL.
pub fn start(config: &LogConfig, service: &'static str) -> Result<Option<Traces>, ConfigError> {
    let filter = EnvFilter::try_new(&config.filter)
        .map_err(|error| ConfigError(format!("log.filter {:?}: {error}", config.filter)))?;
    let traces = Traces::start(service)?;
    let logs = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let logs = match config.format {
        LogFormat::Text => logs.with_ansi(false).boxed(),
        LogFormat::Json => logs.json().flatten_event(true).boxed(),
    };
    // A second start, as in tests, keeps the first.
    let _started = tracing_subscriber::registry()
        .with(logs.with_filter(filter))
        .with(traces.as_ref().map(|traces| traces.layer(service)))
        .try_init();
    Ok(traces)
}
