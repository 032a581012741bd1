//! A login without rights for PostgreSQL, which refuses to run as root.
//!
//! Such a login must be able to reach what it runs and writes. Where a folder above is closed to it, as `/root` is, a
//! stand-in under the system's temporary folder takes its place, and a symbolic link says so.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// A user and group to run a service as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Login {
    /// Numeric user id.
    pub uid: u32,
    /// Numeric group id.
    pub gid: u32,
}

/// The login to give up root for: `nobody`, or nothing when this process is not root.
pub fn login() -> Option<Login> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let nobody = nix::unistd::User::from_name("nobody").ok().flatten();
    // 65534 is `nobody` nearly everywhere, also where no user database exists.
    Some(nobody.map_or(
        Login {
            uid: 65534,
            gid: 65534,
        },
        |user| Login {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
        },
    ))
}

/// The folder to use for `path`: itself when the login can reach it, else a stand-in that `path` becomes a link to.
///
/// # Errors
///
/// When neither can be made.
pub fn place(path: &Path) -> Result<PathBuf> {
    if login().is_none() {
        return Ok(path.to_path_buf());
    }
    let parent = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent)
        .with_context(|| format!("cannot make the folder {}", parent.display()))?;
    let parent = parent
        .canonicalize()
        .with_context(|| format!("cannot read the folder {}", parent.display()))?;
    let name = path
        .file_name()
        .with_context(|| format!("{} names no folder", path.display()))?;
    if open_to_all(&parent) {
        return Ok(parent.join(name));
    }
    let mut hasher = DefaultHasher::new();
    parent.hash(&mut hasher);
    let shelter = std::env::temp_dir()
        .canonicalize()?
        .join(format!("testbed-{:016x}", hasher.finish()));
    if !open_to_all(shelter.parent().unwrap_or(Path::new("/"))) {
        bail!(
            "PostgreSQL cannot run as root, and another user can reach neither {} nor {}: work as a normal user, \
             clone to a folder that others may enter, or give a server of your own with DATABASE_URL=…",
            parent.display(),
            shelter.display()
        );
    }
    std::fs::create_dir_all(&shelter)
        .with_context(|| format!("cannot make the folder {}", shelter.display()))?;
    // The temporary folder is everybody's: a folder of this name that another user made is not to be trusted.
    let made = std::fs::symlink_metadata(&shelter)?;
    if !made.is_dir() || made.uid() != 0 {
        bail!("{} belongs to somebody else: remove it", shelter.display());
    }
    std::fs::set_permissions(&shelter, std::fs::Permissions::from_mode(0o755))?;
    let target = shelter.join(name);
    let link = parent.join(name);
    if std::fs::symlink_metadata(&link).is_err() {
        symlink(&target, &link).with_context(|| format!("cannot link {}", link.display()))?;
    }
    Ok(target)
}

/// Makes a folder that only the service's login may enter.
///
/// # Errors
///
/// When it cannot be made or given away.
pub fn private_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path)
        .with_context(|| format!("cannot make the folder {}", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
    if let Some(login) = login() {
        chown(path, Some(login.uid), Some(login.gid))
            .with_context(|| format!("cannot give {} to the user {}", path.display(), login.uid))?;
    }
    Ok(())
}

/// Writes a file that only the service's login may read.
///
/// # Errors
///
/// When it cannot be written or given away.
pub fn private_file(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    if let Some(login) = login() {
        chown(path, Some(login.uid), Some(login.gid))
            .with_context(|| format!("cannot give {} to the user {}", path.display(), login.uid))?;
    }
    Ok(())
}

/// Lets everybody read a folder and all below it, and run what its owner can run.
///
/// # Errors
///
/// When a file cannot be read or changed.
pub fn open_up(path: &Path) -> Result<()> {
    let found = std::fs::symlink_metadata(path)?;
    if found.is_symlink() {
        return Ok(());
    }
    let mode = found.permissions().mode();
    let shared = if found.is_dir() || mode & 0o100 != 0 {
        0o555
    } else {
        0o444
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode | shared))?;
    if found.is_dir() {
        for entry in std::fs::read_dir(path)? {
            open_up(&entry?.path())?;
        }
    }
    Ok(())
}

fn open_to_all(folder: &Path) -> bool {
    folder
        .ancestors()
        .all(|part| part.metadata().is_ok_and(|m| m.mode() & 0o001 != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_that_is_closed_to_others_is_seen() {
        let folder = std::env::temp_dir().join(format!("testbed-closed-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
        let closed = !open_to_all(&folder);
        std::fs::remove_dir(&folder).unwrap();
        assert!(closed);
    }
}
