//! Programs under test, and programs of this machine.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Returns the directory of this build's programs: `RAINBOW_BIN_DIR`, or the one beside this test.
///
/// # Errors
/// When this program has no directory.
pub fn programs() -> Result<PathBuf> {
    if let Some(dir) = env::var_os("RAINBOW_BIN_DIR") {
        return Ok(dir.into());
    }
    let test = env::current_exe()?;
    // Path of the test: …/target/<profile>/deps/<this test>
    Ok(test.parent().and_then(Path::parent).context("the test program has no directory")?.to_owned())
}

/// Returns the path of a program on the `PATH`.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|dir| dir.join(program)).find(|program| program.is_file())
}
