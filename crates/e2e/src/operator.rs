//! Operator of a test: a process of its own, so that it can be killed, or the one that runs in the cluster.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::{Cli, Cluster, OperatorPlace, Replica, gate::Gate};

/// Running `rainbow operator` for one namespace. Dropping it ends it.
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
    /// Starts an operator, unless the cluster has one for all; its log is appended to `log`.
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

    /// Sends SIGKILL, which leaves no time to clean up.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts the operator again.
    pub fn restart(&mut self) -> Result<()> {
        self.restart_with_tally(&self.tally_image.clone())
    }

    /// Starts the operator again, without the right to read ConfigMaps and Secrets.
    pub fn restart_without_config(&mut self) -> Result<()> {
        self.start_with(&["--tally-image", &self.tally_image.clone()])
    }

    /// Starts the operator again with other credentials, such as those of a proxy.
    pub fn restart_with_kubeconfig(&mut self, kubeconfig: &Path) -> Result<()> {
        self.cli = self.cli.with("KUBECONFIG", kubeconfig);
        self.restart()
    }

    /// Starts the operator again with another image for the counter of new pods.
    pub fn restart_with_tally(&mut self, image: &str) -> Result<()> {
        self.start_with(&["--tally-image", image, "--versioned-config", "all"])
    }

    fn start_with(&mut self, arguments: &[&str]) -> Result<()> {
        ensure!(self.place == OperatorPlace::Outside, "the operator in the cluster is not this test's to restart");
        self.kill();
        let log = File::options().create(true).append(true).open(&self.log).context("the operator's log")?;
        let child = self
            .cli
            .command(&[&["operator", "--namespace", &self.namespace], arguments, self.arguments].concat())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start the operator")?;
        self.child = Some(child);
        Ok(())
    }

    /// Starts one more operator of the same namespace, which waits to be elected leader.
    pub(crate) fn replica(&self, kubeconfig: &Path, gate: Gate) -> Result<Replica> {
        ensure!(self.place == OperatorPlace::Outside, "the operator in the cluster acts on this namespace, too");
        let own = ["operator", "--leader-elect", "--namespace", &self.namespace, "--tally-image", &self.tally_image];
        let arguments = own.iter().chain(self.arguments).map(|argument| (*argument).to_owned()).collect();
        Replica::start(&self.cli.with("KUBECONFIG", kubeconfig), arguments, self.log.clone(), gate)
    }

    /// Starts the operator if it was killed.
    pub(crate) fn ensure_running(&mut self) -> Result<()> {
        if self.place == OperatorPlace::Inside || self.child.is_some() { Ok(()) } else { self.restart() }
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.kill();
    }
}
