//! The cluster the suite runs on: an embedded one of its own, started once for all tests.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::Cli;

/// A running cluster that holds the example's images and Rainbow's resource definitions, but no operator.
#[derive(Debug)]
pub struct Cluster {
    home: TempDir,
    cli: Cli,
}

impl Cluster {
    /// Starts the embedded cluster with the example's images.
    ///
    /// # Errors
    /// When the programs are not built (`make test` does that), or the cluster does not start.
    pub fn start() -> Result<Self> {
        let programs = programs()?;
        let home = TempDir::with_prefix("rainbow-e2e-")?;
        let cli = Cli::new(&programs.join("rainbow")).with("RAINBOW_HOME", home.path());
        let cluster = Self { cli, home };
        cluster.build_images(&programs)?;
        cluster.cli.ok(&["local", "up", "--no-operator", "--api-port", "0"])?;
        let kubeconfig = cluster.cli.ok(&["local", "kubeconfig"])?;
        let cli = cluster.cli.with("KUBECONFIG", kubeconfig.trim());
        Ok(Self { cli, home: cluster.home })
    }

    /// The `rainbow` command, pointed at this cluster.
    pub fn cli(&self) -> &Cli {
        &self.cli
    }

    /// Where tests may put files.
    pub fn dir(&self) -> &Path {
        self.home.path()
    }

    /// Ends the cluster.
    pub fn stop(self) -> Result<()> {
        self.cli.ok(&["local", "down"])?;
        Ok(())
    }

    fn build_images(&self, programs: &Path) -> Result<()> {
        for tier in ["frontend", "backend"] {
            let program = programs.join(tier);
            ensure!(program.exists(), "{} is missing: run `make test`, which builds it", program.display());
            let context = self.home.path().join(format!("image-{tier}"));
            std::fs::create_dir(&context)?;
            std::fs::copy(&program, context.join(tier))?;
            let dockerfile = format!(
                "FROM scratch\nARG VERSION\nENV VERSION=$VERSION\nCOPY {tier} /{tier}\nUSER 65532:65532\nENTRYPOINT [\"/{tier}\"]\n"
            );
            std::fs::write(context.join("Dockerfile"), dockerfile)?;
            for version in ["v1", "v2", "v3"] {
                self.cli.ok(&[
                    "image",
                    "build",
                    "-t",
                    &format!("{tier}:{version}"),
                    "--build-arg",
                    &format!("VERSION={version}"),
                    &context.to_string_lossy(),
                ])?;
            }
        }
        Ok(())
    }
}

/// Where the programs of this build are: `RAINBOW_BIN`, or beside this test.
fn programs() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("RAINBOW_BIN") {
        return Ok(dir.into());
    }
    let test = std::env::current_exe()?;
    // …/target/<profile>/deps/<this test>
    Ok(test.parent().and_then(Path::parent).context("the test program has no directory")?.to_owned())
}
