//! The operator of a test: a process of its own, so that it can be killed, or the one that runs in the cluster.

use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::{Cli, Cluster, OperatorPlace};

/// A running `rainbow operator` for one namespace. Dropping it ends it.
#[derive(Debug)]
pub struct Operator {
    cli: Cli,
    place: OperatorPlace,
    namespace: String,
    arguments: &'static [&'static str],
    tally_image: String,
    log: PathBuf,
    child: Option<Child>,
}

impl Operator {
    /// Starts an operator, unless the cluster has one for all; what it logs is appended to `log`.
    pub(crate) fn start(cluster: &Cluster, namespace: &str, log: PathBuf) -> Result<Self> {
        let mut operator = Self {
            cli: cluster.cli().clone(),
            place: cluster.settings().operator,
            namespace: namespace.to_owned(),
            arguments: cluster.operator_arguments(),
            tally_image: cluster.tally_image().to_owned(),
            log,
            child: None,
        };
        if operator.place == OperatorPlace::Outside {
            operator.restart()?;
        }
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
        self.restart_with_tally(&self.tally_image.clone())
    }

    /// Starts it again, to put another image into pods as their counter.
    pub fn restart_with_tally(&mut self, image: &str) -> Result<()> {
        ensure!(self.place == OperatorPlace::Outside, "the operator in the cluster is not this test's to restart");
        self.kill();
        let log = File::options().create(true).append(true).open(&self.log).context("the operator's log")?;
        let child = self
            .cli
            .command(&[&["operator", "--namespace", &self.namespace, "--tally-image", image], self.arguments].concat())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start the operator")?;
        self.child = Some(child);
        Ok(())
    }

    /// Starts it if it was killed.
    pub(crate) fn ensure_running(&mut self) -> Result<()> {
        if self.place == OperatorPlace::Inside || self.child.is_some() { Ok(()) } else { self.restart() }
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.kill();
    }
}
