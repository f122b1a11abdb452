//! Ownership: controller references, adoption and release.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kube::{Resource, ResourceExt};
use serde_json::json;

use crate::{
    Error,
    cache::{Cache, Kind},
};

/// Returns the owner reference of an object's controller.
pub(crate) fn controller(object: &impl Resource) -> Option<&OwnerReference> {
    object.meta().owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// Returns whether an object's controller is this owner.
pub(crate) fn is_controlled_by(object: &impl Resource, owner: &impl Resource) -> bool {
    controller(object).is_some_and(|reference| Some(&reference.uid) == owner.meta().uid.as_ref())
}

/// Returns the name of an object's controller, if it is of that kind.
pub(crate) fn controller_name<O: Resource<DynamicType = ()>>(object: &impl Resource) -> Option<&str> {
    let owner = controller(object)?;
    let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
    (owner.kind == O::kind(&()) && group == O::group(&())).then_some(owner.name.as_str())
}

/// Returns a reference that makes `owner` the controller of an object.
pub(crate) fn reference<O: Resource<DynamicType = ()>>(owner: &O) -> OwnerReference {
    OwnerReference {
        api_version: O::api_version(&()).into_owned(),
        kind: O::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Returns whether labels match a selector. An empty selector matches nothing here: no controller may own everything.
pub(crate) fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let (equal, set) = (selector.match_labels.iter().flatten(), selector.match_expressions.iter().flatten());
    let mut any = false;
    for (key, value) in equal {
        any = true;
        if labels.get(key) != Some(value) {
            return false;
        }
    }
    for requirement in set {
        any = true;
        let value = labels.get(&requirement.key);
        let listed = || value.is_some_and(|value| requirement.values.iter().flatten().any(|listed| listed == value));
        let holds = match requirement.operator.as_str() {
            "In" => listed(),
            "NotIn" => !listed(),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        };
        if !holds {
            return false;
        }
    }
    any
}

/// Returns the candidates that belong to `owner`: those that it owns and selects. A candidate that matches and has no controller
/// is adopted; one that is owned but no longer matches is released.
pub(crate) async fn claim<O, K>(
    owner: &O,
    owners: &Cache<O>,
    selector: &LabelSelector,
    candidates: Vec<Arc<K>>,
    cache: &Cache<K>,
) -> Result<Vec<Arc<K>>, Error>
where
    O: Kind,
    K: Kind,
{
    let mut mine = Vec::new();
    let mut may_adopt = None;
    for object in candidates {
        let matches = selects(selector, object.labels());
        match controller(&*object) {
            Some(_) if !is_controlled_by(&*object, owner) => {}
            Some(_) if matches => mine.push(object),
            Some(_) if here(owner) && here(&*object) => release(owner, &*object, cache).await?,
            Some(_) => {}
            None if matches && here(owner) && here(&*object) => {
                // Only an owner that still exists may adopt, and the cache may be behind.
                let fresh = match may_adopt {
                    Some(fresh) => fresh,
                    None => {
                        let live = owners.live(&crate::cache::Key::of(owner)).await?;
                        live.is_some_and(|live| {
                            live.meta().uid == owner.meta().uid && live.meta().deletion_timestamp.is_none()
                        })
                    }
                };
                may_adopt = Some(fresh);
                if fresh && let Some(adopted) = adopt(owner, &*object, cache).await? {
                    mine.push(adopted);
                }
            }
            None => {}
        }
    }
    Ok(mine)
}

/// Returns whether an object is not being deleted.
fn here(object: &impl Resource) -> bool {
    object.meta().deletion_timestamp.is_none()
}

async fn adopt<O: Kind, K: Kind>(owner: &O, object: &K, cache: &Cache<K>) -> Result<Option<Arc<K>>, Error> {
    let mut owners = object.meta().owner_references.clone().unwrap_or_default();
    owners.push(reference(owner));
    ignore_missing(cache.patch(object, json!({ "metadata": { "ownerReferences": owners } })).await)
}

async fn release<O: Kind, K: Kind>(owner: &O, object: &K, cache: &Cache<K>) -> Result<(), Error> {
    let mut owners = object.meta().owner_references.clone().unwrap_or_default();
    owners.retain(|reference| Some(&reference.uid) != owner.meta().uid.as_ref());
    ignore_missing(cache.patch(object, json!({ "metadata": { "ownerReferences": owners } })).await).map(drop)
}

fn ignore_missing<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.code() == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(selector: serde_json::Value, labels: &[(&str, &str)], expected: bool) {
        let selector: LabelSelector = serde_json::from_value(selector).unwrap();
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        assert_eq!(selects(&selector, &labels), expected);
    }

    #[test]
    fn selectors() {
        check(json!({}), &[("a", "1")], false);
        check(json!({ "matchLabels": { "a": "1" } }), &[("a", "1"), ("b", "2")], true);
        check(json!({ "matchLabels": { "a": "1", "b": "1" } }), &[("a", "1")], false);
        let expression = |operator: &str| json!({ "matchExpressions": [{ "key": "a", "operator": operator, "values": ["1", "2"] }] });
        check(expression("In"), &[("a", "2")], true);
        check(expression("In"), &[], false);
        check(expression("NotIn"), &[("a", "3")], true);
        check(expression("NotIn"), &[("a", "1")], false);
        check(expression("NotIn"), &[], true);
        check(expression("Exists"), &[("a", "9")], true);
        check(expression("DoesNotExist"), &[("a", "9")], false);
        check(expression("Bogus"), &[("a", "1")], false);
    }
}
