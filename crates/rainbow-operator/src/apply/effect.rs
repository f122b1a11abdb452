//! Effect of a write: whether the answer shows what was written.
//!
//! A write may be answered with success and change nothing: a webhook rewrites it, or a policy keeps the old value. The next plan would ask
//! for the same again, without a pause. So the answer is compared in the fields that plans depend on. All other fields may be normalised.

use kube::api::DynamicObject;
use serde_json::{Map, Value};

use super::Failure;
use crate::{kind::Kind, messages};

/// Parents of fields that plans depend on: all labels and annotations of a pod, and Rainbow's own keys of any other object. A policy may
/// set `app.kubernetes.io/managed-by` as it likes.
const PARENTS: [[&str; 2]; 2] = [["metadata", "labels"], ["metadata", "annotations"]];
/// Part of each of Rainbow's own keys.
const DOMAIN: &str = "rainbow.dev/";
/// Numeric fields that plans depend on.
const NUMBERS: [[&str; 2]; 2] = [["spec", "replicas"], ["spec", "minAvailable"]];
const SELECTOR: [&str; 2] = ["spec", "selector"];

/// Part of an answer that is not what was written.
pub(super) enum Difference {
    /// Keys of a Service's selector that were not written: another field manager has added them.
    Additions(Vec<String>),
    /// Path of a field that differs from what was written.
    Field(Vec<String>),
}

impl Difference {
    /// Returns a failure whose message names the field and the field managers that have it.
    pub(super) fn failure(self, kind: Kind, name: &str, answer: &DynamicObject) -> Failure {
        let path = match self {
            Self::Additions(_) => SELECTOR.map(str::to_owned).to_vec(),
            Self::Field(path) => path,
        };
        Failure::Rejected(messages::without_effect(kind, name, &path.join("."), &managers(answer, &path)))
    }
}

/// Fails where a field of the answer differs from what was written.
pub(super) fn check(kind: Kind, name: &str, written: &Value, answer: &DynamicObject) -> Result<(), Failure> {
    difference(kind, written, answer).map_or(Ok(()), |difference| Err(difference.failure(kind, name, answer)))
}

/// Returns the first part of an answer that differs from what was written. Additions to a selector come first, since they can be removed.
pub(super) fn difference(kind: Kind, written: &Value, answer: &DynamicObject) -> Option<Difference> {
    let selector = selector(kind, written, answer);
    if matches!(selector, Some(Difference::Additions(_))) {
        return selector;
    }
    metadata(kind, written, answer).or(selector).or_else(|| numbers(written, answer))
}

fn selector(kind: Kind, written: &Value, answer: &DynamicObject) -> Option<Difference> {
    let [parent, child] = SELECTOR;
    let (asked, found) = (&written[parent][child], &answer.data[parent][child]);
    if asked.is_null() || asked == found {
        return None;
    }
    let additions: Vec<String> = match (kind, asked.as_object(), found.as_object()) {
        (Kind::Service, Some(asked), Some(found)) => {
            found.keys().filter(|key| !asked.contains_key(*key)).cloned().collect()
        }
        _ => Vec::new(),
    };
    Some(match additions.is_empty() {
        true => Difference::Field(SELECTOR.map(str::to_owned).to_vec()),
        false => Difference::Additions(additions),
    })
}

fn metadata(kind: Kind, written: &Value, answer: &DynamicObject) -> Option<Difference> {
    let none = Map::new();
    let matters = |key: &str| kind == Kind::Pod || key.contains(DOMAIN);
    for [parent, child] in PARENTS {
        let found = match child {
            "labels" => answer.metadata.labels.as_ref(),
            _ => answer.metadata.annotations.as_ref(),
        };
        let is_there = |key: &String, value: &Value| match value.as_str() {
            Some(text) => found.and_then(|found| found.get(key)).is_some_and(|found| found == text),
            None => found.is_none_or(|found| !found.contains_key(key)),
        };
        let mut asked = written[parent][child].as_object().unwrap_or(&none).iter();
        if let Some((key, _)) = asked.find(|(key, value)| matters(key) && !is_there(key, value)) {
            return Some(Difference::Field(vec![parent.to_owned(), child.to_owned(), key.clone()]));
        }
    }
    None
}

fn numbers(written: &Value, answer: &DynamicObject) -> Option<Difference> {
    let differs = |[parent, child]: &[&str; 2]| {
        let asked = &written[*parent][*child];
        !asked.is_null() && *asked != answer.data[*parent][*child]
    };
    NUMBERS.iter().find(|field| differs(field)).map(|field| Difference::Field(field.map(str::to_owned).to_vec()))
}

/// Returns the field managers that have a field, or a part of it.
fn managers(answer: &DynamicObject, path: &[String]) -> Vec<String> {
    let has = |fields: &Value| {
        let mut at = Some(fields);
        for key in path {
            at = at.and_then(|fields| fields.get(format!("f:{key}")));
        }
        at.is_some()
    };
    let entries = answer.metadata.managed_fields.iter().flatten();
    let others = entries.filter(|entry| entry.manager.as_deref() != Some(rainbow_api::FIELD_MANAGER));
    let mut found: Vec<String> = others
        .filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| has(&fields.0)))
        .filter_map(|entry| entry.manager.clone())
        .collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check_answer(written: Value, answer: Value, expected: Option<&str>) {
        let answer: DynamicObject = serde_json::from_value(answer).unwrap();
        let failure = check(Kind::Deployment, "web-v1", &written, &answer).err().map(|failure| failure.to_string());
        assert_eq!(failure.as_deref(), expected, "{written}");
    }

    #[test]
    fn a_field_that_plans_go_by_is_as_it_was_written() {
        let answer = |metadata: Value, spec: Value| json!({ "metadata": metadata, "spec": spec });
        let six = answer(json!({}), json!({ "replicas": 6, "paused": false }));
        check_answer(json!({ "spec": { "replicas": 6 } }), six.clone(), None);
        check_answer(json!({ "spec": { "paused": true } }), six.clone(), None);
        check_answer(
            json!({ "spec": { "replicas": 5 } }),
            six,
            Some(
                "Deployment `web-v1`: a write of `spec.replicas` has no effect: an admission webhook or policy may change it",
            ),
        );
        let managed = json!({ "managedFields": [
            { "manager": "rainbow", "fieldsV1": { "f:spec": { "f:replicas": {} } } },
            { "manager": "keda", "fieldsV1": { "f:spec": { "f:replicas": {} } } },
            { "manager": "kubectl", "fieldsV1": { "f:spec": { "f:paused": {} } } },
        ] });
        check_answer(
            json!({ "spec": { "replicas": 5 } }),
            answer(managed, json!({ "replicas": 6 })),
            Some("Deployment `web-v1`: a write of `spec.replicas` has no effect: field manager `keda` has it"),
        );
    }

    #[test]
    fn a_label_that_was_taken_off_is_gone() {
        let off = json!({ "metadata": { "labels": { "rainbow.dev/a": null } } });
        check_answer(off.clone(), json!({ "metadata": { "labels": { "b": "x" } } }), None);
        check_answer(off.clone(), json!({ "metadata": {} }), None);
        let stays = json!({ "metadata": { "labels": { "rainbow.dev/a": "x" } } });
        let message = "Deployment `web-v1`: a write of `metadata.labels.rainbow.dev/a` has no effect: an admission webhook or policy may change it";
        check_answer(off, stays.clone(), Some(message));
        check_answer(json!({ "metadata": { "labels": { "rainbow.dev/a": "y" } } }), stays, Some(message));
        let helm = json!({ "metadata": { "labels": { "app.kubernetes.io/managed-by": "Helm" } } });
        check_answer(json!({ "metadata": { "labels": { "app.kubernetes.io/managed-by": "rainbow" } } }), helm, None);
    }
}
