//! Operator as a process of its own, with its metrics and the kernel's figures about it.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use rainbow_operator::{Health, Options};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Propagation time: this API server has no data plane that could lag.
const PROPAGATION: Duration = Duration::from_millis(50);
/// Limit of the wait for an operator to process everything.
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) struct Operator {
    child: Child,
    port: u16,
    started: Instant,
}

/// Runs the operator in this process, which is a child of the one that measures.
pub(crate) async fn serve(kubeconfig: &Path, port: u16) -> Result<()> {
    let config =
        Config::from_custom_kubeconfig(Kubeconfig::read_from(kubeconfig)?, &KubeConfigOptions::default()).await?;
    let health = Health::default();
    let options = Options { propagation: PROPAGATION, health: Some(health.clone()), ..Options::default() };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    tokio::select! {
        ended = rainbow_operator::run(Client::try_from(config)?, options) => Ok(ended?),
        () = health.serve(listener) => bail!("the operator's health is served no more"),
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // All state needed to continue is in the cluster, so the operator may die at any time.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Counters of the operator, by name.
pub(super) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    pub(super) fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or_default()
    }
}

impl Operator {
    pub(super) fn start(kubeconfig: &Path) -> Result<Self> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--operator").arg(kubeconfig).arg("--operator-port").arg(port.to_string());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("cannot start the operator")?;
        Ok(Self { child, port, started: Instant::now() })
    }

    /// Waits until the operator has made this number of reconciles. Returns the time from its start.
    pub(super) async fn looked_at(&self, applications: usize) -> Result<Duration> {
        loop {
            if let Ok(metrics) = self.metrics().await
                && metrics.get("looks_total") >= applications as f64
            {
                return Ok(self.started.elapsed());
            }
            if self.started.elapsed() > PATIENCE {
                bail!("the operator has not looked at {applications} applications within {PATIENCE:?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(super) async fn metrics(&self) -> Result<Metrics> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: bench\r\n\r\n").await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        let figures = text.lines().filter_map(|line| line.strip_prefix("rainbow_operator_")?.rsplit_once(' '));
        Ok(Metrics(figures.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()))
    }

    /// Returns the processor time of the operator's threads.
    pub(super) fn processor_time(&self) -> Result<Duration> {
        let mut total = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may end in between.
            let text = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
            total += text.split_ascii_whitespace().next().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(total))
    }

    /// Returns the resident memory in MiB: now, and at its peak.
    pub(super) fn memory(&self) -> Result<(f64, f64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib: Option<f64> = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
            kib.map(|kib| kib / 1024.0).with_context(|| format!("no {name} of the operator"))
        };
        Ok((field("VmRSS:")?, field("VmHWM:")?))
    }
}
