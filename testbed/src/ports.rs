//! Free TCP ports on loopback.
//!
//! A port is asked of the kernel and given back at once, so another program could take it in between; the kernel hands
//! ports out far apart, and this process never gives the same one twice.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

use anyhow::{Context as _, Result, anyhow};

static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A loopback port that nothing listens on.
///
/// # Errors
///
/// When the system has no port left to give.
pub fn free() -> Result<u16> {
    for _ in 0..100 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .context("no free port on 127.0.0.1: close some programs and try again")?;
        let port = listener.local_addr()?.port();
        let mut given = GIVEN
            .lock()
            .map_err(|_| anyhow!("a thread that chose a port has panicked"))?;
        if given.insert(port) {
            return Ok(port);
        }
    }
    Err(anyhow!(
        "no free port on 127.0.0.1: close some programs and try again"
    ))
}

/// Checks that a port can be listened on.
///
/// # Errors
///
/// When it is in use or needs rights that this user lacks; the text says which variable to change.
pub fn check(port: u16, variable: &str) -> Result<()> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => Err(anyhow!(
            "port {port} is in use by another program: stop that one, or choose another with {variable}=…"
        )),
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => Err(anyhow!(
            "port {port} may only be used by root: choose one above 1023 with {variable}=…"
        )),
        Err(e) => Err(anyhow!(e).context(format!("port {port} cannot be listened on"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ() {
        let ports: BTreeSet<u16> = (0..20).map(|_| free().unwrap()).collect();
        assert_eq!(ports.len(), 20);
    }

    #[test]
    fn port_in_use_is_named_with_the_variable_that_changes_it() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = check(port, "PORT").unwrap_err().to_string();
        assert!(
            error.contains(&port.to_string()) && error.contains("PORT="),
            "{error}"
        );
    }
}
