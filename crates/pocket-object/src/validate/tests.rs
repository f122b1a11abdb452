use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{defaults, testing::any_json};

/// Returns `object` with `changes` merged into it and its defaults filled in.
fn with(object: &Value, changes: Value, group: &str, kind: &str) -> Value {
    let mut object = crate::patch::merge_patch(object, &changes).unwrap();
    defaults::apply(group, kind, &mut object);
    object
}

fn texts(errors: Vec<FieldError>) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// Checks the mistakes of `base` with `changes`: each text must begin as wanted.
fn check(group: &str, kind: &str, base: &Value, changes: Value, want: &[&str]) {
    let found = texts(create(group, kind, &with(base, changes.clone(), group, kind)));
    let as_wanted = found.len() == want.len() && found.iter().zip(want).all(|(text, want)| text.starts_with(want));
    assert!(as_wanted, "{kind} with {changes}: {found:#?}, not {want:#?}");
}

fn pod() -> Value {
    json!({ "metadata": { "name": "p" }, "spec": { "containers": [{ "name": "a", "image": "i" }] } })
}

fn deployment() -> Value {
    json!({ "metadata": { "name": "d" }, "spec": { "selector": { "matchLabels": { "a": "b" } },
        "template": { "metadata": { "labels": { "a": "b" } }, "spec": { "containers": [{ "name": "a", "image": "i" }] } } } })
}

fn service() -> Value {
    json!({ "metadata": { "name": "s" }, "spec": { "ports": [{ "port": 80 }] } })
}

#[test]
fn metadata() {
    let c =
        |changes: Value, want: &[&str]| check("", "ConfigMap", &json!({ "metadata": { "name": "c" } }), changes, want);
    c(json!({}), &[]);
    c(json!({ "metadata": { "name": null } }), &["metadata.name: Required value: name or generateName is required"]);
    c(json!({ "metadata": { "name": null, "generateName": "x-" } }), &[]);
    c(
        json!({ "metadata": { "name": null, "generateName": "x." } }),
        &["metadata.generateName: Invalid value: \"x.\": a lowercase RFC 1123 subdomain must consist of"],
    );
    c(
        json!({ "metadata": { "name": "A" } }),
        &["metadata.name: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of"],
    );
    c(
        json!({ "metadata": { "labels": { "a": "-" } } }),
        &["metadata.labels: Invalid value: \"-\": a valid label must be"],
    );
    c(
        json!({ "metadata": { "labels": { "a b": "c" } } }),
        &["metadata.labels: Invalid value: \"a b\": name part must consist of"],
    );
    c(json!({ "metadata": { "labels": { "a": 1 } } }), &["metadata.labels.a: Invalid value: 1: must be a string"]);
    c(json!({ "metadata": { "annotations": { "K.io/a": "any thing" } } }), &[]);
    c(
        json!({ "metadata": { "finalizers": ["x"] } }),
        &["metadata.finalizers: Invalid value: \"x\": name is neither a standard finalizer name"],
    );
    c(
        json!({ "metadata": { "ownerReferences": [{ "apiVersion": "v1", "kind": "X", "name": "x" }] } }),
        &["metadata.ownerReferences[0].uid: Invalid value: \"\": must not be empty"],
    );
}

#[test]
fn pods() {
    let c = |changes: Value, want: &[&str]| check("", "Pod", &pod(), json!({ "spec": changes }), want);
    let container = |more: Value| {
        let base = json!({ "name": "a", "image": "i" });
        json!({ "containers": [crate::patch::merge_patch(&base, &more).unwrap()] })
    };
    c(json!({}), &[]);
    c(json!({ "containers": [] }), &["spec.containers: Required value"]);
    c(
        json!({ "containers": [{ "name": "a", "image": "i" }, { "name": "a", "image": "i" }] }),
        &["spec.containers[1].name: Duplicate value: \"a\""],
    );
    c(container(json!({ "name": null })), &["spec.containers[0].name: Required value"]);
    c(container(json!({ "image": null })), &["spec.containers[0].image: Required value"]);
    c(
        container(json!({ "image": " i" })),
        &["spec.containers[0].image: Invalid value: \" i\": must not have leading or trailing whitespace"],
    );
    c(
        container(json!({ "imagePullPolicy": "Maybe" })),
        &[
            "spec.containers[0].imagePullPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
        ],
    );
    c(
        container(json!({ "ports": [{ "containerPort": 0 }] })),
        &["spec.containers[0].ports[0].containerPort: Invalid value: 0: must be between 1 and 65535, inclusive"],
    );
    c(
        container(json!({ "ports": [{ "containerPort": 1, "name": "a" }, { "containerPort": 2, "name": "a" }] })),
        &["spec.containers[0].ports[1].name: Duplicate value: \"a\""],
    );
    c(container(json!({ "env": [{ "value": "x" }] })), &["spec.containers[0].env[0].name: Required value"]);
    c(
        container(json!({ "env": [{ "name": "A", "value": 1 }] })),
        &["spec.containers[0].env[0].value: Invalid value: 1: must be a string"],
    );
    c(
        container(json!({ "env": [{ "name": "A", "valueFrom": { "fieldRef": { "fieldPath": "spec.nope" } } }] })),
        &["spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"spec.nope\""],
    );
    c(
        container(json!({ "volumeMounts": [{ "name": "v", "mountPath": "/v" }] })),
        &["spec.containers[0].volumeMounts[0].name: Not found: \"v\""],
    );
    c(
        container(json!({ "readinessProbe": {} })),
        &["spec.containers[0].readinessProbe: Required value: must specify a handler type"],
    );
    c(
        container(json!({ "readinessProbe": { "httpGet": { "port": 99999 } } })),
        &["spec.containers[0].readinessProbe.httpGet.port: Invalid value: 99999"],
    );
    c(
        container(json!({ "readinessProbe": { "httpGet": { "port": "http" }, "exec": { "command": ["x"] } } })),
        &["spec.containers[0].readinessProbe.httpGet: Forbidden: may not specify more than 1 handler type"],
    );
    c(
        container(json!({ "livenessProbe": { "tcpSocket": { "port": 1 }, "successThreshold": 2 } })),
        &["spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"],
    );
    c(
        container(json!({ "resources": { "requests": { "cpu": "2" }, "limits": { "cpu": "500m" } } })),
        &[
            "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 500m",
        ],
    );
    c(
        container(json!({ "resources": { "limits": { "cpu": "much" } } })),
        &[
            "spec.containers[0].resources.requests[cpu]: Invalid value: \"much\": quantities must match",
            "spec.containers[0].resources.limits[cpu]: Invalid value: \"much\": quantities must match",
        ],
    );
    c(
        json!({ "restartPolicy": "Sometimes" }),
        &[
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\"",
        ],
    );
    c(json!({ "volumes": [{ "name": "v", "secret": {} }] }), &["spec.volumes[0].secret.secretName: Required value"]);
    c(
        json!({ "volumes": [{ "name": "v", "emptyDir": {}, "hostPath": { "path": "/" } }] }),
        &["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
    );
    c(
        json!({ "initContainers": [{ "name": "b", "image": "i", "restartPolicy": "Always", "startupProbe": { "tcpSocket": { "port": 1 } } }] }),
        &[],
    );
    c(
        json!({ "initContainers": [{ "name": "b", "image": "i", "readinessProbe": { "tcpSocket": { "port": 1 } } }] }),
        &["spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers"],
    );
}

#[test]
fn a_pods_spec_hardly_changes() {
    let old = with(&pod(), json!({}), "", "Pod");
    let c = |changes: Value, want: &[&str]| {
        let found = texts(update("", "Pod", &old, &with(&old, changes, "", "Pod")));
        assert!(found.len() == want.len() && found.iter().zip(want).all(|(a, b)| a.starts_with(b)), "{found:?}");
    };
    c(json!({ "metadata": { "labels": { "a": "b" } } }), &[]);
    let mut container = old["spec"]["containers"][0].clone();
    container["image"] = json!("other:v1");
    c(json!({ "spec": { "containers": [container] } }), &[]);
    c(json!({ "spec": { "nodeName": "n" } }), &[]);
    c(
        json!({ "spec": { "schedulingGates": [{ "name": "g" }] } }),
        &["spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'g'"],
    );
    let gated = with(&old, json!({ "spec": { "schedulingGates": [{ "name": "g" }] } }), "", "Pod");
    assert_eq!(texts(update("", "Pod", &gated, &old)), [] as [String; 0], "a gate can be taken away");
    c(
        json!({ "spec": { "hostname": "x" } }),
        &["spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"],
    );
    c(
        json!({ "spec": { "containers": [{ "name": "a", "image": "i" }, { "name": "b", "image": "i" }] } }),
        &["spec.containers: Forbidden: pod updates may not add or remove containers"],
    );
}

#[test]
fn workloads() {
    let c =
        |changes: Value, want: &[&str]| check("apps", "Deployment", &deployment(), json!({ "spec": changes }), want);
    c(json!({}), &[]);
    c(json!({ "replicas": -1 }), &["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]);
    c(json!({ "selector": null }), &["spec.selector: Required value"]);
    c(
        json!({ "template": { "metadata": { "labels": { "a": "c" } } } }),
        &["spec.template.metadata.labels: Invalid value: {\"a\":\"c\"}: `selector` does not match template `labels`"],
    );
    c(
        json!({ "template": { "spec": { "restartPolicy": "Never" } } }),
        &["spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""],
    );
    c(
        json!({ "strategy": { "type": "Recreate", "rollingUpdate": { "maxSurge": 1 } } }),
        &["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
    );
    c(
        json!({ "strategy": { "rollingUpdate": { "maxSurge": 0, "maxUnavailable": 0 } } }),
        &["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"],
    );
    c(
        json!({ "strategy": { "rollingUpdate": { "maxSurge": "a lot" } } }),
        &["spec.strategy.rollingUpdate.maxSurge: Invalid value: \"a lot\": a valid percent string"],
    );
    c(
        json!({ "minReadySeconds": 600 }),
        &["spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"],
    );
    let old = with(&deployment(), json!({}), "apps", "Deployment");
    let other = json!({ "spec": { "selector": { "matchLabels": { "a": "c" } }, "template": { "metadata": { "labels": { "a": "c" } } } } });
    assert_eq!(
        texts(update("apps", "Deployment", &old, &with(&old, other, "apps", "Deployment"))),
        ["spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"c\"}}: field is immutable"]
    );
    let job = json!({ "metadata": { "name": "j" }, "spec": { "template": { "spec": { "restartPolicy": "Never", "containers": [{ "name": "a", "image": "i" }] } } } });
    check("batch", "Job", &job, json!({}), &[]);
    check(
        "batch",
        "Job",
        &job,
        json!({ "spec": { "template": { "spec": { "restartPolicy": null } } } }),
        &[
            "spec.template.spec.restartPolicy: Unsupported value: \"Always\": supported values: \"Never\", \"OnFailure\"",
        ],
    );
}

#[test]
fn services() {
    let c = |changes: Value, want: &[&str]| check("", "Service", &service(), changes, want);
    c(json!({}), &[]);
    c(
        json!({ "metadata": { "name": "0s" } }),
        &["metadata.name: Invalid value: \"0s\": a DNS-1035 label must consist of"],
    );
    c(json!({ "spec": { "ports": [] } }), &["spec.ports: Required value"]);
    c(json!({ "spec": { "ports": [], "clusterIP": "None" } }), &[]);
    c(json!({ "spec": { "ports": null, "type": "ExternalName", "externalName": "example.com" } }), &[]);
    c(
        json!({ "spec": { "type": "Magic" } }),
        &[
            "spec.type: Unsupported value: \"Magic\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
        ],
    );
    c(
        json!({ "spec": { "ports": [{ "port": 1 }, { "port": 2, "name": "b" }] } }),
        &["spec.ports[0].name: Required value"],
    );
    c(
        json!({ "spec": { "ports": [{ "port": 1, "name": "b" }, { "port": 2, "name": "b" }] } }),
        &["spec.ports[1].name: Duplicate value: \"b\""],
    );
    c(
        json!({ "spec": { "type": "NodePort", "ports": [{ "port": 1, "nodePort": 80 }] } }),
        &[
            "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767",
        ],
    );
    c(
        json!({ "spec": { "ports": [{ "port": 1, "nodePort": 30080 }] } }),
        &["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
    );
    c(
        json!({ "spec": { "externalTrafficPolicy": "Local" } }),
        &["spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services"],
    );
    c(
        json!({ "spec": { "sessionAffinity": "ClientIP", "sessionAffinityConfig": { "clientIP": { "timeoutSeconds": 0 } } } }),
        &[
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and less than 86400",
        ],
    );
    c(
        json!({ "spec": { "loadBalancerClass": "a/b", "loadBalancerSourceRanges": ["10.0.0.0/8"], "healthCheckNodePort": 30500 } }),
        &[
            "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'",
            "spec.loadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
            "spec.healthCheckNodePort: Invalid value: 30500: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        ],
    );
    c(
        json!({ "spec": { "type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/8", "10.0.0.0"] } }),
        &["spec.loadBalancerSourceRanges[1]: Invalid value: \"10.0.0.0\": must be a valid CIDR value"],
    );
    c(
        json!({ "spec": { "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4", "IPv6"] } }),
        &["spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack'"],
    );
    c(
        json!({ "spec": { "trafficDistribution": "Near" } }),
        &[
            "spec.trafficDistribution: Unsupported value: \"Near\": supported values: \"PreferClose\", \"PreferSameNode\", \"PreferSameZone\"",
        ],
    );
    let slice = json!({ "metadata": { "name": "s" }, "addressType": "IPv4", "endpoints": [{ "addresses": ["10.0.0.1"] }], "ports": [{ "port": 80 }] });
    check("discovery.k8s.io", "EndpointSlice", &slice, json!({}), &[]);
    check(
        "discovery.k8s.io",
        "EndpointSlice",
        &slice,
        json!({ "endpoints": [{ "addresses": ["127.0.0.1", "x"] }] }),
        &[
            "endpoints[0].addresses[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range",
            "endpoints[0].addresses[1]: Invalid value: \"x\": must be a valid IPv4 address",
        ],
    );
}

#[test]
fn configuration() {
    let map = json!({ "metadata": { "name": "c" }, "data": { "k": "v" } });
    check(
        "",
        "ConfigMap",
        &map,
        json!({ "data": { "a/b": "x" } }),
        &["data[a/b]: Invalid value: \"a/b\": a valid config key must consist of"],
    );
    check("", "ConfigMap", &map, json!({ "data": { "k": 1 } }), &["data[k]: Invalid value: 1: must be a string"]);
    check(
        "",
        "Secret",
        &json!({ "metadata": { "name": "s" } }),
        json!({ "data": { "k": "%" } }),
        &["data[k]: Invalid value: illegal base64 data"],
    );
    check(
        "",
        "Secret",
        &json!({ "metadata": { "name": "s" } }),
        json!({ "type": "kubernetes.io/tls" }),
        &["data[tls.crt]: Required value", "data[tls.key]: Required value"],
    );
    let fixed = with(&map, json!({ "immutable": true }), "", "ConfigMap");
    let changed = with(&fixed, json!({ "data": { "k": "w" } }), "", "ConfigMap");
    assert_eq!(
        texts(update("", "ConfigMap", &fixed, &changed)),
        ["data: Forbidden: field is immutable when `immutable` is set"]
    );
    let renamed = with(&map, json!({ "metadata": { "name": "x" } }), "", "ConfigMap");
    assert_eq!(
        texts(update("", "ConfigMap", &map, &renamed)),
        ["metadata.name: Invalid value: \"x\": field is immutable"]
    );
    let role = json!({ "metadata": { "name": "system:r" }, "rules": [{ "verbs": ["get"], "apiGroups": [""], "resources": ["pods"] }] });
    check("rbac.authorization.k8s.io", "Role", &role, json!({}), &[]);
    check(
        "rbac.authorization.k8s.io",
        "Role",
        &role,
        json!({ "rules": [{ "verbs": [], "apiGroups": [""], "resources": ["pods"] }] }),
        &["rules[0].verbs: Required value: verbs must contain at least one value"],
    );
}

#[test]
fn an_object_being_deleted_gets_no_new_finalizers() {
    let old = json!({ "metadata": { "name": "c", "deletionTimestamp": "t", "finalizers": ["a/b"] } });
    let new = json!({ "metadata": { "name": "c", "deletionTimestamp": "t", "finalizers": ["a/b", "c/d"] } });
    let found = texts(update("", "ConfigMap", &old, &new));
    assert_eq!(
        found,
        [
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"c/d\"}"
        ]
    );
}

#[test]
fn custom_resource_definitions() {
    let crd = json!({ "metadata": { "name": "things.example.com" }, "spec": { "group": "example.com", "scope": "Namespaced",
        "names": { "plural": "things", "kind": "Thing" },
        "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": { "type": "object" } } }] } });
    let c =
        |changes: Value, want: &[&str]| check("apiextensions.k8s.io", "CustomResourceDefinition", &crd, changes, want);
    c(json!({}), &[]);
    c(
        json!({ "metadata": { "name": "thing.example.com" } }),
        &["metadata.name: Invalid value: \"thing.example.com\": must be spec.names.plural+\".\"+spec.group"],
    );
    c(json!({ "spec": { "scope": "Galaxy" } }), &["spec.scope: Unsupported value: \"Galaxy\""]);
    c(
        json!({ "spec": { "versions": [] } }),
        &["spec.versions: Invalid value: []: must have exactly one version marked as storage version"],
    );
}

proptest! {
    #[test]
    fn nothing_panics(old in any_json(), new in any_json()) {
        for (group, kind) in [("", "Pod"), ("", "Service"), ("", "Secret"), ("", "ConfigMap"), ("apps", "Deployment"),
            ("apps", "StatefulSet"), ("batch", "Job"), ("batch", "CronJob"), ("discovery.k8s.io", "EndpointSlice"), ("", "Endpoints"),
            ("policy", "PodDisruptionBudget"), ("autoscaling", "HorizontalPodAutoscaler"),
            ("rbac.authorization.k8s.io", "Role"), ("rbac.authorization.k8s.io", "RoleBinding"),
            ("apiextensions.k8s.io", "CustomResourceDefinition")] {
            let _ = create(group, kind, &new);
            let _ = update(group, kind, &old, &new);
            prop_assert!(update(group, kind, &new, &new).len() == create(group, kind, &new).len());
        }
    }
}
