//! Tests of the life of the embedded cluster: nothing is left, whatever happens to it.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use e2e::{Cli, Cluster, processes};

/// Home of its own, so that the suite's cluster is left alone.
struct Home {
    dir: tempfile::TempDir,
    cli: Cli,
}

impl Home {
    fn new(cluster: &Cluster) -> Result<Self> {
        let dir = tempfile::TempDir::with_prefix("rainbow-local-")?;
        let cli = Cli::new(cluster.cli().program()).with("RAINBOW_HOME", dir.path());
        Ok(Self { dir, cli })
    }

    fn up(&self) -> Result<String> {
        self.cli.ok(&["local", "up", "--api-port", "0"])
    }

    fn kubeconfig(&self) -> Result<PathBuf> {
        Ok(self.cli.ok(&["local", "kubeconfig"])?.trim().into())
    }

    /// Starts a pod that runs until it is killed, and waits for its process.
    fn start_pod(&self, images: &Path) -> Result<()> {
        let context = images.join("image-backend").to_string_lossy().into_owned();
        self.cli.ok(&["image", "build", "-t", "backend:v1", "--build-arg", "VERSION=v1", &context])?;
        let pod = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"one","namespace":"default"},
            "spec":{"terminationGracePeriodSeconds":1,"containers":[{"name":"one","image":"backend:v1","imagePullPolicy":"Never"}]}}"#;
        let output = self.cli.output_with_input(&["apply", "-f", "-"], pod)?;
        ensure!(output.code == 0, "{}", output.stderr);
        until("the pod's process runs", || ensure_that(!self.pod_processes().is_empty(), "no process yet"))
    }

    /// Returns the cluster's own processes.
    fn processes(&self) -> BTreeSet<i32> {
        processes::with_env("RAINBOW_HOME", &self.dir.path().to_string_lossy())
    }

    /// Returns the processes of pods.
    fn pod_processes(&self) -> BTreeSet<i32> {
        let family = processes::with_descendants(&self.processes());
        family.into_iter().filter(|pid| processes::name(*pid).as_deref() == Some("backend")).collect()
    }

    fn nothing_is_left(&self, pods: &BTreeSet<i32>) -> Result<()> {
        until("no process is left", || {
            let left = self.processes();
            ensure_that(left.is_empty(), &format!("{left:?} of the cluster"))?;
            let alive: Vec<_> = pods.iter().filter(|pid| processes::exists(**pid)).collect();
            ensure_that(alive.is_empty(), &format!("{alive:?} of pods"))
        })?;
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let left = mounts.lines().find(|line| line.contains(&*self.dir.path().to_string_lossy()));
        ensure!(left.is_none(), "a mount is left: {left:?}");
        Ok(())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = self.cli.output(&["local", "down"]);
    }
}

/// Runs `up`, again `up`, `status`, `down`, `status`, again `down`.
pub(crate) fn up_status_down(cluster: &Cluster) -> Result<()> {
    let home = Home::new(cluster)?;
    let output = home.cli.output(&["local", "status"])?;
    ensure!(output.code != 0 && format!("{}{}", output.stdout, output.stderr).contains("not running"), "{output:?}");
    home.up()?;
    let kubeconfig = home.kubeconfig()?;
    let mode = fs::metadata(&kubeconfig)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "the kubeconfig's mode is {mode:o}");
    let again = home.cli.output(&["local", "up", "--api-port", "0"])?;
    let text = format!("{}{}", again.stdout, again.stderr);
    ensure!(again.code == 0 && text.contains("already"), "a second up: {again:?}");
    home.cli.ok(&["local", "status"])?;
    home.start_pod(cluster.dir())?;
    let pods = home.pod_processes();
    home.cli.ok(&["local", "down"])?;
    home.nothing_is_left(&pods)?;
    let again = home.cli.output(&["local", "down"])?;
    ensure!(again.code == 0, "a second down: {again:?}");
    Ok(())
}

/// Kills all of the cluster's own processes with SIGKILL: its pods end with it, and the next `up` has the objects again.
pub(crate) fn killed_and_up_again(cluster: &Cluster) -> Result<()> {
    let home = Home::new(cluster)?;
    home.up()?;
    home.start_pod(cluster.dir())?;
    let pods = home.pod_processes();
    for pid in home.processes() {
        signal(pid, "KILL")?;
    }
    home.nothing_is_left(&pods)?;
    home.up()?;
    until("the pod runs again", || ensure_that(!home.pod_processes().is_empty(), "no process yet"))?;
    let pods = home.pod_processes();
    home.cli.ok(&["local", "down"])?;
    home.nothing_is_left(&pods)
}

/// A cluster that is stopped leaves no process, and goes on with what it had.
pub(crate) fn stopped_and_started(cluster: &Cluster) -> Result<()> {
    let home = Home::new(cluster)?;
    let output = home.cli.output(&["local", "start"])?;
    ensure!(output.code == 1 && output.stderr.contains("rainbow local up"), "nothing to start: {output:?}");
    home.up()?;
    home.start_pod(cluster.dir())?;
    let pods = home.pod_processes();
    home.cli.ok(&["local", "stop"])?;
    home.nothing_is_left(&pods)?;
    let output = home.cli.output(&["local", "status"])?;
    ensure!(output.code == 1 && output.stderr.contains("is stopped"), "status: {output:?}");
    let names = home.cli.ok(&["local", "list", "-o", "json"])?;
    ensure!(names.contains("Stopped"), "{names}");
    home.cli.ok(&["local", "start"])?;
    until("the pod runs again", || ensure_that(!home.pod_processes().is_empty(), "no process yet"))?;
    let pods = home.pod_processes();
    home.cli.ok(&["local", "down"])?;
    home.nothing_is_left(&pods)
}

/// Two clusters side by side have the same node port each, at an address of its own.
pub(crate) fn two_profiles(cluster: &Cluster) -> Result<()> {
    const PORT: u16 = 31_987;
    let home = Home::new(cluster)?;
    let image = cluster.dir().join("image-backend").to_string_lossy().into_owned();
    let mut addresses = Vec::new();
    for (profile, version) in [("one", "v1"), ("other", "v2")] {
        let of = |arguments: &[&str]| {
            let all: Vec<&str> = arguments.iter().copied().chain(["--profile", profile]).collect();
            home.cli.ok(&all)
        };
        of(&["local", "up", "--api-port", "0"])?;
        let argument = format!("VERSION={version}");
        of(&["image", "build", "-t", "backend:v1", "--build-arg", &argument, &image])?;
        let kubeconfig = of(&["local", "kubeconfig"])?.trim().to_owned();
        let pod = serde_json::json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "one", "labels": { "app": "one" } },
            "spec": { "terminationGracePeriodSeconds": 1, "containers": [
                { "name": "one", "image": "backend:v1", "imagePullPolicy": "Never" },
            ] },
        });
        let service = serde_json::json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "one" },
            "spec": { "type": "NodePort", "selector": { "app": "one" }, "ports": [
                { "port": 80, "targetPort": 8080, "nodePort": PORT },
            ] },
        });
        let input = format!("{pod}\n---\n{service}\n");
        let output = home.cli.output_with_input(&["apply", "-f", "-", "--kubeconfig", &kubeconfig], &input)?;
        ensure!(output.code == 0, "{}", output.stderr);
        let listed: serde_json::Value = serde_json::from_str(&home.cli.ok(&["local", "list", "-o", "json"])?)?;
        let mut all = listed.as_array().into_iter().flatten();
        let line = all.find(|line| line["profile"] == profile).cloned().unwrap_or_default();
        addresses.push((line["address"].as_str().unwrap_or_default().to_owned(), version));
    }
    ensure!(addresses[1].0 != addresses[0].0, "{addresses:?}");
    for (address, version) in &addresses {
        until("the pod answers at its own cluster's address", || {
            let reply = get(address, PORT).unwrap_or_default();
            ensure_that(reply.contains(&format!("backend:{version}")), &format!("{address}: {reply}"))
        })?;
    }
    home.cli.ok(&["local", "down", "--purge", "--profile", "other"])?;
    ensure!(get(&addresses[0].0, PORT)?.contains("backend:v1"), "the other one goes on");
    home.cli.ok(&["local", "down", "--profile", "one"])?;
    home.nothing_is_left(&BTreeSet::new())
}

/// The reply to one request.
fn get(address: &str, port: u16) -> Result<String> {
    let mut stream = TcpStream::connect((address, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: one\r\n\r\n")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}

/// Two `up` at once: both end well, and there is one cluster.
pub(crate) fn two_at_the_same_time(cluster: &Cluster) -> Result<()> {
    let home = Home::new(cluster)?;
    let start = || -> Result<Child> {
        let mut command = home.cli.command(&["local", "up", "--api-port", "0"]);
        Ok(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
    };
    let (one, two) = (start()?, start()?);
    for child in [one, two] {
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "one of two failed: {said}");
    }
    home.cli.ok(&["local", "status"])?;
    home.cli.ok(&["local", "down"])?;
    home.nothing_is_left(&BTreeSet::new())
}

/// Checks that SIGINT ends a cluster in the foreground as `down` does.
pub(crate) fn interrupted(cluster: &Cluster) -> Result<()> {
    let home = Home::new(cluster)?;
    let mut command = home.cli.command(&["local", "up", "--foreground", "--api-port", "0"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    until("it is up", || {
        let output = home.cli.output(&["local", "status"])?;
        ensure_that(output.code == 0, &output.stderr)
    })?;
    home.start_pod(cluster.dir())?;
    let pods = home.pod_processes();
    signal(i32::try_from(child.id())?, "INT")?;
    child.wait()?;
    home.nothing_is_left(&pods)
}

fn signal(pid: i32, name: &str) -> Result<()> {
    // The process may have ended with its parent a moment ago.
    std::process::Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).stderr(Stdio::null()).status()?;
    Ok(())
}

fn ensure_that(holds: bool, otherwise: &str) -> Result<()> {
    if holds { Ok(()) } else { bail!("{otherwise}") }
}

fn until(what: &str, mut look: impl FnMut() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    loop {
        match look() {
            Ok(()) => return Ok(()),
            Err(missing) if start.elapsed() > Duration::from_secs(60) => {
                bail!("gave up waiting until {what}: {missing:#}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
