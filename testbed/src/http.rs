//! HTTP clients, and what they read of metrics.
//!
//! reqwest is built here without a TLS library of its own, and panics when none was chosen: every client is made here,
//! after choosing one.

use anyhow::{Context as _, Result};
use reqwest::Client;

/// A client for anywhere.
pub(crate) fn client() -> Result<Client> {
    choose_tls();
    Client::builder()
        .build()
        .context("cannot make an HTTP client")
}

/// A client for services on this machine: never through a proxy.
///
/// # Errors
///
/// When the system's sockets cannot be used.
pub fn local() -> Result<Client> {
    choose_tls();
    Client::builder()
        .no_proxy()
        .build()
        .context("cannot make an HTTP client")
}

/// The value of a series in a text of metrics, such as `ingest_messages_total{outcome="added"}`.
pub fn metric(exposition: &str, series: &str) -> Option<f64> {
    exposition.lines().find_map(|line| {
        let value = line.strip_prefix(series)?.strip_prefix(' ')?;
        value.trim().parse().ok()
    })
}

fn choose_tls() {
    // It fails only when one is chosen already, and then that one serves.
    drop(rustls::crypto::ring::default_provider().install_default());
}
