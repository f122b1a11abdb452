//! Merge of an applied intent into the live object.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    fields::{elements, is_empty_map, items},
    set::Step,
};
use crate::shape::{Form, List, Node, Ownership};

/// Returns `live` with every field of `intent`.
pub(super) fn merge(live: &Value, intent: &Value, node: &Node) -> Value {
    let leaf = match node.form(Some(intent)) {
        Form::Scalar(_) => true,
        Form::List(list) => {
            list.ownership == Ownership::Atomic || items(Some(live)).is_empty() && items(Some(intent)).is_empty()
        }
        Form::Map(map) => map.atomic || is_empty_map(Some(live), map) && is_empty_map(Some(intent), map),
    };
    match node.form(Some(intent)) {
        _ if leaf => intent.clone(),
        Form::List(list) => merge_lists(items(Some(live)), items(Some(intent)), list).into(),
        Form::Map(map) => {
            let mut merged = live.as_object().cloned().unwrap_or_default();
            for (name, value) in intent.as_object().into_iter().flatten() {
                let value = match (merged.get(name), map.field(name)) {
                    (Some(old), Some(link)) => merge(old, value, link.node()),
                    _ => value.clone(),
                };
                merged.insert(name.clone(), value);
            }
            merged.into()
        }
        Form::Scalar(_) => intent.clone(),
    }
}

/// Merges two lists element by element. Elements of the intent come in the intent's order; elements that only the live
/// list has keep their place among them.
fn merge_lists(live: &[Value], intent: &[Value], list: &List) -> Vec<Value> {
    let (live, intent) = (elements(live, list), elements(intent, list));
    let mut before: BTreeMap<&Step, Option<&Value>> = BTreeMap::new();
    for (step, item) in &live {
        // Duplicates are not merged with the new element, but replaced by it.
        before.entry(step).and_modify(|item| *item = None).or_insert(Some(item));
    }
    let wanted: BTreeSet<&Step> = intent.iter().map(|(step, _)| step).collect();
    let merged = |step: &Step, item: &Value| match before.get(step) {
        Some(Some(old)) => merge(old, item, list.element.node()),
        _ => item.clone(),
    };
    let mut shared = intent.iter().map(|(step, _)| step).filter(|step| before.contains_key(step));
    let mut next_shared = shared.next();
    let mut done: BTreeSet<&Step> = BTreeSet::new();
    let mut out = Vec::with_capacity(live.len().max(intent.len()));
    let (mut left, mut right) = (live.iter().peekable(), intent.iter().peekable());
    loop {
        if let (Some((old, _)), Some((new, item))) = (left.peek(), right.peek()) {
            if old == new {
                out.push(merged(new, item));
                done.insert(new);
                left.next();
                right.next();
                next_shared = shared.next();
                continue;
            }
            // Both lists have the element, but it is not the next one.
            if wanted.contains(old) && next_shared.is_some_and(|next| next != old) {
                left.next();
                continue;
            }
        }
        if let Some((old, item)) = left.peek() {
            if !wanted.contains(old) {
                out.push((*item).clone());
                left.next();
                continue;
            }
            if done.contains(old) {
                left.next();
            }
        }
        match right.next() {
            Some((new, item)) => {
                out.push(merged(new, item));
                done.insert(new);
                if next_shared == Some(new) {
                    next_shared = shared.next();
                }
            }
            None if left.peek().is_none() => return out,
            None => {}
        }
    }
}
