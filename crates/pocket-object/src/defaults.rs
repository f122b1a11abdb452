//! Defaults of the built-in kinds.

mod other;
mod pod;
mod workload;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::json::{Object, child_or_new};

/// Fills in the defaults of a built-in kind; does nothing for other kinds. Also drops nulls, as decoding into a type does.
/// The function is idempotent.
pub fn apply(group: &str, kind: &str, object: &mut Value) {
    let Some(defaults) = of(group, kind) else { return };
    if kind != "ControllerRevision" {
        drop_nulls(object);
    }
    if let Some(object) = object.as_object_mut() {
        defaults(object);
    }
}

/// Returns whether a kind has a row in the table of defaults.
pub fn has(group: &str, kind: &str) -> bool {
    of(group, kind).is_some()
}

fn of(group: &str, kind: &str) -> Option<fn(&mut Object)> {
    Some(match (group, kind) {
        ("", "Pod") => pod::pod,
        ("", "Service") => other::service,
        ("", "Secret") => other::secret,
        ("", "Namespace") => other::namespace,
        ("", "Endpoints") => other::endpoints,
        ("", "PersistentVolumeClaim") => other::claim,
        ("", "PersistentVolume") => other::volume,
        ("", "LimitRange") => other::limit_range,
        ("", "ReplicationController") => workload::replication_controller,
        ("apps", "Deployment") => workload::deployment,
        ("apps", "ReplicaSet") => workload::replica_set,
        ("apps", "StatefulSet") => workload::stateful_set,
        ("apps", "DaemonSet") => workload::daemon_set,
        ("batch", "Job") => workload::job,
        ("batch", "CronJob") => workload::cron_job,
        ("discovery.k8s.io", "EndpointSlice") => other::endpoint_slice,
        ("autoscaling", "HorizontalPodAutoscaler") => other::autoscaler,
        ("networking.k8s.io", "NetworkPolicy") => other::network_policy,
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => other::role_binding,
        ("scheduling.k8s.io", "PriorityClass") => other::priority_class,
        ("storage.k8s.io", "StorageClass") => other::storage_class,
        ("apiextensions.k8s.io", "CustomResourceDefinition") => other::custom_resource_definition,
        ("", "ConfigMap" | "ServiceAccount" | "Node" | "Event" | "ResourceQuota" | "PodTemplate")
        | ("apps", "ControllerRevision")
        | ("coordination.k8s.io", "Lease")
        | ("events.k8s.io", "Event")
        | ("policy", "PodDisruptionBudget")
        | ("networking.k8s.io", "Ingress" | "IngressClass")
        | ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => |_| {},
        _ => return None,
    })
}

/// Drops the fields of maps that are null.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Moves a Secret's `stringData` into its `data`.
pub(crate) fn encode_string_data(secret: &mut Value) {
    let Some(secret) = secret.as_object_mut() else { return };
    if !matches!(secret.get("stringData"), Some(Value::Object(_) | Value::Null)) {
        return;
    }
    let Some(Value::Object(texts)) = secret.remove("stringData") else { return };
    if texts.is_empty() {
        return;
    }
    if let Some(data) = child_or_new(secret, "data") {
        for (key, value) in texts {
            let value = value.as_str().map_or(value.clone(), |text| Value::from(STANDARD.encode(text)));
            data.insert(key, value);
        }
    }
}

/// Returns the pull policy of a container that names none: an image that may change is pulled each time.
pub fn image_pull_policy(image: &str) -> &'static str {
    let name = image.rsplit('/').next().unwrap_or_default();
    let moving = !image.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest");
    if moving { "Always" } else { "IfNotPresent" }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::testing::any_json;

    fn check(group: &str, kind: &str, mut object: Value, want: Value) {
        apply(group, kind, &mut object);
        assert_eq!(object, want, "{kind}");
        let once = object.clone();
        apply(group, kind, &mut object);
        assert_eq!(object, once, "{kind} twice");
    }

    #[test]
    fn pods() {
        check(
            "",
            "Pod",
            json!({ "metadata": { "creationTimestamp": null }, "spec": {
                "containers": [{ "name": "a", "image": "a:v1", "ports": [{ "containerPort": 80 }],
                    "env": [{ "name": "IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } }],
                    "readinessProbe": { "httpGet": { "port": 80 } }, "resources": { "limits": { "cpu": "1" } } }],
                "volumes": [{ "name": "v" }, { "name": "c", "configMap": { "name": "x" } }] } }),
            json!({ "metadata": {}, "spec": {
                "containers": [{ "name": "a", "image": "a:v1", "ports": [{ "containerPort": 80, "protocol": "TCP" }],
                    "env": [{ "name": "IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP", "apiVersion": "v1" } } }],
                    "readinessProbe": { "httpGet": { "port": 80, "path": "/", "scheme": "HTTP" }, "timeoutSeconds": 1,
                        "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3 },
                    "resources": { "limits": { "cpu": "1" }, "requests": { "cpu": "1" } },
                    "imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log",
                    "terminationMessagePolicy": "File" }],
                "volumes": [{ "name": "v", "emptyDir": {} }, { "name": "c", "configMap": { "name": "x", "defaultMode": 420 } }],
                "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "terminationGracePeriodSeconds": 30,
                "securityContext": {}, "schedulerName": "default-scheduler", "serviceAccountName": "default",
                "serviceAccount": "default", "enableServiceLinks": true, "priority": 0,
                "preemptionPolicy": "PreemptLowerPriority",
                "tolerations": [
                    { "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 },
                    { "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 }] } }),
        );
    }

    #[test]
    fn pull_policies() {
        let check = |image: &str, policy: &str| assert_eq!(image_pull_policy(image), policy, "{image}");
        check("a", "Always");
        check("a:latest", "Always");
        check("a:v1", "IfNotPresent");
        check("host:5000/a", "Always");
        check("host:5000/a:v1", "IfNotPresent");
        check("a@sha256:00", "IfNotPresent");
    }

    #[test]
    fn deployments() {
        check(
            "apps",
            "Deployment",
            json!({ "spec": { "selector": {}, "template": { "spec": { "containers": [] } } } }),
            json!({ "spec": { "selector": {}, "replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
                "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": "25%", "maxSurge": "25%" } },
                "template": { "spec": { "containers": [], "restartPolicy": "Always", "dnsPolicy": "ClusterFirst",
                    "terminationGracePeriodSeconds": 30, "securityContext": {}, "schedulerName": "default-scheduler" } } } }),
        );
        let mut recreate = json!({ "spec": { "strategy": { "type": "Recreate" } } });
        apply("apps", "Deployment", &mut recreate);
        assert_eq!(recreate["spec"]["strategy"], json!({ "type": "Recreate" }));
    }

    #[test]
    fn services_and_secrets() {
        check(
            "",
            "Service",
            json!({ "spec": { "ports": [{ "port": 80 }, { "port": 81, "targetPort": "http" }] } }),
            json!({ "spec": { "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
                "ports": [{ "port": 80, "protocol": "TCP", "targetPort": 80 }, { "port": 81, "targetPort": "http", "protocol": "TCP" }] } }),
        );
        let mut balancer = json!({ "spec": { "type": "LoadBalancer" } });
        apply("", "Service", &mut balancer);
        assert_eq!(balancer["spec"]["externalTrafficPolicy"], "Cluster");
        assert_eq!(balancer["spec"]["allocateLoadBalancerNodePorts"], true);
        check(
            "",
            "Secret",
            json!({ "data": { "a": "AA==" }, "stringData": { "b": "x" } }),
            json!({ "type": "Opaque", "data": { "a": "AA==", "b": "eA==" } }),
        );
    }

    #[test]
    fn others_are_left_alone() {
        check("example.com", "Thing", json!({ "a": null }), json!({ "a": null }));
    }

    proptest! {
        #[test]
        fn defaults_never_panic_and_settle(object in any_json(), kind in prop::sample::select(vec![
            ("", "Pod"), ("", "Service"), ("", "Secret"), ("apps", "Deployment"), ("apps", "StatefulSet"),
            ("apps", "DaemonSet"), ("batch", "Job"), ("batch", "CronJob"), ("networking.k8s.io", "NetworkPolicy"),
            ("apiextensions.k8s.io", "CustomResourceDefinition"), ("discovery.k8s.io", "EndpointSlice")])) {
            let mut once = object;
            apply(kind.0, kind.1, &mut once);
            let mut twice = once.clone();
            apply(kind.0, kind.1, &mut twice);
            prop_assert_eq!(&once, &twice);
        }
    }
}
