//! The state folder: nobody else's, and one process's at a time.

use std::{fs::File, path::Path};

use anyhow::{Context as _, bail};

/// Nobody else on this machine has business there.
pub(crate) fn private_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Two processes on one state folder would write over each other.
pub(crate) fn lock_state(state: &Path, command: &str) -> anyhow::Result<File> {
    private_folder(state).with_context(|| format!("state folder {}", state.display()))?;
    let lock = File::options().create(true).write(true).truncate(false).open(state.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => bail!(
            "another kyros {command} uses the state folder {}; stop it, or choose another folder with --state",
            state.display()
        ),
        Err(std::fs::TryLockError::Error(error)) => Err(error).context("state folder"),
    }
}
