//! A small disk of its own for the database, that can be filled to the last byte.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process;

/// In bytes: some hundred megabytes are needed, and a full one lies in memory.
const SIZE: &str = "size=1g,mode=755";

/// A mounted tmpfs; dropping it takes it away.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Mounts one.
    ///
    /// # Errors
    ///
    /// When this user may not, or the system has none.
    pub(super) async fn mount(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut command = Command::new("mount");
        command
            .args(["-t", "tmpfs", "-o", SIZE, "tmpfs"])
            .arg(folder);
        process::run("mounting a small disk", command).await?;
        Ok(Self {
            folder: folder.to_path_buf(),
        })
    }

    /// Fills it; returns the bytes that it took.
    ///
    /// # Errors
    ///
    /// When it fails for another reason than that it is full.
    pub(super) fn fill(&self) -> Result<usize> {
        let mut file = File::create(self.filler())?;
        let zeros = vec![0; 1 << 20];
        let mut written = 0;
        for piece in [zeros.as_slice(), &zeros[..4096], &zeros[..1]] {
            loop {
                match file.write_all(piece) {
                    Ok(()) => written += piece.len(),
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("cannot fill the disk"),
                }
            }
        }
        Ok(written)
    }

    /// Makes room again.
    ///
    /// # Errors
    ///
    /// When what fills it cannot be removed.
    pub(super) fn free(&self) -> Result<()> {
        match std::fs::remove_file(self.filler()) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).context("cannot make room on the disk")
            }
            _ => Ok(()),
        }
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(&self.folder);
    }
}

/// Takes a disk away, in use or not; what cannot be is left to the next run.
fn unmount(folder: &Path) {
    drop(Command::new("umount").arg("-l").arg(folder).output());
}

/// Removes what runs have left that were killed: folders `<prefix><process id>` of processes that are gone.
pub(super) fn clear_stale(prefix: &str) {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.strip_prefix(prefix)) else {
            continue;
        };
        if pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists() {
            unmount(&entry.path().join("disk"));
            drop(std::fs::remove_dir_all(entry.path()));
        }
    }
}
