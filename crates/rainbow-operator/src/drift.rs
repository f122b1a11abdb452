//! Whether an object still is what was applied.
//!
//! Three questions, cheapest first. Does the annotation name what shall be applied now? Is the content the very one that
//! was found in order before? Is everything that was applied still in it? The second question is what keeps a server's
//! normalisation (`1000m` becomes `1`) from being written against for ever: what the server answered to an apply counts
//! as in order, whatever it looks like.

use kube::api::DynamicObject;
use rainbow_api::labels;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

/// Hexadecimal digits of the hash of what was applied.
const HASH_DIGITS: usize = 16;

/// What was found in order: by uid, the hash of what was applied and the digest of the content then.
#[derive(Debug, Default)]
pub(crate) struct Settled(HashMap<String, (String, u64)>);

impl Settled {
    pub(crate) fn remember(&mut self, uid: &str, hash: &str, digest: u64) {
        self.0.insert(uid.to_owned(), (hash.to_owned(), digest));
    }

    pub(crate) fn forget(&mut self, uid: &str) {
        self.0.remove(uid);
    }

    /// Whether the object of this uid is as it should be; what varies on purpose (replicas, a stage's selector) is no part of
    /// the comparison.
    pub(crate) fn is_current(
        &mut self,
        uid: &str,
        found: &Content,
        hash: &str,
        desired: impl FnOnce() -> Value,
    ) -> bool {
        if found.applied != hash {
            return false;
        }
        if self.0.get(uid).is_some_and(|(known, digest)| known == hash && *digest == found.digest) {
            return true;
        }
        let same =
            serde_json::from_str::<Value>(&found.text).is_ok_and(|content| contains(&content, &reduce(desired())));
        if same {
            self.remember(uid, hash, found.digest);
        }
        same
    }
}

/// The part of a live object that can drift.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    /// The annotation that says what was applied.
    applied: String,
    /// JSON text: far smaller than a tree of values, and seldom looked into.
    text: Box<str>,
    /// Hash of `text`.
    digest: u64,
}

impl Content {
    pub(crate) fn of(object: &DynamicObject) -> Self {
        let annotations = object.metadata.annotations.as_ref();
        let applied = annotations.and_then(|all| all.get(labels::APPLIED)).cloned().unwrap_or_default();
        let (text, digest) = content(object);
        Self { applied, text, digest }
    }

    /// Digest of the content, by which an answer of the API server is recognised later.
    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }
}

/// Notes the hash of what is applied on the object itself, and answers it.
pub(crate) fn seal(object: &mut Value) -> String {
    let hash = hash(object);
    if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        let annotations = meta.entry("annotations").or_insert_with(|| json!({}));
        annotations[labels::APPLIED] = json!(hash);
    }
    hash
}

/// Hash of an object to be applied, without what varies on purpose.
pub(crate) fn hash(desired: &Value) -> String {
    let digest = Sha256::digest(reduce(desired.clone()).to_string());
    let mut text: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(HASH_DIGITS);
    text
}

/// What can drift in a live object, as JSON text, and its digest.
fn content(object: &DynamicObject) -> (Box<str>, u64) {
    let meta = &object.metadata;
    let ours = |all: &Option<std::collections::BTreeMap<String, String>>| {
        // Annotations and labels of others come and go (`deployment.kubernetes.io/revision`): they are compared where
        // they are wanted, and a change of them costs a comparison, no more.
        all.clone().unwrap_or_default()
    };
    let owners: Vec<Value> =
        meta.owner_references.iter().flatten().map(|owner| json!({ "uid": owner.uid, "kind": owner.kind })).collect();
    let value = reduce(json!({
        "metadata": { "labels": ours(&meta.labels), "annotations": ours(&meta.annotations), "ownerReferences": owners },
        "spec": object.data.get("spec"),
    }));
    let text = value.to_string().into_boxed_str();
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    (text, hasher.finish())
}

/// The part of an object that is compared: labels, annotations, owners and the spec without what varies on purpose.
fn reduce(mut object: Value) -> Value {
    let service = object.pointer("/spec/ports").is_some();
    let mut reduced = Map::new();
    if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        if let Some(annotations) = meta.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(labels::APPLIED);
            // Written by the Deployment controller after every apply.
            annotations.remove("deployment.kubernetes.io/revision");
        }
        let owners = meta.get("ownerReferences").and_then(Value::as_array).into_iter().flatten();
        let owners: Vec<Value> = owners.map(|owner| json!({ "uid": owner["uid"], "kind": owner["kind"] })).collect();
        reduced.insert(
            "metadata".into(),
            json!({ "labels": meta.get("labels"), "annotations": meta.get("annotations"), "ownerReferences": owners }),
        );
    }
    if let Some(mut spec) = object.get_mut("spec").map(Value::take) {
        if let Some(fields) = spec.as_object_mut() {
            fields.remove("replicas");
            if service {
                fields.remove("selector");
            }
        }
        reduced.insert("spec".into(), spec);
    }
    Value::Object(reduced)
}

/// Whether everything in `wanted` is in `live`. Lists of objects with names are matched by name, others by position.
fn contains(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (_, Value::Null) => true,
        (Value::Object(live), Value::Object(wanted)) => wanted.iter().all(|(key, value)| match live.get(key) {
            Some(found) => contains(found, value),
            // An empty list or object is the same as none.
            None => is_empty(value),
        }),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() >= wanted.len()
                && wanted.iter().enumerate().all(|(index, value)| {
                    let found = match value.get("name") {
                        Some(name) => live.iter().find(|other| other.get("name") == Some(name)),
                        None => live.get(index),
                    };
                    found.is_some_and(|found| contains(found, value))
                })
        }
        (live, wanted) => live == wanted,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(all) => all.is_empty(),
        Value::Object(all) => all.values().all(is_empty),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desired(cpu: &str, replicas: u32) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "a-v1", "labels": { "x": "y" } },
            "spec": { "replicas": replicas, "template": { "spec": { "containers": [
                { "name": "a", "image": "a:1", "resources": { "requests": { "cpu": cpu } } },
            ] } } },
        })
    }

    fn live(mut object: Value, applied: &str) -> Content {
        object["metadata"]["annotations"] =
            json!({ labels::APPLIED: applied, "deployment.kubernetes.io/revision": "1" });
        Content::of(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn replicas_are_looked_at_elsewhere() {
        assert_eq!(hash(&desired("1", 1)), hash(&desired("1", 5)));
        assert_ne!(hash(&desired("1", 1)), hash(&desired("2", 1)));
    }

    #[test]
    fn what_the_server_adds_is_no_drift() {
        let hash = hash(&desired("1", 1));
        let mut object = desired("1", 3);
        object["spec"]["template"]["spec"]["dnsPolicy"] = json!("ClusterFirst");
        object["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("IfNotPresent");
        assert!(Settled::default().is_current("u", &live(object, &hash), &hash, || desired("1", 1)));
    }

    #[test]
    fn an_edit_is_drift() {
        let hash = hash(&desired("1", 1));
        let mut object = desired("1", 1);
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("a:2");
        assert!(!Settled::default().is_current("u", &live(object, &hash), &hash, || desired("1", 1)));
        let mut object = desired("1", 1);
        object["metadata"]["labels"] = json!({});
        assert!(!Settled::default().is_current("u", &live(object, &hash), &hash, || desired("1", 1)));
        assert!(!Settled::default().is_current("u", &live(desired("1", 1), "old"), &hash, || desired("1", 1)));
    }

    #[test]
    fn normalisation_is_written_against_once() {
        let hash = hash(&desired("1000m", 1));
        let normalised = live(desired("1", 1), &hash);
        let mut settled = Settled::default();
        assert!(!settled.is_current("u", &normalised, &hash, || desired("1000m", 1)));
        // The answer to the apply looks the same again.
        settled.remember("u", &hash, normalised.digest);
        assert!(settled.is_current("u", &normalised, &hash, || desired("1000m", 1)));
        // An edit after that is drift.
        assert!(!settled.is_current("u", &live(desired("2", 1), &hash), &hash, || desired("1000m", 1)));
    }
}
