//! Service account token in every container, where the API server has not added it already.

use k8s_openapi::api::core::v1::{Pod, ServiceAccount, Volume, VolumeMount};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

const PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME: &str = "kube-api-access";

/// Returns the pod with a volume for its service account's token, the cluster's certificate and its namespace.
///
/// A missing `default` account is no error: the pod then runs without a token.
///
/// # Errors
/// When the account that the pod names does not exist, or the API does not answer.
pub(super) async fn with_token(client: &Client, pod: &Pod) -> Result<Pod, String> {
    let mut pod = pod.clone();
    let namespace = pod.namespace().unwrap_or_default();
    let Some(spec) = &mut pod.spec else {
        return Ok(pod);
    };
    let containers = || spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let mounted = containers().flat_map(|c| c.volume_mounts.iter().flatten()).any(|mount| mount.mount_path == PATH);
    if mounted || spec.automount_service_account_token == Some(false) {
        return Ok(pod);
    }
    let named = spec.service_account_name.clone().filter(|name| !name.is_empty());
    let name = named.clone().unwrap_or_else(|| "default".into());
    let account = Api::<ServiceAccount>::namespaced(client.clone(), &namespace)
        .get_opt(&name)
        .await
        .map_err(|error| format!("service account \"{name}\": {error}"))?;
    // The pod's own setting overrides that of its account.
    let wanted = spec.automount_service_account_token == Some(true);
    match account {
        Some(account) if account.automount_service_account_token == Some(false) && !wanted => return Ok(pod),
        Some(_) => {}
        None if name == "default" => return Ok(pod),
        None => return Err(format!("serviceaccount \"{name}\" not found")),
    }
    let volume: Result<Volume, _> = serde_json::from_value(json!({
        "name": VOLUME,
        "projected": {"defaultMode": 0o644, "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
        ]},
    }));
    let Ok(volume) = volume else {
        return Ok(pod);
    };
    spec.volumes.get_or_insert_default().push(volume);
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        container.volume_mounts.get_or_insert_default().push(VolumeMount {
            name: VOLUME.into(),
            mount_path: PATH.into(),
            read_only: Some(true),
            ..VolumeMount::default()
        });
    }
    Ok(pod)
}
