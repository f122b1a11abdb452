//! What a cluster needs to run the operator, as objects: the definitions, and, for an operator inside the cluster, its
//! namespace, account, rights and Deployment. `rainbow install` applies them; `deploy/` holds them as files.

use rainbow_api::{crds, labels};
use serde_json::{Value, json};

/// The namespace that the operator runs in, unless told otherwise.
pub const NAMESPACE: &str = "rainbow-system";
/// The operator's image, unless told otherwise.
pub const IMAGE: &str = concat!("ghcr.io/rainbow-dev/rainbow:", env!("CARGO_PKG_VERSION"));

/// Name of the account, the roles and the Deployment.
const NAME: &str = "rainbow-operator";

/// What to install an operator into a cluster with.
#[derive(Clone, Debug)]
pub struct Install {
    /// The namespace it runs in.
    pub namespace: String,
    /// Its image; the entry point is the `rainbow` binary.
    pub image: String,
}

impl Default for Install {
    fn default() -> Self {
        Self { namespace: NAMESPACE.into(), image: IMAGE.into() }
    }
}

/// The custom resource definitions alone: all that an operator needs that runs outside the cluster.
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

/// Everything, in the order in which it is to be applied.
pub fn objects(install: &Install) -> Vec<Value> {
    let mut all = definitions();
    all.push(namespace(install));
    all.extend(rights(install));
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

/// The account and its rights: no more than the operator's own calls need, each with its why.
fn rights(install: &Install) -> Vec<Value> {
    let rule = |groups: &[&str], resources: &[&str], verbs: &[&str]| json!({ "apiGroups": groups, "resources": resources, "verbs": verbs });
    let rules = [
        // Rainbows are their users': the operator reads them and keeps its finalizer on them.
        rule(&["rainbow.dev"], &["rainbows"], &["get", "list", "watch", "patch"]),
        rule(&["rainbow.dev"], &["colors"], &["get", "list", "watch", "create", "patch", "delete"]),
        rule(&["rainbow.dev"], &["rainbows/status", "colors/status"], &["patch"]),
        // Owner references that block a deletion need this where OwnerReferencesPermissionEnforcement is on.
        rule(&["rainbow.dev"], &["rainbows/finalizers", "colors/finalizers"], &["update"]),
        // Server-side apply is a patch, and a create where nothing is.
        rule(&["apps"], &["deployments"], &["get", "list", "watch", "create", "patch", "delete"]),
        rule(&[""], &["services"], &["get", "list", "watch", "create", "patch", "delete"]),
        // Membership labels; pods are never made or deleted.
        rule(&[""], &["pods"], &["get", "list", "watch", "patch"]),
        rule(&["discovery.k8s.io"], &["endpointslices"], &["get", "list", "watch"]),
        rule(&["events.k8s.io"], &["events"], &["create"]),
    ];
    let namespace = Some(install.namespace.as_str());
    let subjects = json!([{ "kind": "ServiceAccount", "name": NAME, "namespace": install.namespace }]);
    vec![
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(NAME, namespace) }),
        json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": metadata(NAME, None), "rules": rules }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": metadata(NAME, None),
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME },
            "subjects": subjects,
        }),
    ]
}

fn deployment(install: &Install) -> Value {
    let selector = json!({ "app.kubernetes.io/name": NAME });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(NAME, Some(&install.namespace)),
        "spec": {
            // One at a time: the new one starts when the old one has ended. Nothing needs it to be always there.
            "replicas": 1,
            "strategy": { "type": "Recreate" },
            "selector": { "matchLabels": selector },
            "template": {
                "metadata": { "labels": selector },
                "spec": {
                    "serviceAccountName": NAME,
                    "securityContext": { "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" } },
                    "containers": [{
                        "name": "operator",
                        "image": install.image,
                        "args": ["operator"],
                        "resources": { "requests": { "cpu": "10m", "memory": "32Mi" }, "limits": { "memory": "128Mi" } },
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

    /// A right for everything, or over secrets, is never needed.
    #[test]
    fn rights_are_few() {
        let text = json!(rights(&Install::default())).to_string();
        for wide in ["\"*\"", "secrets", "nodes", "configmaps"] {
            assert!(!text.contains(wide), "{wide}");
        }
    }
}
