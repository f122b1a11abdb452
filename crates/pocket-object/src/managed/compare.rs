//! Differences between two values.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    fields::{by_step, elements, is_empty_map, is_same, items},
    set::{Branch, FieldSet, Step},
};
use crate::shape::{Form, List, Map, Node, Ownership};

/// Fields in which two objects differ.
#[derive(Debug, Default)]
pub(super) struct Difference {
    pub(super) added: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) removed: FieldSet,
}

impl Difference {
    /// Returns all fields that have another value now.
    pub(super) fn changed(&self) -> FieldSet {
        let mut changed = self.modified.clone();
        changed.add(&self.added);
        changed
    }
}

/// Returns the difference of `new` from `old`.
pub(super) fn compare(old: &Value, new: &Value, node: &Node) -> Difference {
    let found = values(Some(old), Some(new), node);
    Difference { added: found.added.below, modified: found.modified.below, removed: found.removed.below }
}

/// Difference at one place and below.
#[derive(Default)]
struct Changes {
    added: Branch,
    modified: Branch,
    removed: Branch,
}

impl Changes {
    fn put(&mut self, step: &Step, inner: Changes) {
        self.added.below.insert(step.clone(), inner.added);
        self.modified.below.insert(step.clone(), inner.modified);
        self.removed.below.insert(step.clone(), inner.removed);
    }

    fn merge(&mut self, other: Changes) {
        for (ours, theirs) in
            [(&mut self.added, other.added), (&mut self.modified, other.modified), (&mut self.removed, other.removed)]
        {
            ours.member |= theirs.member;
            ours.below.add(&theirs.below);
        }
    }

    /// Records that the place itself was added, removed, or changed.
    fn leaf(&mut self, old: Option<&Value>, new: Option<&Value>) {
        match (old, new) {
            (None, _) => self.added.member = true,
            (_, None) => self.removed.member = true,
            (Some(old), Some(new)) => self.modified.member |= !is_same(old, new),
        }
    }
}

fn values(old: Option<&Value>, new: Option<&Value>, node: &Node) -> Changes {
    let (before, after) = (node.form(old), node.form(new));
    if new.is_none() {
        return as_form(old, new, before);
    }
    let mut found = as_form(old, new, after);
    // A value that has changed its form is compared in both forms.
    if old.is_some() && std::mem::discriminant(&before) != std::mem::discriminant(&after) {
        found.merge(as_form(old, new, before));
    }
    found
}

fn as_form(old: Option<&Value>, new: Option<&Value>, form: Form<'_>) -> Changes {
    let mut found = Changes::default();
    let is_leaf = match form {
        Form::Scalar(_) => true,
        Form::List(list) => list.ownership == Ownership::Atomic || items(old).is_empty() && items(new).is_empty(),
        Form::Map(map) => map.atomic || is_empty_map(old, map) && is_empty_map(new, map),
    };
    if is_leaf {
        found.leaf(old, new);
        return found;
    }
    match form {
        Form::List(list) => lists(items(old), items(new), list, &mut found),
        Form::Map(map) => maps(old, new, map, &mut found),
        Form::Scalar(_) => {}
    }
    match (old, new) {
        (None, _) => found.added.member = true,
        (_, None) => found.removed.member = true,
        _ => {}
    }
    found
}

fn maps(old: Option<&Value>, new: Option<&Value>, map: &Map, found: &mut Changes) {
    let (old, new) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
    let mut names: BTreeSet<&str> = BTreeSet::new();
    names.extend(old.into_iter().flatten().map(|(name, _)| name.as_str()));
    names.extend(new.into_iter().flatten().map(|(name, _)| name.as_str()));
    let empty: std::collections::BTreeMap<&str, &Value> = map.never_left_out().collect();
    names.extend(empty.keys());
    for name in names {
        let written = empty.get(name).copied();
        let before = old.and_then(|old| old.get(name).or(written));
        let after = new.and_then(|new| new.get(name).or(written));
        let Some(link) = map.field(name) else { continue };
        if before.is_some() || after.is_some() {
            found.put(&Step::Field(name.to_owned()), values(before, after, link.node()));
        }
    }
}

fn lists(old: &[Value], new: &[Value], list: &List, found: &mut Changes) {
    let (old, new) = (by_step(&elements(old, list)), by_step(&elements(new, list)));
    let node = list.element.node();
    let steps: BTreeSet<&Step> = old.keys().chain(new.keys()).collect();
    for step in steps {
        let before = old.get(step).map_or(&[][..], Vec::as_slice);
        let after = new.get(step).map_or(&[][..], Vec::as_slice);
        let mut inner = Changes::default();
        match (before, after) {
            ([] | [_], [] | [_]) => inner = values(before.first().copied(), after.first().copied(), node),
            // Duplicates are one unit: as long as there are several, they are compared as a whole.
            ([_, _, ..], [_, _, ..]) => {
                let equal = before.len() == after.len() && before.iter().zip(after).all(|(a, b)| is_same(a, b));
                inner.modified.member = !equal;
            }
            ([_, _, ..], after) => {
                if let Some(item) = after.first() {
                    inner = values(None, Some(item), node);
                }
                inner.removed.member = true;
            }
            (before, _) => {
                if let Some(item) = before.first() {
                    inner = values(Some(item), None, node);
                }
                inner.added.member = true;
            }
        }
        found.put(step, inner);
    }
}
