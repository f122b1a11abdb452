//! Strategic merge patch: a merge patch that knows which lists have keys.

use serde_json::{Map, Value};

use super::PatchError;
use crate::shape::{Link, Node, Strategy};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";

type Object = Map<String, Value>;

/// Merges `patch` into `original`. `path` is for messages: empty, or with a dot at its end.
pub(super) fn merge_map(original: &Object, patch: &Object, node: &Node, path: &str) -> Result<Object, PatchError> {
    match patch.get(DIRECTIVE).map(|directive| directive.as_str().unwrap_or_default()) {
        None | Some("merge") => {}
        Some("replace") => {
            return Ok(patch
                .iter()
                .filter(|(key, _)| *key != DIRECTIVE)
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect());
        }
        Some("delete") => return Ok(Object::new()),
        Some(other) => {
            return Err(PatchError::BadRequest(format!("Unknown patch type: {other:?} found in {}", show(path))));
        }
    }

    let mut merged = original.clone();
    if let Some(retain) = patch.get(RETAIN_KEYS) {
        retain_keys(&mut merged, patch, retain, path)?;
    }

    for (key, value) in patch {
        if let Some(list) = key.strip_prefix(DELETE_PRIMITIVES) {
            let gone = expect_list(value, key, path)?;
            if let Some(Value::Array(items)) = merged.get_mut(list) {
                items.retain(|item| !gone.contains(item));
            }
        }
    }

    for (key, value) in patch {
        if key.starts_with('$') {
            if !is_directive(key) {
                return Err(PatchError::BadRequest(format!("unknown directive {key:?} in {}", show(path))));
            }
            continue;
        }
        let child = node.field(key);
        let child_path = format!("{path}{key}.");
        match (merged.get(key), value) {
            (_, Value::Null) => {
                merged.remove(key);
            }
            (Some(Value::Object(old)), Value::Object(new)) if child.strategy != Strategy::Replace => {
                let value = merge_map(old, new, child.node(), &child_path)?;
                merged.insert(key.clone(), Value::Object(value));
            }
            (Some(Value::Array(old)), Value::Array(new)) => {
                let value = merge_list(old, new, child, &child_path)?;
                merged.insert(key.clone(), Value::Array(value));
            }
            (_, Value::Object(new)) => {
                if let Some(value) = merge_new(new, child.node(), &child_path)? {
                    merged.insert(key.clone(), value);
                } else {
                    merged.remove(key);
                }
            }
            (_, Value::Array(new)) => {
                merged.insert(key.clone(), Value::Array(merge_list(&[], new, child, &child_path)?));
            }
            (_, value) => {
                merged.insert(key.clone(), value.clone());
            }
        }
    }

    for (key, order) in patch {
        let Some(list) = key.strip_prefix(SET_ORDER) else { continue };
        let order = expect_list(order, key, path)?;
        let old = original.get(list).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if let Some(Value::Array(items)) = merged.get_mut(list) {
            *items = set_order(std::mem::take(items), order, old, &node.field(list).strategy);
        }
    }
    Ok(merged)
}

/// Returns a patch's map for a place that had none: without nulls and directives. `None` if its directive is `delete`.
fn merge_new(patch: &Object, node: &Node, path: &str) -> Result<Option<Value>, PatchError> {
    if patch.get(DIRECTIVE).and_then(Value::as_str) == Some("delete") {
        return Ok(None);
    }
    merge_map(&Object::new(), patch, node, path).map(|map| Some(Value::Object(map)))
}

fn is_directive(key: &str) -> bool {
    key == DIRECTIVE || key == RETAIN_KEYS || key.starts_with(SET_ORDER) || key.starts_with(DELETE_PRIMITIVES)
}

fn retain_keys(merged: &mut Object, patch: &Object, retain: &Value, path: &str) -> Result<(), PatchError> {
    let retain = expect_list(retain, RETAIN_KEYS, path)?;
    for (key, value) in patch {
        if !key.starts_with('$') && !value.is_null() && !retain.iter().any(|name| name.as_str() == Some(key)) {
            return Err(PatchError::BadRequest(format!(
                "{RETAIN_KEYS} list doesn't contain {key:?}, which the patch sets, in {}",
                show(path)
            )));
        }
    }
    merged.retain(|key, _| retain.iter().any(|name| name.as_str() == Some(key)));
    Ok(())
}

fn merge_list(old: &[Value], patch: &[Value], link: &Link, path: &str) -> Result<Vec<Value>, PatchError> {
    match &link.strategy {
        Strategy::MergeBy(key) => merge_keyed(old, patch, key, link.node().element(), path),
        Strategy::Merge => {
            let mut merged = old.to_vec();
            for item in patch {
                if !merged.contains(item) {
                    merged.push(item.clone());
                }
            }
            Ok(merged)
        }
        // A list that is replaced must not keep directives, either, so each element is treated as new.
        Strategy::Default | Strategy::Replace => Ok(patch
            .iter()
            .filter(|item| directive(item).is_none_or(|directive| directive == "merge"))
            .map(without_directives)
            .collect()),
    }
}

fn merge_keyed(old: &[Value], patch: &[Value], key: &str, node: &Node, path: &str) -> Result<Vec<Value>, PatchError> {
    let replace = patch.iter().any(|item| directive(item) == Some("replace"));
    let mut merged: Vec<Value> = if replace { Vec::new() } else { old.to_vec() };
    for item in patch {
        let Value::Object(item) = item else {
            return Err(PatchError::BadRequest(format!("an element of {} is no object", show(path))));
        };
        let directive = item.get(DIRECTIVE).map(|directive| directive.as_str().unwrap_or_default());
        if directive == Some("replace") && item.len() == 1 {
            continue;
        }
        let Some(id) = item.get(key) else {
            return Err(PatchError::BadRequest(format!(
                "map: {} does not contain declared merge key: {key}, in {}",
                Value::Object(item.clone()),
                show(path)
            )));
        };
        let place = merged.iter().position(|old| old.get(key) == Some(id));
        match directive {
            Some("delete") => merged.retain(|old| old.get(key) != Some(id)),
            None | Some("merge" | "replace") => {
                let (before, at) = match place {
                    Some(at) => (merged[at].as_object().cloned().unwrap_or_default(), at),
                    None => (Object::new(), merged.len()),
                };
                let value = Value::Object(merge_map(&before, item, node, path)?);
                if at < merged.len() { merged[at] = value } else { merged.push(value) }
            }
            Some(other) => {
                return Err(PatchError::BadRequest(format!("Unknown patch type: {other:?} found in {}", show(path))));
            }
        }
    }
    Ok(merged)
}

/// Orders a merged list: the elements that `order` names come in that order; those that only the server has keep their place among them.
fn set_order(items: Vec<Value>, order: &[Value], old: &[Value], strategy: &Strategy) -> Vec<Value> {
    let id = |item: &Value| match strategy {
        Strategy::MergeBy(key) => item.get(key).cloned().unwrap_or_default(),
        _ => item.clone(),
    };
    let rank = |item: &Value| {
        let wanted = id(item);
        order.iter().position(|other| id(other) == wanted)
    };
    let was = |item: &Value| {
        let wanted = id(item);
        old.iter().position(|other| id(other) == wanted)
    };
    let (mut named, mut others): (Vec<Value>, Vec<Value>) = items.into_iter().partition(|item| rank(item).is_some());
    named.sort_by_key(|item| rank(item));
    others.sort_by_key(|item| was(item).unwrap_or(usize::MAX));

    let mut named = named.into_iter().peekable();
    let mut others = others.into_iter().peekable();
    let mut ordered = Vec::new();
    loop {
        let first = match (named.peek(), others.peek()) {
            (None, None) => return ordered,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(a), Some(b)) => matches!((was(a), was(b)), (Some(a), Some(b)) if a < b),
        };
        ordered.extend(if first { named.next() } else { others.next() });
    }
}

fn directive(item: &Value) -> Option<&str> {
    item.get(DIRECTIVE).map(|directive| directive.as_str().unwrap_or_default())
}

fn without_directives(item: &Value) -> Value {
    let Value::Object(map) = item else { return item.clone() };
    Value::Object(
        map.iter()
            .filter(|(key, value)| !is_directive(key) && !value.is_null())
            .map(|(key, value)| (key.clone(), without_directives(value)))
            .collect(),
    )
}

fn expect_list<'a>(value: &'a Value, key: &str, path: &str) -> Result<&'a [Value], PatchError> {
    value
        .as_array()
        .map(Vec::as_slice)
        .ok_or_else(|| PatchError::BadRequest(format!("{key:?} must be a list, in {}", show(path))))
}

fn show(path: &str) -> &str {
    if path.is_empty() { "the patch" } else { path.trim_end_matches('.') }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{Shape, patch::strategic_merge_patch};
    use serde_json::Value;

    fn check(group: &str, kind: &str, object: Value, patch: Value, want: Value) {
        let got = strategic_merge_patch(&object, &patch, &Shape::builtin(group, kind)).unwrap();
        assert_eq!(got, want, "{patch}");
    }

    #[test]
    fn containers_merge_by_name() {
        check(
            "apps",
            "Deployment",
            json!({ "spec": { "template": { "spec": { "containers": [{ "name": "a", "image": "a:1", "env": [{ "name": "X", "value": "1" }] }, { "name": "b" }] } } } }),
            json!({ "spec": { "template": { "spec": { "containers": [{ "name": "a", "image": "a:2", "env": [{ "name": "Y", "value": "2" }] }, { "name": "c" }] } } } }),
            json!({ "spec": { "template": { "spec": { "containers": [
                { "name": "a", "image": "a:2", "env": [{ "name": "X", "value": "1" }, { "name": "Y", "value": "2" }] }, { "name": "b" }, { "name": "c" }] } } } }),
        );
    }

    #[test]
    fn directives_delete_replace_and_order() {
        let pod = json!({ "spec": { "containers": [{ "name": "a" }, { "name": "b" }, { "name": "c" }] } });
        check(
            "",
            "Pod",
            pod.clone(),
            json!({ "spec": { "containers": [{ "name": "b", "$patch": "delete" }] } }),
            json!({ "spec": { "containers": [{ "name": "a" }, { "name": "c" }] } }),
        );
        check(
            "",
            "Pod",
            pod.clone(),
            json!({ "spec": { "containers": [{ "$patch": "replace" }, { "name": "z" }] } }),
            json!({ "spec": { "containers": [{ "name": "z" }] } }),
        );
        check(
            "",
            "Pod",
            pod.clone(),
            json!({ "spec": { "$patch": "replace", "nodeName": "n" } }),
            json!({ "spec": { "nodeName": "n" } }),
        );
        check("", "Pod", pod.clone(), json!({ "spec": { "$patch": "delete" } }), json!({ "spec": {} }));
        check(
            "",
            "Pod",
            pod.clone(),
            json!({ "spec": { "$setElementOrder/containers": [{ "name": "c" }, { "name": "a" }], "containers": [{ "name": "a", "image": "i" }] } }),
            json!({ "spec": { "containers": [{ "name": "b" }, { "name": "c" }, { "name": "a", "image": "i" }] } }),
        );
        check(
            "",
            "Pod",
            pod,
            json!({ "spec": { "containers": [{ "name": "a", "image": null }], "nodeName": null } }),
            json!({ "spec": { "containers": [{ "name": "a" }, { "name": "b" }, { "name": "c" }] } }),
        );
    }

    #[test]
    fn finalizers_are_added_and_deleted_one_by_one() {
        check(
            "",
            "Pod",
            json!({ "metadata": { "finalizers": ["a", "b"] } }),
            json!({ "metadata": { "finalizers": ["b", "c"] } }),
            json!({ "metadata": { "finalizers": ["a", "b", "c"] } }),
        );
        check(
            "",
            "Pod",
            json!({ "metadata": { "finalizers": ["a", "b"] } }),
            json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": ["a"] } }),
            json!({ "metadata": { "finalizers": ["b"] } }),
        );
        check(
            "",
            "Pod",
            json!({}),
            json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": ["a"] } }),
            json!({ "metadata": {} }),
        );
    }

    #[test]
    fn retain_keys_clears_the_rest() {
        check(
            "apps",
            "Deployment",
            json!({ "spec": { "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1 } } } }),
            json!({ "spec": { "strategy": { "$retainKeys": ["type"], "type": "Recreate" } } }),
            json!({ "spec": { "strategy": { "type": "Recreate" } } }),
        );
    }

    #[test]
    fn service_ports_merge_by_port_and_lists_without_a_key_are_replaced() {
        check(
            "",
            "Service",
            json!({ "spec": { "ports": [{ "port": 80, "name": "a" }] } }),
            json!({ "spec": { "ports": [{ "port": 80, "targetPort": 8080 }, { "port": 81 }] } }),
            json!({ "spec": { "ports": [{ "port": 80, "name": "a", "targetPort": 8080 }, { "port": 81 }] } }),
        );
        check(
            "",
            "Pod",
            json!({ "spec": { "tolerations": [{ "key": "a" }] } }),
            json!({ "spec": { "tolerations": [{ "key": "b" }] } }),
            json!({ "spec": { "tolerations": [{ "key": "b" }] } }),
        );
        check(
            "",
            "Service",
            json!({ "spec": { "selector": { "a": "1", "b": "2" } } }),
            json!({ "spec": { "selector": { "b": null, "c": "3" } } }),
            json!({ "spec": { "selector": { "a": "1", "c": "3" } } }),
        );
        check(
            "policy",
            "PodDisruptionBudget",
            json!({ "spec": { "selector": { "matchLabels": { "a": "1" } } } }),
            json!({ "spec": { "selector": { "matchLabels": { "b": "1" } } } }),
            json!({ "spec": { "selector": { "matchLabels": { "b": "1" } } } }),
        );
    }

    #[test]
    fn nonsense_is_refused() {
        let refused = |patch: Value| {
            let pod = json!({ "spec": { "containers": [{ "name": "a" }] } });
            strategic_merge_patch(&pod, &patch, &Shape::builtin("", "Pod")).unwrap_err().to_string()
        };
        assert!(
            refused(json!({ "spec": { "containers": [{ "image": "x" }] } }))
                .contains("does not contain declared merge key: name")
        );
        assert!(refused(json!({ "spec": { "$patch": "explode" } })).contains("Unknown patch type"));
        assert!(refused(json!({ "spec": { "containers": ["x"] } })).contains("is no object"));
        assert!(refused(json!([])).contains("must be a JSON object"));
    }
}
