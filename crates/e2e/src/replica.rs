//! One of several operators of the same namespace, each with its own way to the API server.

use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Stdio},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::{Cli, eventually, gate::Gate};

/// A `rainbow operator --leader-elect` process of one namespace. Dropping it ends it.
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

    /// Whether a lease's holder is this very process.
    pub fn is(&self, holder: &str) -> bool {
        holder.rsplit_once('_').is_some_and(|(_, process)| process == self.child.id().to_string())
    }

    /// The way to the API server.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// When the process cannot be ended.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, after which it has to end by itself.
    ///
    /// # Errors
    /// When it does not end, or not as it should.
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

    /// SIGSTOP.
    ///
    /// # Errors
    /// When the process cannot be stopped.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When the process cannot be continued.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Starts it again after its end.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart(&mut self) -> Result<()> {
        self.child = spawn(&self.cli, &self.arguments, &self.log)?;
        Ok(())
    }

    /// Fails if it has ended by itself.
    ///
    /// # Errors
    /// As said.
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
