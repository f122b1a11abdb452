//! Strict reading: unknown fields, and fields that occur twice in JSON.

use std::{cell::RefCell, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::shape::{Form, Node, Shape};

/// Removes the fields that a kind does not have, and reports each of them: `unknown field "spec.replica"`.
pub fn remove_unknown(shape: &Shape, object: &mut Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(shape.root(), object, &mut String::new(), &mut found);
    found
}

/// Removes the fields that the metadata of any object does not have, and reports each of them.
pub fn remove_unknown_metadata(object: &mut Value) -> Vec<String> {
    let (mut found, shape) = (Vec::new(), Shape::untyped());
    if let Some(metadata) = object.get_mut("metadata") {
        walk(shape.root().field("metadata").node(), metadata, &mut "metadata".to_owned(), &mut found);
    }
    found
}

fn walk(node: &Node, value: &mut Value, path: &mut String, found: &mut Vec<String>) {
    let length = path.len();
    match (node.form(Some(value)), value) {
        (Form::Map(map), Value::Object(fields)) => fields.retain(|name, value| {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(name);
            let link = map.field(name);
            match link {
                Some(link) => walk(link.node(), value, path, found),
                None => found.push(format!("unknown field {path:?}")),
            }
            path.truncate(length);
            link.is_some()
        }),
        (Form::List(list), Value::Array(items)) => {
            for (index, item) in items.iter_mut().enumerate() {
                path.push_str(&format!("[{index}]"));
                walk(list.element.node(), item, path, found);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

/// Returns all mistakes in one sentence.
pub fn sentence(errors: &[String]) -> String {
    format!("strict decoding error: {}", errors.join(", "))
}

/// Reads JSON. The last of several fields with one name counts; reports the duplicates: `duplicate field "spec.a"`.
pub fn from_json(bytes: &[u8]) -> Result<(Value, Vec<String>), serde_json::Error> {
    let duplicates = RefCell::new(Vec::new());
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Place { path: String::new(), duplicates: &duplicates }.deserialize(&mut reader)?;
    reader.end()?;
    Ok((value, duplicates.into_inner()))
}

/// Place in a document that is being read.
struct Place<'a> {
    path: String,
    duplicates: &'a RefCell<Vec<String>>,
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let path = format!("{}[{}]", self.path, list.len());
            match items.next_element_seed(Place { path, duplicates: self.duplicates })? {
                Some(item) => list.push(item),
                None => return Ok(list.into()),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let path = if self.path.is_empty() { name.clone() } else { format!("{}.{name}", self.path) };
            let value = fields.next_value_seed(Place { path: path.clone(), duplicates: self.duplicates })?;
            if map.insert(name, value).is_some() {
                let text = format!("duplicate field {path:?}");
                let mut duplicates = self.duplicates.borrow_mut();
                if !duplicates.contains(&text) {
                    duplicates.push(text);
                }
            }
        }
        Ok(map.into())
    }
}

/// Returns JSON as Go prints it: `map[a:1 b:[x y]]`.
pub fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(go_text).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{name}:{}", go_text(value)));
            format!("map[{}]", fields.collect::<Vec<_>>().join(" "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::testing::any_json;

    #[test]
    fn unknown_fields_are_found_at_any_depth() {
        let deployment = Shape::builtin("apps", "Deployment");
        let check = |object: Value, want: &[&str]| {
            let mut pruned = object.clone();
            assert_eq!(remove_unknown(&deployment, &mut pruned), want, "{object}");
            assert_eq!(remove_unknown(&deployment, &mut pruned), Vec::<String>::new());
        };
        check(
            json!({ "metadata": { "labels": { "any": "x" } }, "spec": { "replicas": 1, "template": { "spec": {
                "containers": [{ "name": "a", "resources": { "limits": { "any.dev/thing": 1 } } }] } } } }),
            &[],
        );
        check(json!({ "spec": { "replica": 1 } }), &["unknown field \"spec.replica\""]);
        check(
            json!({ "x": 1, "spec": { "template": { "spec": { "containers": [{}, { "nam": "a" }] } } } }),
            &["unknown field \"spec.template.spec.containers[1].nam\"", "unknown field \"x\""],
        );
        let mut custom = json!({ "metadata": { "name": "x", "nam": "y" }, "spec": {} });
        assert_eq!(remove_unknown_metadata(&mut custom), ["unknown field \"metadata.nam\""]);
    }

    #[test]
    fn a_definition_may_hold_any_default() {
        let shape = Shape::builtin("apiextensions.k8s.io", "CustomResourceDefinition");
        let mut object = json!({ "spec": { "versions": [{ "schema": { "openAPIV3Schema": { "properties": {
            "a": { "default": { "any": ["x", 1] }, "additionalProperties": true, "items": { "type": "string" }, "typ": 1 } } } } }] } });
        let path = "spec.versions[0].schema.openAPIV3Schema.properties.a.typ";
        assert_eq!(remove_unknown(&shape, &mut object), [format!("unknown field {path:?}")]);
    }

    #[test]
    fn duplicates_are_found_and_the_last_counts() {
        let (value, duplicates) =
            from_json(br#"{"a": {"b": 1, "b": 2, "b": 3}, "c": [{"d": 1}, {"d": 1, "d": null}], "a": 5}"#).unwrap();
        assert_eq!(value, json!({ "a": 5, "c": [{ "d": 1 }, { "d": null }] }));
        assert_eq!(duplicates, ["duplicate field \"a.b\"", "duplicate field \"c[1].d\"", "duplicate field \"a\""]);
        assert!(from_json(b"{\"a\": 1} x").is_err());
        assert!(from_json(b"{").is_err());
    }

    #[test]
    fn maps_are_printed_as_go_does() {
        assert_eq!(go_text(&json!({ "b": [1, "x"], "a": null })), "map[a:<nil> b:[1 x]]");
    }

    proptest! {
        #[test]
        fn json_is_read_as_serde_reads_it(value in any_json()) {
            let text = value.to_string();
            prop_assert_eq!(from_json(text.as_bytes()).unwrap(), (value, Vec::new()));
        }
    }
}
