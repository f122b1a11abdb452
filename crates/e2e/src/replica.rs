//! Operator that is one of several of the same namespace, each with its own gate to the API server.

use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Stdio},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::{Cli, eventually, gate::Gate};

/// Process of `rainbow operator --leader-elect` for one namespace. Dropping it ends it.
#[derive(Debug)]
pub struct Replica {
    cli: Cli,
    arguments: Vec<String>,
    log: PathBuf,
    gate: Gate,
    child: Child,
}

impl Replica {
    pub(crate) fn start(cli: &Cli, arguments: Vec<String>, log: PathBuf, gate: Gate) -> Result<Self> {
        let child = spawn(cli, &arguments, &log)?;
        Ok(Self { cli: cli.clone(), arguments, log, gate, child })
    }

    /// Returns whether a lease's holder is this very process.
    pub fn is(&self, holder: &str) -> bool {
        holder.rsplit_once('_').is_some_and(|(_, process)| process == self.child.id().to_string())
    }

    /// Returns the gate to the API server.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Sends SIGKILL.
    ///
    /// # Errors
    /// When the process cannot be ended.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends SIGTERM, after which the process must end by itself.
    ///
    /// # Errors
    /// When the process does not end, or ends with a failure.
    pub async fn terminate(&mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        let child = tokio::sync::Mutex::new(&mut self.child);
        let status = eventually("the operator ends after SIGTERM", || async {
            child.lock().await.try_wait()?.context("it still runs")
        })
        .await?;
        ensure!(status.success(), "the operator ended with {status} after SIGTERM");
        Ok(())
    }

    /// Sends SIGSTOP.
    ///
    /// # Errors
    /// When the process cannot be stopped.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Sends SIGCONT.
    ///
    /// # Errors
    /// When the process cannot be continued.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Starts the process again after its end.
    ///
    /// # Errors
    /// When the process does not start.
    pub fn restart(&mut self) -> Result<()> {
        self.child = spawn(&self.cli, &self.arguments, &self.log)?;
        Ok(())
    }

    /// Checks that the process has not ended by itself.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn runs(&mut self) -> Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "an operator ended by itself: {ended:?}");
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn spawn(cli: &Cli, arguments: &[String], log: &PathBuf) -> Result<Child> {
    let log = File::options().create(true).append(true).open(log).context("the operator's log")?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut command = cli.command(&arguments);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().context("cannot start the operator")
}
