//! Files of configMap, secret, downwardAPI and projected volumes. Pure: the objects are fetched before.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Pod, Volume};

use super::{
    VolumeError,
    atomic::{File, Files, is_inside},
};
use crate::{
    downward::{self, NodeFacts},
    env::{Source, Sources},
};

/// Token that a volume asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TokenSource {
    /// Path in the volume.
    pub(crate) path: String,
    /// Audience of the token; empty means the API server.
    pub(crate) audience: Option<String>,
    /// Requested lifetime in seconds.
    pub(crate) seconds: i64,
}

/// Returns the ConfigMaps and Secrets that a volume is made of.
pub(crate) fn references(volume: &Volume) -> BTreeSet<Source> {
    let mut all = BTreeSet::new();
    all.extend(volume.config_map.iter().map(|map| Source::ConfigMap(map.name.clone())));
    all.extend(volume.secret.iter().filter_map(|secret| secret.secret_name.clone()).map(Source::Secret));
    for source in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
        all.extend(source.config_map.iter().map(|map| Source::ConfigMap(map.name.clone())));
        all.extend(source.secret.iter().map(|secret| Source::Secret(secret.name.clone())));
    }
    all
}

/// Returns the tokens that a volume asks for.
pub(crate) fn tokens(volume: &Volume) -> Vec<TokenSource> {
    volume
        .projected
        .iter()
        .flat_map(|projected| projected.sources.iter().flatten())
        .filter_map(|source| source.service_account_token.as_ref())
        .map(|token| TokenSource {
            path: token.path.clone(),
            audience: token.audience.clone(),
            seconds: token.expiration_seconds.unwrap_or(3600),
        })
        .collect()
}

/// Returns whether a volume's files are made from API objects, and so change with them.
pub(crate) fn is_made_of_objects(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some()
}

/// Builds the files of such a volume; `token` supplies the tokens.
///
/// # Errors
/// When an object or key that is not optional is missing, or a path leads out of the volume.
pub(crate) fn files(
    pod: &Pod,
    facts: &NodeFacts,
    volume: &Volume,
    found: &Sources,
    token: impl Fn(&TokenSource) -> Option<String>,
) -> Result<Files, VolumeError> {
    let mut files = Files::new();
    if let Some(map) = &volume.config_map {
        let mode = mode(map.default_mode);
        let source = Source::ConfigMap(map.name.clone());
        files.extend(keys(&source, map.items.as_deref(), mode, map.optional, found)?);
    } else if let Some(secret) = &volume.secret {
        let mode = mode(secret.default_mode);
        let source = Source::Secret(secret.secret_name.clone().unwrap_or_default());
        files.extend(keys(&source, secret.items.as_deref(), mode, secret.optional, found)?);
    } else if let Some(downward) = &volume.downward_api {
        files.extend(fields(pod, facts, downward.items.iter().flatten(), mode(downward.default_mode))?);
    } else if let Some(projected) = &volume.projected {
        let mode = mode(projected.default_mode);
        for source in projected.sources.iter().flatten() {
            if let Some(map) = &source.config_map {
                let wanted = Source::ConfigMap(map.name.clone());
                files.extend(keys(&wanted, map.items.as_deref(), mode, map.optional, found)?);
            } else if let Some(secret) = &source.secret {
                let wanted = Source::Secret(secret.name.clone());
                files.extend(keys(&wanted, secret.items.as_deref(), mode, secret.optional, found)?);
            } else if let Some(downward) = &source.downward_api {
                files.extend(fields(pod, facts, downward.items.iter().flatten(), mode)?);
            } else if source.service_account_token.is_none() {
                return Err(VolumeError::Unsupported("projected clusterTrustBundle".into()));
            }
        }
        for wanted in tokens(volume) {
            inside(&wanted.path)?;
            if let Some(token) = token(&wanted) {
                files.insert(wanted.path, File { data: token.into_bytes(), mode });
            }
        }
    }
    Ok(files)
}

fn mode(mode: Option<i32>) -> u32 {
    mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(0o644)
}

fn inside(path: &str) -> Result<(), VolumeError> {
    if is_inside(path) { Ok(()) } else { Err(VolumeError::Outside(path.into())) }
}

fn keys(
    source: &Source,
    items: Option<&[KeyToPath]>,
    default_mode: u32,
    optional: Option<bool>,
    found: &Sources,
) -> Result<Files, VolumeError> {
    let optional = optional == Some(true);
    let Some(data) = found.get(source).and_then(Option::as_ref) else {
        return if optional { Ok(Files::new()) } else { Err(VolumeError::Missing(source.clone())) };
    };
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return Ok(data
            .iter()
            .map(|(key, data)| (key.clone(), File { data: data.clone(), mode: default_mode }))
            .collect());
    };
    let mut files = Files::new();
    for item in items {
        inside(&item.path)?;
        match data.get(&item.key) {
            Some(data) => {
                let mode = item.mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(default_mode);
                files.insert(item.path.clone(), File { data: data.clone(), mode });
            }
            None if optional => {}
            None => return Err(VolumeError::MissingKey { key: item.key.clone(), source_object: source.clone() }),
        }
    }
    Ok(files)
}

fn fields<'a>(
    pod: &Pod,
    facts: &NodeFacts,
    items: impl Iterator<Item = &'a DownwardAPIVolumeFile>,
    default_mode: u32,
) -> Result<Files, VolumeError> {
    let mut files = Files::new();
    for item in items {
        inside(&item.path)?;
        let value = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => downward::field(pod, facts, &field.field_path)?,
            (_, Some(resource)) => downward::resource(pod, facts, None, resource)?,
            _ => continue,
        };
        let mode = item.mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(default_mode);
        files.insert(item.path.clone(), File { data: value.into_bytes(), mode });
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn make(volume: serde_json::Value) -> Result<Vec<(String, String, u32)>, String> {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "labels": {"a": "b"}}})).unwrap();
        let facts = NodeFacts { host_ip: [10, 0, 0, 1].into(), pod_ip: None, cpus: 1, memory: 1 };
        let volume: Volume = serde_json::from_value(volume).unwrap();
        let data = BTreeMap::from([("k".to_owned(), b"v".to_vec()), ("l".to_owned(), b"w".to_vec())]);
        let found = Sources::from([
            (Source::ConfigMap("c".into()), Some(data.clone())),
            (Source::Secret("s".into()), Some(data)),
        ]);
        files(&pod, &facts, &volume, &found, |token| Some(format!("token for {:?}", token.audience)))
            .map(|files| {
                files.into_iter().map(|(path, file)| (path, String::from_utf8(file.data).unwrap(), file.mode)).collect()
            })
            .map_err(|error| error.to_string())
    }

    fn file(path: &str, data: &str, mode: u32) -> (String, String, u32) {
        (path.into(), data.into(), mode)
    }

    #[test]
    fn what_volumes_show() {
        for (volume, expected) in [
            (json!({"name": "v", "configMap": {"name": "c"}}), Ok(vec![file("k", "v", 0o644), file("l", "w", 0o644)])),
            (
                json!({"name": "v", "secret": {"secretName": "s", "defaultMode": 0o400, "items": [{"key": "k", "path": "d/x"}]}}),
                Ok(vec![file("d/x", "v", 0o400)]),
            ),
            (json!({"name": "v", "configMap": {"name": "no"}}), Err("configmap \"no\" not found".into())),
            (json!({"name": "v", "configMap": {"name": "no", "optional": true}}), Ok(vec![])),
            (
                json!({"name": "v", "configMap": {"name": "c", "items": [{"key": "z", "path": "z"}]}}),
                Err("configmap \"c\" references non-existent key: z".into()),
            ),
            (
                json!({"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "../z"}]}}),
                Err("path \"../z\" leads out of the volume".into()),
            ),
            (
                json!({"name": "v", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}),
                Ok(vec![file("labels", "a=\"b\"", 0o644)]),
            ),
            (
                json!({"name": "v", "projected": {"sources": [
                    {"configMap": {"name": "c", "items": [{"key": "k", "path": "k"}]}},
                    {"serviceAccountToken": {"path": "token", "audience": "x"}}]}}),
                Ok(vec![file("k", "v", 0o644), file("token", "token for Some(\"x\")", 0o644)]),
            ),
        ] {
            assert_eq!(make(volume.clone()), expected, "{volume}");
        }
    }
}
