//! Rainbow that an object belongs to.
//!
//! Other tools write labels: Helm and Kyverno set `app.kubernetes.io/managed-by`, and any label can be lost. So an owner reference to the
//! Rainbow suffices, and an object without one is the Rainbow's if it still has both labels.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rainbow_api::labels;

use super::label;
use crate::kind::Kind;

/// Returns the name of the Rainbow that made an object. `None`: another writer made it.
pub(crate) fn rainbow_of(meta: &ObjectMeta) -> Option<&str> {
    let is_rainbow = |kind: &str, api_version: &str| {
        let group = |version: &str| version.split_once('/').map(|(group, _)| group.to_owned());
        kind == Kind::Rainbow.name() && group(api_version) == group(Kind::Rainbow.api_version())
    };
    let mut owners = meta.owner_references.iter().flatten();
    let owner = owners.find(|owner| is_rainbow(&owner.kind, &owner.api_version)).map(|owner| owner.name.as_str());
    let is_labeled = label(meta, labels::MANAGED_BY) == labels::MANAGER;
    owner.or_else(|| Some(label(meta, labels::RAINBOW)).filter(|name| is_labeled && !name.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[track_caller]
    fn check(metadata: Value, expected: Option<&str>) {
        let meta: ObjectMeta = serde_json::from_value(metadata.clone()).unwrap();
        assert_eq!(rainbow_of(&meta), expected, "{metadata}");
    }

    #[test]
    fn a_reference_or_both_labels_tell() {
        let owner =
            |kind: &str, version: &str| json!([{ "apiVersion": version, "kind": kind, "name": "shop", "uid": "u" }]);
        let labels = json!({ labels::RAINBOW: "shop", labels::MANAGED_BY: labels::MANAGER });
        check(json!({ "ownerReferences": owner("Rainbow", "rainbow.dev/v1alpha1") }), Some("shop"));
        check(json!({ "ownerReferences": owner("Rainbow", "rainbow.dev/v1") }), Some("shop"));
        check(json!({ "ownerReferences": owner("Rainbow", "example.com/v1") }), None);
        check(json!({ "ownerReferences": owner("Deployment", "apps/v1") }), None);
        check(json!({ "labels": labels }), Some("shop"));
        let others = json!({ labels::RAINBOW: "other", labels::MANAGED_BY: "Helm" });
        check(json!({ "labels": others, "ownerReferences": owner("Rainbow", "rainbow.dev/v1alpha1") }), Some("shop"));
        check(json!({ "labels": others }), None);
        check(json!({ "labels": { labels::MANAGED_BY: labels::MANAGER } }), None);
        check(json!({}), None);
    }
}
