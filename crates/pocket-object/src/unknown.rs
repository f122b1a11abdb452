//! Fields that a kind does not have.

use serde_json::Value;

use crate::json::text;

/// References that lead to references end here.
const MAX_REFERENCES: usize = 8;

/// The unknown fields of an object, given its kind's OpenAPI v3 schema (with references into `components.schemas`,
/// `definitions` or `$defs` of the same document, or inlined): `unknown field "spec.replica"`.
pub fn unknown_fields(schema: &Value, object: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(schema, schema, object, "", &mut found);
    found.into_iter().map(|path| format!("unknown field {path:?}")).collect()
}

fn walk(document: &Value, schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let Some(schemas) = flatten(document, schema) else { return };
    match value {
        Value::Object(map) => {
            // A schema that names no properties says nothing of them: quantities, raw extensions, plain maps.
            let open = schemas.iter().any(|schema| {
                schema.get("additionalProperties").is_some_and(|more| *more != false)
                    || text(schema, "/type") == "object" && schema.get("properties").is_none()
                    || schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true))
            });
            let names_any = schemas.iter().any(|schema| schema.get("properties").is_some());
            for (name, value) in map {
                let at = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                let property = schemas.iter().find_map(|schema| schema.get("properties")?.get(name));
                let more = || {
                    schemas.iter().find_map(|schema| schema.get("additionalProperties").filter(|more| more.is_object()))
                };
                match property.or_else(more) {
                    Some(nested) => walk(document, nested, value, &at, found),
                    None if names_any && !open => found.push(at),
                    None => {}
                }
            }
        }
        Value::Array(items) => {
            if let Some(nested) =
                schemas.iter().find_map(|schema| schema.get("items").filter(|items| items.is_object()))
            {
                for (index, item) in items.iter().enumerate() {
                    walk(document, nested, item, &format!("{path}[{index}]"), found);
                }
            }
        }
        _ => {}
    }
}

/// A schema with its references and combinations resolved to plain ones. `None`: one of them cannot be followed, so
/// nothing can be said.
fn flatten<'a>(document: &'a Value, schema: &'a Value) -> Option<Vec<&'a Value>> {
    fn add<'a>(document: &'a Value, schema: &'a Value, depth: usize, all: &mut Vec<&'a Value>) -> Option<()> {
        if depth > MAX_REFERENCES {
            return None;
        }
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let pointer = reference.strip_prefix('#')?;
            let name = pointer.rsplit('/').next()?;
            let target = document.pointer(pointer).or_else(|| {
                ["/components/schemas", "/definitions", "/$defs"]
                    .iter()
                    .find_map(|place| document.pointer(place)?.get(name))
            })?;
            add(document, target, depth + 1, all)?;
        }
        for key in ["allOf", "anyOf", "oneOf"] {
            for nested in schema.get(key).and_then(Value::as_array).into_iter().flatten() {
                add(document, nested, depth + 1, all)?;
            }
        }
        all.push(schema);
        Some(())
    }
    let mut all = Vec::new();
    add(document, schema, 0, &mut all).map(|()| all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::testing::any_json;

    #[test]
    fn unknown_fields_are_found_at_any_depth() {
        let schema = json!({ "type": "object", "properties": {
                "spec": { "allOf": [{ "$ref": "#/components/schemas/Spec" }], "default": {} },
                "labels": { "type": "object", "additionalProperties": { "type": "string" } },
                "raw": { "type": "object" } },
            "components": { "schemas": {
                "Spec": { "type": "object", "properties": { "replicas": { "type": "integer" },
                    "containers": { "type": "array", "items": { "$ref": "#/components/schemas/Container" } },
                    "self": { "$ref": "#/components/schemas/Spec" } } },
                "Container": { "type": "object", "properties": { "name": { "type": "string" } } } } } });
        let check = |object: Value, want: &[&str]| assert_eq!(unknown_fields(&schema, &object), want, "{object}");
        check(
            json!({ "spec": { "replicas": 1, "containers": [{ "name": "a" }] }, "labels": { "any": "x" }, "raw": { "any": 1 } }),
            &[],
        );
        check(json!({ "spec": { "replica": 1 } }), &["unknown field \"spec.replica\""]);
        check(
            json!({ "spec": { "containers": [{}, { "nam": "a" }] }, "x": 1 }),
            &["unknown field \"spec.containers[1].nam\"", "unknown field \"x\""],
        );
        check(json!({ "spec": { "self": { "self": { "no": 1 } } } }), &["unknown field \"spec.self.self.no\""]);
        assert_eq!(unknown_fields(&json!({ "$ref": "#/nowhere" }), &json!({ "a": 1 })), Vec::<String>::new());
        assert_eq!(unknown_fields(&json!({ "$ref": "#" }), &json!({ "a": 1 })), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn no_schema_panics(schema in any_json(), object in any_json()) {
            unknown_fields(&schema, &object);
        }
    }
}
