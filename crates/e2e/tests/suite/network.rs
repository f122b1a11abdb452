//! Tests of networks that fail while colors drain: a pod that cannot be asked, and a client that vanishes without closing its connection.
//!
//! The network is disconnected in a pod's own network namespace, with `nsenter` and `ip`: nothing in the cluster helps, or knows.

use std::{
    collections::BTreeMap,
    env, fs,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use e2e::{
    Scope,
    colors::{self, Colors, color, count_connections, counts, pods, shrinks_to},
    eventually,
    held::Kind,
    processes,
};
use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use serde_json::{Value, json};

use crate::drain::{outlives_another, unknown};

/// Name of a pod's interface.
const INTERFACE: &str = "eth0";
/// Name of the pod that holds a connection and vanishes.
const CLIENT: &str = "client";
/// Variable that identifies the client's processes, and no others on this machine: its value is the test's namespace.
const MARK: &str = "RAINBOW_TEST_CLIENT_OF";

/// Disconnects draining pods while half of their clients leave: that cannot be known, so the pods stay, and the status
/// reports that and since when. When the network is back, the other clients still have their connections.
pub(crate) async fn a_pod_cut_off_holds(scope: &mut Scope) -> Result<()> {
    let app = Colors::default();
    app.release(scope, "c1").await?;
    let mut held = app.hold(scope, Kind::Lines, 10).await?;
    app.release(scope, "c2").await?;
    counts(scope, "c1", 10).await?;
    // A pod without a connection may go, and has to be gone first.
    let pods = eventually("every pod of c1 has connections", || async {
        let pods = pods(scope, "c1").await?;
        for pod in &pods {
            ensure!(count_connections(scope, pod).await? > 0, "{pod} has none");
        }
        Ok(pods)
    })
    .await?;
    let began = Timestamp::now();
    let mut cables = Vec::new();
    for pod in pods {
        cables.push(Cable::pull("HOSTNAME", &pod)?);
    }
    held.close(5);
    unknown(scope, "c1", "").await?;
    let since = since(scope, "c1").await?;
    // The last answer was valid for a moment, and a status has whole seconds.
    ensure!(since.as_second() >= began.as_second(), "cut off at {began}, and unknown since {since}");
    outlives_another(scope, "c1").await?;
    held.whole()?;
    for cable in cables {
        cable.plug_in()?;
    }
    // The clients that are left get the lines sent meanwhile, and the counters see which have gone.
    held.alive().await?;
    counts(scope, "c1", 5).await?;
    held.close(5);
    shrinks_to(scope, "c1", 0).await
}

/// Makes a client vanish without closing its connection, like a machine that has lost its power: the connection counts, and
/// holds its color until the deadline. The report names the address that held it.
pub(crate) async fn a_client_that_vanished_holds_until_the_deadline(scope: &mut Scope) -> Result<()> {
    let app = Colors { replicas: 1, ..Colors::default() };
    app.release(scope, "c1").await?;
    let pod = pods(scope, "c1").await?.pop().context("a pod of c1")?;
    let server = address(scope, &pod).await?;
    scope.apply_manifest(&client(&format!("{server}:8080"), &scope.namespace))?;
    let peer = address(scope, CLIENT).await?;
    // The client calls the server once and keeps the connection.
    eventually("the client has a connection", || async {
        let path = format!("/api/v1/namespaces/{}/pods/{CLIENT}:8080/proxy/", scope.namespace);
        scope.client.request_text(http::Request::get(path).body(Vec::new())?).await?;
        ensure!(count_connections(scope, &pod).await? > 0, "none");
        Ok(())
    })
    .await?;
    // The connections of these calls, which went over the pool's first connection, are all that exist.
    let open = usize::try_from(count_connections(scope, &pod).await?)?;
    let cable = Cable::pull(MARK, &scope.namespace)?;
    for process in processes::with_env(MARK, &scope.namespace) {
        run("kill", &["-KILL", &process.to_string()])?;
    }
    eventually("the client is dead", || async {
        ensure!(processes::with_env(MARK, &scope.namespace).is_empty());
        Ok(())
    })
    .await?;
    drop(cable);
    app.release(scope, "c2").await?;
    counts(scope, "c1", open).await?;
    outlives_another(scope, "c1").await?;
    let holders = color(scope, "c1").await?.data["status"]["drain"]["holders"].clone();
    ensure!(holders[0]["pod"] == pod && holders[0]["peers"] == json!([peer]), "held by {holders}");
    let why = scope.cli.run(&["why", colors::NAME, "c1"]).await?;
    ensure!(why.contains(&peer) && why.contains(&pod), "why says:\n{why}");

    scope.cli.run(&["drain", colors::NAME, "c1", "--deadline", "1s"]).await?;
    shrinks_to(scope, "c1", 0).await?;
    eventually("the status says what was cut", || async {
        let cut = color(scope, "c1").await?.data["status"]["drain"]["cut"].clone();
        ensure!(cut[0]["pod"] == pod && cut[0]["port"] == 8080 && cut[0]["connections"] == open, "{cut}");
        Ok(())
    })
    .await
}

/// Builds a pod that keeps a connection to a server after its first request.
fn client(server: &str, mark: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": CLIENT },
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": CLIENT,
                "image": "frontend:v1",
                "imagePullPolicy": "IfNotPresent",
                "env": [
                    { "name": "BACKEND", "value": server },
                    { "name": "BACKEND_CONNECTIONS", "value": "pooled" },
                    { "name": MARK, "value": mark },
                ],
            }],
        },
    })
}

/// Returns a pod's address when the pod runs.
async fn address(scope: &Scope, pod: &str) -> Result<String> {
    eventually(&format!("{pod} runs"), || async {
        let status = scope.api::<Pod>().get(pod).await?.status.context("no status")?;
        ensure!(status.phase.as_deref() == Some("Running"), "it is {:?}", status.phase);
        status.pod_ip.context("no address")
    })
    .await
}

/// Returns the time since which the status reports a color's connections as unknown.
async fn since(scope: &Scope, name: &str) -> Result<Timestamp> {
    let status = color(scope, name).await?.data["status"].clone();
    let conditions = status["conditions"].as_array().context("no conditions")?;
    let found =
        conditions.iter().find(|condition| condition["type"] == "ConnectionsUnknown").context("no condition")?;
    Ok(found["lastTransitionTime"].as_str().context("no time")?.parse()?)
}

/// Disconnected network of a pod. A network that is gone with its pod need not be connected again.
struct Cable {
    /// Arguments that enter the pod's network namespace.
    enter: Vec<String>,
    /// Default gateway, whose route goes when the interface does.
    gateway: Option<String>,
}

impl Cable {
    /// Disconnects the pod whose processes have a variable of that value, as no others on this machine have.
    fn pull(name: &str, value: &str) -> Result<Self> {
        let process = processes::with_env(name, value).into_iter().next();
        let process = process.with_context(|| format!("no process has {name}={value}"))?;
        let mut cable = Self { enter: enter(process)?, gateway: None };
        cable.gateway = cable
            .ip(&["route", "show", "default"])?
            .split_whitespace()
            .skip_while(|word| *word != "via")
            .nth(1)
            .map(str::to_owned);
        cable.ip(&["link", "set", INTERFACE, "down"])?;
        Ok(cable)
    }

    fn plug_in(self) -> Result<()> {
        self.ip(&["link", "set", INTERFACE, "up"])?;
        match &self.gateway {
            Some(gateway) => self.ip(&["route", "replace", "default", "via", gateway]).map(drop),
            None => Ok(()),
        }
    }

    fn ip(&self, arguments: &[&str]) -> Result<String> {
        let enter: Vec<&str> = self.enter.iter().map(String::as_str).collect();
        run("nsenter", &[&enter[..], &["ip"], arguments].concat())
    }
}

/// Returns the namespaces in which a pod's network can be changed: its network namespace, and the user namespace that owns it, which is
/// that of the process that started the pod's first one.
fn enter(process: i32) -> Result<Vec<String>> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let fields: BTreeMap<&str, &str> = status.lines().filter_map(|line| line.split_once(':')).collect();
    let parent = fields.get("PPid").context("a process without a parent")?.trim();
    let mut enter = vec![format!("--net=/proc/{process}/ns/net")];
    let user = format!("/proc/{parent}/ns/user");
    if fs::read_link(&user)? != fs::read_link("/proc/self/ns/user")? {
        enter.extend([format!("--user={user}"), "--preserve-credentials".into()]);
    }
    enter.push("--".into());
    Ok(enter)
}

/// Returns whether this machine has the two programs. Starts nothing, since this is also called when tests are only listed.
pub(crate) fn can_pull() -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    ["nsenter", "ip"].iter().all(|program| env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// Runs a command to its end. The command must succeed.
fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
