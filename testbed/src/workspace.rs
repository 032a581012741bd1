//! Where things lie: the workspace, its work folder, and the binaries beside this one.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// The workspace's root: where this crate was built from, or the working directory when that folder is gone.
pub fn root() -> PathBuf {
    let member = Path::new(env!("CARGO_MANIFEST_DIR"));
    match member.parent() {
        Some(root) if root.join("Cargo.toml").is_file() => root.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// The folder for scratch files, `.work` in the workspace; Git ignores it.
pub fn work() -> PathBuf {
    root().join(".work")
}

/// The path of a binary of this workspace (`ingest`, `api`, `testbed`), as built beside the running program.
///
/// # Errors
///
/// When it has not been built.
pub fn binary(name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe().context("the path of the running program is unknown")?;
    let mut folder = this.parent().unwrap_or(Path::new("."));
    // Test programs lie one folder further down.
    if folder.ends_with("deps") {
        folder = folder.parent().unwrap_or(folder);
    }
    let path = folder.join(name);
    if !path.is_file() {
        bail!(
            "the binary `{name}` is not in {}: build it with `cargo build --workspace`",
            folder.display()
        );
    }
    Ok(path)
}
