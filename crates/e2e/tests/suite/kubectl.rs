//! Tests of users' tasks with kubectl of any version: on the embedded cluster they must work as on a real one.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use e2e::{App, KubectlScope, Pace, Scope, eventually, load};
use serde_json::{Value, json};

const SECONDS: &str = "--timeout=60s";

/// Builds a Deployment of the backend with its Service, with the image names of the cluster.
fn manifest(scope: &Scope, replicas: i32) -> String {
    let prefix = scope.image_prefix();
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {{ app: web }}
spec:
  replicas: {replicas}
  selector:
    matchLabels: {{ app: web }}
  template:
    metadata:
      labels: {{ app: web }}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: backend
        image: {prefix}backend:v1
        imagePullPolicy: IfNotPresent
        ports:
        - {{ name: http, containerPort: 8080 }}
        readinessProbe: {{ httpGet: {{ path: /ready, port: http }}, periodSeconds: 1 }}
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector: {{ app: web }}
  ports:
  - {{ name: http, port: 80, targetPort: http }}
"#
    )
}

/// Applies the manifest and waits until its pods are ready.
fn deploy(scope: &Scope, kubectl: &KubectlScope, replicas: i32) -> Result<()> {
    kubectl.ok_with(&["apply", "-f", "-"], &manifest(scope, replicas))?;
    kubectl.expect_output(&["rollout", "status", "deployment/web", SECONDS], &["successfully rolled out"]).map(drop)
}

fn replicas(kubectl: &KubectlScope) -> Result<String> {
    kubectl.ok(&["get", "deployment", "web", "-o", "jsonpath={.spec.replicas}"])
}

/// Tests client-side and server-side apply, diff, patches of each kind, labels, edit, replace and delete.
pub(crate) async fn applies_changes_and_deletes(scope: &mut Scope) -> Result<()> {
    let kubectl = scope.kubectl()?;
    let (two, three) = (manifest(scope, 2), manifest(scope, 3));
    let apply = ["apply", "-f", "-"];
    ensure!(kubectl.ok_with(&apply, &two)?.contains("deployment.apps/web created"));
    ensure!(kubectl.ok_with(&apply, &two)?.contains("deployment.apps/web unchanged"));
    ensure!(kubectl.ok_with(&["diff", "-f", "-"], &two)?.is_empty());
    let changed = kubectl.cli().output_with_input(&["diff", "-f", "-"], &three)?;
    ensure!(changed.code == 1 && changed.stdout.contains("+  replicas: 3"), "{changed:?}");
    let dry = kubectl.ok_with(&["apply", "--dry-run=server", "-f", "-"], &three)?;
    ensure!(dry.contains("deployment.apps/web configured (server dry run)"), "{dry}");
    ensure!(replicas(&kubectl)? == "2");
    ensure!(kubectl.ok_with(&apply, &three)?.contains("deployment.apps/web configured"));
    ensure!(replicas(&kubectl)? == "3");

    // Another manager takes a field over: the conflict names the field.
    kubectl.ok(&["scale", "deployment", "web", "--replicas=1"])?;
    let server_side = ["apply", "--server-side", "-f", "-"];
    let conflict = kubectl.cli().output_with_input(&server_side, &three)?;
    ensure!(conflict.code != 0 && conflict.stderr.contains(".spec.replicas"), "{conflict:?}");
    let forced = kubectl.ok_with(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &three)?;
    ensure!(forced.contains("deployment.apps/web serverside-applied") && replicas(&kubectl)? == "3", "{forced}");

    let patched: [(&str, &str, &str); 3] = [
        (
            "strategic",
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"backend","env":[{"name":"A","value":"1"}]}]}}}}"#,
            "{..env[0].name}",
        ),
        ("merge", r#"{"spec":{"replicas":2}}"#, "{.spec.replicas}"),
        ("json", r#"[{"op":"replace","path":"/spec/replicas","value":1}]"#, "{.spec.replicas}"),
    ];
    for ((kind, patch, path), expected) in patched.into_iter().zip(["A", "2", "1"]) {
        kubectl.ok(&["patch", "deployment", "web", &format!("--type={kind}"), "-p", patch])?;
        let found = kubectl.ok(&["get", "deployment", "web", "-o", &format!("jsonpath={path}")])?;
        ensure!(found == expected, "{kind}: {found}");
    }
    let image = kubectl.ok(&["get", "deployment", "web", "-o", "jsonpath={..image}"])?;
    ensure!(image.ends_with("backend:v1"), "a strategic patch keeps the rest of a container: {image}");
    let test = r#"[{"op":"test","path":"/spec/replicas","value":9}]"#;
    kubectl.fails(&["patch", "deployment", "web", "--type=json", "-p", test], "The request is invalid: ")?;
    kubectl.ok(&[
        "patch",
        "deployment",
        "web",
        "--subresource=scale",
        "--type=merge",
        "-p",
        r#"{"spec":{"replicas":2}}"#,
    ])?;
    ensure!(replicas(&kubectl)? == "2");

    kubectl.expect_output(&["label", "deployment", "web", "team=a"], &["deployment.apps/web labeled"])?;
    kubectl.fails(&["label", "deployment", "web", "team=b"], "already has a value (a), and --overwrite is false")?;
    kubectl.expect_output(&["annotate", "deployment", "web", "note=1"], &["deployment.apps/web annotated"])?;
    let editor = kubectl.cli().with("EDITOR", "sed -i 's/progressDeadlineSeconds: 600/progressDeadlineSeconds: 77/'");
    let edited = editor.ok(&["edit", "deployment", "web"])?;
    ensure!(edited.contains("deployment.apps/web edited"), "{edited}");
    eventually("the Deployment is replaced", || async {
        // kubectl reads the object before it writes it, and controllers write in between.
        let replaced = kubectl.ok_with(&["replace", "-f", "-"], &two)?;
        ensure!(replaced.contains("deployment.apps/web replaced"), "{replaced}");
        Ok(())
    })
    .await?;
    let deadline = kubectl.ok(&["get", "deployment", "web", "-o", "jsonpath={.spec.progressDeadlineSeconds}"])?;
    ensure!(deadline == "600", "what a replacement does not say is the default again: {deadline}");

    // Fields and names that are wrong.
    let typo = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "x" }, "dta": {} }).to_string();
    let refused = kubectl.cli().output_with_input(&apply, &typo)?;
    ensure!(refused.code != 0 && refused.stderr.contains("unknown field \"dta\""), "{refused:?}");
    let warned = kubectl.cli().output_with_input(&["apply", "--validate=warn", "-f", "-"], &typo)?;
    ensure!(warned.code == 0 && warned.stderr.contains("Warning: unknown field \"dta\""), "{warned:?}");
    kubectl.fails(&["get", "deployment", "nothing"], "deployments.apps \"nothing\" not found")?;
    kubectl.fails(&["get", "nothing"], "the server doesn't have a resource type \"nothing\"")?;

    let deleted = kubectl.ok_with(&["delete", "--cascade=foreground", SECONDS, "-f", "-"], &two)?;
    ensure!(deleted.contains("deployment.apps \"web\" deleted"), "{deleted}");
    ensure!(kubectl.ok(&["get", "pods", "-l", "app=web", "-o", "name"])?.is_empty(), "a pod is left");
    kubectl.fails(&["delete", "deployment", "web"], "deployments.apps \"web\" not found")?;
    kubectl.ok(&["delete", "deployment", "web", "--ignore-not-found"]).map(drop)
}

/// Tests sizes, images, revisions, and kubectl's messages about them.
pub(crate) async fn rolls_out_and_back(scope: &mut Scope) -> Result<()> {
    let kubectl = scope.kubectl()?;
    deploy(scope, &kubectl, 2)?;
    kubectl.expect_output(&["wait", "--for=condition=Available", "deployment/web", SECONDS], &["condition met"])?;
    kubectl.expect_output(&["scale", "deployment", "web", "--replicas=3"], &["deployment.apps/web scaled"])?;
    kubectl.fails(
        &["scale", "deployment", "web", "--current-replicas=9", "--replicas=1"],
        "Expected replicas to be 9, was 3",
    )?;
    let image = format!("backend={}backend:v2", scope.image_prefix());
    kubectl.expect_output(&["set", "image", "deployment/web", &image], &["deployment.apps/web image updated"])?;
    kubectl.expect_output(&["rollout", "status", "deployment/web", SECONDS], &["successfully rolled out"])?;
    kubectl.expect_output(&["rollout", "history", "deployment/web"], &["REVISION", "1 ", "2 "])?;
    kubectl.expect_output(
        &["rollout", "history", "deployment/web", "--revision=2"],
        &["backend:v2", "pod-template-hash="],
    )?;
    // Newer versions warn that a later `apply` does not know of the undo.
    ensure!(kubectl.ok(&["rollout", "undo", "deployment/web"])?.contains("deployment.apps/web rolled back"));
    kubectl.expect_output(&["rollout", "status", "deployment/web", SECONDS], &["successfully rolled out"])?;
    let image = kubectl.ok(&["get", "deployment", "web", "-o", "jsonpath={..image}"])?;
    ensure!(image.ends_with("backend:v1"), "{image}");
    kubectl.expect_output(&["rollout", "pause", "deployment/web"], &["deployment.apps/web paused"])?;
    kubectl.expect_output(&["set", "env", "deployment/web", "A=b"], &["deployment.apps/web env updated"])?;
    kubectl.expect_output(&["rollout", "resume", "deployment/web"], &["deployment.apps/web resumed"])?;
    kubectl.expect_output(&["rollout", "restart", "deployment/web"], &["deployment.apps/web restarted"])?;
    kubectl.expect_output(&["rollout", "status", "deployment/web", SECONDS], &["successfully rolled out"])?;
    Ok(())
}

/// Tests tables, descriptions, schemas and rights: commands that change nothing.
pub(crate) async fn shows_and_explains(scope: &mut Scope) -> Result<()> {
    let kubectl = scope.kubectl()?;
    deploy(scope, &kubectl, 2)?;
    kubectl
        .expect_output(&["get", "all"], &["pod/web-", "service/web", "deployment.apps/web", "replicaset.apps/web-"])?;
    kubectl.expect_output(
        &["get", "pods", "-o", "wide"],
        &["NAME", "READY", "STATUS", "IP", "NODE", "READINESS GATES", "1/1", "Running"],
    )?;
    kubectl.expect_output(
        &["get", "deploy,rs,svc,endpointslices", "-o", "wide"],
        &["CONTAINERS", "IMAGES", "SELECTOR", "CLUSTER-IP", "ENDPOINTS", "app=web"],
    )?;
    kubectl.expect_output(&["get", "pods", "--show-labels", "-L", "app"], &["LABELS", "APP", "pod-template-hash="])?;
    kubectl.expect_output(
        &["get", "pods", "-A", "--chunk-size=1", "--field-selector=status.phase=Running"],
        &["NAMESPACE", "web-"],
    )?;
    let columns =
        ["get", "pods", "-o", "custom-columns=NAME:.metadata.name,PHASE:.status.phase", "--sort-by=.metadata.name"];
    kubectl.expect_output(&columns, &["NAME", "PHASE", "Running"])?;
    let yaml =
        kubectl.expect_output(&["get", "deployment", "web", "-o", "yaml"], &["kind: Deployment", "name: web"])?;
    ensure!(!yaml.contains("managedFields"));
    kubectl.expect_output(
        &["get", "deployment", "web", "-o", "yaml", "--show-managed-fields"],
        &["managedFields", "kubectl-client-side-apply"],
    )?;
    let list: Value = serde_json::from_str(&kubectl.ok(&["get", "pods", "-o", "json"])?)?;
    ensure!(list["kind"] == "List" && list["items"].as_array().is_some_and(|items| items.len() == 2), "{list}");

    kubectl.expect_output(
        &["describe", "deployment", "web"],
        &[
            "StrategyType:",
            "2 desired | 2 updated | 2 total | 2 available | 0 unavailable",
            "NewReplicaSet:",
            "ScalingReplicaSet",
        ],
    )?;
    kubectl.expect_output(
        &["describe", "pods"],
        &["Status:", "Container ID:", "Ready:", "True", "Readiness:", "QoS Class:", "Started"],
    )?;
    kubectl.expect_output(
        &["describe", "service", "web"],
        &["Selector:", "app=web", "Endpoints:", ":8080", "TargetPort:", "http/TCP"],
    )?;
    kubectl.expect_output(
        &["describe", "replicasets"],
        &["Controlled By:", "Deployment/web", "2 Running / 0 Waiting / 0 Succeeded / 0 Failed", "SuccessfulCreate"],
    )?;
    kubectl.expect_output(
        &["describe", "nodes"],
        &["Conditions:", "Capacity:", "Allocatable:", "Kubelet Version:", "Non-terminated Pods:"],
    )?;
    kubectl.expect_output(&["describe", "namespace", &scope.namespace], &["Status:", "Active"])?;
    kubectl.expect_output(&["get", "events"], &["LAST SEEN", "ScalingReplicaSet"])?;
    kubectl.expect_output(&["events", "--for", "deployment/web"], &["LAST SEEN", "Scaled up replica set"])?;

    kubectl.expect_output(
        &["explain", "deployment.spec.strategy"],
        &["GROUP:", "apps", "rollingUpdate", "DESCRIPTION:"],
    )?;
    kubectl
        .expect_output(&["explain", "rainbow.spec.tiers"], &["GROUP:", "rainbow.dev", "FIELD: tiers", "replicas"])?;
    kubectl.expect_output(&["explain", "color", "--recursive"], &["KIND:", "Color", "tiers"])?;
    kubectl.fails(&["explain", "nothing"], "the server doesn't have a resource type \"nothing\"")?;
    kubectl.expect_output(
        &["api-resources"],
        &["deployments", "deploy", "apps/v1", "rainbows", "rainbow.dev/v1alpha1", "Rainbow"],
    )?;
    kubectl.expect_output(
        &["api-resources", "--namespaced=false", "-o", "name"],
        &["namespaces\n", "customresourcedefinitions.apiextensions.k8s.io\n"],
    )?;
    kubectl.expect_output(&["api-versions"], &["apps/v1\n", "rainbow.dev/v1alpha1\n", "v1\n"])?;
    // Kubectl warns about a server that is far older or newer.
    let version: Value = serde_json::from_str(&kubectl.ok(&["version", "-o", "json"])?)?;
    ensure!(version["serverVersion"]["gitVersion"].is_string(), "{version}");
    kubectl.expect_output(&["cluster-info"], &["is running at"])?;
    kubectl.expect_output(&["auth", "can-i", "create", "pods"], &["yes"])?;
    kubectl.expect_output(&["auth", "can-i", "--list"], &["Resources", "*.*"])?;
    kubectl.expect_output(&["auth", "whoami"], &["Username"])?;
    // Without a metrics server, kubectl reports that.
    if !kubectl.ok(&["api-versions"])?.contains("metrics.k8s.io") {
        kubectl.fails(&["top", "pods"], "Metrics API not available")?;
        kubectl.fails(&["top", "nodes"], "Metrics API not available")?;
    }
    Ok(())
}

/// Tests `create` with a subcommand: newer kubectls send these as protobuf.
pub(crate) async fn creates_by_generators(scope: &mut Scope) -> Result<()> {
    let kubectl = scope.kubectl()?;
    let account = format!("--serviceaccount={}:sa", scope.namespace);
    // Cluster-scoped objects need names that are this test's own.
    let (role, class) = (format!("{}-role", scope.namespace), format!("{}-class", scope.namespace));
    let image = format!("--image={}backend:v1", scope.image_prefix());
    let bind = format!("--clusterrole={role}");
    let created: [(&[&str], &str); 20] = [
        (&["configmap", "c", "--from-literal=a=b"], "configmap/c"),
        (&["secret", "generic", "s", "--from-literal=a=b"], "secret/s"),
        (&["secret", "docker-registry", "dr", "--docker-username=a", "--docker-password=b"], "secret/dr"),
        (&["serviceaccount", "sa"], "serviceaccount/sa"),
        (&["role", "r", "--verb=get", "--resource=pods"], "role.rbac.authorization.k8s.io/r"),
        (&["rolebinding", "rb", "--role=r", &account], "rolebinding.rbac.authorization.k8s.io/rb"),
        (&["clusterrole", &role, "--verb=get", "--resource=pods"], "clusterrole.rbac.authorization.k8s.io/"),
        (&["clusterrolebinding", &role, &bind, &account], "clusterrolebinding.rbac.authorization.k8s.io/"),
        (&["quota", "q", "--hard=pods=100"], "resourcequota/q"),
        (&["pdb", "p", "--selector=app=web", "--min-available=1"], "poddisruptionbudget.policy/p"),
        (&["priorityclass", &class, "--value=5"], "priorityclass.scheduling.k8s.io/"),
        (&["deployment", "d", &image, "--port=8080", "--replicas=0"], "deployment.apps/d"),
        (&["service", "clusterip", "d", "--tcp=80:8080"], "service/d"),
        (&["service", "nodeport", "np", "--tcp=80:8080"], "service/np"),
        (&["service", "loadbalancer", "lb", "--tcp=80:8080"], "service/lb"),
        (&["service", "externalname", "en", "--external-name=example.com"], "service/en"),
        (&["ingress", "i", "--rule=a.example/*=d:80"], "ingress.networking.k8s.io/i"),
        (&["cronjob", "cj", &image, "--schedule=0 0 1 1 *"], "cronjob.batch/cj"),
        (&["job", "j", &image], "job.batch/j"),
        (&["job", "j2", "--from=cronjob/cj"], "job.batch/j2"),
    ];
    let outcome = created.into_iter().try_for_each(|(args, expected)| {
        let args: Vec<&str> = ["create"].iter().chain(args).copied().collect();
        let said = kubectl.ok(&args)?;
        ensure!(said.starts_with(expected) && said.ends_with(" created\n"), "{args:?}: {said}");
        Ok(())
    });
    // Objects outside the namespace are not deleted with it.
    for kind in ["clusterrole", "clusterrolebinding"] {
        kubectl.ok(&["delete", kind, &role, "--ignore-not-found"])?;
    }
    kubectl.ok(&["delete", "priorityclass", &class, "--ignore-not-found"])?;
    outcome?;
    let found = |args: &[&str]| kubectl.ok(args);
    ensure!(found(&["get", "configmap", "c", "-o", "jsonpath={.data.a}"])? == "b");
    ensure!(found(&["get", "secret", "s", "-o", "jsonpath={.data.a}"])? == "Yg==");
    ensure!(found(&["get", "pdb", "p", "-o", "jsonpath={.spec.minAvailable}"])? == "1");
    ensure!(found(&["get", "ingress", "i", "-o", "jsonpath={..host}/{..path}"])? == "a.example//");
    ensure!(found(&["get", "job", "j2", "-o", "jsonpath={..image}"])?.ends_with("backend:v1"));
    ensure!(found(&["get", "service", "np", "-o", "jsonpath={..targetPort}"])? == "8080");
    ensure!(found(&["create", "token", "sa"])?.matches('.').count() == 2, "no token");
    kubectl.expect_output(&["expose", "deployment", "d", "--name=e", "--port=80"], &["service/e exposed"])?;
    kubectl.expect_output(&["describe", "pdb", "p"], &["Min available:", "1", "Allowed disruptions:"])?;
    kubectl.expect_output(&["describe", "ingress", "i"], &["a.example", "d:80"])?;
    kubectl.expect_output(&["describe", "role", "r"], &["pods", "[get]"])?;
    kubectl.expect_output(&["describe", "rolebinding", "rb"], &["Role", "ServiceAccount", "sa"])?;
    kubectl.expect_output(&["describe", "secret", "s"], &["Opaque", "1 bytes"])?;
    kubectl.expect_output(&["describe", "cronjob", "cj"], &["0 0 1 1 *"]).map(drop)
}

/// Reads the log of the one pod in each of the ways that users do.
fn read_logs(kubectl: &KubectlScope, pod: &str) -> Result<()> {
    kubectl.expect_output(&["logs", "deployment/web"], &["listens on port 8080"])?;
    kubectl.expect_output(&["logs", pod, "-c", "backend", "--timestamps", "--since=1h", "--tail=1"], &["T", "Z "])?;
    kubectl.expect_output(&["logs", "-l", "app=web", "--prefix"], &["[pod/web-"])?;
    let line = Background::start(kubectl, &["logs", "-f", pod])?.line()?;
    ensure!(line.contains("listens"), "`kubectl logs -f` said: {line}");
    Ok(())
}

/// Deploys one pod, reads its log, and returns its name (`pod/NAME`).
///
/// Several nodes on one machine share `/var/log/pods`, and each kubelet removes once a minute the logs of pods that are not its own
/// (`evictPodLogsDirectories`). A pod that has lost its log this way gets no other one, so the function starts over with another pod.
fn pod_whose_log_is_read(scope: &Scope, kubectl: &KubectlScope) -> Result<String> {
    const TRIES: usize = 5;
    let mut tries = 0;
    loop {
        deploy(scope, kubectl, 1)?;
        let pod = kubectl.ok(&["get", "pods", "-l", "app=web", "-o", "name"])?.trim().to_owned();
        tries += 1;
        match read_logs(kubectl, &pod) {
            Err(lost) if tries < TRIES && format!("{lost:#}").contains("lstat /var/log/pods/") => {
                kubectl.ok(&["delete", "deployment/web", "--cascade=foreground"])?;
            }
            read => return read.map(|()| pod),
        }
    }
}

/// Tests logs, commands and ports of pods.
pub(crate) async fn reaches_into_pods(scope: &mut Scope) -> Result<()> {
    let kubectl = scope.kubectl()?;
    let pod = pod_whose_log_is_read(scope, &kubectl)?;

    // The image has one program, whose port is taken.
    let second = kubectl.cli().output(&["exec", &pod, "--", "/backend"])?;
    ensure!(second.code == 1 && second.stderr.contains("terminated with exit code 1"), "{second:?}");
    ensure!(second.stderr.contains("backend: "), "what it says on its standard error arrives: {second:?}");
    let missing = kubectl.cli().output(&["exec", "-i", &pod, "-c", "backend", "--", "/nothing"])?;
    ensure!(missing.code != 0 && missing.stderr.contains("/nothing"), "{missing:?}");
    kubectl.fails(&["exec", &pod, "-c", "other", "--", "/backend"], "other")?;

    for target in [pod.as_str(), "service/web", "deployment/web"] {
        let remote = if target == "service/web" { ":80" } else { ":8080" };
        let mut forward = Background::start(&kubectl, &["port-forward", "--address=127.0.0.1", target, remote])?;
        let line = forward.line()?;
        let place = line.strip_prefix("Forwarding from ").and_then(|rest| rest.split_whitespace().next());
        let url = format!("http://{}/", place.with_context(|| line.clone())?);
        eventually(&format!("{target} answers"), || async {
            let reply = load::query(&url).await?;
            ensure!(reply == "backend:v1", "{reply}");
            Ok(())
        })
        .await?;
    }
    let raw = format!("/api/v1/namespaces/{}/services/web:http/proxy/", scope.namespace);
    ensure!(kubectl.ok(&["get", "--raw", &raw])?.trim_end() == "backend:v1");
    ensure!(kubectl.ok(&["get", "--raw", "/readyz"])? == "ok");
    Ok(())
}

/// Tests watches, and waits for objects that do not exist yet or no longer exist.
pub(crate) async fn watches_and_waits(scope: &mut Scope) -> Result<()> {
    let kubectl = scope.kubectl()?;
    let mut watch = Background::start(&kubectl, &["get", "deployments", "-w", "-o", "name"])?;
    let mut events = Background::start(&kubectl, &["get", "pods", "-w", "--output-watch-events", "--no-headers"])?;
    deploy(scope, &kubectl, 1)?;
    ensure!(watch.line()?.trim_end() == "deployment.apps/web");
    let first = events.line()?;
    ensure!(first.starts_with("ADDED") && first.contains("web-") && first.contains("0/1"), "{first}");

    let pod = kubectl.ok(&["get", "pods", "-l", "app=web", "-o", "name"])?.trim().to_owned();
    kubectl.expect_output(&["wait", "--for=jsonpath={.status.phase}=Running", &pod, SECONDS], &["condition met"])?;
    kubectl.expect_output(&["wait", "--for=condition=Ready", "pods", "-l", "app=web", SECONDS], &["condition met"])?;
    kubectl.fails(&["wait", "--for=condition=Other", &pod, "--timeout=1s"], "timed out waiting for the condition")?;
    if kubectl.minor() >= 31 {
        kubectl.expect_output(&["wait", "--for=create", &pod, SECONDS], &["condition met"])?;
    }
    let mut waiting = Background::start(&kubectl, &["wait", "--for=delete", &pod, SECONDS])?;
    kubectl.expect_output(&["delete", &pod, SECONDS], &["deleted"])?;
    ensure!(waiting.line()?.contains("condition met"));
    loop {
        let line = events.line()?;
        if line.starts_with("DELETED") {
            ensure!(pod.ends_with(line.split_whitespace().nth(1).unwrap_or_default()), "{line}");
            return Ok(());
        }
    }
}

/// Checks that an eviction that a budget forbids is refused at once, with the reason.
pub(crate) async fn evicts(scope: &mut Scope) -> Result<()> {
    let kubectl = scope.kubectl()?;
    deploy(scope, &kubectl, 1)?;
    kubectl.ok(&["create", "pdb", "guard", "--selector=app=web", "--min-available=1"])?;
    kubectl.expect_output(
        &["wait", "--for=jsonpath={.status.expectedPods}=1", "pdb/guard", SECONDS],
        &["condition met"],
    )?;
    let pod = kubectl.ok(&["get", "pods", "-l", "app=web", "-o", "jsonpath={..metadata.name}"])?;
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/eviction", scope.namespace);
    let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": pod } }).to_string();
    let create = ["create", "--raw", path.as_str(), "-f", "-"];
    let refused = kubectl.cli().output_with_input(&create, &eviction)?;
    ensure!(refused.code != 0 && refused.stderr.contains("Cannot evict pod as it would violate"), "{refused:?}");
    kubectl.ok(&["delete", "pdb", "guard"])?;
    let allowed = kubectl.ok_with(&create, &eviction)?;
    ensure!(allowed.contains("Success"), "{allowed}");
    kubectl.expect_output(&["wait", "--for=delete", &format!("pod/{pod}"), SECONDS], &[]).map(drop)
}

/// Tests Rainbow's own kinds, and Rainbow as kubectl's plugin.
pub(crate) async fn knows_rainbow(scope: &mut Scope) -> Result<()> {
    let kubectl = scope.kubectl()?;
    let app = App { pace: Pace::Flip, ..App::two_tiers(1) };
    scope.deploy(&app, "v1", "active").await?;
    kubectl.expect_output(&["get", "rainbows"], &["NAME", "seamless"])?;
    kubectl.expect_output(&["get", "colors", "-o", "wide"], &["NAME", "v1"])?;
    kubectl.expect_output(&["describe", "rainbow", "seamless"], &["Conditions:", "Stages:", "Events:"])?;
    kubectl.expect_output(&["wait", "--for=condition=Ready", "rainbow/seamless", SECONDS], &["condition met"])?;
    let pause = r#"{"metadata":{"annotations":{"test/kubectl":"merge"}}}"#;
    kubectl.expect_output(&["patch", "rainbow", "seamless", "--type=merge", "-p", pause], &["patched"])?;
    kubectl.fails(&["patch", "rainbow", "seamless", "-p", pause], "")?;
    let invalid = r#"{"spec":{"tiers":[]}}"#;
    kubectl.fails(&["patch", "rainbow", "seamless", "--type=merge", "-p", invalid], "is invalid")?;

    let bin = std::path::Path::new(scope.cli.program());
    let plugins = tempfile::tempdir()?;
    std::os::unix::fs::symlink(bin, plugins.path().join("kubectl-rainbow"))?;
    let path = std::env::join_paths(
        [plugins.path().to_owned()]
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    )?;
    let plugin = kubectl.cli().with("PATH", path);
    let status = plugin.ok(&["rainbow", "status", "seamless"])?;
    ensure!(status.contains("active") && status.contains("v1"), "{status}");
    let listed = plugin.output(&["plugin", "list"])?;
    ensure!(listed.stdout.contains("kubectl-rainbow"), "{listed:?}");
    Ok(())
}

/// Kubectl process that runs until it is stopped.
struct Background {
    child: Child,
    lines: Receiver<String>,
}

impl Background {
    fn start(kubectl: &KubectlScope, args: &[&str]) -> Result<Self> {
        let mut command = kubectl.cli().command(args);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().context("no standard output")?);
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Ok(Self { child, lines })
    }

    /// Returns the next line of the standard output.
    fn line(&mut self) -> Result<String> {
        match self.lines.recv_timeout(Duration::from_secs(60)) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => bail!("kubectl says nothing for a minute"),
            Err(RecvTimeoutError::Disconnected) => {
                let mut told = String::new();
                if let Some(stderr) = self.child.stderr.as_mut() {
                    stderr.read_to_string(&mut told)?;
                }
                bail!("kubectl has ended: {told}")
            }
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // A process that has ended cannot be killed, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
