//! An operator in a process of its own, so that it can be killed.

use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Stdio},
};

use anyhow::{Context, Result};

use crate::Cli;

/// A running `rainbow operator` for one namespace. Dropping it ends it.
#[derive(Debug)]
pub struct Operator {
    cli: Cli,
    namespace: String,
    log: PathBuf,
    child: Option<Child>,
}

impl Operator {
    /// Starts an operator; what it logs is appended to `log`.
    pub fn start(cli: Cli, namespace: &str, log: PathBuf) -> Result<Self> {
        let mut operator = Self { cli, namespace: namespace.to_owned(), log, child: None };
        operator.restart()?;
        Ok(operator)
    }

    /// SIGKILL: no time to tidy up.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        let log = File::options().create(true).append(true).open(&self.log).context("the operator's log")?;
        let child = self
            .cli
            .command(&["operator", "--namespace", &self.namespace, "--propagation", "100ms"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start the operator")?;
        self.child = Some(child);
        Ok(())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.kill();
    }
}
