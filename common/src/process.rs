//! What a process asks of its system before it knows any secret.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Keeps this process's memory, passwords included, out of core files.
///
/// # Errors
/// When the system refuses.
pub fn no_core_dump() -> std::io::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_CORE)?;
    // Not 0: Linux then still hands the memory to a program that `core_pattern` names. At 1 it does neither.
    let limit = most.min(1);
    Ok(setrlimit(Resource::RLIMIT_CORE, limit, limit)?)
}
