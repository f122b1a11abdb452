//! Kubectl as users run it, pointed at the suite's cluster.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{Cli, Output, programs};

/// Kubectl that runs on this machine.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    /// Version as the program reports it, such as `v1.37.2`.
    version: String,
    minor: u32,
}

impl Kubectl {
    /// Finds the kubectl that the settings name, else the one on the `PATH`. Returns `None` if there is none.
    ///
    /// # Errors
    /// When the kubectl that the settings name does not run.
    pub fn find(wanted: Option<&str>) -> Result<Option<Self>> {
        match wanted.filter(|wanted| !wanted.is_empty()) {
            Some(wanted) => Self::at(Path::new(wanted)).map(Some),
            None => {
                // A kubectl on the `PATH` that does not run is ignored.
                Ok(programs::on_path("kubectl").and_then(|program| Self::at(&program).ok()))
            }
        }
    }

    fn at(program: &Path) -> Result<Self> {
        let shown = program.display();
        let output = Command::new(program)
            .args(["version", "--client", "-o", "json"])
            .output()
            .with_context(|| format!("cannot run the kubectl at {shown}"))?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`{shown} version --client` ended with {}: {told}", output.status);
        let answer: Value = serde_json::from_slice(&output.stdout)?;
        let text = |field: &str| answer["clientVersion"][field].as_str().unwrap_or_default().to_owned();
        // Builds of some distributions report `37+`.
        let minor = text("minor").trim_end_matches('+').parse();
        let minor = minor.with_context(|| format!("`{shown} version --client` says no version: {answer}"))?;
        Ok(Self { program: program.to_owned(), version: text("gitVersion"), minor })
    }

    /// Returns the path of the program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Returns the version as the program reports it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns the minor version: 37 of 1.37.
    pub fn minor(&self) -> u32 {
        self.minor
    }

    /// Returns the program with a home of its own in `dir`, so that caches and preferences of the caller have no effect, and with a
    /// copy of the kubeconfig there whose namespace is `namespace`.
    pub(crate) fn in_namespace(&self, kubeconfig: &Path, dir: &Path, namespace: &str) -> Result<KubectlScope> {
        let home = dir.join(format!("kubectl-{namespace}"));
        std::fs::create_dir_all(&home)?;
        let own = home.join("kubeconfig");
        std::fs::copy(kubeconfig, &own)?;
        let cli = Cli::new(&self.program).with("HOME", &home).with("KUBECONFIG", &own);
        cli.ok(&["config", "set-context", "--current", "--namespace", namespace])?;
        Ok(KubectlScope { cli, minor: self.minor })
    }
}

/// Kubectl in one namespace.
#[derive(Clone, Debug)]
pub struct KubectlScope {
    cli: Cli,
    minor: u32,
}

impl KubectlScope {
    /// Returns the minor version: 37 of 1.37.
    pub fn minor(&self) -> u32 {
        self.minor
    }

    /// Returns the program itself, to be started with arguments.
    pub fn cli(&self) -> &Cli {
        &self.cli
    }

    /// Runs the command, which must succeed, and returns its standard output.
    ///
    /// # Errors
    /// When it fails.
    pub fn ok(&self, args: &[&str]) -> Result<String> {
        self.cli.ok(args)
    }

    /// Runs the command as [`KubectlScope::ok`] does, with a standard input.
    ///
    /// # Errors
    /// When it fails.
    pub fn ok_with(&self, args: &[&str], input: &str) -> Result<String> {
        let output = self.cli.output_with_input(args, input)?;
        ensure!(output.code == 0, "`kubectl {}`:\n{}{}", args.join(" "), output.stdout, output.stderr);
        Ok(output.stdout)
    }

    /// Runs the command, which must print all of `expected` on its standard output, and no warning.
    ///
    /// # Errors
    /// When the command fails, or prints something else.
    pub fn expect_output(&self, args: &[&str], expected: &[&str]) -> Result<String> {
        let output = self.cli.output(args)?;
        let Output { code, stdout, stderr } = &output;
        let told = format!("`kubectl {}` ended with {code}:\n{stdout}{stderr}", args.join(" "));
        ensure!(*code == 0 && stderr.is_empty(), "{told}");
        for expected in expected {
            ensure!(stdout.contains(expected), "{expected:?} is not in what {told}");
        }
        Ok(output.stdout)
    }

    /// Runs the command, which must fail and print `expected` on its standard error.
    ///
    /// # Errors
    /// When the command succeeds or prints another error.
    pub fn fails(&self, args: &[&str], expected: &str) -> Result<()> {
        let Output { code, stdout, stderr } = self.cli.output(args)?;
        let told = format!("`kubectl {}` ended with {code}:\n{stdout}{stderr}", args.join(" "));
        ensure!(code != 0 && stderr.contains(expected), "{expected:?} is not the error of {told}");
        Ok(())
    }
}
