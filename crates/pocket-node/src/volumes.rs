//! Volumes of a pod on the node: directories that its containers mount.

mod atomic;
mod mounts;
mod sources;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::{ConfigMap, Pod, Secret, ServiceAccount, Volume},
};
use kube::{Api, Client, ResourceExt, api::PostParams};

use crate::{
    downward::{DownwardError, NodeFacts},
    env::{Source, Sources},
};

pub use mounts::mounts;

/// Reason why a volume cannot be set up. The pod waits and the setup is retried.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// An object that is not optional is missing.
    #[error("{} not found", describe(.0))]
    Missing(Source),
    /// A key that is not optional is missing in an object.
    #[error("{} references non-existent key: {key}", describe(.source_object))]
    MissingKey {
        key: String,
        /// Object in which the key is missing.
        source_object: Source,
    },
    /// A path leads out of its volume.
    #[error("path \"{0}\" leads out of the volume")]
    Outside(String),
    /// A mount names no volume.
    #[error("volume \"{0}\" is not a volume of the pod")]
    NoVolume(String),
    /// The kind of volume is not supported here.
    #[error(
        "volumes of type {0} are not supported here: use emptyDir, configMap, secret, downwardAPI, projected or hostPath"
    )]
    Unsupported(String),
    /// A hostPath is of another type than required.
    #[error("hostPath type check failed: {0} is not a {1}")]
    HostPath(String, String),
    /// Unknown field or resource.
    #[error(transparent)]
    Downward(#[from] DownwardError),
    /// The file system refused an operation.
    #[error("{what}: {source}")]
    Io {
        /// Operation that failed.
        what: String,
        /// Error of the file system.
        source: io::Error,
    },
    /// The API refused a request.
    #[error(transparent)]
    Api(#[from] kube::Error),
}

fn describe(source: &Source) -> String {
    match source {
        Source::ConfigMap(name) => format!("configmap \"{name}\""),
        Source::Secret(name) => format!("secret \"{name}\""),
    }
}

/// Volumes of one pod after the setup.
#[derive(Clone, Debug, Default)]
pub struct Volumes {
    /// Directory of each volume on the node.
    pub paths: BTreeMap<String, PathBuf>,
    /// Time until the tokens must be renewed.
    pub renew: Option<Duration>,
}

/// Fetches ConfigMaps and Secrets of a namespace.
///
/// # Errors
/// When the API does not answer; a missing object is no error.
pub async fn fetch(client: &Client, namespace: &str, wanted: BTreeSet<Source>) -> Result<Sources, kube::Error> {
    let mut found = Sources::new();
    for source in wanted {
        let data = match &source {
            Source::ConfigMap(name) => {
                Api::<ConfigMap>::namespaced(client.clone(), namespace).get_opt(name).await?.map(|map| {
                    let text = map.data.unwrap_or_default().into_iter().map(|(key, text)| (key, text.into_bytes()));
                    let bytes = map.binary_data.unwrap_or_default().into_iter().map(|(key, bytes)| (key, bytes.0));
                    text.chain(bytes).collect()
                })
            }
            Source::Secret(name) => Api::<Secret>::namespaced(client.clone(), namespace)
                .get_opt(name)
                .await?
                .map(|secret| secret.data.unwrap_or_default().into_iter().map(|(key, bytes)| (key, bytes.0)).collect()),
        };
        found.insert(source, data);
    }
    Ok(found)
}

/// Returns the ConfigMaps and Secrets that a pod's volumes show.
pub fn references(pod: &Pod) -> BTreeSet<Source> {
    volumes(pod).flat_map(sources::references).collect()
}

/// Returns whether files of the pod's volumes follow its own labels and annotations.
pub fn shows_fields(pod: &Pod) -> bool {
    volumes(pod).any(|volume| {
        volume.downward_api.is_some()
            || volume.projected.iter().flat_map(|p| p.sources.iter().flatten()).any(|s| s.downward_api.is_some())
    })
}

fn volumes(pod: &Pod) -> impl Iterator<Item = &Volume> {
    pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten())
}

/// Creates a pod's missing volumes below `dir`, and updates files. Called again when an object changes.
///
/// # Errors
/// At the first volume that cannot be made. The error carries its name.
pub async fn set_up(
    client: &Client,
    pod: &Pod,
    facts: &NodeFacts,
    dir: &Path,
) -> Result<Volumes, (String, VolumeError)> {
    let mut all = Volumes::default();
    let wanted = references(pod);
    let namespace = pod.namespace().unwrap_or_default();
    let found = match fetch(client, &namespace, wanted).await {
        Ok(found) => found,
        Err(error) => return Err((String::new(), error.into())),
    };
    for volume in volumes(pod) {
        let path = dir.join(&volume.name);
        let made = one(client, pod, facts, volume, &found, path).await.map_err(|error| (volume.name.clone(), error))?;
        all.paths.insert(volume.name.clone(), made.0);
        all.renew = all.renew.into_iter().chain(made.1).min();
    }
    Ok(all)
}

/// Sets up one volume. The file work is done in place: small files in the page cache are quicker than a trip to another thread.
async fn one(
    client: &Client,
    pod: &Pod,
    facts: &NodeFacts,
    volume: &Volume,
    found: &Sources,
    path: PathBuf,
) -> Result<(PathBuf, Option<Duration>), VolumeError> {
    let io = |source| VolumeError::Io { what: format!("volume \"{}\"", volume.name), source };
    if volume.empty_dir.is_some() {
        // `medium: Memory` is a directory, too: its size would count against no limit here.
        fs::create_dir_all(&path).map_err(io)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).map_err(io)?;
        return Ok((path, None));
    }
    if let Some(source) = &volume.host_path {
        return Ok((mounts::host_path(source)?, None));
    }
    if !sources::is_made_of_objects(volume) {
        return Err(VolumeError::Unsupported(kind(volume)));
    }
    let mut tokens = BTreeMap::new();
    let mut renew: Option<Duration> = None;
    for source in sources::tokens(volume) {
        let (token, good_for) = request_token(client, pod, &source).await?;
        let due = good_for.mul_f64(0.8);
        renew = renew.into_iter().chain([due]).min();
        tokens.insert(source, token);
    }
    let files = sources::files(pod, facts, volume, found, |source| tokens.get(source).cloned())?;
    atomic::write(&path, &files).map_err(io)?;
    Ok((path, renew))
}

/// Requests a token of the pod's service account. Returns also the duration for which it is valid.
async fn request_token(
    client: &Client,
    pod: &Pod,
    source: &sources::TokenSource,
) -> Result<(String, Duration), VolumeError> {
    let account =
        pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone()).unwrap_or_else(|| "default".into());
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: source.audience.clone().into_iter().collect(),
            expiration_seconds: Some(source.seconds),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                name: Some(pod.name_any()),
                uid: pod.uid(),
            }),
        },
        ..TokenRequest::default()
    };
    let answer = accounts.create_token_request(&account, &PostParams::default(), &request).await?;
    let Some(status) = answer.status else {
        return Ok((String::new(), Duration::from_secs(75)));
    };
    let good_for = status.expiration_timestamp.0.duration_since(jiff::Timestamp::now());
    // Renewal is limited to once a minute, whatever the answer says.
    let good_for = Duration::try_from(good_for).unwrap_or_default().max(Duration::from_secs(75));
    Ok((status.token, good_for))
}

/// Returns the name of the one field of a volume that is set, for messages.
fn kind(volume: &Volume) -> String {
    let value = serde_json::to_value(volume).unwrap_or_default();
    let fields =
        value.as_object().map(|object| object.keys().filter(|key| *key != "name").cloned().collect::<Vec<_>>());
    fields.unwrap_or_default().first().cloned().unwrap_or_else(|| "unknown".into())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Namespace;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn of_several_tokens_the_earliest_is_due() {
        let api = pocket_api::Api::new(pocket_api::Options::default()).unwrap();
        let client = api.client("a");
        let create = PostParams::default();
        let namespace: Namespace = serde_json::from_value(json!({ "metadata": { "name": "a" } })).unwrap();
        Api::all(client.clone()).create(&create, &namespace).await.unwrap();
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "a");
        let account = serde_json::from_value(json!({ "metadata": { "name": "default" } })).unwrap();
        accounts.create(&create, &account).await.unwrap();
        let facts = NodeFacts { host_ip: std::net::Ipv4Addr::LOCALHOST, pod_ip: None, cpus: 1, memory: 1 };
        // The tokens of one volume, and those of several, in each order.
        for (at, volumes) in [
            json!([[600, 7200]]),
            json!([[7200, 600]]),
            json!([[600], [7200]]),
            json!([[7200], [600]]),
            json!([[7200, 600], [7200]]),
        ]
        .into_iter()
        .enumerate()
        {
            let volumes: Vec<_> = volumes.as_array().unwrap().iter().enumerate().map(|(at, tokens)| {
                let token = |(at, seconds)| json!({ "serviceAccountToken": { "path": format!("t{at}"), "expirationSeconds": seconds } });
                let tokens: Vec<_> = tokens.as_array().unwrap().iter().enumerate().map(token).collect();
                json!({ "name": format!("v{at}"), "projected": { "sources": tokens } })
            }).collect();
            let pod: Pod = serde_json::from_value(json!({
                "metadata": { "name": format!("p{at}") },
                "spec": { "volumes": volumes, "containers": [{ "name": "c", "image": "c:v1" }] },
            }))
            .unwrap();
            let pod = Api::<Pod>::namespaced(client.clone(), "a").create(&create, &pod).await.unwrap();
            let dir = tempfile::tempdir().unwrap();
            let made = set_up(&client, &pod, &facts, dir.path()).await.unwrap();
            // 80% of ten minutes, which have begun.
            assert!(made.renew.is_some_and(|due| due <= Duration::from_secs(480)), "{volumes:?}: {:?}", made.renew);
        }
    }
}
