//! Command by which a cluster gets images.

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;

use crate::Settings;

/// Returns the command that loads an `{archive}` into the cluster: the user's, or the one of the cluster's own tool.
pub(crate) fn command(settings: &Settings, context: &str, nodes: &[Node]) -> Option<String> {
    if let Some(command) = &settings.load_command {
        return Some(command.clone());
    }
    // Images that are pulled by name need no loading.
    if !settings.image_prefix.is_empty() {
        return None;
    }
    detected(context, nodes)
}

fn detected(context: &str, nodes: &[Node]) -> Option<String> {
    let any = |look: fn(&Node) -> Option<String>| nodes.iter().find_map(look);
    let kind = context.strip_prefix("kind-").map(str::to_owned).or_else(|| any(kind_cluster));
    if let Some(name) = kind {
        return Some(format!("kind load image-archive {{archive}} --name {name}"));
    }
    let k3d = context.strip_prefix("k3d-").map(str::to_owned).or_else(|| any(k3d_cluster));
    if let Some(name) = k3d {
        return Some(format!("k3d image import {{archive}} --cluster {name}"));
    }
    let profile = any(|node| node.labels().get("minikube.k8s.io/name").cloned());
    let minikube = profile.or_else(|| (context == "minikube").then(|| context.to_owned()));
    minikube.map(|name| format!("minikube image load {{archive}} --profile {name}"))
}

/// Returns the cluster's name of a provider id `kind://docker/<cluster>/<node>`.
fn kind_cluster(node: &Node) -> Option<String> {
    let id = node.spec.as_ref()?.provider_id.as_deref()?;
    id.strip_prefix("kind://")?.split('/').nth(1).map(str::to_owned)
}

/// Returns the cluster's name of a node `k3d-<cluster>-server-0` or `k3d-<cluster>-agent-0`.
fn k3d_cluster(node: &Node) -> Option<String> {
    let name = node.name_any();
    let inner = name.strip_prefix("k3d-")?;
    ["-server-", "-agent-"].iter().find_map(|role| Some(inner.rsplit_once(role)?.0.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn nodes(node: Value) -> Vec<Node> {
        vec![serde_json::from_value(node).unwrap()]
    }

    #[test]
    fn tools_are_known_by_context_or_by_their_nodes() {
        let kind =
            json!({ "metadata": { "name": "a" }, "spec": { "providerID": "kind://docker/dev/dev-control-plane" } });
        let k3d = json!({ "metadata": { "name": "k3d-my-one-server-0" } });
        let minikube = json!({ "metadata": { "name": "a", "labels": { "minikube.k8s.io/name": "p2" } } });
        let other = json!({ "metadata": { "name": "ip-10-0-0-1" } });
        let cases = [
            ("kind-ci", other.clone(), Some("kind load image-archive {archive} --name ci")),
            ("renamed", kind, Some("kind load image-archive {archive} --name dev")),
            ("k3d-ci", other.clone(), Some("k3d image import {archive} --cluster ci")),
            ("renamed", k3d, Some("k3d image import {archive} --cluster my-one")),
            ("minikube", other.clone(), Some("minikube image load {archive} --profile minikube")),
            ("renamed", minikube, Some("minikube image load {archive} --profile p2")),
            ("production", other, None),
        ];
        for (context, node, expected) in cases {
            assert_eq!(detected(context, &nodes(node)).as_deref(), expected, "{context}");
        }
    }

    #[test]
    fn what_the_user_says_comes_first() {
        let settings = Settings { load_command: Some("x {archive}".into()), ..Settings::default() };
        assert_eq!(command(&settings, "kind-ci", &[]).as_deref(), Some("x {archive}"));
        let settings = Settings { image_prefix: "registry.example/".into(), ..Settings::default() };
        assert_eq!(command(&settings, "kind-ci", &[]), None);
    }
}
