//! Checks of values against a schema, without CEL rules.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{Additional, Bounds, ListType, Node, Type, child_path, format};
use crate::FieldError;

/// Checks `value`. Reports nothing for a value that is unchanged from `old`.
pub(super) fn check(node: &Node, value: &Value, old: Option<&Value>, path: &str, errors: &mut Vec<FieldError>) {
    if old == Some(value) {
        return;
    }
    if value.is_null() && node.nullable {
        return;
    }
    if !type_fits(node, value, path, errors) {
        return;
    }
    limits(node, value, path, errors);
    match value {
        Value::Object(map) => object(node, map, old, path, errors),
        Value::Array(items) => list(node, items, old, path, errors),
        _ => {}
    }
}

/// Returns the name of a value's type, as messages have it.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Returns `spec.replicas in body must be …`, in the words of Kubernetes' OpenAPI validation.
fn in_body(path: &str, rest: &str) -> String {
    if path.is_empty() { rest.to_owned() } else { format!("{path} in body {rest}") }
}

/// Returns whether a value has the type that its schema declares.
pub(super) fn has_type(node: &Node, value: &Value) -> bool {
    if node.int_or_string {
        return value.is_string() || value.is_i64() || value.is_u64();
    }
    match node.type_ {
        None => true,
        Some(Type::Object) => value.is_object(),
        Some(Type::Array) => value.is_array(),
        Some(Type::String) => value.is_string(),
        Some(Type::Boolean) => value.is_boolean(),
        Some(Type::Number) => value.is_number(),
        Some(Type::Integer) => value.as_f64().is_some_and(|number| number.fract() == 0.0),
    }
}

fn type_fits(node: &Node, value: &Value, path: &str, errors: &mut Vec<FieldError>) -> bool {
    let fits = has_type(node, value);
    if !fits {
        let wanted = if node.int_or_string { "integer,string" } else { node.type_.map_or("any", Type::name) };
        let detail = in_body(path, &format!("must be of type {wanted}: {:?}", type_name(value)));
        errors.push(FieldError::type_invalid(path, &Value::from(type_name(value)), detail));
    }
    fits
}

fn limits(node: &Node, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let limits = &node.limits;
    let mut invalid = |text: String| errors.push(FieldError::invalid(path, value, in_body(path, &text)));
    match value {
        Value::String(text) => {
            let length = text.chars().count();
            if let Some(min) = limits.length.min.filter(|min| length < *min) {
                invalid(format!("should be at least {min} chars long"));
            }
            if let Some(pattern) = limits.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
                invalid(format!("should match '{pattern}'"));
            }
            if !limits.format.is_empty() && !node.int_or_string && !format::matches(&limits.format, text) {
                invalid(format!("must be of type {}: {text:?}", limits.format));
            }
            if let Some(max) = limits.length.max.filter(|max| length > *max) {
                errors.push(FieldError::too_long(path, max));
            }
        }
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            match limits.minimum {
                Some((min, true)) if number <= min => invalid(format!("should be greater than {min}")),
                Some((min, false)) if number < min => invalid(format!("should be greater than or equal to {min}")),
                _ => {}
            }
            match limits.maximum {
                Some((max, true)) if number >= max => invalid(format!("should be less than {max}")),
                Some((max, false)) if number > max => invalid(format!("should be less than or equal to {max}")),
                _ => {}
            }
            if let Some(multiple) = limits.multiple_of.filter(|multiple| (number / multiple).fract() != 0.0) {
                invalid(format!("should be a multiple of {multiple}"));
            }
            if limits.format == "int32" && value.as_i64().is_none_or(|number| i32::try_from(number).is_err()) {
                invalid(format!("must be of type int32: {value}"));
            }
        }
        _ => {}
    }
    let limits = &node.limits;
    if !limits.allowed.is_empty() && !limits.allowed.contains(value) {
        let allowed: Vec<String> = limits.allowed.iter().map(Value::to_string).collect();
        errors.push(FieldError {
            detail: format!("supported values: {}", allowed.join(", ")),
            ..FieldError::not_supported(path, value, &[])
        });
    }
    combined(node, value, path, errors);
}

/// Checks `allOf`, `anyOf`, `oneOf`, `not`.
fn combined(node: &Node, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let limits = &node.limits;
    let fits = |node: &Node| {
        let mut found = Vec::new();
        check(node, value, None, path, &mut found);
        found.is_empty()
    };
    let mut invalid = |text: &str| {
        let place = if path.is_empty() { "<nil>" } else { path };
        errors.push(FieldError::invalid(path, &Value::from(type_name(value)), format!("{place:?} {text}")));
    };
    if !limits.any_of.is_empty() && !limits.any_of.iter().any(fits) {
        invalid("must validate at least one schema (anyOf)");
    }
    if !limits.one_of.is_empty() {
        match limits.one_of.iter().filter(|node| fits(node)).count() {
            0 => invalid("must validate one and only one schema (oneOf). Found none valid"),
            1 => {}
            count => {
                invalid(&format!("must validate one and only one schema (oneOf). Found {count} valid alternatives"))
            }
        }
    }
    if limits.not.as_ref().is_some_and(|node| fits(node)) {
        invalid("must not validate the schema (not)");
    }
    for node in &limits.all_of {
        check(node, value, None, path, errors);
    }
}

fn count(bounds: Bounds, actual: usize, of: &str, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(min) = bounds.min.filter(|min| actual < *min) {
        errors.push(FieldError::invalid(path, value, in_body(path, &format!("should have at least {min} {of}"))));
    }
    if let Some(max) = bounds.max.filter(|max| actual > *max) {
        errors.push(FieldError::too_many(path, actual, max));
    }
}

fn object(node: &Node, map: &Map<String, Value>, old: Option<&Value>, path: &str, errors: &mut Vec<FieldError>) {
    let actual = map.len();
    count(node.limits.properties, actual, "properties", &Value::from(actual), path, errors);
    for name in &node.limits.required {
        if !map.contains_key(name) {
            errors.push(FieldError::required(child_path(path, name, false), ""));
        }
    }
    for (name, value) in map {
        let old = old.and_then(|old| old.get(name));
        if let Some(property) = node.properties.get(name) {
            // Metadata is checked elsewhere, in the same way for all kinds.
            if !(node.embedded && name == "metadata") {
                check(property, value, old, &child_path(path, name, false), errors);
            }
        } else if let Additional::Of(nested) = &node.additional {
            check(nested, value, old, &child_path(path, name, false), errors);
        }
    }
}

fn list(node: &Node, items: &[Value], old: Option<&Value>, path: &str, errors: &mut Vec<FieldError>) {
    count(node.limits.items, items.len(), "items", &Value::from(items.len()), path, errors);
    let Some(schema) = &node.items else { return };
    let mut seen: HashSet<String> = HashSet::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let at = format!("{path}[{index}]");
        check(schema, item, before(node, item, index, old), &at, errors);
        match &node.list_type {
            ListType::Atomic => {}
            ListType::Set => {
                if !seen.insert(item.to_string()) {
                    errors.push(FieldError::duplicate(at, item));
                }
            }
            ListType::Map(keys) => {
                if !item.is_object() {
                    continue;
                }
                let id: Map<String, Value> =
                    keys.iter().filter_map(|key| item.get(key).map(|value| (key.clone(), value.clone()))).collect();
                if id.len() == keys.len() {
                    let id = Value::Object(id);
                    if !seen.insert(id.to_string()) {
                        errors.push(FieldError::duplicate(at, &id));
                    }
                }
            }
        }
    }
}

/// Returns the old value of a list's element. Elements of plain lists are matched by index, for leniency alone.
fn before<'a>(node: &Node, item: &Value, index: usize, old: Option<&'a Value>) -> Option<&'a Value> {
    match &node.list_type {
        ListType::Map(_) => same_element(node, item, old),
        _ => old.and_then(|old| old.get(index)),
    }
}

/// Returns the element of the old list with the same keys; `None` for lists that are not keyed.
pub(super) fn same_element<'a>(node: &Node, item: &Value, old: Option<&'a Value>) -> Option<&'a Value> {
    let ListType::Map(keys) = &node.list_type else { return None };
    old?.as_array()?.iter().find(|old| keys.iter().all(|key| old.get(key) == item.get(key)))
}
