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
    /// Starts the embedded cluster with the example's images, and without an operator: each test brings its own.
    ///
    /// # Errors
    /// When the programs are not built (`make test` does that), or the cluster does not start.
    pub fn start() -> Result<Self> {
        Self::start_with(&["--no-operator"])
    }

    /// As [`Cluster::start`], with the operator in the cluster's own process, as users have it.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start_with_operator() -> Result<Self> {
        Self::start_with(&[])
    }

    fn start_with(more: &[&str]) -> Result<Self> {
        let home = TempDir::with_prefix("rainbow-e2e-")?;
        let cli = Cli::new(&programs()?.join("rainbow")).with("RAINBOW_HOME", home.path());
        let cluster = Self { cli, home };
        for tier in ["frontend", "backend"] {
            cluster.build_image(tier)?;
        }
        cluster.cli.ok(&[&["local", "up", "--api-port", "0"], more].concat())?;
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

    /// Builds images of one of this build's programs, at three versions that differ in their environment alone.
    ///
    /// # Errors
    /// When the program is not built.
    pub fn build_image(&self, name: &str) -> Result<()> {
        let program = programs()?.join(name);
        ensure!(program.exists(), "{} is missing: run `make test`, which builds it", program.display());
        let context = self.home.path().join(format!("image-{name}"));
        std::fs::create_dir(&context)?;
        std::fs::copy(&program, context.join(name))?;
        let dockerfile = format!(
            "FROM scratch\nARG VERSION\nENV VERSION=$VERSION\nCOPY {name} /{name}\nUSER 65532:65532\nENTRYPOINT [\"/{name}\"]\n"
        );
        std::fs::write(context.join("Dockerfile"), dockerfile)?;
        for version in ["v1", "v2", "v3"] {
            let (tag, argument) = (format!("{name}:{version}"), format!("VERSION={version}"));
            self.cli.ok(&["image", "build", "-t", &tag, "--build-arg", &argument, &context.to_string_lossy()])?;
        }
        Ok(())
    }
}

/// Where the programs of this build are: `RAINBOW_BIN_DIR`, or beside this test.
///
/// # Errors
/// Where this program has no directory.
pub fn programs() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("RAINBOW_BIN_DIR") {
        return Ok(dir.into());
    }
    let test = std::env::current_exe()?;
    // …/target/<profile>/deps/<this test>
    Ok(test.parent().and_then(Path::parent).context("the test program has no directory")?.to_owned())
}
