//! Downloads that are made once and shared by all workspaces of this login.
//!
//! A folder in the cache is complete or absent: it is filled under another name and renamed. Two programs that fill the
//! same one at once both succeed, and one of the two copies stays.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

use crate::workspace;

/// Where downloads lie: `$XDG_CACHE_HOME/financial-data-api`, by default below `~/.cache`.
pub fn folder() -> PathBuf {
    let named = |name| {
        std::env::var_os(name)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    };
    named("XDG_CACHE_HOME")
        .or_else(|| Some(named("HOME")?.join(".cache")))
        .map_or_else(workspace::work, |base| base.join("financial-data-api"))
}

/// Returns `folder`, after filling it with `fill` when it does not exist yet; `fill` gets the path to create and fill.
///
/// # Errors
///
/// What `fill` says, or a folder that cannot be made.
pub async fn fetch_once<F>(folder: &Path, fill: F) -> Result<PathBuf>
where
    F: AsyncFnOnce(&Path) -> Result<()>,
{
    if folder.exists() {
        return Ok(folder.to_path_buf());
    }
    let parent = folder.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent)
        .with_context(|| format!("cannot make the folder {}", parent.display()))?;
    let nanoseconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos());
    let partial = folder.with_extension(format!("partial-{}-{nanoseconds}", std::process::id()));
    let filled = fill(&partial).await;
    let placed = filled.and_then(|()| match std::fs::rename(&partial, folder) {
        // Another program was faster: its copy is as good.
        Err(_) if folder.exists() => Ok(()),
        renamed => {
            renamed.with_context(|| format!("cannot put a download at {}", folder.display()))
        }
    });
    if partial.exists() {
        std::fs::remove_dir_all(&partial)
            .with_context(|| format!("cannot remove {}", partial.display()))?;
    }
    placed.map(|()| folder.to_path_buf())
}
