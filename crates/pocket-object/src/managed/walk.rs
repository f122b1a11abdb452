//! Objects as trees of owned fields: what an object has, how two differ, how they merge.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::set::{FieldSet, Step};
use crate::shape::{Node, Ownership};

/// How `compare` found two objects to differ.
#[derive(Debug, Default)]
pub(super) struct Difference {
    pub(super) added: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) removed: FieldSet,
}

/// A list in which every element has a name of its own, or a reason why not.
type Elements<'a> = Result<Vec<(Step, &'a Value)>, String>;

/// The elements of a list that is not atomic.
fn elements<'a>(list: &'a [Value], node: &Node) -> Elements<'a> {
    let mut seen: BTreeMap<Step, ()> = BTreeMap::new();
    let mut elements = Vec::with_capacity(list.len());
    for item in list {
        let step = match &node.ownership {
            Ownership::Keyed(keys) => {
                let mut values = Vec::with_capacity(keys.len());
                let mut found = false;
                for (key, default) in keys {
                    match item.get(key).filter(|value| !value.is_null()) {
                        Some(value) if value.is_object() || value.is_array() => {
                            return Err(format!("the key {key:?} of an element of a list is no scalar: {value}"));
                        }
                        Some(value) => {
                            found = true;
                            values.push((key.clone(), value.clone()));
                        }
                        None => values.extend(default.clone().map(|default| (key.clone(), default))),
                    }
                }
                if !found {
                    let keys: Vec<&str> = keys.iter().map(|(key, _)| key.as_str()).collect();
                    return Err(format!(
                        "associative list with keys has an element that omits key field {:?} (and doesn't have default value)",
                        keys.first().copied().unwrap_or_default()
                    ));
                }
                Step::Key(values)
            }
            _ if item.is_object() || item.is_array() => {
                return Err(format!("an element of a set is no scalar: {item}"));
            }
            _ => Step::Value(item.clone()),
        };
        if seen.insert(step.clone(), ()).is_some() {
            return Err(format!("duplicate entries for key {}", step.to_string().trim_matches(['[', ']'])));
        }
        elements.push((step, item));
    }
    Ok(elements)
}

/// Is there anything wrong with the keyed lists and sets of an object? Says what and where.
pub(super) fn check(value: &Value, node: &Node, path: &str) -> Result<(), String> {
    match value {
        Value::Object(map) if !node.atomic_map() => {
            map.iter().try_for_each(|(key, value)| check(value, node.field(key), &format!("{path}.{key}")))
        }
        Value::Array(list) if !node.atomic_list() => {
            let elements = elements(list, node).map_err(|error| format!("{path}: {error}"))?;
            elements.iter().try_for_each(|(step, value)| check(value, node.element(), &format!("{path}{step}")))
        }
        _ => Ok(()),
    }
}

/// The fields an object has. `None`: the value itself is one field, with nothing below.
fn below(value: &Value, node: &Node) -> Option<FieldSet> {
    let mut set = FieldSet::default();
    match value {
        Value::Object(map) if !node.atomic_map() && !map.is_empty() => {
            for (key, value) in map {
                let step = Step::Field(key.clone());
                match below(value, node.field(key)) {
                    Some(fields) => set.insert_below(step, fields),
                    None => set.insert(step),
                }
            }
        }
        Value::Array(list) if !node.atomic_list() => match elements(list, node) {
            Ok(elements) if !elements.is_empty() => {
                for (step, value) in elements {
                    if let Some(fields) = below(value, node.element()) {
                        set.insert_below(step.clone(), fields);
                    }
                    set.insert(step);
                }
            }
            _ => return None,
        },
        _ => return None,
    }
    Some(set)
}

/// The fields an object has.
pub(super) fn fields(object: &Value, node: &Node) -> FieldSet {
    below(object, node).unwrap_or_default()
}

/// How `new` differs from `old`.
pub(super) fn compare(old: &Value, new: &Value, node: &Node) -> Difference {
    let mut difference = Difference::default();
    compare_into(old, new, node, &mut difference);
    difference
}

/// Answers whether the values differ as wholes, so that the caller notes their place.
fn compare_into(old: &Value, new: &Value, node: &Node, difference: &mut Difference) -> bool {
    match (old, new) {
        (Value::Object(a), Value::Object(b)) if !node.atomic_map() => {
            if a.is_empty() != b.is_empty() && (a.is_empty() || b.is_empty()) {
                // An empty map is a field by itself; one with content is not.
                if a.is_empty() {
                    difference.added.add(&fields(new, node));
                } else {
                    difference.removed.add(&fields(old, node));
                    return true;
                }
                return false;
            }
            for (key, value) in a {
                let step = || Step::Field(key.clone());
                compare_step(Some(value), b.get(key), node.field(key), step, difference);
            }
            for (key, value) in b {
                if !a.contains_key(key) {
                    compare_step(None, Some(value), node.field(key), || Step::Field(key.clone()), difference);
                }
            }
            false
        }
        (Value::Array(a), Value::Array(b)) if !node.atomic_list() => {
            let (Ok(a), Ok(b)) = (elements(a, node), elements(b, node)) else { return old != new };
            if a.is_empty() != b.is_empty() {
                difference.added.add(&fields(new, node));
                difference.removed.add(&fields(old, node));
                return b.is_empty();
            }
            let news: BTreeMap<&Step, &Value> = b.iter().map(|(step, value)| (step, *value)).collect();
            let olds: BTreeMap<&Step, &Value> = a.iter().map(|(step, value)| (step, *value)).collect();
            for (step, value) in &olds {
                let new = news.get(*step).copied();
                compare_step(Some(value), new, node.element(), || (*step).clone(), difference);
                if new.is_none() {
                    difference.removed.insert((*step).clone());
                }
            }
            for (step, value) in &news {
                if !olds.contains_key(*step) {
                    compare_step(None, Some(value), node.element(), || (*step).clone(), difference);
                    difference.added.insert((*step).clone());
                }
            }
            false
        }
        _ if old == new => false,
        _ => {
            // What was below the old value is gone, what is below the new one has come.
            difference.removed.add(&fields(old, node));
            difference.added.add(&fields(new, node));
            below(new, node).is_none() || below(old, node).is_none()
        }
    }
}

fn compare_step(
    old: Option<&Value>,
    new: Option<&Value>,
    node: &Node,
    step: impl Fn() -> Step,
    difference: &mut Difference,
) {
    match (old, new) {
        (Some(old), Some(new)) => {
            let mut inner = Difference::default();
            if compare_into(old, new, node, &mut inner) {
                difference.modified.insert(step());
            }
            difference.added.insert_below(step(), inner.added);
            difference.modified.insert_below(step(), inner.modified);
            difference.removed.insert_below(step(), inner.removed);
        }
        (Some(old), None) => match below(old, node) {
            Some(fields) => difference.removed.insert_below(step(), fields),
            None => difference.removed.insert(step()),
        },
        (None, Some(new)) => match below(new, node) {
            Some(fields) => difference.added.insert_below(step(), fields),
            None => difference.added.insert(step()),
        },
        (None, None) => {}
    }
}

/// `live` with all that `intent` says.
pub(super) fn merge(live: &Value, intent: &Value, node: &Node) -> Value {
    match (live, intent) {
        (Value::Object(a), Value::Object(b)) if !node.atomic_map() => {
            let mut merged = a.clone();
            for (key, value) in b {
                let value = match a.get(key) {
                    Some(old) => merge(old, value, node.field(key)),
                    None => value.clone(),
                };
                merged.insert(key.clone(), value);
            }
            Value::Object(merged)
        }
        (Value::Array(a), Value::Array(b)) if !node.atomic_list() => {
            let (Ok(a), Ok(b)) = (elements(a, node), elements(b, node)) else { return intent.clone() };
            Value::Array(merge_lists(&a, &b, node.element()))
        }
        _ => intent.clone(),
    }
}

/// The intent's elements in the intent's order; those of the live list alone keep their place among them.
fn merge_lists(live: &[(Step, &Value)], intent: &[(Step, &Value)], node: &Node) -> Vec<Value> {
    let olds: BTreeMap<&Step, &Value> = live.iter().map(|(step, value)| (step, *value)).collect();
    let places: BTreeMap<&Step, usize> = intent.iter().enumerate().map(|(place, (step, _))| (step, place)).collect();
    let emit = |(step, value): &(Step, &Value)| match olds.get(step) {
        Some(old) => merge(old, value, node),
        None => (*value).clone(),
    };
    let mut merged = Vec::with_capacity(live.len() + intent.len());
    let mut next = 0;
    for (step, value) in live {
        match places.get(step) {
            None => merged.push((*value).clone()),
            // Everything of the intent up to this element comes now, unless it already has.
            Some(place) => {
                while next <= *place {
                    merged.push(emit(&intent[next]));
                    next += 1;
                }
            }
        }
    }
    merged.extend(intent[next..].iter().map(emit));
    merged
}

/// Drops from `value` what is in `gone` and what no one in `kept` has, with all below it.
pub(super) fn prune(value: &mut Value, gone: &FieldSet, kept: &FieldSet, node: &Node) {
    match value {
        Value::Object(map) if !node.atomic_map() => {
            for (step, below) in gone.steps() {
                let Step::Field(name) = step else { continue };
                match kept.get(step) {
                    None => {
                        map.remove(name);
                    }
                    Some(kept) => {
                        if let Some(value) = map.get_mut(name) {
                            prune(value, below, kept, node.field(name));
                        }
                    }
                }
            }
        }
        Value::Array(list) if !node.atomic_list() => {
            let Ok(named) = elements(list, node) else { return };
            let steps: Vec<Step> = named.into_iter().map(|(step, _)| step).collect();
            let mut left = Vec::with_capacity(list.len());
            for (step, mut item) in steps.into_iter().zip(std::mem::take(list)) {
                match (gone.get(&step), kept.get(&step)) {
                    (Some(_), None) => continue,
                    (Some(below), Some(kept)) => prune(&mut item, below, kept, node.element()),
                    (None, _) => {}
                }
                left.push(item);
            }
            *list = left;
        }
        _ => {}
    }
}

/// Drops the fields of maps that are null, and elements of lists that are.
pub(super) fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key.clone(), without_nulls(value)))
                .collect::<Map<_, _>>(),
        ),
        Value::Array(list) => Value::Array(list.iter().map(without_nulls).collect()),
        _ => value.clone(),
    }
}
