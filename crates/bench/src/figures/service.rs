//! Cost of the way through a Service, against the way straight to the pod. Client and server are pods.

use anyhow::{Context, Result, bail, ensure};
use e2e::{Cluster, Scope};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, LogParams};
use serde_json::{Value, json};

use crate::table::Figure;

/// Seconds of each measurement.
const SECONDS: u32 = 3;
/// Number of clients that connect again and again.
const CLIENTS: u32 = 16;

pub(crate) async fn measure(runs: u32) -> Result<Vec<Figure>> {
    let cluster = Cluster::start()?;
    cluster.build_image("traffic")?;
    cluster.build_image("bulk")?;
    let mut scope = Scope::new(&cluster, "service").await?;
    scope.operator.kill();
    let http = server(&scope, "backend", "backend:v1", &[], 8080).await?;
    let bulk = server(&scope, "bulk", "bulk:v1", &["serve", "9000"], 9000).await?;
    let (mut connections, mut throughput) = (Vec::new(), Vec::new());
    for run in 0..runs {
        let mut rates = Vec::new();
        for (way, url) in [("direct", format!("http://{http}:8080/")), ("service", "http://backend/".to_owned())] {
            let (clients, seconds) = (CLIENTS.to_string(), SECONDS.to_string());
            let args = [&url, "--closed", &clients, "--for", &seconds, "--json"];
            let report: Value =
                serde_json::from_str(&client(&scope, &format!("t-{way}-{run}"), "traffic:v1", &args).await?)?;
            ensure!(report["failed"] == 0, "{way}: requests failed: {report}");
            rates.push(report["requests"].as_f64().context("requests")?);
        }
        connections.push(rates[1] / rates[0] * 100.0);
        let mut bytes = Vec::new();
        for (way, address) in [("direct", format!("{bulk}:9000")), ("service", "bulk:80".to_owned())] {
            let seconds = SECONDS.to_string();
            let said = client(&scope, &format!("b-{way}-{run}"), "bulk:v1", &["pull", &address, &seconds]).await?;
            bytes.push(said.trim().parse::<f64>().with_context(|| format!("bulk said {said}"))?);
        }
        throughput.push(bytes[1] / bytes[0] * 100.0);
    }
    cluster.stop()?;
    Ok(vec![
        Figure::at_least("new connections through a Service / direct", "%", 60.0, connections),
        Figure::at_least("throughput through a Service / direct", "%", 80.0, throughput),
    ])
}

/// Starts a server pod with a Service on port 80, and returns the pod's address.
async fn server(scope: &Scope, name: &str, image: &str, args: &[&str], port: u16) -> Result<String> {
    let mut pod = pod(name, image, args);
    pod["metadata"]["labels"] = json!({ "app": name });
    pod["spec"]["containers"][0]["readinessProbe"] = json!({ "tcpSocket": { "port": port }, "periodSeconds": 1 });
    scope.apply_manifest(&pod)?;
    scope.apply_manifest(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
        "spec": { "selector": { "app": name }, "ports": [{ "port": 80, "targetPort": port, "protocol": "TCP" }] },
    }))?;
    e2e::eventually(&format!("{name} is ready"), || async {
        let status = scope.api::<Pod>().get(name).await?.status.context("no status")?;
        let conditions = status.conditions.unwrap_or_default();
        ensure!(
            conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"),
            "not ready"
        );
        status.pod_ip.context("no address")
    })
    .await
}

/// Runs a client pod to its end and returns its output.
async fn client(scope: &Scope, name: &str, image: &str, args: &[&str]) -> Result<String> {
    scope.apply_manifest(&pod(name, image, args))?;
    let pods = scope.api::<Pod>();
    e2e::eventually(&format!("{name} has ended"), || async {
        let phase = pods.get(name).await?.status.and_then(|status| status.phase).unwrap_or_default();
        match phase.as_str() {
            "Succeeded" | "Failed" => Ok(()),
            _ => bail!("it is {phase}"),
        }
    })
    .await?;
    let log = pods.logs(name, &LogParams::default()).await?;
    pods.delete(name, &DeleteParams::default().grace_period(0)).await?;
    Ok(log)
}

fn pod(name: &str, image: &str, args: &[&str]) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name },
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [{ "name": name, "image": image, "imagePullPolicy": "Never", "args": args }],
        },
    })
}
