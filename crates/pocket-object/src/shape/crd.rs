//! Types that CRD schemas declare, as `schemaconv` of kube-openapi derives them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Link, Map, Node, Ownership, Scalar, Special, Target, types};

/// Returns the type of a whole custom resource.
pub(super) fn root(schema: &Value) -> Node {
    let mut node = node(schema, false);
    let map = node.map.get_or_insert_default();
    add_object_fields(&mut map.fields);
    node
}

/// Returns the type that a schema declares. With `open`, fields that it does not name are allowed, at any depth below, too.
fn node(schema: &Value, open: bool) -> Node {
    let is = |key: &str| schema.get(key) == Some(&Value::Bool(true));
    let open = open || is("x-kubernetes-preserve-unknown-fields");
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => Node::map(map(schema, open)),
        Some("array") => list(schema, open),
        Some("integer" | "number") => Node::scalar(Scalar::Number),
        Some("boolean") => Node::scalar(Scalar::Boolean),
        Some("string") => Node::scalar(match schema.get("format").and_then(Value::as_str).unwrap_or_default() {
            "" | "byte" => Scalar::String,
            _ => Scalar::Any,
        }),
        // A schema without a type allows a value of any type.
        _ => Node { scalar: Some(Scalar::Any), map: Some(map(schema, open)), ..list(schema, open) },
    }
}

fn map(schema: &Value, open: bool) -> Map {
    let properties = schema.get("properties").and_then(Value::as_object).filter(|properties| !properties.is_empty());
    let mut fields: BTreeMap<String, Link> = BTreeMap::new();
    for (name, property) in properties.into_iter().flatten() {
        fields.insert(name.clone(), node(property, open).into());
    }
    if schema.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true)) {
        add_object_fields(&mut fields);
    }
    let rest = match schema.get("additionalProperties") {
        None | Some(Value::Null) => (open || properties.is_none()).then(anything),
        Some(Value::Bool(allowed)) => allowed.then(anything),
        Some(nested) => Some(node(nested, open).into()),
    };
    Map { atomic: text(schema, "x-kubernetes-map-type") == "atomic", fields, rest }
}

/// Adds the fields that every whole object has.
fn add_object_fields(fields: &mut BTreeMap<String, Link>) {
    for name in ["apiVersion", "kind"] {
        fields.entry(name.to_owned()).or_insert_with(|| Node::scalar(Scalar::String).into());
    }
    if let Some(metadata) = types::object_meta() {
        fields.insert("metadata".to_owned(), metadata);
    }
}

fn list(schema: &Value, open: bool) -> Node {
    let ownership = match text(schema, "x-kubernetes-list-type") {
        "set" => Ownership::Set,
        "map" => Ownership::Keyed(keys(schema)),
        _ => Ownership::Atomic,
    };
    let element = match schema.get("items").filter(|items| items.is_object()) {
        Some(items) => node(items, open).into(),
        None => anything(),
    };
    Node::list(ownership, element)
}

fn anything() -> Link {
    Target::Special(Special::Anything).into()
}

fn text<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn keys(schema: &Value) -> Vec<(String, Option<Value>)> {
    let properties = schema.pointer("/items/properties");
    let names = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
    let mut keys: Vec<(String, Option<Value>)> = names
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
            "whole": { "type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": { "type": "string" } },
            "open": { "type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
                "inner": { "type": "object", "properties": { "a": { "type": "string" } } } } },
            "free": { "type": "object" }
        }}}}));
        let spec = root.field("spec").node();
        let tiers = spec.field("tiers").node();
        let keyed = Ownership::Keyed(vec![("kind".to_owned(), Some(json!("x"))), ("name".to_owned(), None)]);
        assert_eq!(tiers.as_list().unwrap().ownership, keyed);
        assert_eq!(tiers.element().field("tags").node().as_list().unwrap().ownership, Ownership::Set);
        assert!(spec.field("whole").node().as_map().unwrap().atomic);
        let allows = |node: &Node, name: &str| node.as_map().unwrap().field(name).is_some();
        assert!(!allows(spec, "other"));
        assert!(allows(spec.field("open").node(), "other"));
        assert!(allows(spec.field("open").node().field("inner").node(), "other"), "open is inherited");
        assert!(allows(spec.field("free").node(), "other"));
        assert!(!allows(root.field("metadata").node(), "other"));
    }
}
