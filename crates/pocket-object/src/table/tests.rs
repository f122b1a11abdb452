use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testing::any_json;

fn now() -> Timestamp {
    "2026-01-01T01:00:00Z".parse().unwrap()
}

/// Checks the cells of the named columns, or of all columns that are always shown.
fn check(group: &str, kind: &str, object: Value, want: Value) {
    let mut object = object;
    object["metadata"]["name"] = json!("x");
    object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    let cells = row(group, kind, &object, now());
    let columns = columns(group, kind);
    assert_eq!(cells.len(), columns.len(), "{kind}");
    let shown: Value = match &want {
        Value::Object(want) => columns
            .iter()
            .zip(&cells)
            .filter(|(column, _)| want.contains_key(&column.name))
            .map(|(column, cell)| (column.name.clone(), cell.clone()))
            .collect(),
        _ => cells.into_iter().zip(&columns).filter(|(_, column)| column.priority == 0).map(|(cell, _)| cell).collect(),
    };
    assert_eq!(shown, want, "{kind}: {object}");
}

#[test]
fn pods_show_what_goes_on() {
    let pod = |status: Value, want: Value| {
        let spec = json!({ "containers": [{ "name": "a" }, { "name": "b" }], "initContainers": [{ "name": "i" }] });
        check("", "Pod", json!({ "spec": spec, "status": status }), want);
    };
    let running = json!({ "name": "a", "ready": true, "restartCount": 0, "state": { "running": {} } });
    pod(json!({ "phase": "Pending" }), json!(["x", "0/2", "Pending", "0", "60m"]));
    pod(
        json!({ "phase": "Running", "containerStatuses": [running, running] }),
        json!(["x", "2/2", "Running", "0", "60m"]),
    );
    pod(
        json!({ "phase": "Running", "containerStatuses": [running, { "restartCount": 3, "state": { "waiting": { "reason": "CrashLoopBackOff" } },
            "lastState": { "terminated": { "finishedAt": "2026-01-01T00:59:30Z" } } }] }),
        json!(["x", "1/2", "CrashLoopBackOff", "3 (30s ago)", "60m"]),
    );
    pod(
        json!({ "phase": "Pending", "containerStatuses": [{ "state": { "waiting": { "reason": "ErrImageNeverPull" } } }] }),
        json!({ "Status": "ErrImageNeverPull" }),
    );
    pod(
        json!({ "phase": "Succeeded", "containerStatuses": [{ "state": { "terminated": { "reason": "Completed", "exitCode": 0 } } }] }),
        json!({ "Status": "Completed", "Ready": "0/2" }),
    );
    pod(
        json!({ "phase": "Failed", "containerStatuses": [{ "state": { "terminated": { "exitCode": 3 } } }] }),
        json!({ "Status": "ExitCode:3" }),
    );
    pod(
        json!({ "phase": "Failed", "containerStatuses": [{ "state": { "terminated": { "signal": 9, "exitCode": 137 } } }] }),
        json!({ "Status": "Signal:9" }),
    );
    pod(
        json!({ "phase": "Pending", "initContainerStatuses": [{ "name": "i", "state": { "running": {} } }] }),
        json!({ "Status": "Init:0/1" }),
    );
    pod(
        json!({ "phase": "Pending", "initContainerStatuses": [{ "name": "i", "state": { "terminated": { "exitCode": 1, "reason": "Error" } } }] }),
        json!({ "Status": "Init:Error" }),
    );
    pod(
        json!({ "phase": "Pending", "initContainerStatuses": [{ "name": "i", "state": { "waiting": { "reason": "CrashLoopBackOff" } } }] }),
        json!({ "Status": "Init:CrashLoopBackOff" }),
    );
    pod(
        json!({ "phase": "Running", "podIP": "10.0.0.1", "containerStatuses": [running, { "state": { "terminated": { "reason": "Completed", "exitCode": 0 } } }], "conditions": [{ "type": "Ready", "status": "False" }] }),
        json!({ "Status": "NotReady", "IP": "10.0.0.1", "Node": "<none>" }),
    );
    pod(json!({ "phase": "Failed", "reason": "Evicted" }), json!({ "Status": "Evicted" }));
    let deleted = json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:59:00Z" }, "spec": { "containers": [{}] }, "status": { "phase": "Running", "containerStatuses": [running] } });
    check("", "Pod", deleted, json!({ "Status": "Terminating", "Ready": "1/1" }));
}

#[test]
fn sidecars_count_as_containers() {
    let pod = json!({ "spec": { "containers": [{ "name": "a" }], "initContainers": [{ "name": "s", "restartPolicy": "Always" }] },
        "status": { "phase": "Running", "initContainerStatuses": [{ "name": "s", "started": true, "ready": true, "restartCount": 1, "state": { "running": {} } }],
            "containerStatuses": [{ "name": "a", "ready": true, "restartCount": 2, "state": { "running": {} } }] } });
    check("", "Pod", pod, json!({ "Ready": "2/2", "Status": "Running", "Restarts": "3" }));
}

#[test]
fn workloads() {
    let template =
        json!({ "spec": { "containers": [{ "name": "a", "image": "a:1" }, { "name": "b", "image": "b:1" }] } });
    let spec = json!({ "replicas": 5, "template": template, "selector": { "matchLabels": { "a": "b" }, "matchExpressions": [{ "key": "c", "operator": "In", "values": ["d", "e"] }] } });
    check(
        "apps",
        "Deployment",
        json!({ "spec": spec, "status": { "readyReplicas": 4, "updatedReplicas": 5, "availableReplicas": 3 } }),
        json!(["x", "4/5", 5, 3, "60m"]),
    );
    check(
        "apps",
        "Deployment",
        json!({ "spec": spec }),
        json!({ "Containers": "a,b", "Images": "a:1,b:1", "Selector": "a=b,c in (d,e)" }),
    );
    check(
        "apps",
        "ReplicaSet",
        json!({ "spec": spec, "status": { "replicas": 5, "readyReplicas": 4 } }),
        json!(["x", 5, 5, 4, "60m"]),
    );
    check("apps", "StatefulSet", json!({ "spec": spec }), json!(["x", "0/5", "60m"]));
    check(
        "apps",
        "DaemonSet",
        json!({ "status": { "desiredNumberScheduled": 1 } }),
        json!(["x", 1, 0, 0, 0, 0, "<none>", "60m"]),
    );
    check(
        "batch",
        "Job",
        json!({ "spec": { "completions": 1 }, "status": { "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:07Z", "succeeded": 1, "conditions": [{ "type": "Complete", "status": "True" }] } }),
        json!(["x", "Complete", "1/1", "7s", "60m"]),
    );
    check("batch", "Job", json!({ "spec": { "parallelism": 3 } }), json!(["x", "Running", "0/1 of 3", "", "60m"]));
    check(
        "policy",
        "PodDisruptionBudget",
        json!({ "spec": { "minAvailable": "50%" } }),
        json!(["x", "50%", "N/A", 0, "60m"]),
    );
}

#[test]
fn services_and_endpoints() {
    let ports = json!([{ "port": 80, "protocol": "TCP" }, { "port": 53, "protocol": "UDP", "nodePort": 30053 }]);
    check(
        "",
        "Service",
        json!({ "spec": { "type": "ClusterIP", "clusterIP": "10.96.0.1", "ports": ports } }),
        json!(["x", "ClusterIP", "10.96.0.1", "<none>", "80/TCP,53:30053/UDP", "60m"]),
    );
    check(
        "",
        "Service",
        json!({ "spec": { "type": "LoadBalancer", "clusterIP": "10.96.0.1" } }),
        json!(["x", "LoadBalancer", "10.96.0.1", "<pending>", "<none>", "60m"]),
    );
    check(
        "",
        "Service",
        json!({ "spec": { "type": "LoadBalancer" }, "status": { "loadBalancer": { "ingress": [{ "ip": "127.0.0.1" }] } } }),
        json!({ "External-IP": "127.0.0.1", "Cluster-IP": "<none>", "Selector": "<none>" }),
    );
    check(
        "",
        "Service",
        json!({ "spec": { "type": "ExternalName", "externalName": "e.com" } }),
        json!({ "External-IP": "e.com" }),
    );
    let addresses: Vec<Value> = (1..=5).map(|n| json!({ "ip": format!("10.0.0.{n}") })).collect();
    check(
        "",
        "Endpoints",
        json!({ "subsets": [{ "addresses": addresses, "ports": [{ "port": 80 }] }] }),
        json!(["x", "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more...", "60m"]),
    );
    check("", "Endpoints", json!({}), json!(["x", "<none>", "60m"]));
    check(
        "discovery.k8s.io",
        "EndpointSlice",
        json!({ "addressType": "IPv4", "ports": [{ "port": 80 }], "endpoints": [{ "addresses": ["10.0.0.1"] }] }),
        json!(["x", "IPv4", "80", "10.0.0.1", "60m"]),
    );
    check(
        "discovery.k8s.io",
        "EndpointSlice",
        json!({ "addressType": "IPv4" }),
        json!(["x", "IPv4", "<unset>", "<unset>", "60m"]),
    );
}

#[test]
fn other_kinds() {
    check("", "Namespace", json!({ "status": { "phase": "Active" } }), json!(["x", "Active", "60m"]));
    check(
        "",
        "Node",
        json!({ "metadata": { "labels": { "node-role.kubernetes.io/control-plane": "" } }, "spec": { "unschedulable": true },
        "status": { "conditions": [{ "type": "Ready", "status": "True" }], "nodeInfo": { "kubeletVersion": "v1.33.0" } } }),
        json!(["x", "Ready,SchedulingDisabled", "control-plane", "60m", "v1.33.0"]),
    );
    check(
        "",
        "Event",
        json!({ "type": "Normal", "reason": "Started", "message": "m\n", "involvedObject": { "kind": "Pod", "name": "p" }, "lastTimestamp": "2026-01-01T00:59:50Z" }),
        json!(["10s", "Normal", "Started", "pod/p", "m"]),
    );
    check(
        "events.k8s.io",
        "Event",
        json!({ "type": "Normal", "reason": "R", "note": "n", "regarding": { "kind": "Pod", "name": "p" }, "eventTime": "2026-01-01T00:59:50.000000Z" }),
        json!(["10s", "Normal", "R", "pod/p", "n"]),
    );
    check("", "ConfigMap", json!({ "data": { "a": "", "b": "" } }), json!(["x", 2, "60m"]));
    check("", "Secret", json!({ "type": "Opaque", "data": { "a": "" } }), json!(["x", "Opaque", 1, "60m"]));
    check("apiextensions.k8s.io", "CustomResourceDefinition", json!({}), json!(["x", "2026-01-01T00:00:00Z"]));
    check("no.such", "Kind", json!({}), json!(["x", "60m"]));
}

#[test]
fn custom_columns() {
    let table = for_crd(&json!([
        { "name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status" },
        { "name": "Colors", "type": "integer", "jsonPath": ".status.colors" },
        { "name": "List", "type": "string", "jsonPath": ".status.list", "priority": 1 },
        { "name": "Since", "type": "date", "jsonPath": ".status.since" },
        { "name": "None", "type": "string", "jsonPath": ".nothing" }]));
    let names: Vec<String> = table.columns().into_iter().map(|column| column.name).collect();
    assert_eq!(names, ["Name", "Ready", "Colors", "List", "Since", "None"]);
    let object = json!({ "metadata": { "name": "r" }, "status": { "conditions": [{ "type": "Ready", "status": "True" }], "colors": 2, "list": ["a", 1], "since": "2026-01-01T00:59:00Z" } });
    assert_eq!(Value::Array(table.row(&object, now())), json!(["r", "True", 2, "[\"a\",1]", "60s", null]));
    let plain = for_crd(&Value::Null);
    assert_eq!(plain.columns().len(), 2);
    let object = json!({ "metadata": { "name": "r", "creationTimestamp": "2026-01-01T00:00:00Z" } });
    assert_eq!(plain.row(&object, now()), ["r", "60m"]);
}

proptest! {
    #[test]
    fn any_object_has_a_cell_for_each_column(object in any_json()) {
        for (group, kind) in [("", "Pod"), ("", "Service"), ("", "Node"), ("", "Event"), ("", "Endpoints"), ("", "PersistentVolumeClaim"),
            ("apps", "Deployment"), ("apps", "ReplicaSet"), ("apps", "DaemonSet"), ("apps", "ControllerRevision"), ("batch", "Job"), ("batch", "CronJob"),
            ("autoscaling", "HorizontalPodAutoscaler"), ("discovery.k8s.io", "EndpointSlice"), ("networking.k8s.io", "Ingress"),
            ("networking.k8s.io", "IngressClass"), ("rbac.authorization.k8s.io", "RoleBinding"), ("storage.k8s.io", "StorageClass")] {
            prop_assert_eq!(row(group, kind, &object, now()).len(), columns(group, kind).len());
        }
    }
}
