//! Compilation of a schema, and checks of it.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use super::{Additional, Bounds, Limits, ListType, Node, Type, cel, validate};
use crate::{
    FieldError,
    json::{entries, list, text, truth},
};

/// Greatest depth of a schema: deeper ones do not occur in practice, and a walk over them must not exhaust the stack.
const MAX_DEPTH: usize = 100;

/// Parser of a schema, with the mistakes that it found.
struct Parser {
    errors: Vec<FieldError>,
}

pub(super) fn root(schema: &Value) -> Result<Node, Vec<FieldError>> {
    let mut parser = Parser { errors: Vec::new() };
    if !schema.is_object() {
        return Err(vec![FieldError::required("", "schemas are required")]);
    }
    let mut root = parser.node(schema, "", true, 0);
    root.embedded = true;
    match root.type_ {
        Some(Type::Object) => {}
        Some(_) => {
            let value = schema.get("type").unwrap_or(&Value::Null);
            parser.errors.push(FieldError::invalid("type", value, "must be object at the root"));
        }
        None => {
            if !parser.errors.iter().any(|error| error.path == "type") {
                parser.errors.push(FieldError::required("type", "must not be empty at the root"));
            }
        }
    }
    if parser.errors.is_empty() {
        cel::compile(&mut root, &mut parser.errors);
    }
    if parser.errors.is_empty() {
        check_defaults(&root, "", &mut parser.errors);
    }
    if parser.errors.is_empty() { Ok(root) } else { Err(parser.errors) }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

impl Parser {
    /// Compiles a schema. `structural`: it declares the type of the value, and does not only limit it (in `anyOf` and the like).
    fn node(&mut self, schema: &Value, path: &str, structural: bool, depth: usize) -> Node {
        if depth > MAX_DEPTH {
            self.errors.push(FieldError::forbidden(path, format!("must not nest deeper than {MAX_DEPTH}")));
            return Node::default();
        }
        let mut node = Node {
            type_: self.type_of(schema, path, structural),
            nullable: truth(schema, "/nullable"),
            int_or_string: truth(schema, "/x-kubernetes-int-or-string"),
            preserve_unknown: truth(schema, "/x-kubernetes-preserve-unknown-fields"),
            embedded: truth(schema, "/x-kubernetes-embedded-resource"),
            default: schema.get("default").cloned(),
            ..Node::default()
        };
        for field in [
            "$ref",
            "definitions",
            "dependencies",
            "deprecated",
            "discriminator",
            "id",
            "patternProperties",
            "readOnly",
            "writeOnly",
            "xml",
        ] {
            if schema.get(field).is_some() {
                self.errors.push(FieldError::forbidden(join(path, field), "must not be set"));
            }
        }
        if truth(schema, "/uniqueItems") {
            let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            self.errors.push(FieldError::forbidden(join(path, "uniqueItems"), detail));
        }
        if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
            let detail = "must be true or undefined";
            self.errors.push(FieldError::invalid(
                join(path, "x-kubernetes-preserve-unknown-fields"),
                &Value::Bool(false),
                detail,
            ));
        }

        for (name, property) in entries(schema, "/properties") {
            let path = format!("{}[{name}]", join(path, "properties"));
            // The metadata that every object has is not defined by the schema.
            let inner = structural && !(node.embedded || depth == 0)
                || !["metadata", "apiVersion", "kind"].contains(&name.as_str());
            let property = self.node(property, &path, structural && inner, depth + 1);
            node.properties.insert(name.clone(), property);
        }
        match schema.get("additionalProperties") {
            None | Some(Value::Bool(false) | Value::Null) => {}
            Some(Value::Bool(true)) => node.additional = Additional::Any,
            Some(nested) => {
                if !node.properties.is_empty() {
                    self.errors.push(FieldError::forbidden(
                        join(path, "additionalProperties"),
                        "additionalProperties and properties are mutual exclusive",
                    ));
                }
                let nested = self.node(nested, &join(path, "additionalProperties"), structural, depth + 1);
                node.additional = Additional::Of(Box::new(nested));
            }
        }
        if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
            node.items = Some(Box::new(self.node(items, &join(path, "items"), structural, depth + 1)));
        } else if node.type_ == Some(Type::Array) && structural {
            self.errors.push(FieldError::required(join(path, "items"), "must be specified"));
        }
        node.list_type = self.list_type(schema, &node, path);
        node.limits = self.limits(schema, path, depth);
        node.rules = cel::read(schema, path, &mut self.errors);
        node
    }

    fn type_of(&mut self, schema: &Value, path: &str, structural: bool) -> Option<Type> {
        let at = join(path, "type");
        let any =
            truth(schema, "/x-kubernetes-int-or-string") || truth(schema, "/x-kubernetes-preserve-unknown-fields");
        match schema.get("type") {
            None | Some(Value::Null) => {
                if structural && !any && !path.is_empty() {
                    self.errors.push(FieldError::required(at, "must not be empty for specified object fields"));
                }
                None
            }
            Some(_) if structural && truth(schema, "/x-kubernetes-int-or-string") => {
                let detail = "must be empty if x-kubernetes-int-or-string is true";
                self.errors.push(FieldError::forbidden(at, detail));
                None
            }
            Some(value) => match value.as_str() {
                Some("object") => Some(Type::Object),
                Some("array") => Some(Type::Array),
                Some("string") => Some(Type::String),
                Some("integer") => Some(Type::Integer),
                Some("number") => Some(Type::Number),
                Some("boolean") => Some(Type::Boolean),
                _ => {
                    let types = ["array", "boolean", "integer", "number", "object", "string"];
                    self.errors.push(FieldError::not_supported(at, value, &types));
                    None
                }
            },
        }
    }

    fn list_type(&mut self, schema: &Value, node: &Node, path: &str) -> ListType {
        let at = join(path, "x-kubernetes-list-type");
        let Some(kind) = schema.get("x-kubernetes-list-type") else { return ListType::Atomic };
        if node.type_ != Some(Type::Array) {
            self.errors.push(FieldError::invalid(
                join(path, "type"),
                schema.get("type").unwrap_or(&Value::Null),
                "must be array if x-kubernetes-list-type is specified",
            ));
        }
        match kind.as_str() {
            Some("atomic") => ListType::Atomic,
            Some("set") => ListType::Set,
            Some("map") => {
                let keys: Vec<String> = list(schema, "/x-kubernetes-list-map-keys")
                    .iter()
                    .filter_map(|key| key.as_str().map(str::to_owned))
                    .collect();
                let at = join(path, "x-kubernetes-list-map-keys");
                if keys.is_empty() {
                    self.errors.push(FieldError::required(at, "must not be empty if x-kubernetes-list-type is map"));
                    return ListType::Map(keys);
                }
                for (index, key) in keys.iter().enumerate() {
                    let found = node.items.as_ref().and_then(|items| items.properties.get(key));
                    let scalar = found.is_some_and(|key| !matches!(key.type_, Some(Type::Object | Type::Array)));
                    if !scalar {
                        let detail = "must name a scalar property of the list's items";
                        self.errors.push(FieldError::invalid(
                            format!("{at}[{index}]"),
                            &Value::from(key.as_str()),
                            detail,
                        ));
                    } else if let Some(items) = &node.items
                        && !items.limits.required.contains(key)
                        && items.properties.get(key).is_none_or(|property| property.default.is_none())
                    {
                        let at = format!("{}.properties[{key}].default", join(path, "items"));
                        let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                        self.errors.push(FieldError::required(at, detail));
                    }
                }
                ListType::Map(keys)
            }
            _ => {
                self.errors.push(FieldError::not_supported(at, kind, &["atomic", "map", "set"]));
                ListType::Atomic
            }
        }
    }

    fn limits(&mut self, schema: &Value, path: &str, depth: usize) -> Limits {
        let number = |key: &str| schema.get(key).and_then(Value::as_f64);
        let pattern = text(schema, "/pattern");
        let mut limits = Limits {
            required: list(schema, "/required").iter().filter_map(|name| name.as_str().map(str::to_owned)).collect(),
            allowed: list(schema, "/enum").to_vec(),
            pattern: None,
            format: text(schema, "/format").to_owned(),
            minimum: number("minimum").map(|value| (value, truth(schema, "/exclusiveMinimum"))),
            maximum: number("maximum").map(|value| (value, truth(schema, "/exclusiveMaximum"))),
            multiple_of: number("multipleOf").filter(|value| *value != 0.0),
            length: bounds(schema, "minLength", "maxLength"),
            items: bounds(schema, "minItems", "maxItems"),
            properties: bounds(schema, "minProperties", "maxProperties"),
            ..Limits::default()
        };
        if !pattern.is_empty() {
            match Regex::new(pattern) {
                Ok(regex) => limits.pattern = Some(regex),
                Err(error) => self.errors.push(FieldError::invalid(
                    join(path, "pattern"),
                    &Value::from(pattern),
                    format!("must be a valid regular expression, but isn't: {error}"),
                )),
            }
        }
        let mut nested = |key: &str| -> Vec<Node> {
            let all = list(schema, &format!("/{key}")).iter().enumerate();
            all.map(|(index, one)| self.node(one, &format!("{}[{index}]", join(path, key)), false, depth + 1)).collect()
        };
        limits.all_of = nested("allOf");
        limits.any_of = nested("anyOf");
        limits.one_of = nested("oneOf");
        if let Some(not) = schema.get("not") {
            limits.not = Some(Box::new(self.node(not, &join(path, "not"), false, depth + 1)));
        }
        limits
    }
}

fn bounds(schema: &Value, min: &str, max: &str) -> Bounds {
    let number = |key: &str| schema.get(key).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
    Bounds { min: number(min), max: number(max) }
}

/// Checks that each default is itself valid.
fn check_defaults(node: &Node, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(default) = &node.default {
        let mut completed = default.clone();
        super::shape::default(node, &mut completed);
        let mut found = Vec::new();
        validate::check(node, &completed, None, "", &mut found);
        let at = join(path, "default");
        errors.extend(found.into_iter().map(|error| {
            let path = if error.path.is_empty() { at.clone() } else { format!("{at}.{}", error.path) };
            FieldError { path, ..error }
        }));
    }
    let properties: &BTreeMap<String, Node> = &node.properties;
    for (name, property) in properties {
        check_defaults(property, &format!("{}[{name}]", join(path, "properties")), errors);
    }
    if let Additional::Of(nested) = &node.additional {
        check_defaults(nested, &join(path, "additionalProperties"), errors);
    }
    if let Some(items) = &node.items {
        check_defaults(items, &join(path, "items"), errors);
    }
}
