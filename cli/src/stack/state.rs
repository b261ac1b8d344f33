//! The state folder: nobody else's, and one process's at a time.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

/// Nobody else on this machine has business there.
pub(crate) fn private_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Two processes on one state folder would write over each other.
pub(crate) fn lock_state(state: &Path, command: &str) -> anyhow::Result<File> {
    private_folder(state).with_context(|| format!("state folder {}", state.display()))?;
    let file = lock_file(state);
    let lock = File::options().create(true).write(true).truncate(false).open(&file);
    let lock = lock.with_context(|| format!("{} cannot be written", file.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => bail!(
            "another kyros {command} uses the state folder {}; stop it, or choose another folder with --state",
            state.display()
        ),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("{} cannot be locked", file.display()))
        }
    }
}

/// Whether some process has the folder now. Makes nothing.
pub(super) fn is_in_use(state: &Path) -> bool {
    let lock = File::open(lock_file(state));
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(std::fs::TryLockError::WouldBlock)))
}

fn lock_file(state: &Path) -> PathBuf {
    state.join("lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("lock")).unwrap();
        let refused = lock_state(folder.path(), "up").unwrap_err().to_string();
        assert_eq!(refused, format!("{} cannot be written", folder.path().join("lock").display()));
    }
}
