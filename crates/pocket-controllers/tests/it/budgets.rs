//! Times at which the disruption controller counts a budget, and its counts: as in kube-controller-manager, and without any other
//! controller that moves pods.

use std::time::Duration;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet, StatefulSet},
        batch::v1::Job,
        core::v1::Pod,
        policy::v1::PodDisruptionBudget,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, PostParams},
    core::GroupVersionKind,
};
use pocket_controllers::{Controller, Settings, run_some};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Namespaced, condition};

impl Cluster {
    /// Returns the API server with the disruption controller alone.
    fn with_budgets() -> Self {
        let cluster = Self::bare();
        let client = cluster.client.clone();
        tokio::spawn(run_some(client, Settings::default(), &[Controller::Disruption], std::future::pending()));
        cluster
    }

    /// Creates a Deployment of that size with its ReplicaSet; no controller keeps them up to date.
    async fn deployment(&self, name: &str, replicas: i32) -> (Deployment, ReplicaSet) {
        let deployment: Deployment = self.create(workload("apps/v1", "Deployment", name, replicas)).await;
        let mut set = workload("apps/v1", "ReplicaSet", name, replicas);
        set["metadata"]["ownerReferences"] = json!([owner(&deployment)]);
        (deployment, self.create(set).await)
    }

    async fn ready_pod(&self, name: &str, labels: Value, owner: Option<Value>) -> Pod {
        let owners: Vec<Value> = owner.into_iter().collect();
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": labels, "ownerReferences": owners },
            "spec": { "containers": [{ "name": "a", "image": "a:v1" }] },
        });
        self.create::<Pod>(pod).await;
        self.status::<Pod>(name, json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] }))
            .await;
        self.get(name).await.unwrap()
    }

    async fn budget(&self, name: &str, spec: Value) -> PodDisruptionBudget {
        let mut spec = spec;
        spec["selector"] = json!({ "matchLabels": { "app": "web" } });
        let budget = json!({ "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": name } });
        let mut budget: Value = budget;
        budget["spec"] = spec;
        self.create(budget).await
    }

    /// Returns allowed, healthy, desired and expected, from the budget's status.
    async fn counts(&self, name: &str) -> [i32; 4] {
        let status = self.get::<PodDisruptionBudget>(name).await.unwrap().status.unwrap_or_default();
        [status.disruptions_allowed, status.current_healthy, status.desired_healthy, status.expected_pods]
    }

    async fn touch(&self, pod: &str) {
        let value = format!("{:?}", tokio::time::Instant::now());
        self.patch::<Pod>(pod, json!({ "metadata": { "annotations": { "test/touched": value } } })).await;
        self.settle().await;
    }

    async fn sync_error(&self, name: &str) -> String {
        let budget = serde_json::to_value(self.get::<PodDisruptionBudget>(name).await.unwrap()).unwrap();
        match condition(&budget, "DisruptionAllowed", "reason") {
            "SyncFailed" => condition(&budget, "DisruptionAllowed", "message").to_owned(),
            other => format!("no error but {other}"),
        }
    }
}

fn workload(api_version: &str, kind: &str, name: &str, replicas: i32) -> Value {
    json!({
        "apiVersion": api_version, "kind": kind, "metadata": { "name": name },
        "spec": {
            "replicas": replicas, "serviceName": name, "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "a", "image": "a:v1" }], "restartPolicy": "Always" },
            },
        },
    })
}

fn owner<K: Namespaced>(object: &K) -> Value {
    json!({ "apiVersion": K::api_version(&()), "kind": K::kind(&()), "name": object.name_any(),
        "uid": object.uid().unwrap(), "controller": true })
}

fn web() -> Value {
    json!({ "app": "web" })
}

#[tokio::test(start_paused = true)]
async fn a_change_of_size_is_seen_when_a_pod_changes_or_after_half_a_day() {
    let cluster = Cluster::with_budgets();
    let (_, set) = cluster.deployment("web", 4).await;
    for name in ["a", "b", "c", "d"] {
        cluster.ready_pod(name, web(), Some(owner(&set))).await;
    }
    cluster.budget("guard", json!({ "maxUnavailable": 1 })).await;
    cluster.settle().await;
    assert_eq!(cluster.counts("guard").await, [1, 4, 3, 4]);

    cluster.patch::<Deployment>("web", json!({ "spec": { "replicas": 1 } })).await;
    cluster.patch::<ReplicaSet>("web", json!({ "spec": { "replicas": 1 } })).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(
        cluster.counts("guard").await,
        [1, 4, 3, 4],
        "neither a Deployment nor a ReplicaSet is a reason to look"
    );
    cluster.touch("a").await;
    assert_eq!(cluster.counts("guard").await, [4, 4, 0, 1]);

    cluster.patch::<Deployment>("web", json!({ "spec": { "replicas": 4 } })).await;
    tokio::time::sleep(Duration::from_secs(25 * 3600)).await;
    assert_eq!(cluster.counts("guard").await, [1, 4, 3, 4], "everything is looked at again once or twice a day");
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_counted_for_the_budget_that_selects_it_now() {
    let cluster = Cluster::with_budgets();
    let (_, set) = cluster.deployment("web", 2).await;
    for name in ["a", "b"] {
        cluster.ready_pod(name, web(), Some(owner(&set))).await;
    }
    cluster.budget("guard", json!({ "minAvailable": 1 })).await;
    cluster.settle().await;
    assert_eq!(cluster.counts("guard").await, [1, 2, 1, 2]);
    cluster.patch::<Pod>("a", json!({ "metadata": { "labels": { "app": "other" } } })).await;
    cluster.settle().await;
    assert_eq!(cluster.counts("guard").await, [1, 2, 1, 2], "the labels before the change are not looked at");
    cluster.touch("b").await;
    assert_eq!(cluster.counts("guard").await, [0, 1, 1, 1]);
    cluster.delete::<Pod>("b", DeleteParams::default()).await;
    cluster.settle().await;
    assert_eq!(cluster.counts("guard").await, [0, 0, 1, 0]);
    assert!(cluster.events().await.contains(&"NoPods No matching pods found".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn of_two_budgets_one_follows_a_pod() {
    let cluster = Cluster::with_budgets();
    let (_, set) = cluster.deployment("web", 2).await;
    cluster.ready_pod("a", web(), Some(owner(&set))).await;
    cluster.budget("first", json!({ "minAvailable": 1 })).await;
    cluster.budget("second", json!({ "minAvailable": 1 })).await;
    cluster.settle().await;
    assert_eq!((cluster.counts("first").await, cluster.counts("second").await), ([0, 1, 1, 1], [0, 1, 1, 1]));
    cluster.ready_pod("b", web(), Some(owner(&set))).await;
    cluster.settle().await;
    let (first, second) = (cluster.counts("first").await, cluster.counts("second").await);
    assert_eq!((first, second), ([1, 2, 1, 2], [0, 1, 1, 1]));
    let text = "MultiplePodDisruptionBudgets Pod \"default\"/\"b\" matches multiple PodDisruptionBudgets.  Chose \"first\" arbitrarily.";
    let events = cluster.events().await;
    assert!(events.iter().any(|event| event == text), "{events:#?}");
}

#[tokio::test(start_paused = true)]
async fn pods_that_nothing_controls_are_told_and_not_expected() {
    let cluster = Cluster::with_budgets();
    let (_, set) = cluster.deployment("web", 3).await;
    cluster.ready_pod("owned", web(), Some(owner(&set))).await;
    cluster.ready_pod("lone", web(), None).await;
    cluster.budget("share", json!({ "minAvailable": "50%" })).await;
    cluster.settle().await;
    assert_eq!(cluster.counts("share").await, [0, 2, 2, 3]);
    let events = cluster.events().await;
    let told = events.iter().find(|event| event.starts_with("UnmanagedPods ")).unwrap();
    assert_eq!(
        told,
        "UnmanagedPods Pods selected by this PodDisruptionBudget (selector: &LabelSelector{MatchLabels:map[string]string\
         {app: web,},MatchExpressions:[]LabelSelectorRequirement{},}) were found to be unmanaged. As a result, the status of \
         the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please set \
         \".spec.minAvailable\" field of the PDB to an integer value."
    );
}

#[tokio::test(start_paused = true)]
async fn sizes_come_from_whatever_can_be_scaled() {
    let cluster = Cluster::with_budgets();
    let stateful: StatefulSet = cluster.create(workload("apps/v1", "StatefulSet", "db", 3)).await;
    let crd: CustomResourceDefinition = serde_json::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": "rollouts.test.dev" },
        "spec": {
            "group": "test.dev", "scope": "Namespaced", "names": { "plural": "rollouts", "kind": "Rollout" },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
                "subresources": { "scale": { "specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size" } },
            }],
        },
    }))
    .unwrap();
    Api::all(cluster.client.clone()).create(&PostParams::default(), &crd).await.unwrap();
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("test.dev", "v1", "Rollout"), "rollouts");
    let rollouts: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), "default", &resource);
    let rollout = DynamicObject::new("custom", &resource).data(json!({ "spec": { "size": 4 } }));
    let rollout = rollouts.create(&PostParams::default(), &rollout).await.unwrap();
    let reference = json!({ "apiVersion": "test.dev/v1", "kind": "Rollout", "name": "custom", "uid": rollout.uid(), "controller": true });
    // The Deployment is gone, so the ReplicaSet's own size counts; two pods of one owner are counted once.
    let (_, set) = cluster.deployment("web", 2).await;
    cluster.delete::<Deployment>("web", DeleteParams::orphan()).await;
    cluster.ready_pod("a", web(), Some(owner(&stateful))).await;
    cluster.ready_pod("b", web(), Some(owner(&stateful))).await;
    cluster.ready_pod("c", web(), Some(reference)).await;
    cluster.ready_pod("d", web(), Some(owner(&set))).await;
    cluster.budget("guard", json!({ "maxUnavailable": 6 })).await;
    cluster.settle().await;
    assert_eq!(cluster.counts("guard").await, [1, 4, 3, 9]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_counted_lets_nothing_go() {
    let cluster = Cluster::with_budgets();
    let (_, set) = cluster.deployment("web", 1).await;
    cluster.ready_pod("a", web(), Some(owner(&set))).await;
    let budget = cluster.budget("guard", json!({ "maxUnavailable": 1 })).await;
    cluster.settle().await;
    assert_eq!(cluster.counts("guard").await, [1, 1, 0, 1]);
    let observed = budget.metadata.generation;

    let mut job = workload("batch/v1", "Job", "once", 1);
    job["spec"] = json!({ "template": { "metadata": { "labels": { "app": "web" } },
        "spec": { "restartPolicy": "Never", "containers": [{ "name": "a", "image": "a:v1" }] } } });
    let job: Job = cluster.create(job).await;
    cluster.ready_pod("of-job", web(), Some(owner(&job))).await;
    cluster.patch::<PodDisruptionBudget>("guard", json!({ "spec": { "maxUnavailable": 2 } })).await;
    cluster.settle().await;
    assert_eq!(cluster.sync_error("guard").await, "jobs.batch does not implement the scale subresource");
    assert_eq!(cluster.counts("guard").await, [0, 1, 0, 1], "the other numbers are those of the last count");
    let status = cluster.get::<PodDisruptionBudget>("guard").await.unwrap().status.unwrap();
    assert_eq!((status.observed_generation, status.conditions.unwrap()[0].observed_generation), (observed, observed));
    let text = "CalculateExpectedPodCountFailed Failed to calculate the number of expected pods: jobs.batch does not \
                implement the scale subresource";
    assert!(cluster.events().await.iter().any(|event| event == text));

    cluster.delete::<Pod>("of-job", DeleteParams::default()).await;
    cluster.settle().await;
    assert_eq!(cluster.counts("guard").await, [1, 1, 0, 1]);

    for (case, (api_version, kind, name, expected)) in [
        // The name exists, but with another uid.
        ("apps/v1", "ReplicaSet", "web", "found no controllers for pod \"p0\""),
        ("apps/v1", "ReplicaSet", "gone", "found no controllers for pod \"p1\""),
        ("none.dev/v1", "Nothing", "x", "no matches for kind \"Nothing\" in version \"none.dev/v1\""),
    ]
    .into_iter()
    .enumerate()
    {
        let pod = format!("p{case}");
        let stranger =
            json!({ "apiVersion": api_version, "kind": kind, "name": name, "uid": "another", "controller": true });
        cluster.ready_pod(&pod, web(), Some(stranger)).await;
        cluster.settle().await;
        assert_eq!(cluster.sync_error("guard").await, expected);
        cluster.delete::<Pod>(&pod, DeleteParams::default()).await;
        cluster.settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_eviction_without_a_deletion_is_forgotten_after_two_minutes() {
    let cluster = Cluster::with_budgets();
    let (_, set) = cluster.deployment("web", 2).await;
    for name in ["a", "b"] {
        cluster.ready_pod(name, web(), Some(owner(&set))).await;
    }
    cluster.budget("guard", json!({ "minAvailable": 1 })).await;
    cluster.settle().await;
    let now = k8s_openapi::jiff::Timestamp::now().to_string();
    cluster.status::<PodDisruptionBudget>("guard", json!({ "disruptedPods": { "a": now, "gone": now } })).await;
    cluster.settle().await;
    assert_eq!(cluster.counts("guard").await, [0, 1, 1, 2]);
    let status = cluster.get::<PodDisruptionBudget>("guard").await.unwrap().status.unwrap();
    assert_eq!(status.disrupted_pods.unwrap().into_keys().collect::<Vec<_>>(), ["a"]);
    tokio::time::sleep(Duration::from_secs(125)).await;
    assert_eq!(cluster.counts("guard").await, [1, 2, 1, 2]);
    let events = cluster.events().await;
    let text = "NotDeleted Pod was expected by PDB default/default to be deleted but it wasn't";
    assert!(events.iter().any(|event| event == text), "{events:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_stale_disruption_target_is_taken_back() {
    let cluster = Cluster::with_budgets();
    let target = |reason: &str| {
        json!([{ "type": "Ready", "status": "True" }, { "type": "DisruptionTarget", "status": "True", "reason": reason,
            "message": "why", "lastTransitionTime": k8s_openapi::jiff::Timestamp::now().to_string() }])
    };
    for (name, phase, reason) in [
        ("stale", "Running", "EvictionByEvictionAPI"),
        ("kubelet", "Running", "TerminationByKubelet"),
        ("over", "Failed", "EvictionByEvictionAPI"),
    ] {
        cluster.ready_pod(name, web(), None).await;
        cluster.status::<Pod>(name, json!({ "phase": phase, "conditions": target(reason) })).await;
    }
    let seen = async |name: &str| {
        let pod = serde_json::to_value(cluster.get::<Pod>(name).await.unwrap()).unwrap();
        ["status", "reason", "message"].map(|field| condition(&pod, "DisruptionTarget", field).to_owned())
    };
    tokio::time::sleep(Duration::from_secs(110)).await;
    assert_eq!(seen("stale").await, ["True", "EvictionByEvictionAPI", "why"]);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(seen("stale").await, ["False", "", ""]);
    assert_eq!(seen("kubelet").await[0], "True");
    assert_eq!(seen("over").await[0], "True");
    let pod = serde_json::to_value(cluster.get::<Pod>("stale").await.unwrap()).unwrap();
    assert_eq!(condition(&pod, "Ready", "status"), "True");
}
