//! The shape that a CRD's schema declares.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{DEFAULT, Node, Ownership, Strategy, builtin};

/// Of a whole custom resource.
pub(super) fn root(schema: &Value) -> Node {
    let mut root = node(schema);
    root.fields.insert("metadata".to_owned(), builtin::metadata());
    root
}

fn node(schema: &Value) -> Node {
    let text = |key: &str| schema.get(key).and_then(Value::as_str).unwrap_or_default();
    let ownership = match (text("x-kubernetes-list-type"), text("x-kubernetes-map-type")) {
        ("set", _) => Ownership::Set,
        ("map", _) => Ownership::Keyed(keys(schema)),
        ("atomic", _) | (_, "atomic") => Ownership::Atomic,
        _ => Ownership::Default,
    };
    let mut fields: BTreeMap<String, Arc<Node>> = BTreeMap::new();
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let node = node(property);
        if !node.is_default() {
            fields.insert(name.clone(), Arc::new(node));
        }
    }
    if schema.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true)) {
        fields.insert("metadata".to_owned(), builtin::metadata());
    }
    Node {
        ownership,
        strategy: Strategy::Default,
        fields,
        rest: child(schema.get("additionalProperties")),
        element: child(schema.get("items")),
    }
}

/// The node of a nested schema, if it says anything.
fn child(schema: Option<&Value>) -> Option<Arc<Node>> {
    let node = node(schema.filter(|schema| schema.is_object())?);
    Some(if node.is_default() { DEFAULT.clone() } else { Arc::new(node) })
}

fn keys(schema: &Value) -> Vec<(String, Option<Value>)> {
    let properties = schema.pointer("/items/properties");
    let mut keys: Vec<(String, Option<Value>)> = schema
        .get("x-kubernetes-list-map-keys")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|key| {
            let default = properties.and_then(|all| all.get(key)).and_then(|property| property.get("default"));
            (key.to_owned(), default.cloned())
        })
        .collect();
    keys.sort_by(|a, b| a.0.cmp(&b.0));
    keys
}

impl Node {
    /// Does it say nothing?
    fn is_default(&self) -> bool {
        self.ownership == Ownership::Default && self.fields.is_empty() && self.rest.is_none() && self.element.is_none()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn list_and_map_types_are_read_at_any_depth() {
        let root = root(&json!({ "type": "object", "properties": { "spec": { "type": "object", "properties": {
            "tiers": { "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name", "kind"],
                "items": { "type": "object", "properties": { "name": { "type": "string" },
                    "kind": { "type": "string", "default": "x" },
                    "tags": { "type": "array", "x-kubernetes-list-type": "set", "items": { "type": "string" } } } } },
            "whole": { "type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": { "type": "string" } }
        }}}}));
        let spec = root.field("spec");
        let tiers = spec.field("tiers");
        assert_eq!(
            tiers.ownership,
            Ownership::Keyed(vec![("kind".to_owned(), Some(json!("x"))), ("name".to_owned(), None)])
        );
        assert_eq!(tiers.element().field("tags").ownership, Ownership::Set);
        assert!(spec.field("whole").atomic_map());
        assert!(spec.field("other").atomic_list());
        assert_eq!(root.field("metadata").field("finalizers").ownership, Ownership::Set);
    }
}
