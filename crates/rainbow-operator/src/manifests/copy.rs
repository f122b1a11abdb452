//! Manifests of copies of ConfigMaps and Secrets, and of the key for the hashes of Secrets.

use rainbow_api::{ConfigName, Rainbow, labels, names};
use serde_json::{Map, Value, json};

use super::{Scope, object};
use crate::kind::kind_of;

/// Returns a copy without its content, which is read when the copy is created. Nothing of the original's metadata is copied: its labels may
/// make another tool prune the copy.
pub(crate) fn copy(scope: &Scope<'_>, rainbow: &Rainbow, source: &ConfigName, name: &str) -> Value {
    let mut object = immutable(scope, rainbow, source, name);
    object["metadata"]["annotations"] = json!({ labels::COPY_OF: source.name });
    object
}

/// Returns the Secret of the key, without the key.
pub(crate) fn config_key(scope: &Scope<'_>, rainbow: &Rainbow) -> Value {
    let name = names::config_key(scope.rainbow);
    let kind = rainbow_api::ConfigKind::Secret;
    immutable(scope, rainbow, &ConfigName { kind, name: name.clone() }, &name)
}

fn immutable(scope: &Scope<'_>, rainbow: &Rainbow, like: &ConfigName, name: &str) -> Value {
    let mut own = Map::new();
    own.insert(labels::RAINBOW.into(), json!(scope.rainbow));
    let mut object = object(scope, rainbow, kind_of(like.kind), name, own);
    object["immutable"] = json!(true);
    object
}
