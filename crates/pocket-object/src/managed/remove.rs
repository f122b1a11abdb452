//! Removal of fields from a value.

use serde_json::Value;

use super::{
    fields::step,
    set::{FieldSet, Step},
};
use crate::shape::{Form, Node, Ownership};

/// Returns `value` without the fields in `gone` and everything below them. A map or list that ends up empty becomes null.
pub(super) fn remove(value: &Value, gone: &FieldSet, node: &Node) -> Value {
    match (node.form(Some(value)), value) {
        (Form::Scalar(_), _) => value.clone(),
        (Form::List(list), Value::Array(items)) if list.ownership != Ownership::Atomic => {
            let left = items.iter().filter_map(|item| {
                let Some(branch) = step(item, list).ok().and_then(|step| gone.get(&step)) else {
                    return Some(item.clone());
                };
                match branch.member {
                    true => None,
                    false => Some(remove(item, &branch.below, list.element.node())),
                }
            });
            some_or_null(left.collect::<Vec<Value>>(), Vec::is_empty)
        }
        (Form::Map(map), Value::Object(fields)) if !map.atomic => {
            let left = fields.iter().filter_map(|(name, value)| {
                let kept = match (gone.get(&Step::Field(name.clone())), map.field(name)) {
                    (Some(branch), _) if branch.member => return None,
                    (Some(branch), Some(link)) => remove(value, &branch.below, link.node()),
                    _ => value.clone(),
                };
                Some((name.clone(), kept))
            });
            some_or_null(left.collect::<serde_json::Map<String, Value>>(), serde_json::Map::is_empty)
        }
        _ => Value::Null,
    }
}

fn some_or_null<T: Into<Value>>(left: T, is_empty: impl Fn(&T) -> bool) -> Value {
    if is_empty(&left) { Value::Null } else { left.into() }
}
