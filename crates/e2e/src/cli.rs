//! Commands, run as a user would.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// Command with a fixed environment: `rainbow`, or kubectl.
#[derive(Clone, Debug)]
pub struct Cli {
    program: PathBuf,
    env: BTreeMap<String, OsString>,
}

/// Result of a command.
#[derive(Debug)]
pub struct Output {
    /// Exit code; 128 + the signal's number when a signal ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Cli {
    /// Creates the command at `program`, without the caller's Kubernetes settings.
    pub fn new(program: &Path) -> Self {
        Self { program: program.to_owned(), env: BTreeMap::new() }
    }

    /// Returns the path of the command.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Returns the same command with one more variable.
    pub fn with(&self, name: &str, value: impl Into<OsString>) -> Self {
        let mut cli = self.clone();
        cli.env.insert(name.to_owned(), value.into());
        cli
    }

    /// Returns a `Command` that is ready to be started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).env_remove("KUBECONFIG").env("NO_COLOR", "1").envs(&self.env);
        command
    }

    /// Runs the command to its end.
    pub fn output(&self, args: &[&str]) -> Result<Output> {
        self.output_with_input(args, "")
    }

    /// Runs the command to its end, with a standard input.
    pub fn output_with_input(&self, args: &[&str], input: &str) -> Result<Output> {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command that fails early may close its input.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output()?;
        let code = output.status.code().unwrap_or_else(|| {
            use std::os::unix::process::ExitStatusExt;
            128 + output.status.signal().unwrap_or_default()
        });
        Ok(Output {
            code,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs the command, which must succeed, and returns its standard output.
    pub fn ok(&self, args: &[&str]) -> Result<String> {
        let output = self.output(args)?;
        ensure!(
            output.code == 0,
            "`{} {}` ended with {}:\n{}{}",
            self.program.file_name().unwrap_or_default().display(),
            args.join(" "),
            output.code,
            output.stdout,
            output.stderr
        );
        Ok(output.stdout)
    }

    /// Runs the command as [`Cli::ok`] does, on a thread for blocking work, so that traffic on the same runtime continues.
    pub async fn run(&self, args: &[&str]) -> Result<String> {
        let (cli, args) = (self.clone(), args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>());
        tokio::task::spawn_blocking(move || cli.ok(&args.iter().map(String::as_str).collect::<Vec<_>>())).await?
    }
}
