//! Pruning and defaulting by a schema.

use serde_json::Value;

use super::{Additional, Node, child_path};

/// Fields that every whole object has.
const OF_OBJECTS: &[&str] = &["apiVersion", "kind", "metadata"];

/// Drops the fields that the schema does not know.
pub(super) fn prune(node: &Node, value: &mut Value, path: &str, dropped: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            map.retain(|name, _| {
                let known = node.properties.contains_key(name)
                    || !matches!(node.additional, Additional::None)
                    || node.preserve_unknown
                    || (node.embedded && OF_OBJECTS.contains(&name.as_str()));
                if !known {
                    dropped.push(child_path(path, name, false));
                }
                known
            });
            for (name, value) in map {
                if node.embedded && OF_OBJECTS.contains(&name.as_str()) {
                    continue;
                }
                let child = node.properties.get(name).or(match &node.additional {
                    Additional::Of(nested) => Some(nested),
                    _ => None,
                });
                if let Some(child) = child {
                    prune(child, value, &child_path(path, name, false), dropped);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = &node.items {
                for (index, item) in list.iter_mut().enumerate() {
                    prune(items, item, &format!("{path}[{index}]"), dropped);
                }
            }
        }
        _ => {}
    }
}

/// Fills in defaults.
pub(super) fn default(node: &Node, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, property) in &node.properties {
                if node.embedded && OF_OBJECTS.contains(&name.as_str()) {
                    continue;
                }
                let unset = match map.get(name) {
                    None => true,
                    Some(Value::Null) => !property.nullable,
                    Some(_) => false,
                };
                if unset && let Some(default) = &property.default {
                    map.insert(name.clone(), default.clone());
                }
                if let Some(value) = map.get_mut(name) {
                    self::default(property, value);
                }
            }
            if let Additional::Of(nested) = &node.additional {
                for (name, value) in map {
                    if !node.properties.contains_key(name) {
                        self::default(nested, value);
                    }
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = &node.items {
                list.iter_mut().for_each(|item| default(items, item));
            }
        }
        _ => {}
    }
}
