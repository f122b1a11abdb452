//! Ownership of the fields that `apply` writes. Server-side apply removes an entry of `spec.tiers` only if no other manager owns a field in it.
//! So before it writes, `apply` takes over the fields of the version that `deploy` owns, and the fields that other managers own in tiers that
//! the manifest no longer has. Otherwise a tier that is removed or renamed would stay, or the API server would refuse the rest of it. Fields of
//! stages and holds keep their owners: a manifest that is applied again lifts no hold.

use std::collections::BTreeSet;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, ObjectMeta},
    jiff::Timestamp,
};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use rainbow_api::{Rainbow, labels};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::{context::Cluster, patch::FIELD_MANAGER};

/// Number of attempts to give written fields to the manager that applies the tiers.
const HAND_OVERS: usize = 10;
/// Operation of the entries that server-side apply makes.
const APPLY: &str = "Apply";

/// Returns the managed fields that an apply of the tiers with these names needs. `None`: no change is needed.
pub(crate) fn taken_over(
    meta: &ObjectMeta,
    api_version: &str,
    tiers: &BTreeSet<String>,
) -> Option<Vec<ManagedFieldsEntry>> {
    let mut entries = meta.managed_fields.clone()?;
    let (mut taken, mut causes) = (Map::new(), Map::new());
    for entry in &mut entries {
        let is_own = entry.manager.as_deref() == Some(FIELD_MANAGER);
        if is_own && entry.operation.as_deref() == Some(APPLY) || entry.subresource.is_some() {
            continue;
        }
        let Some(fields) = entry.fields_v1.as_mut() else { continue };
        if is_own {
            causes.extend(take_causes(&mut fields.0));
        }
        let Some(spec) = fields.0.get_mut("f:spec").and_then(Value::as_object_mut) else { continue };
        for field in ["f:color", "f:tiers"] {
            let whole = is_own.then(|| spec.remove(field)).flatten();
            let part = || take_tiers(spec.get_mut(field).filter(|_| field == "f:tiers")?.as_object_mut()?, tiers);
            if let Some(found) = whole.or_else(part) {
                merge(taken.entry(field).or_insert_with(|| json!({})), found);
            }
        }
    }
    if taken.is_empty() && causes.is_empty() {
        return None;
    }
    let owner = entries.iter_mut().find(|entry| is_applied(entry));
    let owned = match owner {
        Some(owner) => owner.fields_v1.get_or_insert_with(|| FieldsV1(json!({}))),
        None => {
            entries.push(ManagedFieldsEntry {
                manager: Some(FIELD_MANAGER.to_owned()),
                operation: Some(APPLY.to_owned()),
                api_version: Some(api_version.to_owned()),
                fields_type: Some("FieldsV1".to_owned()),
                time: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::now())),
                ..ManagedFieldsEntry::default()
            });
            entries.last_mut()?.fields_v1.get_or_insert_with(|| FieldsV1(json!({})))
        }
    };
    merge(&mut owned.0, fields_of(taken, causes));
    entries.retain(|entry| !entry.fields_v1.as_ref().is_some_and(|fields| is_empty(&fields.0)));
    Some(entries)
}

/// Returns the managed fields after a `deploy`: the fields that it wrote go to the manager that applies the tiers, so that the manager's next
/// apply can remove them. `None`: no manager applies tiers, or nothing was written.
pub(crate) fn handed_over(meta: &ObjectMeta) -> Option<Vec<ManagedFieldsEntry>> {
    let mut entries = meta.managed_fields.clone()?;
    let applies = |entry: &ManagedFieldsEntry| {
        let tiers = entry.fields_v1.as_ref().and_then(|fields| fields.0.pointer("/f:spec/f:tiers"));
        entry.operation.as_deref() == Some(APPLY) && entry.subresource.is_none() && tiers.is_some()
    };
    let owner = entries.iter().position(|entry| is_applied(entry) && applies(entry));
    let owner = owner.or_else(|| entries.iter().position(applies))?;
    let (mut given, mut causes) = (Map::new(), Map::new());
    for entry in &mut entries {
        let is_own = entry.manager.as_deref() == Some(FIELD_MANAGER) && entry.operation.as_deref() != Some(APPLY);
        let fields = entry.fields_v1.as_mut().filter(|_| is_own && entry.subresource.is_none());
        let Some(fields) = fields else { continue };
        causes.extend(take_causes(&mut fields.0));
        let Some(spec) = fields.0.get_mut("f:spec").and_then(Value::as_object_mut) else { continue };
        given.extend(["f:color", "f:tiers"].into_iter().filter_map(|field| spec.remove_entry(field)));
    }
    if given.is_empty() && causes.is_empty() {
        return None;
    }
    let owned = entries.get_mut(owner)?.fields_v1.get_or_insert_with(|| FieldsV1(json!({})));
    merge(&mut owned.0, fields_of(given, causes));
    entries.retain(|entry| !entry.fields_v1.as_ref().is_some_and(|fields| is_empty(&fields.0)));
    Some(entries)
}

/// Gives written fields to the manager that applies the tiers. The operator writes at the same time, so several attempts may be needed. The
/// change itself has been made by then, and the next `rainbow apply` takes over the fields that are not given in the end.
pub(crate) async fn hand_over(cluster: &Cluster, name: &str) {
    let api = cluster.api::<Rainbow>();
    for _ in 0..HAND_OVERS {
        let Ok(Some(found)) = api.get_metadata_opt(name).await else { return };
        let Some(entries) = handed_over(&found.metadata) else { return };
        if write(&api, &found.metadata, &entries).await.is_ok() {
            return;
        }
    }
}

/// Returns the tiers whose size no manifest gives, although one has been applied: the next apply removes the size that this program has written.
pub(crate) fn forgets_sizes<'a>(meta: &ObjectMeta, tiers: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let entries = meta.managed_fields.as_deref().unwrap_or_default();
    let applied =
        entries.iter().filter(|entry| entry.operation.as_deref() == Some(APPLY) && entry.subresource.is_none());
    let of_tiers = applied.filter_map(|entry| entry.fields_v1.as_ref()?.0.pointer("/f:spec/f:tiers")?.as_object());
    let owned: Vec<&Map<String, Value>> = of_tiers.collect();
    let tier = |name: &str| owned.iter().find_map(|tiers| tiers.get(&format!("k:{}", json!({ "name": name }))));
    tiers.filter(|name| tier(name).is_some_and(|fields| fields.get("f:replicas").is_none())).collect()
}

/// Writes managed fields, and nothing else, to the object at the resource version that was read.
pub(crate) async fn write<K>(api: &Api<K>, meta: &ObjectMeta, entries: &[ManagedFieldsEntry]) -> kube::Result<()>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let steps = json!([
        { "op": "test", "path": "/metadata/resourceVersion", "value": meta.resource_version },
        { "op": "replace", "path": "/metadata/managedFields", "value": entries },
    ]);
    let patch = serde_json::from_value(steps).map_err(kube::Error::SerdeError)?;
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let name = meta.name.as_deref().unwrap_or_default();
    api.patch_metadata(name, &params, &Patch::<()>::Json(patch)).await.map(drop)
}

/// Returns whether an entry is of earlier applies by this program.
fn is_applied(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(FIELD_MANAGER)
        && entry.operation.as_deref() == Some(APPLY)
        && entry.subresource.is_none()
}

/// Takes out the owned annotations that give the reason of a release and its user.
fn take_causes(owned: &mut Value) -> Map<String, Value> {
    let Some(metadata) = owned.get_mut("f:metadata").and_then(Value::as_object_mut) else { return Map::new() };
    let Some(annotations) = metadata.get_mut("f:annotations").and_then(Value::as_object_mut) else { return Map::new() };
    let keys = [labels::CHANGE_CAUSE, labels::RELEASED_BY].map(|key| format!("f:{key}"));
    let taken = keys.iter().filter_map(|key| annotations.remove_entry(key)).collect();
    // A field without parts would be owned as a whole.
    if annotations.is_empty() {
        metadata.remove("f:annotations");
    }
    if metadata.is_empty() {
        owned.as_object_mut().and_then(|owned| owned.remove("f:metadata"));
    }
    taken
}

/// Returns fields of the spec and annotations in the form of managed fields.
fn fields_of(spec: Map<String, Value>, annotations: Map<String, Value>) -> Value {
    let mut fields = Map::new();
    if !spec.is_empty() {
        fields.insert("f:spec".to_owned(), Value::Object(spec));
    }
    if !annotations.is_empty() {
        fields.insert("f:metadata".to_owned(), json!({ "f:annotations": annotations }));
    }
    Value::Object(fields)
}

/// Takes out the owned fields of tiers that the manifest does not have.
fn take_tiers(owned: &mut Map<String, Value>, tiers: &BTreeSet<String>) -> Option<Value> {
    let name =
        |key: &str| serde_json::from_str::<Value>(key.strip_prefix("k:")?).ok()?["name"].as_str().map(str::to_owned);
    let gone: Vec<String> =
        owned.keys().filter(|key| name(key).is_some_and(|name| !tiers.contains(&name))).cloned().collect();
    let taken: Map<String, Value> = gone.into_iter().filter_map(|key| owned.remove_entry(&key)).collect();
    (!taken.is_empty()).then_some(Value::Object(taken))
}

fn merge(into: &mut Value, fields: Value) {
    match (into, fields) {
        (Value::Object(into), Value::Object(fields)) => {
            for (key, value) in fields {
                merge(into.entry(key).or_insert_with(|| json!({})), value);
            }
        }
        (into, fields) => *into = fields,
    }
}

/// Returns whether no field is owned any more.
fn is_empty(fields: &Value) -> bool {
    let spec = fields.get("f:spec").and_then(Value::as_object);
    let only_spec = fields.as_object().is_some_and(|fields| fields.len() == usize::from(spec.is_some()));
    only_spec && spec.is_none_or(Map::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(entries: Value) -> ObjectMeta {
        serde_json::from_value(json!({ "managedFields": entries })).unwrap()
    }

    fn entry(manager: &str, operation: &str, spec: Value) -> Value {
        json!({
            "manager": manager, "operation": operation, "apiVersion": "rainbow.dev/v1alpha1", "fieldsType": "FieldsV1",
            "fieldsV1": { "f:spec": spec },
        })
    }

    fn taken(entries: Value, tiers: &[&str]) -> Option<Value> {
        let tiers = tiers.iter().map(|tier| (*tier).to_owned()).collect();
        let entries = taken_over(&meta(entries), "rainbow.dev/v1alpha1", &tiers)?;
        let mut shown = serde_json::to_value(entries).unwrap();
        shown.as_array_mut().unwrap().iter_mut().for_each(|entry| drop(entry.as_object_mut().unwrap().remove("time")));
        Some(shown)
    }

    fn tier(name: &str, fields: Value) -> Value {
        json!({ format!("k:{}", json!({ "name": name })): fields })
    }

    #[test]
    fn what_deploy_owns_of_the_version_is_taken_and_holds_are_not() {
        let applied = json!({ "f:tiers": tier("web", json!({ ".": {}, "f:name": {} })) });
        let deployed = json!({
            "f:color": {}, "f:tiers": tier("web", json!({ "f:template": { "f:spec": { "f:containers": {} } } })),
            "f:stages": { "k:{\"name\":\"active\"}": { "f:color": {} } }, "f:holds": {},
        });
        let web = tier("web", json!({ ".": {}, "f:name": {}, "f:template": { "f:spec": { "f:containers": {} } } }));
        assert_eq!(
            taken(json!([entry("rainbow-cli", "Apply", applied), entry("rainbow-cli", "Update", deployed)]), &["web"]),
            Some(json!([
                entry("rainbow-cli", "Apply", json!({ "f:color": {}, "f:tiers": web })),
                entry(
                    "rainbow-cli",
                    "Update",
                    json!({ "f:stages": { "k:{\"name\":\"active\"}": { "f:color": {} } }, "f:holds": {} })
                ),
            ]))
        );
    }

    /// Other managers keep their fields of tiers that stay, such as a size.
    #[test]
    fn of_others_only_tiers_that_go_are_taken() {
        let edited = json!({ "f:tiers": {
            "k:{\"name\":\"cache\"}": { "f:replicas": {} }, "k:{\"name\":\"web\"}": { "f:replicas": {} },
        } });
        let left = json!({ "f:tiers": tier("web", json!({ "f:replicas": {} })) });
        let cache = json!({ "f:tiers": tier("cache", json!({ "f:replicas": {} })) });
        assert_eq!(
            taken(json!([entry("kubectl-edit", "Update", edited.clone())]), &["web"]),
            Some(json!([entry("kubectl-edit", "Update", left), entry("rainbow-cli", "Apply", cache)]))
        );
        assert_eq!(taken(json!([entry("kubectl-edit", "Update", edited)]), &["web", "cache"]), None);
    }

    #[test]
    fn what_deploy_wrote_belongs_to_whoever_applies() {
        let applied = json!({ "f:tiers": tier("web", json!({ "f:name": {} })) });
        let deployed = json!({ "f:color": {}, "f:tiers": tier("web", json!({ "f:template": {} })), "f:holds": {} });
        let entries = json!([entry("kubectl", "Apply", applied), entry("rainbow-cli", "Update", deployed.clone())]);
        let web = tier("web", json!({ "f:name": {}, "f:template": {} }));
        assert_eq!(
            handed_over(&meta(entries)).map(|entries| serde_json::to_value(entries).unwrap()),
            Some(json!([
                entry("kubectl", "Apply", json!({ "f:color": {}, "f:tiers": web })),
                entry("rainbow-cli", "Update", json!({ "f:holds": {} })),
            ]))
        );
        assert_eq!(handed_over(&meta(json!([entry("rainbow-cli", "Update", deployed)]))), None, "nobody applies");
    }

    /// Without this, the reason of one release would stay for the next.
    #[test]
    fn what_deploy_said_of_a_release_goes_with_the_next() {
        let cause = json!({ "f:kubernetes.io/change-cause": {} });
        let of = |manager: &str, annotations: Value| {
            json!({
                "manager": manager, "operation": "Update", "apiVersion": "rainbow.dev/v1alpha1", "fieldsType": "FieldsV1",
                "fieldsV1": { "f:metadata": { "f:annotations": annotations } },
            })
        };
        let taken_by = |entries: Value| taken(entries, &[]).unwrap();
        let mut applied = entry("rainbow-cli", "Apply", json!({}));
        applied["fieldsV1"] = json!({ "f:metadata": { "f:annotations": cause } });
        assert_eq!(taken_by(json!([of("rainbow-cli", cause.clone())])), json!([applied]));
        let both = json!({ ".": {}, "f:kubernetes.io/change-cause": {} });
        let rest = of("rainbow-cli", json!({ ".": {} }));
        assert_eq!(taken_by(json!([of("rainbow-cli", both)])), json!([rest, applied]));
        // Annotations of other managers stay theirs.
        assert_eq!(taken(json!([of("kubectl-annotate", cause)]), &[]), None);
    }

    #[test]
    fn a_manifest_without_a_size_forgets_it() {
        let applied = json!({ "f:tiers": {
            "k:{\"name\":\"cache\"}": { "f:replicas": {} }, "k:{\"name\":\"web\"}": { "f:name": {} },
        } });
        let own = json!({ "f:tiers": tier("web", json!({ "f:replicas": {} })) });
        let forgets = |entries: Value| forgets_sizes(&meta(entries), ["cache", "web"].into_iter()).join(" ");
        assert_eq!(
            forgets(json!([entry("kubectl", "Apply", applied), entry("rainbow-cli", "Update", own.clone())])),
            "web"
        );
        assert_eq!(forgets(json!([entry("rainbow-cli", "Update", own)])), "", "nothing is applied");
    }

    #[test]
    fn an_owner_of_nothing_goes() {
        let deployed = json!({ "f:color": {} });
        assert_eq!(
            taken(json!([entry("rainbow-cli", "Update", deployed.clone())]), &[]),
            Some(json!([entry("rainbow-cli", "Apply", deployed)]))
        );
        assert_eq!(taken(json!([entry("rainbow-cli", "Apply", json!({ "f:color": {} }))]), &[]), None);
        assert_eq!(taken(json!([{ "manager": "x" }, entry("y", "Update", json!(7))]), &[]), None);
    }
}
