//! One run at a time in a folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// Holds a folder until it is dropped. Its lock file bears the process id, which `make clean-data` looks at.
#[derive(Debug)]
pub(super) struct Claim {
    file: File,
}

impl Claim {
    /// Makes the folder when it is missing, and claims it.
    ///
    /// # Errors
    ///
    /// When another run holds it, or it cannot be written.
    pub(super) fn of(data: &Path) -> Result<Self> {
        std::fs::create_dir_all(data)
            .with_context(|| format!("cannot make the folder {}", data.display()))?;
        let path = data.join("run.lock");
        let cannot = || format!("cannot lock {}", path.display());
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(cannot)?;
        match file.try_lock() {
            Ok(()) => (),
            Err(TryLockError::WouldBlock) => bail!(
                "another `make run` uses the folder {}: stop that one first",
                data.display()
            ),
            Err(TryLockError::Error(error)) => return Err(error).with_context(cannot),
        }
        file.set_len(0).with_context(cannot)?;
        write!(file, "{}", std::process::id()).with_context(cannot)?;
        Ok(Self { file })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // A number that stays behind makes `make clean-data` ask once more, no harm.
        drop(self.file.set_len(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_is_claimed_by_one_at_a_time() {
        let folder = std::env::temp_dir().join(format!("testbed-claim-{}", std::process::id()));
        let lock = folder.join("run.lock");
        // GIVEN a folder that is claimed
        let first = Claim::of(&folder).unwrap();
        assert_eq!(
            std::fs::read_to_string(&lock).unwrap(),
            std::process::id().to_string()
        );
        // WHEN another wants it THEN it is refused
        let refused = Claim::of(&folder).unwrap_err().to_string();
        assert!(refused.contains("another `make run`"), "{refused}");
        // AND WHEN it is given back THEN nobody is named, and it can be had
        drop(first);
        assert_eq!(std::fs::read_to_string(&lock).unwrap(), "");
        drop(Claim::of(&folder).unwrap());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
