//! Fields of a value, and checks of the value against its type.

use std::collections::BTreeMap;

use serde_json::Value;

use super::set::{Branch, FieldSet, Step};
use crate::{
    shape::{Form, List, Map, Node, Ownership, Scalar},
    strict::go_text,
};

/// Returns the step to an element of a list that is owned element by element, or the reason why there is none.
pub(super) fn step(item: &Value, list: &List) -> Result<Step, String> {
    match &list.ownership {
        Ownership::Atomic => Err("invalid indexing of non-associative list".to_owned()),
        Ownership::Set => match item {
            Value::Object(_) => Err("associative list without keys has an element that's a map type".to_owned()),
            Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
            Value::Null => Err("associative list without keys has an element that's an explicit null".to_owned()),
            scalar => Ok(Step::Value(scalar.clone())),
        },
        Ownership::Keyed(keys) => keyed(item, keys),
    }
}

fn keyed(item: &Value, keys: &[(String, Option<Value>)]) -> Result<Step, String> {
    let map = match item {
        Value::Object(map) => map,
        Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
        _ => return Err("associative list with keys may not have non-map elements".to_owned()),
    };
    let found = keys.iter().filter_map(|(key, default)| {
        let value = map.get(key).or(default.as_ref())?;
        Some((key.clone(), value.clone()))
    });
    let found: Vec<_> = found.collect();
    if found.is_empty() {
        let names: Vec<String> = keys.iter().map(|(key, _)| format!("{key:?}")).collect();
        return Err(format!(
            "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
            names.join(" ")
        ));
    }
    Ok(Step::Key(found))
}

/// Returns the elements of a list by their steps, in their order. Several elements with one step are a mistake that a live
/// object may have: they belong together then. An element without a step is left out.
pub(super) fn elements<'a>(items: &'a [Value], list: &List) -> Vec<(Step, &'a Value)> {
    items.iter().filter_map(|item| Some((step(item, list).ok()?, item))).collect()
}

/// Groups elements by step.
pub(super) fn by_step<'a>(elements: &[(Step, &'a Value)]) -> BTreeMap<Step, Vec<&'a Value>> {
    let mut found: BTreeMap<Step, Vec<&Value>> = BTreeMap::new();
    for (step, item) in elements {
        found.entry(step.clone()).or_default().push(item);
    }
    found
}

/// Returns the fields that an object has.
pub(super) fn of(object: &Value, node: &Node) -> FieldSet {
    branch(object, node).below
}

/// Returns the fields that a value has, at its place and below.
pub(super) fn branch(value: &Value, node: &Node) -> Branch {
    match (node.form(Some(value)), value) {
        (Form::Scalar(_), _) => Branch::leaf(),
        (Form::List(list), _) if list.ownership == Ownership::Atomic => Branch::leaf(),
        (Form::Map(map), _) if map.atomic => Branch::leaf(),
        (Form::List(list), Value::Array(items)) => {
            let mut below = FieldSet::default();
            for (step, items) in by_step(&elements(items, list)) {
                let inner = match items.as_slice() {
                    [item] => branch(item, list.element.node()).below,
                    // Duplicates are owned together, as a whole.
                    _ => FieldSet::default(),
                };
                below.insert(step, Branch { member: true, below: inner });
            }
            Branch { member: false, below }
        }
        (Form::Map(map), Value::Object(fields)) => {
            let mut below = FieldSet::default();
            for (name, value) in fields {
                let mut inner = map.field(name).map(|link| branch(value, link.node())).unwrap_or_default();
                let empty = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
                inner.member |= empty || !map.declares(name);
                below.insert(Step::Field(name.clone()), inner);
            }
            Branch { member: false, below }
        }
        _ => Branch::default(),
    }
}

/// Returns the mistakes of a value that does not fit its type, each with its path.
pub(super) fn check(value: &Value, node: &Node, duplicates: bool) -> Vec<String> {
    let mut found = Vec::new();
    check_at(value, node, duplicates, &mut String::new(), &mut found);
    found
}

fn check_at(value: &Value, node: &Node, duplicates: bool, path: &mut String, found: &mut Vec<String>) {
    let length = path.len();
    match (node.form(Some(value)), value) {
        (_, Value::Null) => {}
        (Form::Scalar(scalar), value) => {
            if let Some(wrong) = wrong_scalar(scalar, value) {
                found.push(located(path, &wrong));
            }
        }
        (Form::List(list), Value::Array(items)) => {
            let mut seen: BTreeMap<Step, ()> = BTreeMap::new();
            for (index, item) in items.iter().enumerate() {
                let step = match list.ownership {
                    Ownership::Atomic => Step::Index(index as u64),
                    _ => match step(item, list) {
                        Ok(step) => step,
                        Err(wrong) => {
                            found.push(located(path, &format!("element {index}: {wrong}")));
                            return;
                        }
                    },
                };
                path.push_str(&step.to_string());
                check_at(item, list.element.node(), duplicates, path, found);
                path.truncate(length);
                if seen.insert(step.clone(), ()).is_some() && !duplicates {
                    found.push(located(path, &format!("duplicate entries for key {step}")));
                }
            }
        }
        (Form::Map(map), Value::Object(fields)) => {
            for (name, value) in fields {
                path.push('.');
                path.push_str(name);
                let declared = map.field(name);
                match declared {
                    Some(link) => check_at(value, link.node(), duplicates, path, found),
                    None => found.push(located(path, "field not declared in schema")),
                }
                path.truncate(length);
                // Kubernetes looks no further in this map, either.
                if declared.is_none() {
                    return;
                }
            }
        }
        (Form::List(_), value) => found.push(located(path, &format!("expected list, got {}", show(value)))),
        (Form::Map(_), value) => found.push(located(path, &format!("expected map, got {}", show(value)))),
    }
}

fn wrong_scalar(scalar: Scalar, value: &Value) -> Option<String> {
    let fits = match scalar {
        Scalar::String => value.is_string(),
        Scalar::Number => value.is_number(),
        Scalar::Boolean => value.is_boolean(),
        Scalar::Any => !value.is_object() && !value.is_array(),
    };
    let expected = match scalar {
        Scalar::String => "string",
        Scalar::Number => {
            let type_ = match value {
                Value::Bool(_) => "bool",
                Value::String(_) => "string",
                Value::Array(_) => "[]interface {}",
                _ => "map[string]interface {}",
            };
            return (!fits).then(|| format!("expected numeric (int or float), got {type_}"));
        }
        Scalar::Boolean => "boolean",
        Scalar::Any => "any scalar",
    };
    let shown = match scalar {
        Scalar::String => format!("&value.valueUnstructured{{Value:{}}}", go_literal(value)),
        _ => show(value),
    };
    (!fits).then(|| format!("expected {expected}, got {shown}"))
}

/// Returns a value as Go prints what it has read from JSON.
fn show(value: &Value) -> String {
    format!("&{{{}}}", go_text(value))
}

/// Returns a value as Go writes it in a program.
fn go_literal(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            format!("[]interface {{}}{{{}}}", items.iter().map(go_literal).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{name:?}:{}", go_literal(value)));
            format!("map[string]interface {{}}{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        Value::Null => "interface {}(nil)".to_owned(),
        scalar => scalar.to_string(),
    }
}

fn located(path: &str, wrong: &str) -> String {
    if path.is_empty() { wrong.to_owned() } else { format!("{path}: {wrong}") }
}

/// Returns whether two values are the same to an owner: 1 is 1.0.
pub(super) fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a == b,
            _ => a.as_f64() == b.as_f64(),
        },
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| is_same(value, other)))
        }
        _ => a == b,
    }
}

/// Returns the elements of a list; none for a value that is missing or null.
pub(super) fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Returns whether a map has no fields, and no fields that Go writes even if they are empty.
pub(super) fn is_empty_map(value: Option<&Value>, map: &Map) -> bool {
    match value {
        Some(Value::Object(fields)) => fields.is_empty() && map.never_left_out().next().is_none(),
        _ => true,
    }
}
