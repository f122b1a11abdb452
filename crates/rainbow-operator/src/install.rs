//! Objects that a cluster needs to run the operator: the definitions and, for an operator inside the cluster, its namespace, account,
//! rights, priority, budget and Deployment. `rainbow install` applies them; `deploy/` holds them as files.

mod admission;
mod availability;

use rainbow_api::{SidecarSettings, crds, labels};
use serde_json::{Value, json};

pub use admission::{APPROVERS, COLOR_NAMES, OBJECT_NAMES, TIER_ADDRESSES};

use crate::{count::CountVia, kind::ConfigAccess, leader, options::TALLY_IMAGE};

/// Default namespace of the operator.
pub const NAMESPACE: &str = "rainbow-system";
/// Default image of the operator.
pub const IMAGE: &str = concat!("ghcr.io/rainbow-dev/rainbow:", env!("CARGO_PKG_VERSION"));

const RBAC: &str = "rbac.authorization.k8s.io/v1";
/// Name of the account, the roles, the lease, the priority class, the budget and the Deployment.
pub const NAME: &str = leader::NAME;
/// Port of `/healthz`, `/readyz` and `/metrics`.
const HEALTH_PORT: u16 = 8081;

/// Memory in MiB of an operator with one application, at its highest during the start. `make bench` measures it.
const MEMORY_ALONE: u32 = 32;
/// Memory in KiB that each further application adds, at its highest during the start, with 3 colors and 30 pods. `make bench` measures it.
const MEMORY_EACH: u32 = 36;
/// Number of applications for which the operator's memory limit is sized.
const APPLICATIONS: u32 = 2_000;
/// Annotation of the operator's Deployment that says how its memory limit was computed.
const SIZED_FOR: &str = "rainbow.dev/memory-limit";

/// Settings of an operator to be installed into a cluster.
#[derive(Clone, Debug)]
pub struct Install {
    /// Namespace of the operator.
    pub namespace: String,
    /// Image of the operator. Its entry point is the `rainbow` binary.
    pub image: String,
    /// Image of the counter that the operator puts into pods.
    pub tally_image: String,
    /// Settings of the counter's container where an application has none of its own.
    pub sidecar: SidecarSettings,
    /// Way in which the operator asks pods for their connections.
    pub count_via: CountVia,
    /// Configuration that the operator may read and copy.
    pub config_access: ConfigAccess,
}

impl Default for Install {
    fn default() -> Self {
        Self {
            namespace: NAMESPACE.into(),
            image: IMAGE.into(),
            tally_image: TALLY_IMAGE.into(),
            sidecar: SidecarSettings::default(),
            count_via: CountVia::Direct,
            config_access: ConfigAccess::None,
        }
    }
}

/// Returns only the custom resource definitions: all that an operator outside the cluster needs.
pub fn definitions() -> Vec<Value> {
    crds()
        .into_iter()
        .map(|crd| json!(crd))
        .map(with_type("apiextensions.k8s.io/v1", "CustomResourceDefinition"))
        .collect()
}

fn with_type(api_version: &str, kind: &str) -> impl Fn(Value) -> Value {
    move |mut object| {
        object["apiVersion"] = json!(api_version);
        object["kind"] = json!(kind);
        object
    }
}

/// Returns all objects, in the order in which they must be applied.
pub fn objects(install: &Install) -> Vec<Value> {
    let mut all = definitions();
    all.extend(admission::policies());
    all.push(namespace(install));
    all.extend(rights(install));
    all.push(approver());
    all.push(availability::priority_class());
    all.push(availability::budget(install, &selector()));
    all.push(deployment(install));
    all
}

fn metadata(name: &str, namespace: Option<&str>) -> Value {
    let mut metadata = json!({
        "name": name,
        "labels": { "app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": labels::MANAGER },
    });
    if let Some(namespace) = namespace {
        metadata["namespace"] = json!(namespace);
    }
    metadata
}

fn namespace(install: &Install) -> Value {
    let mut metadata = metadata(&install.namespace, None);
    metadata["labels"]["pod-security.kubernetes.io/enforce"] = json!("restricted");
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata })
}

/// Returns the account and its rights: no more than the operator's own calls need, each with its reason.
fn rights(install: &Install) -> Vec<Value> {
    let rule = |groups: &[&str], resources: &[&str], verbs: &[&str]| json!({ "apiGroups": groups, "resources": resources, "verbs": verbs });
    let mut rules = vec![
        // Rainbows belong to their users: the operator reads them and keeps its finalizer on them.
        rule(&["rainbow.dev"], &["rainbows"], &["get", "list", "watch", "patch"]),
        rule(&["rainbow.dev"], &["colors"], &["get", "list", "watch", "create", "patch", "delete"]),
        rule(&["rainbow.dev"], &["rainbows/status", "colors/status"], &["patch"]),
        // Required for owner references that block a deletion, where OwnerReferencesPermissionEnforcement is on.
        rule(&["rainbow.dev"], &["rainbows/finalizers", "colors/finalizers"], &["update"]),
        // Server-side apply is a patch, and a create where no object exists.
        rule(&["apps"], &["deployments"], &["get", "list", "watch", "create", "patch", "delete"]),
        rule(&[""], &["services"], &["get", "list", "watch", "create", "patch", "delete"]),
        // ReplicaSets of an instance that drains: its pods continue without them.
        rule(&["apps"], &["replicasets"], &["list", "delete"]),
        // Membership labels and marks. Pods of an instance that drains are deleted one by one.
        rule(&[""], &["pods"], &["get", "list", "watch", "patch", "delete"]),
        // Ready pods of each stage.
        rule(&["discovery.k8s.io"], &["endpointslices"], &["get", "list", "watch"]),
        // One budget for each Rainbow whose pods hold connections.
        rule(&["policy"], &["poddisruptionbudgets"], &["get", "list", "watch", "create", "patch", "delete"]),
        // Gates that all Rainbows share.
        rule(&["rainbow.dev"], &["gatetemplates"], &["get", "list", "watch"]),
        // Jobs of gates.
        rule(&["batch"], &["jobs"], &["get", "list", "watch", "create", "delete"]),
        // One autoscaler for each instance of a tier with `autoscale`. Those of others are read.
        rule(&["autoscaling"], &["horizontalpodautoscalers"], &["get", "list", "watch", "create", "patch", "delete"]),
        rule(&["events.k8s.io"], &["events"], &["create"]),
        // Manual gates look for the approvals of people. The operator makes none.
        rule(&["rainbow.dev"], &["approvals"], &["list"]),
        // A Job for each measurement of a gate `job`. One that cannot start is deleted.
        rule(&["batch"], &["jobs"], &["get", "create", "delete"]),
        // Lease of another operator of the cluster, in another namespace.
        rule(&["coordination.k8s.io"], &["leases"], &["list"]),
        // Limit ranges that the counters of a new color must fit.
        rule(&[""], &["limitranges"], &["list"]),
        // Nothing is created in a namespace that is being deleted. Selectors of `drain.ignore` may name namespaces.
        rule(&[""], &["namespaces"], &["get", "list"]),
    ];
    if install.count_via == CountVia::Api {
        // The right reaches every pod's ports, so only users who ask for this way get it. Gates `traffic` call Services.
        rules.push(rule(&[""], &["pods/proxy", "services/proxy"], &["get"]));
    }
    // Copies of `spec.config: Versioned`. The right to list Secrets shows all their data, so only users who ask for it get it.
    if let Some(kinds) = match install.config_access {
        ConfigAccess::None => None,
        ConfigAccess::ConfigMaps => Some(&["configmaps"][..]),
        ConfigAccess::All => Some(&["configmaps", "secrets"][..]),
    } {
        rules.push(rule(&[""], kinds, &["get", "list", "watch", "create", "delete"]));
    }
    // Leader election, only in the operator's own namespace.
    let lease = [
        rule(&["coordination.k8s.io"], &["leases"], &["create"]),
        json!({ "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": [NAME], "verbs": ["get", "update"] }),
    ];
    let own = Some(install.namespace.as_str());
    let object = |kind: &str, namespace: Option<&str>| json!({ "apiVersion": RBAC, "kind": kind, "metadata": metadata(NAME, namespace) });
    let role = |kind: &str, namespace: Option<&str>, rules: &[Value]| {
        let mut role = object(kind, namespace);
        role["rules"] = json!(rules);
        role
    };
    let binding = |kind: &str, namespace: Option<&str>, role: &str| {
        let mut binding = object(kind, namespace);
        binding["roleRef"] = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": NAME });
        binding["subjects"] = json!([{ "kind": "ServiceAccount", "name": NAME, "namespace": install.namespace }]);
        binding
    };
    vec![
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(NAME, own) }),
        role("ClusterRole", None, &rules),
        binding("ClusterRoleBinding", None, "ClusterRole"),
        role("Role", own, &lease),
        binding("RoleBinding", own, "Role"),
    ]
}

/// Name of the role of people who approve colors at manual gates.
pub const APPROVER: &str = "rainbow-approver";

/// Returns the role of people who approve: the right to make approvals, apart from the right to edit Rainbows. An administrator of a
/// namespace has it, too, and so can bind it to others.
fn approver() -> Value {
    let mut metadata = metadata(APPROVER, None);
    metadata["labels"]["rbac.authorization.k8s.io/aggregate-to-admin"] = json!("true");
    json!({
        "apiVersion": RBAC, "kind": "ClusterRole", "metadata": metadata,
        "rules": [
            { "apiGroups": ["rainbow.dev"], "resources": ["approvals"], "verbs": ["get", "list", "watch", "create", "delete"] },
            { "apiGroups": ["rainbow.dev"], "resources": ["rainbows", "colors"], "verbs": ["get", "list", "watch"] },
        ],
    })
}

/// Returns the memory limit in MiB: 1.5 times the measured memory, since pods and templates may be larger.
fn memory_limit() -> u32 {
    let measured = MEMORY_ALONE + (APPLICATIONS * MEMORY_EACH).div_ceil(1024);
    (measured * 3 / 2).next_multiple_of(32)
}

/// Returns the labels of the operator's pods.
fn selector() -> Value {
    json!({ "app.kubernetes.io/name": NAME })
}

fn deployment(install: &Install) -> Value {
    let mut metadata = metadata(NAME, Some(&install.namespace));
    let sized = format!(
        "1.5 × ({MEMORY_ALONE} Mi + {APPLICATIONS} applications × {MEMORY_EACH} Ki), \
         each application with 3 colors and 30 pods: raise it for more"
    );
    metadata["annotations"] = json!({ SIZED_FOR: sized });
    let selector = selector();
    let field = |path: &str| json!({ "fieldRef": { "fieldPath": path } });
    let probe = |path: &str, period: u32, failures: u32| json!({ "httpGet": { "path": path, "port": "health" }, "periodSeconds": period, "failureThreshold": failures });
    let mut args = vec![
        "operator".to_owned(),
        "--leader-elect".to_owned(),
        format!("--health-listen=:{HEALTH_PORT}"),
        format!("--tally-image={}", install.tally_image),
    ];
    let SidecarSettings { resources, security_context, native } = &install.sidecar;
    args.extend(resources.iter().map(|resources| format!("--tally-resources={resources}")));
    args.extend(security_context.iter().map(|context| format!("--tally-security-context={context}")));
    args.extend(native.iter().map(|native| format!("--tally-native={native}")));
    if install.count_via == CountVia::Api {
        args.push("--count-via=api".to_owned());
    }
    match install.config_access {
        ConfigAccess::None => {}
        ConfigAccess::ConfigMaps => args.push("--versioned-config=configmaps".to_owned()),
        ConfigAccess::All => args.push("--versioned-config=all".to_owned()),
    }
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
        "spec": {
            "replicas": availability::REPLICAS,
            "selector": { "matchLabels": selector },
            "template": {
                "metadata": { "labels": selector },
                "spec": {
                    "serviceAccountName": NAME,
                    "priorityClassName": NAME,
                    "affinity": availability::affinity(&selector),
                    "securityContext": { "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "seccompProfile": { "type": "RuntimeDefault" } },
                    "containers": [{
                        "name": "operator",
                        "image": install.image,
                        "imagePullPolicy": "IfNotPresent",
                        "args": args,
                        "env": [
                            { "name": "POD_NAME", "valueFrom": field("metadata.name") },
                            { "name": "POD_NAMESPACE", "valueFrom": field("metadata.namespace") },
                        ],
                        "ports": [{ "name": "health", "containerPort": HEALTH_PORT, "protocol": "TCP" }],
                        "livenessProbe": probe("/healthz", 20, 3),
                        "readinessProbe": probe("/readyz", 5, 2),
                        // `kubectl describe` then shows why the operator ended, as on a cluster that is too old.
                        "terminationMessagePolicy": "FallbackToLogsOnError",
                        "resources": { "requests": { "cpu": "10m", "memory": "32Mi" }, "limits": { "memory": format!("{}Mi", memory_limit()) } },
                        "securityContext": {
                            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
                        },
                    }],
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_says_what_it_is() {
        for object in objects(&Install::default()) {
            for field in ["/apiVersion", "/kind", "/metadata/name"] {
                assert!(
                    object.pointer(field).and_then(Value::as_str).is_some_and(|text| !text.is_empty()),
                    "{field}: {object:#}"
                );
            }
        }
    }

    /// A right for everything, or for secrets, is never needed.
    #[test]
    fn rights_are_few() {
        let text = json!(rights(&Install::default())).to_string();
        for wide in ["\"*\"", "secrets", "nodes", "configmaps"] {
            assert!(!text.contains(wide), "{wide}");
        }
    }

    /// A person who approves edits no Rainbow, and the operator approves nothing.
    #[test]
    fn approving_is_a_right_of_its_own() {
        let role = approver();
        let verbs = |role: &Value, resource: &str| {
            let rules = role["rules"].as_array().unwrap().iter();
            let of = rules.filter(|rule| rule["resources"].as_array().unwrap().iter().any(|known| known == resource));
            of.flat_map(|rule| rule["verbs"].as_array().unwrap().clone()).collect::<Vec<_>>()
        };
        assert!(verbs(&role, "approvals").contains(&json!("create")));
        assert_eq!(verbs(&role, "rainbows"), ["get", "list", "watch"]);
        let rights = rights(&Install::default());
        let operator = rights.iter().find(|object| object["kind"] == "ClusterRole").unwrap();
        assert_eq!(verbs(operator, "approvals"), ["list"]);
        assert_eq!(verbs(operator, "services/proxy"), [""; 0]);
    }

    /// Only an operator that asks through the API server gets the right and the argument for it.
    #[test]
    fn the_way_to_count_has_its_right() {
        for (count_via, expected) in [(CountVia::Direct, false), (CountVia::Api, true)] {
            let install = Install { count_via, ..Install::default() };
            let text = json!(objects(&install)).to_string();
            assert_eq!(text.contains("pods/proxy"), expected);
            assert_eq!(text.contains("--count-via=api"), expected);
        }
    }

    /// Only settings that differ from the defaults become arguments.
    #[test]
    fn settings_of_the_counter_are_arguments() {
        let args = |sidecar: SidecarSettings| {
            let deployment = deployment(&Install { sidecar, ..Install::default() });
            deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap()[4..].to_vec()
        };
        assert_eq!(args(SidecarSettings::default()), [json!(null); 0]);
        let settings = json!({ "resources": { "limits": { "cpu": "1" } }, "securityContext": {}, "native": false });
        assert_eq!(
            args(serde_json::from_value(settings).unwrap()),
            [r#"--tally-resources={"limits":{"cpu":"1"}}"#, "--tally-security-context={}", "--tally-native=false"]
        );
    }

    /// Versioned configuration gives the right for its kinds, and no more.
    #[test]
    fn copies_have_their_right() {
        for (config_access, maps, secrets) in [
            (ConfigAccess::None, false, false),
            (ConfigAccess::ConfigMaps, true, false),
            (ConfigAccess::All, true, true),
        ] {
            let install = Install { config_access, ..Install::default() };
            let text = json!(rights(&install)).to_string();
            assert_eq!((text.contains("\"configmaps\""), text.contains("\"secrets\"")), (maps, secrets));
            assert_eq!(json!(objects(&install)).to_string().contains("--versioned-config="), maps);
        }
    }

    /// The operator meets the Pod Security level `restricted`, which its own namespace enforces.
    #[test]
    fn the_operator_is_restricted() {
        let deployment = deployment(&Install::default());
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        let container = &pod["containers"][0]["securityContext"];
        assert_eq!(container["allowPrivilegeEscalation"], false);
        assert_eq!(container["capabilities"]["drop"], json!(["ALL"]));
    }
}
