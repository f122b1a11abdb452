//! Directory of the programs under test.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Returns the directory of this build's programs: `RAINBOW_BIN_DIR`, or the one beside this test.
///
/// # Errors
/// When this program has no directory.
pub fn programs() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("RAINBOW_BIN_DIR") {
        return Ok(dir.into());
    }
    let test = std::env::current_exe()?;
    // Path of the test: …/target/<profile>/deps/<this test>
    Ok(test.parent().and_then(Path::parent).context("the test program has no directory")?.to_owned())
}
