//! Drift: whether an object still is what was applied.
//!
//! Three questions, cheapest first. Does the annotation name what should be applied now? Is the content exactly the one that was found
//! correct before? Does it still contain everything that was applied? The second question keeps the operator from writing against a
//! server's normalisation (`1000m` becomes `1`) indefinitely: the server's answer to an apply counts as correct, with any content.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rainbow_api::labels;
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
};

use crate::uid::Uid;

/// Hexadecimal digits of a fingerprint.
const DIGITS: usize = 16;
/// Annotations that are not compared: the fingerprint, what belongs to a selector, and what the Deployment controller writes after every
/// apply.
const UNCOMPARED: [&str; 3] = [labels::APPLIED, labels::SERVES, "deployment.kubernetes.io/revision"];

/// Hash of an object to be applied, without what varies on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(u64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0DIGITS$x}", self.0)
    }
}

impl Fingerprint {
    pub(crate) fn of(desired: &Value) -> Self {
        Self::of_reduced(&reduce(desired.clone()))
    }

    fn of_reduced(desired: &Value) -> Self {
        let digest = Sha256::digest(desired.to_string());
        Self(digest.iter().take(size_of::<u64>()).fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Reads an annotation. A text of another writer is no fingerprint.
    fn read(text: &str) -> Option<Self> {
        let own = text.len() == DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        own.then(|| u64::from_str_radix(text, 16).ok()).flatten().map(Self)
    }
}

/// Answers of the API server to applies, by uid: what was applied, and the digest of the content then. An entry waits until the watch shows
/// that content.
#[derive(Debug, Default)]
pub(crate) struct AwaitedContents(HashMap<Uid, (Fingerprint, u64)>);

impl AwaitedContents {
    pub(crate) fn remember(&mut self, uid: Uid, applied: Fingerprint, digest: u64) {
        self.0.insert(uid, (applied, digest));
    }

    pub(crate) fn forget(&mut self, uid: &Uid) {
        self.0.remove(uid);
    }

    fn take(&mut self, uid: &Uid, applied: Fingerprint, digest: u64) -> bool {
        let known = self.0.get(uid).is_some_and(|known| *known == (applied, digest));
        if known {
            self.0.remove(uid);
        }
        known
    }
}

/// Counter of the changes of what objects are rendered from. A fingerprint of an earlier epoch is computed again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epoch(u32);

impl Epoch {
    pub(crate) fn advance(&mut self) {
        self.0 = self.0.wrapping_add(1);
    }
}

/// Part of a live object that can drift.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    /// Annotation that says what was applied.
    applied: Option<Fingerprint>,
    /// Hash of the content.
    digest: u64,
    verdict: Verdict,
    /// Fingerprint of what should be applied, with the epoch of its computation.
    wanted: Option<(Epoch, Fingerprint)>,
}

/// Result of the comparison: whether everything that was applied is in the content.
#[derive(Clone, Debug)]
enum Verdict {
    /// Not compared yet. The content is kept as JSON text until then, which is far smaller than a tree of values.
    Open(Box<str>),
    Current,
    Drifted,
}

impl Content {
    pub(crate) fn of(meta: &ObjectMeta, spec: &Value) -> Self {
        let annotations = meta.annotations.as_ref();
        let applied = annotations.and_then(|all| all.get(labels::APPLIED)).and_then(|text| Fingerprint::read(text));
        let (text, digest) = content(meta, spec);
        Self { applied, digest, verdict: Verdict::Open(text), wanted: None }
    }

    /// Returns the digest of the content, by which an answer of the API server is recognised later.
    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    /// Marks the content as drifted, so that the object is applied again.
    pub(crate) fn doubt(&mut self) {
        self.verdict = Verdict::Drifted;
    }

    /// Returns whether a later content is the same.
    pub(crate) fn is_repeated_by(&self, later: &Self) -> bool {
        (self.applied, self.digest) == (later.applied, later.digest)
    }

    /// Takes over what is known of an earlier state of the same object.
    pub(crate) fn inherit(&mut self, before: Self) {
        self.wanted = before.wanted;
        if (self.applied, self.digest) == (before.applied, before.digest) {
            self.verdict = before.verdict;
        }
    }

    /// Returns whether the object of this uid is as it should be. What varies on purpose (replicas, a stage's selector) is not compared.
    /// The desired object is rendered once in an epoch.
    pub(crate) fn is_current(
        &mut self,
        uid: &Uid,
        epoch: Epoch,
        answers: &mut AwaitedContents,
        desired: impl Fn() -> Value,
    ) -> bool {
        let mut rendered = None;
        let wanted = match self.wanted {
            Some((of, wanted)) if of == epoch => wanted,
            Some(_) | None => Fingerprint::of_reduced(rendered.insert(reduce(desired()))),
        };
        self.wanted = Some((epoch, wanted));
        if self.applied != Some(wanted) {
            // The content is never compared: what is applied now may be wanted again, and is then applied once more.
            if matches!(self.verdict, Verdict::Open(_)) {
                self.verdict = Verdict::Drifted;
            }
            return false;
        }
        if answers.take(uid, wanted, self.digest) {
            self.verdict = Verdict::Current;
        }
        if let Verdict::Open(text) = &self.verdict {
            let content = serde_json::from_str::<Value>(text);
            let wanted = rendered.unwrap_or_else(|| reduce(desired()));
            let same = content.is_ok_and(|content| contains(&content, &wanted));
            // The text is not needed again: another annotation, or other content, is another state of the object.
            self.verdict = if same { Verdict::Current } else { Verdict::Drifted };
        }
        matches!(self.verdict, Verdict::Current)
    }
}

/// Notes the fingerprint of what is applied on the object itself, and returns it.
pub(crate) fn seal(object: &mut Value) -> Fingerprint {
    let fingerprint = Fingerprint::of(object);
    if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        let annotations = meta.entry("annotations").or_insert_with(|| json!({}));
        annotations[labels::APPLIED] = json!(fingerprint.to_string());
    }
    fingerprint
}

/// Part of an object that is compared, in the form that [`reduce`] gives it.
#[derive(Serialize)]
struct Compared<'a> {
    metadata: ComparedMeta<'a>,
    spec: BTreeMap<&'a str, &'a Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ComparedMeta<'a> {
    labels: &'a Option<BTreeMap<String, String>>,
    annotations: BTreeMap<&'a str, &'a str>,
    owner_references: Vec<ComparedOwner<'a>>,
}

#[derive(Serialize)]
struct ComparedOwner<'a> {
    uid: &'a str,
    kind: &'a str,
}

/// Returns the part of a live object that can drift, as JSON text, with its digest. Annotations and labels of other writers come and go.
/// They are compared where they are wanted, and a change of them costs only a comparison.
fn content(meta: &ObjectMeta, spec: &Value) -> (Box<str>, u64) {
    let is_of_service = spec.get("ports").is_some();
    let owners = meta.owner_references.iter().flatten();
    let annotations = meta.annotations.iter().flatten().filter(|(key, _)| !UNCOMPARED.contains(&key.as_str()));
    let fields = spec.as_object().into_iter().flatten().filter(|(field, _)| !varies(field, is_of_service));
    let compared = Compared {
        metadata: ComparedMeta {
            labels: &meta.labels,
            annotations: annotations.map(|(key, value)| (key.as_str(), value.as_str())).collect(),
            owner_references: owners.map(|owner| ComparedOwner { uid: &owner.uid, kind: &owner.kind }).collect(),
        },
        spec: fields.map(|(field, value)| (field.as_str(), value)).collect(),
    };
    // JSON texts and values can always be serialized.
    let text = serde_json::to_string(&compared).unwrap_or_default().into_boxed_str();
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    (text, hasher.finish())
}

/// Returns whether a field of a spec varies on purpose.
fn varies(field: &str, is_of_service: bool) -> bool {
    field == "replicas" || (is_of_service && field == "selector")
}

/// Returns the part of an object that is compared: labels, annotations, owners, and the spec without what varies on purpose.
fn reduce(mut object: Value) -> Value {
    let is_of_service = object.pointer("/spec/ports").is_some();
    let mut reduced = Map::new();
    if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        if let Some(annotations) = meta.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|key, _| !UNCOMPARED.contains(&key.as_str()));
        }
        let owners = meta.get("ownerReferences").and_then(Value::as_array).into_iter().flatten();
        let owners: Vec<Value> = owners.map(|owner| json!({ "uid": owner["uid"], "kind": owner["kind"] })).collect();
        let mut compared = Map::new();
        for field in ["labels", "annotations"] {
            compared.insert(field.into(), meta.remove(field).unwrap_or_default());
        }
        compared.insert("ownerReferences".into(), owners.into());
        reduced.insert("metadata".into(), compared.into());
    }
    if let Some(mut spec) = object.get_mut("spec").map(Value::take) {
        if let Some(fields) = spec.as_object_mut() {
            fields.retain(|field, _| !varies(field, is_of_service));
        }
        reduced.insert("spec".into(), spec);
    }
    Value::Object(reduced)
}

/// Returns whether `live` contains everything in `wanted`. Lists of objects with names are matched by name, others by position. Lists of
/// texts or numbers must be equal.
fn contains(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (_, Value::Null) => true,
        (Value::Object(live), Value::Object(wanted)) => wanted.iter().all(|(key, value)| match live.get(key) {
            Some(found) => contains(found, value),
            // An empty list or object is the same as none.
            None => is_empty(value),
        }),
        // A list with one more text or number is another list: `loadBalancerSourceRanges` would admit other clients.
        (Value::Array(live), Value::Array(wanted)) if wanted.iter().any(|value| !value.is_object()) => live == wanted,
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
mod tests;
