//! Field ownership after a write: the algorithm of structured-merge-diff.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    compare::{Difference, compare},
    fields,
    merge::merge,
    reconcile::reconcile,
    remove::remove,
    set::FieldSet,
};
use crate::shape::Node;

/// Fields of one manager, in the terms of one version.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ManagerFields {
    pub(super) version: String,
    pub(super) applied: bool,
    pub(super) fields: FieldSet,
}

/// ManagerFields fields by manager.
pub(super) type Managers = BTreeMap<String, ManagerFields>;

/// Fields of other managers that an apply would change, by manager.
pub(super) type Conflicts = BTreeMap<String, FieldSet>;

/// Types of the versions of a kind. All versions hold the same values.
pub(super) trait Versions {
    /// Returns the type of a version; `None` if the version is no longer served.
    fn node(&self, version: &str) -> Option<&Node>;
}

/// Write in one version.
pub(super) struct Updater<'a> {
    pub(super) versions: &'a dyn Versions,
    pub(super) version: &'a str,
    pub(super) node: &'a Node,
}

impl Updater<'_> {
    /// Records what a create, update or patch has changed.
    pub(super) fn update(&self, live: &Value, new: &Value, managers: &mut Managers, manager: &str) {
        self.follow_schema(managers);
        let Ok(difference) = self.take_over(live, new, managers, manager, true) else { return };
        let mut own = managers.remove(manager).map(|owned| owned.fields).unwrap_or_default();
        own.subtract(&difference.removed);
        own.add(&difference.modified);
        own.add(&difference.added);
        if !own.is_empty() {
            let owned = ManagerFields { version: self.version.to_owned(), applied: false, fields: own };
            managers.insert(manager.to_owned(), owned);
        }
    }

    /// Merges an intent into the live object. Returns `None` if nothing changes.
    pub(super) fn apply(
        &self,
        live: &Value,
        intent: &Value,
        managers: &mut Managers,
        manager: &str,
        force: bool,
    ) -> Result<Option<Value>, Conflicts> {
        self.follow_schema(managers);
        let merged = merge(live, intent, self.node);
        let owned =
            ManagerFields { version: self.version.to_owned(), applied: true, fields: fields::of(intent, self.node) };
        let last = managers.insert(manager.to_owned(), owned);
        let new = self.prune(merged, managers, manager, last.as_ref());
        self.take_over(live, &new, managers, manager, force)?;
        Ok((!fields::is_same(live, &new)).then_some(new))
    }

    /// Takes changed and removed fields from all other managers.
    fn take_over(
        &self,
        old: &Value,
        new: &Value,
        managers: &mut Managers,
        manager: &str,
        force: bool,
    ) -> Result<Difference, Conflicts> {
        let mut by_version: BTreeMap<String, Difference> = BTreeMap::new();
        by_version.insert(self.version.to_owned(), compare(old, new, self.node));
        let mut conflicts = Conflicts::new();
        managers.retain(|name, owned| {
            if name == manager {
                return true;
            }
            if !by_version.contains_key(&owned.version) {
                // A version that is no longer served loses its owners.
                let Some(node) = self.versions.node(&owned.version) else { return false };
                by_version.insert(owned.version.clone(), compare(old, new, node));
            }
            if let Some(difference) = by_version.get(&owned.version) {
                let clash = owned.fields.intersection(&difference.changed());
                if !clash.is_empty() {
                    conflicts.insert(name.clone(), clash);
                }
            }
            true
        });
        if !force && !conflicts.is_empty() {
            return Err(conflicts);
        }
        for (name, owned) in managers.iter_mut().filter(|(name, _)| *name != manager) {
            if let Some(clash) = conflicts.get(name) {
                owned.fields.subtract(clash);
            }
            if let Some(difference) = by_version.get(&owned.version) {
                owned.fields.subtract(&difference.removed);
            }
        }
        managers.retain(|_, owned| !owned.fields.is_empty());
        Ok(by_version.remove(self.version).unwrap_or_default())
    }

    /// Removes what the manager applied last time, does not apply now, and no other manager owns.
    ///
    /// An element of a keyed list that the manager leaves out is removed as a whole, unless another manager owns the element
    /// itself, as every manager does that has applied it. Ownership of a field of the element keeps neither.
    fn prune(&self, merged: Value, managers: &Managers, manager: &str, last: Option<&ManagerFields>) -> Value {
        let Some(last) = last.filter(|last| !last.fields.is_empty()) else { return merged };
        // Nothing has left the intent. An applied place has all its ancestors in the set, so nothing above it is removed, either.
        let now = managers.get(manager).filter(|now| now.version == last.version);
        if now.is_some_and(|now| now.fields.contains(&last.fields)) {
            return merged;
        }
        let Some(node) = self.versions.node(&last.version) else { return merged };
        let named_last = last.fields.with_named_fields(Some(node));
        let mut pruned = remove(&merged, &named_last, node);

        let mut owned_by_version: BTreeMap<&str, FieldSet> = BTreeMap::new();
        for owned in managers.values() {
            owned_by_version.entry(&owned.version).or_default().add(&owned.fields);
        }
        let first = owned_by_version.remove_entry(last.version.as_str());
        for (version, owned) in first.into_iter().chain(owned_by_version) {
            let Some(node) = self.versions.node(version) else { continue };
            // Everything is removed that was pruned and that no manager owns.
            let mut gone = named_fields(&merged, node);
            let mut kept = named_fields(&pruned, node);
            kept.add(&owned.with_named_fields(Some(node)));
            gone.subtract(&kept);
            pruned = remove(&merged, &gone, node);
        }

        // A field that the manager did not own before stays, even if none of its parents is owned any more.
        let mut gone = named_fields(&merged, node);
        gone.subtract(&named_fields(&pruned, node));
        remove(&merged, &gone.intersection(&named_last), node)
    }

    /// Adapts the owned fields to lists and maps that have become atomic meanwhile.
    fn follow_schema(&self, managers: &mut Managers) {
        managers.retain(|_, owned| match self.versions.node(&owned.version) {
            Some(node) => {
                reconcile(&mut owned.fields, node);
                true
            }
            None => false,
        });
    }
}

fn named_fields(value: &Value, node: &Node) -> FieldSet {
    fields::of(value, node).with_named_fields(Some(node))
}
