//! Probes of a running container: startup, liveness, readiness.

mod count;
mod grpc;
pub(crate) mod http;

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use k8s_openapi::api::core::v1::{
    Container as ContainerDef, ExecAction, GRPCAction, HTTPGetAction, Probe, TCPSocketAction,
};
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

use crate::{
    net::NodeNet,
    ports,
    runtime::{Container, ExecSpec},
};

pub use count::{Counter, Schedule, Verdict};

/// Kind of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Must succeed before the others begin.
    Startup,
    /// Restarts the container when it fails.
    Liveness,
    /// Removes the pod from its Services when it fails.
    Readiness,
}

impl Kind {
    /// Returns the name used in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// Receiver of the results of running probes.
pub trait Observer: Send + Sync {
    /// Handles a change of readiness.
    fn ready(&self, ready: bool);
    /// Handles a failed attempt, with a message.
    fn failed(&self, kind: Kind, message: &str);
}

/// Final failure of a container's probe: the container must be restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unhealthy {
    /// Probe that failed.
    pub kind: Kind,
    /// Grace period for the container to end, if the probe sets one.
    pub grace: Option<Duration>,
}

/// Probes of one run of a container.
pub struct Prober<'a, C> {
    /// Network in which the pod is reachable.
    pub net: &'a NodeNet,
    pub ip: Ipv4Addr,
    /// Container that is probed.
    pub container: &'a C,
    /// Definition of the container.
    pub spec: &'a ContainerDef,
}

impl<C: Container> Prober<'_, C> {
    /// Runs the startup probe until it decides: `Ok` when the container has started or has no such probe.
    ///
    /// # Errors
    /// When the probe has failed for good.
    pub async fn startup(&self, observer: &impl Observer) -> Result<(), Unhealthy> {
        let Some(probe) = &self.spec.startup_probe else {
            return Ok(());
        };
        let mut counter = new_counter(Kind::Startup, probe);
        tokio::time::sleep(Schedule::of(probe).initial_delay).await;
        loop {
            match self.step(Kind::Startup, probe, &mut counter, observer).await {
                (Verdict::Up, _) => return Ok(()),
                (Verdict::Down, _) => return Err(unhealthy(Kind::Startup, probe)),
                (Verdict::Same, wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// Runs the liveness probe until it has failed for good. Never returns without such a probe.
    pub async fn liveness(&self, observer: &impl Observer) -> Unhealthy {
        let Some(probe) = &self.spec.liveness_probe else {
            return std::future::pending().await;
        };
        let mut counter = new_counter(Kind::Liveness, probe);
        tokio::time::sleep(Schedule::of(probe).initial_delay).await;
        loop {
            match self.step(Kind::Liveness, probe, &mut counter, observer).await {
                (Verdict::Down, _) => return unhealthy(Kind::Liveness, probe),
                (_, wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// Follows readiness indefinitely, also during termination, as the kubelet does.
    pub async fn readiness(&self, observer: &impl Observer) {
        let Some(probe) = &self.spec.readiness_probe else {
            observer.ready(true);
            return std::future::pending().await;
        };
        let mut counter = new_counter(Kind::Readiness, probe);
        tokio::time::sleep(Schedule::of(probe).initial_delay).await;
        loop {
            let (verdict, wait) = self.step(Kind::Readiness, probe, &mut counter, observer).await;
            match verdict {
                Verdict::Up => observer.ready(true),
                Verdict::Down => observer.ready(false),
                Verdict::Same => {}
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Makes one attempt. Returns its verdict and the pause after it.
    async fn step(
        &self,
        kind: Kind,
        probe: &Probe,
        counter: &mut Counter,
        observer: &impl Observer,
    ) -> (Verdict, Duration) {
        let result = self.attempt(probe).await;
        let (verdict, wait, counted) = counter.take(result.is_ok());
        if let Err(message) = result
            && counted
        {
            observer.failed(kind, &message);
        }
        (verdict, wait)
    }

    /// Probes once. The error describes what is wrong.
    pub async fn attempt(&self, probe: &Probe) -> Result<(), String> {
        let limit = Schedule::of(probe).timeout;
        let asked = async {
            if let Some(exec) = &probe.exec {
                self.exec(exec).await
            } else if let Some(get) = &probe.http_get {
                self.http(get).await
            } else if let Some(socket) = &probe.tcp_socket {
                self.tcp(socket).await
            } else if let Some(grpc) = &probe.grpc {
                self.grpc(grpc).await
            } else {
                Err("missing probe handler".into())
            }
        };
        timeout(limit, asked).await.unwrap_or_else(|_| Err(format!("probe timed out after {limit:?}")))
    }

    /// Runs a program in the container. The error is its output.
    pub async fn exec(&self, action: &ExecAction) -> Result<(), String> {
        let argv = action.command.clone().unwrap_or_default();
        if argv.is_empty() {
            return Err("exec without a command".into());
        }
        let session = self.container.exec(ExecSpec { argv, stdin: false, tty: false }).await;
        let session = session.map_err(|error| error.to_string())?;
        let (mut stdout, stderr) = (session.stdout.take(4096), session.stderr.map(|stream| stream.take(4096)));
        let (mut text, mut errors) = (Vec::new(), Vec::new());
        let errors_read = async {
            if let Some(mut stderr) = stderr {
                // Output that cannot be read is only missing in the message.
                let _ = stderr.read_to_end(&mut errors).await;
            }
        };
        let (_, ()) = tokio::join!(stdout.read_to_end(&mut text), errors_read);
        drop(stdout);
        let exit = session.exit.await.map_err(|_| "the program's end was not seen".to_owned())?;
        if exit.code() == 0 {
            return Ok(());
        }
        text.extend(errors);
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        Err(if text.is_empty() { format!("command exited with {}", exit.code()) } else { text })
    }

    /// Sends a GET request; any status from 200 to 399 is a success.
    pub async fn http(&self, action: &HTTPGetAction) -> Result<(), String> {
        let port = ports::resolve(&action.port, self.spec).ok_or_else(|| no_port(&action.port))?;
        // A host name is not resolved: names in probes mean a Host header in practice.
        let ip = match action.host.as_deref().filter(|host| !host.is_empty()) {
            Some(host) => {
                host.parse().map_err(|_| format!("host \"{host}\" is no IP address; use httpHeaders to set Host"))?
            }
            None => IpAddr::V4(self.ip),
        };
        let get = http::Get {
            ip,
            port,
            tls: action.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
            path: action.path.clone().unwrap_or_else(|| "/".into()),
            headers: action.http_headers.iter().flatten().map(|h| (h.name.clone(), h.value.clone())).collect(),
        };
        let (status, _) = self.net.run(get.send()).await.map_err(|error| error.to_string())??;
        if (200..400).contains(&status) { Ok(()) } else { Err(format!("HTTP probe failed with statuscode: {status}")) }
    }

    async fn tcp(&self, action: &TCPSocketAction) -> Result<(), String> {
        let port = ports::resolve(&action.port, self.spec).ok_or_else(|| no_port(&action.port))?;
        let ip = match action.host.as_deref().filter(|host| !host.is_empty()) {
            Some(host) => host.parse().map_err(|_| format!("host \"{host}\" is no IP address"))?,
            None => IpAddr::V4(self.ip),
        };
        let connected = self.net.run(TcpStream::connect((ip, port))).await.and_then(|connected| connected);
        connected.map(drop).map_err(|error| format!("dial tcp {ip}:{port}: connect: {}", http::plain(&error)))
    }

    async fn grpc(&self, action: &GRPCAction) -> Result<(), String> {
        let port = u16::try_from(action.port).map_err(|_| format!("invalid port {}", action.port))?;
        let service = action.service.clone().unwrap_or_default();
        let ip = IpAddr::V4(self.ip);
        self.net.run(async move { grpc::check(ip, port, &service).await }).await.map_err(|error| error.to_string())?
    }
}

fn new_counter(kind: Kind, probe: &Probe) -> Counter {
    Counter::new(Schedule::of(probe), kind != Kind::Liveness)
}

fn unhealthy(kind: Kind, probe: &Probe) -> Unhealthy {
    let grace = probe.termination_grace_period_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Unhealthy { kind, grace: grace.map(Duration::from_secs) }
}

fn no_port(port: &k8s_openapi::apimachinery::pkg::util::intstr::IntOrString) -> String {
    match port {
        k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(number) => format!("invalid port {number}"),
        k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::String(name) => {
            format!("couldn't find port: \"{name}\"")
        }
    }
}
