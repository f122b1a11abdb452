//! Tests of the scheduler: which pods fit, the sentences about the others, and the retries.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Scheduler, filter::Snapshot, node::NodeView, pod::PodView};
use crate::watch::Key;

fn node(name: &str, labels: Value, spec: Value) -> Node {
    let mut labels = labels;
    labels["kubernetes.io/hostname"] = json!(name);
    serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}, "spec": spec,
        "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "3"}}}))
    .unwrap()
}

/// Builds a pod from `{"labels": …, "spec": …}`, with one container if the spec has none.
fn pod(name: &str, parts: &Value) -> Pod {
    let mut spec = parts["spec"].clone();
    if spec.get("containers").is_none() {
        spec["containers"] = json!([{"name": "c", "image": "app"}]);
    }
    let metadata = json!({"name": name, "namespace": parts.get("namespace").unwrap_or(&json!("default")), "uid": name,
        "labels": parts.get("labels").unwrap_or(&json!({})), "deletionTimestamp": parts.get("deleted")});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

fn snapshot(nodes: &[Node], pods: &[Pod]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for node in nodes {
        let view = NodeView::of(node);
        snapshot.nodes.insert(view.name.clone(), view);
    }
    for pod in pods {
        snapshot.pods.insert(Key::of(pod), Arc::new(PodView::of(pod)));
    }
    snapshot.namespaces.insert("default".into(), [("team".to_owned(), "a".to_owned())].into());
    snapshot.namespaces.insert("other".into(), [("team".to_owned(), "b".to_owned())].into());
    snapshot
}

/// Returns the sentence about a pod that one node does not take.
fn no(why: &str) -> String {
    no_help(why, "No preemption victims found for incoming pod")
}

fn no_help(why: &str, preemption: &str) -> String {
    format!("0/1 nodes are available: {why}. preemption: 0/1 nodes are available: 1 {preemption}.")
}

fn fixed(why: &str) -> String {
    no_help(why, "Preemption is not helpful for scheduling")
}

/// Checks the placement of a pod on one node with other pods on it: `Ok` or the sentence.
#[track_caller]
fn check(node: &Node, others: &[Value], incoming: &Value, expected: Result<(), String>) {
    let on_node: Vec<_> = others
        .iter()
        .enumerate()
        .map(|(index, parts)| {
            let mut pod = pod(&format!("other-{index}"), parts);
            pod.spec.as_mut().unwrap().node_name = node.metadata.name.clone();
            pod
        })
        .collect();
    let snapshot = snapshot(std::slice::from_ref(node), &on_node);
    let placed = snapshot.place(&PodView::of(&pod("incoming", incoming)));
    assert_eq!(placed.map(drop), expected, "{incoming} beside {others:?}");
}

#[test]
fn what_a_pod_asks_of_the_node_itself() {
    let plain = node("n", json!({"arch": "amd64", "cpus": "2"}), json!({}));
    let tainted = node(
        "n",
        json!({}),
        json!({"taints": [
        {"key": "gpu", "value": "yes", "effect": "NoSchedule"}, {"key": "x", "effect": "PreferNoSchedule"}]}),
    );
    let cordoned = node(
        "n",
        json!({}),
        json!({"unschedulable": true,
        "taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]}),
    );
    let mismatch = || Err(fixed("1 node(s) didn't match Pod's node affinity/selector"));
    let affinity = |key: &str, operator: &str, values: &[&str]| {
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]}}}})
    };
    let tolerates = |key: &str| json!({"tolerations": [{"key": key, "operator": "Exists"}]});
    for (spec, node, expected) in [
        (json!({}), &plain, Ok(())),
        (json!({"nodeSelector": {"arch": "amd64"}}), &plain, Ok(())),
        (json!({"nodeSelector": {"arch": "arm64"}}), &plain, mismatch()),
        (affinity("arch", "In", &["amd64"]), &plain, Ok(())),
        (affinity("arch", "NotIn", &["amd64"]), &plain, mismatch()),
        (affinity("cpus", "Gt", &["1"]), &plain, Ok(())),
        (affinity("gpu", "Exists", &[]), &plain, mismatch()),
        (json!({}), &tainted, Err(fixed("1 node(s) had untolerated taint(s)"))),
        (tolerates("gpu"), &tainted, Ok(())),
        (json!({}), &cordoned, Err(fixed("1 node(s) were unschedulable"))),
        (tolerates("node.kubernetes.io/unschedulable"), &cordoned, Ok(())),
        (
            json!({"hostNetwork": true}),
            &plain,
            Err(fixed("1 node(s) run pods in namespaces of their own and cannot offer spec.hostNetwork; remove it")),
        ),
    ] {
        check(node, &[], &json!({"spec": spec}), expected);
    }
    let none = Snapshot::default().place(&PodView::of(&pod("p", &json!({"spec": {}}))));
    assert_eq!(none, Err("no nodes available to schedule pods".to_owned()));
}

#[test]
fn host_ports() {
    let node = node("n", json!({}), json!({}));
    let port = |port: i32, more: Value| {
        let mut entry = json!({"containerPort": 80, "hostPort": port});
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"spec": {"containers": [{"name": "c", "ports": [entry]}]}})
    };
    let taken = || Err(no("1 node(s) didn't have free ports for the requested pod ports"));
    let any = port(8080, json!({}));
    let local = port(8080, json!({"hostIP": "127.0.0.1"}));
    for (other, incoming, expected) in [
        (&any, any.clone(), taken()),
        (&any, port(8081, json!({})), Ok(())),
        (&any, port(8080, json!({"protocol": "UDP"})), Ok(())),
        (&any, local.clone(), taken()),
        (&local, any.clone(), taken()),
        (&local, local.clone(), taken()),
        (&local, port(8080, json!({"hostIP": "127.0.0.2"})), Ok(())),
        (&any, json!({"spec": {}}), Ok(())),
    ] {
        check(&node, std::slice::from_ref(other), &incoming, expected);
    }
    let mut ended = pod("other", &any);
    ended.status = Some(serde_json::from_value(json!({"phase": "Failed"})).unwrap());
    assert!(PodView::of(&ended).ended, "a pod that has ended holds no port");
}

#[test]
fn requests_of_resources() {
    let node = node("n", json!({}), json!({}));
    let asks = |requests: Value| json!({"name": "c", "resources": {"requests": requests}});
    let one = |requests: Value| json!({"spec": {"containers": [asks(requests)]}});
    let sidecar = |requests: Value| {
        let mut container = asks(requests);
        container["restartPolicy"] = json!("Always");
        container
    };
    let cpu = |amount: &str| one(json!({"cpu": amount}));
    for (others, incoming, expected) in [
        (vec![], cpu("2"), Ok(())),
        (vec![cpu("1500m")], cpu("500m"), Ok(())),
        (vec![cpu("1500m")], cpu("501m"), Err(no("1 Insufficient cpu"))),
        (vec![], cpu("2001m"), Err(fixed("1 Insufficient cpu"))),
        (vec![], one(json!({"memory": "2Gi", "cpu": "3"})), Err(fixed("1 Insufficient cpu, 1 Insufficient memory"))),
        (vec![], one(json!({"nvidia.com/gpu": "1"})), Err(fixed("1 Insufficient nvidia.com/gpu"))),
        (vec![], one(json!({"nvidia.com/gpu": "0"})), Ok(())),
        (vec![cpu("2")], one(json!({})), Ok(())),
        (vec![one(json!({})), one(json!({})), one(json!({}))], one(json!({})), Err(no("1 Too many pods"))),
        // Containers and sidecars run together.
        (
            vec![],
            json!({"spec": {"initContainers": [sidecar(json!({"cpu": "1"}))], "containers": [asks(json!({"cpu": "1500m"}))]}}),
            Err(fixed("1 Insufficient cpu")),
        ),
        // An init container runs beside only those sidecars that come before it.
        (
            vec![],
            json!({"spec": {"initContainers": [asks(json!({"cpu": "2"})), sidecar(json!({"cpu": "1"}))],
            "containers": [asks(json!({"cpu": "1"}))]}}),
            Ok(()),
        ),
        (
            vec![],
            json!({"spec": {"initContainers": [sidecar(json!({"cpu": "1"})), asks(json!({"cpu": "1500m"}))],
            "containers": [asks(json!({"cpu": "1"}))]}}),
            Err(fixed("1 Insufficient cpu")),
        ),
        // A limit alone is a request; overhead is added; requests of the pod as a whole replace those of its containers.
        (
            vec![],
            json!({"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "3"}}}]}}),
            Err(fixed("1 Insufficient cpu")),
        ),
        (
            vec![],
            json!({"spec": {"overhead": {"cpu": "1"}, "containers": [asks(json!({"cpu": "1500m"}))]}}),
            Err(fixed("1 Insufficient cpu")),
        ),
        (
            vec![],
            json!({"spec": {"resources": {"requests": {"cpu": "1"}}, "containers": [asks(json!({"cpu": "3"}))]}}),
            Ok(()),
        ),
    ] {
        check(&node, &others, &incoming, expected);
    }
}

/// Builds a pod that must be apart from, or together with, the pods of a selector.
fn term(kind: &str, labels: Value, more: Value) -> Value {
    let mut term = json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}});
    term.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"labels": labels, "spec": {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}})
}

#[test]
fn pods_that_keep_apart() {
    let node = node("n", json!({"zone": "z"}), json!({}));
    let web = || json!({"app": "web"});
    let apart = |more: Value| term("podAntiAffinity", web(), more);
    let plain = json!({"labels": web(), "spec": {}});
    let other = json!({"labels": {"app": "db"}, "spec": {}});
    let own = || Err(no("1 node(s) didn't match pod anti-affinity rules"));
    let theirs = || Err(no("1 node(s) didn't satisfy existing pods anti-affinity rules"));
    let elsewhere = json!({"namespace": "other", "labels": web(), "spec": {}});
    let ending = json!({"labels": web(), "spec": {}, "deleted": "2026-01-01T00:00:00Z"});
    for (others, incoming, expected) in [
        (vec![], apart(json!({})), Ok(())),
        (vec![plain.clone()], apart(json!({})), own()),
        (vec![other.clone()], apart(json!({})), Ok(())),
        (vec![apart(json!({}))], plain.clone(), theirs()),
        (vec![apart(json!({}))], other.clone(), Ok(())),
        (vec![apart(json!({}))], apart(json!({})), own()),
        (vec![ending], apart(json!({})), own()),
        (vec![plain.clone()], apart(json!({"topologyKey": "zone"})), own()),
        (vec![plain.clone()], apart(json!({"topologyKey": "rack"})), Ok(())),
        (vec![elsewhere.clone()], apart(json!({})), Ok(())),
        (vec![elsewhere.clone()], apart(json!({"namespaces": ["other"]})), own()),
        (vec![elsewhere.clone()], apart(json!({"namespaceSelector": {}})), own()),
        (vec![elsewhere.clone()], apart(json!({"namespaceSelector": {"matchLabels": {"team": "b"}}})), own()),
        (vec![plain.clone()], apart(json!({"namespaceSelector": {"matchLabels": {"team": "b"}}})), Ok(())),
        (vec![plain.clone()], apart(json!({"labelSelector": null})), Ok(())),
        (vec![plain.clone()], apart(json!({"mismatchLabelKeys": ["app"]})), Ok(())),
        (vec![plain.clone()], apart(json!({"matchLabelKeys": ["app"]})), own()),
    ] {
        check(&node, &others, &incoming, expected);
    }
}

#[test]
fn pods_that_keep_together() {
    let node = node("n", json!({}), json!({}));
    let with = |labels: Value, more: Value| term("podAffinity", labels, more);
    let web = json!({"labels": {"app": "web"}, "spec": {}});
    let lonely = || Err(fixed("1 node(s) didn't match pod affinity rules"));
    for (others, incoming, expected) in [
        (vec![web.clone()], with(json!({"app": "db"}), json!({})), Ok(())),
        (vec![], with(json!({"app": "db"}), json!({})), lonely()),
        // The first of a set of pods that have affinity to one another.
        (vec![], with(json!({"app": "web"}), json!({})), Ok(())),
        (vec![web.clone()], with(json!({"app": "web"}), json!({"topologyKey": "rack"})), lonely()),
    ] {
        check(&node, &others, &incoming, expected);
    }
}

#[test]
fn pods_that_are_spread() {
    let node = node("n", json!({"zone": "z"}), json!({}));
    let spread = |more: Value| {
        let mut constraint = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "web"}}});
        constraint.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"labels": {"app": "web"}, "spec": {"topologySpreadConstraints": [constraint]}})
    };
    let web = json!({"labels": {"app": "web"}, "spec": {}});
    let uneven = || Err(no("1 node(s) didn't match pod topology spread constraints"));
    for (others, incoming, expected) in [
        // One zone alone is always even.
        (vec![web.clone(), web.clone()], spread(json!({})), Ok(())),
        (vec![], spread(json!({"minDomains": 2})), Ok(())),
        (vec![web.clone()], spread(json!({"minDomains": 2})), uneven()),
        (vec![web.clone()], spread(json!({"minDomains": 2, "maxSkew": 2})), Ok(())),
        (vec![web.clone()], spread(json!({"minDomains": 2, "whenUnsatisfiable": "ScheduleAnyway"})), Ok(())),
        (
            vec![],
            spread(json!({"topologyKey": "rack"})),
            Err(fixed("1 node(s) didn't match pod topology spread constraints (missing required label)")),
        ),
    ] {
        check(&node, &others, &incoming, expected);
    }
}

#[test]
fn several_nodes() {
    let nodes =
        [node("a", json!({"zone": "x"}), json!({"unschedulable": true})), node("b", json!({"zone": "y"}), json!({}))];
    let mut other = pod("other", &json!({"labels": {"app": "web"}, "spec": {}}));
    other.spec.as_mut().unwrap().node_name = Some("b".into());
    let snapshot = snapshot(&nodes, &[other]);
    let place = |parts: &Value| snapshot.place(&PodView::of(&pod("p", parts)));
    assert_eq!(place(&json!({"spec": {}})), Ok("b".to_owned()));
    let apart = term("podAntiAffinity", json!({}), json!({}));
    let sentence = "0/2 nodes are available: 1 node(s) didn't match pod anti-affinity rules, 1 node(s) were unschedulable. \
        preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, \
        1 Preemption is not helpful for scheduling.";
    assert_eq!(place(&apart), Err(sentence.to_owned()));
    let mut humble = apart;
    humble["spec"]["preemptionPolicy"] = json!("Never");
    assert!(place(&humble).unwrap_err().ends_with(" preemption: not eligible due to preemptionPolicy=Never."));
}

struct Lab {
    client: Client,
    shutdown: CancellationToken,
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Lab {
    async fn new() -> Self {
        let client = pocket_api::Api::new(pocket_api::Options::default()).unwrap().client("default");
        let nodes: Api<Node> = Api::all(client.clone());
        let made = node("n", json!({}), json!({}));
        nodes.create(&PostParams::default(), &made).await.unwrap();
        let status = json!({"status": made.status});
        nodes.patch_status("n", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
        let shutdown = CancellationToken::new();
        tokio::spawn(Scheduler::new(client.clone(), "n").run(shutdown.clone()));
        Self { client, shutdown }
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "default")
    }

    async fn create(&self, name: &str, parts: &Value) {
        let mut made = pod(name, parts);
        made.metadata.uid = None;
        self.pods().create(&PostParams::default(), &made).await.unwrap();
    }

    async fn until(&self, name: &str, wanted: impl Fn(&Pod) -> bool) -> Pod {
        for _ in 0..1000 {
            let pod = self.pods().get(name).await.unwrap();
            if wanted(&pod) {
                return pod;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("not reached: {:?}", self.pods().get(name).await);
    }
}

fn bound(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some())
}

fn refused(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let condition =
        conditions.iter().find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
    assert_eq!(condition.reason.as_deref(), Some("Unschedulable"));
    condition.message.clone()
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_until_the_obstacle_is_gone() {
    let lab = Lab::new().await;
    let apart = term("podAntiAffinity", json!({"app": "web"}), json!({}));
    for name in ["a", "b", "c"] {
        lab.create(name, &apart).await;
        sleep(Duration::from_secs(1)).await;
    }
    lab.until("a", bound).await;
    for name in ["b", "c"] {
        let sentence = refused(&lab.until(name, |pod| refused(pod).is_some()).await);
        assert_eq!(sentence, Some(no("1 node(s) didn't match pod anti-affinity rules")));
    }
    let events = Api::<Event>::namespaced(lab.client.clone(), "default").list(&ListParams::default()).await.unwrap();
    let failed: Vec<_> =
        events.items.iter().filter(|event| event.reason.as_deref() == Some("FailedScheduling")).collect();
    assert_eq!(failed.len(), 2);
    assert_eq!(failed[0].source.as_ref().unwrap().component.as_deref(), Some("default-scheduler"));
    // The oldest waiting pod is next. A pod in deletion still counts; without a kubelet here, it is gone at once.
    lab.pods().delete("a", &DeleteParams::default().grace_period(0)).await.unwrap();
    lab.until("b", bound).await;
    sleep(Duration::from_secs(5)).await;
    assert!(!bound(&lab.until("c", |_| true).await));
    let status = json!({"status": {"phase": "Succeeded"}});
    lab.pods().patch_status("b", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    lab.until("c", bound).await;
}

#[tokio::test(start_paused = true)]
async fn pods_that_come_together_do_not_both_get_a_port() {
    let lab = Lab::new().await;
    let port = json!({"spec": {"containers": [{"name": "c", "image": "app", "ports": [{"containerPort": 1, "hostPort": 1}]}]}});
    tokio::join!(lab.create("a", &port), lab.create("b", &port));
    sleep(Duration::from_secs(5)).await;
    let pods = lab.pods().list(&ListParams::default()).await.unwrap().items;
    assert_eq!(pods.iter().filter(|pod| bound(pod)).count(), 1);
    assert_eq!(pods.iter().find_map(refused), Some(no("1 node(s) didn't have free ports for the requested pod ports")));
}

#[tokio::test(start_paused = true)]
async fn a_node_or_an_edit_can_be_what_a_pod_waits_for() {
    let lab = Lab::new().await;
    lab.create("p", &json!({"spec": {"nodeSelector": {"disk": "ssd"}}})).await;
    lab.create("gated", &json!({"spec": {"schedulingGates": [{"name": "example.com/g"}]}})).await;
    lab.create("foreign", &json!({"spec": {"schedulerName": "mine"}})).await;
    lab.until("p", |pod| refused(pod).is_some()).await;
    let nodes: Api<Node> = Api::all(lab.client.clone());
    let patch = json!({"metadata": {"labels": {"disk": "ssd"}}});
    nodes.patch("n", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    lab.until("p", bound).await;
    sleep(Duration::from_secs(5)).await;
    assert!(!bound(&lab.until("gated", |_| true).await) && !bound(&lab.until("foreign", |_| true).await));
    let patch = json!({"spec": {"schedulingGates": null}});
    lab.pods().patch("gated", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    lab.until("gated", bound).await;
}
