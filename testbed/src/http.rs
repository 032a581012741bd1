//! HTTP clients.
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

fn choose_tls() {
    // It fails only when one is chosen already, and then that one serves.
    drop(rustls::crypto::ring::default_provider().install_default());
}
