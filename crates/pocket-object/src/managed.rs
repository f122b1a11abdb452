//! Field ownership: `metadata.managedFields` and server-side apply.
//!
//! The rules are those of structured-merge-diff, which Kubernetes uses: a manager that applies owns the fields of its intent;
//! a manager that writes otherwise owns the fields that it changed. An apply conflicts where it would change a field of another
//! manager. A field that has left the intent is removed if no other manager owns it, with everything below it that is not owned.
//!
//! `updater` is the algorithm; this module is what Kubernetes puts around it (its package `managedfields`).

mod compare;
mod entries;
mod fields;
mod last_applied;
mod merge;
mod reconcile;
mod remove;
mod set;
mod updater;

use serde_json::Value;

use self::{
    entries::Managed,
    set::FieldSet,
    updater::{Conflicts, Updater},
};
use crate::shape::{Node, Shape};

/// Manager of the fields that existed before the first apply.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
/// Manager that client-side and server-side apply of kubectl share.
const KUBECTL: &str = "kubectl";

/// Kind of a manager's write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Server-side apply.
    Apply,
    /// Create, update, or any other patch.
    Update,
}

/// Author and kind of a write.
#[derive(Clone, Copy, Debug)]
pub struct Manager<'a> {
    /// Name of the field manager.
    pub name: &'a str,
    /// Kind of the write.
    pub operation: Operation,
    /// API version of the written object: `apps/v1`.
    pub api_version: &'a str,
    /// Subresource of the write, such as `status` or `scale`; `None` for the object itself.
    pub subresource: Option<&'a str>,
    /// Current time, RFC 3339 with seconds.
    pub time: &'a str,
}

/// Field that an apply would change and that another manager owns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// Other owner in kubectl's notation: `"kubectl-edit" using apps/v1`. The cause's message is `conflict with {manager}`.
    pub manager: String,
    /// Path of the field: `.spec.replicas`.
    pub field: String,
}

/// Reason for which an apply was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Other managers own fields that the apply would change: HTTP 409, `Conflict`, a cause `FieldManagerConflict` for each.
    #[error("{}", conflict_message(.0))]
    Conflicts(Vec<Conflict>),
    /// Intent that cannot be applied: HTTP 400, `BadRequest`.
    #[error("{0}")]
    Invalid(String),
    /// Intent that does not fit the type of the kind: HTTP 500 without a reason, as Kubernetes answers.
    #[error("{0}")]
    Untyped(String),
}

/// Types of all served versions of a kind.
#[derive(Clone, Debug, Default)]
pub struct Versions(Vec<(String, Shape)>);

impl Versions {
    /// Makes the types from pairs of an API version (`apps/v1`) and its type.
    pub fn new(versions: impl IntoIterator<Item = (String, Shape)>) -> Self {
        Self(versions.into_iter().collect())
    }

    /// Makes the types of a kind with one version.
    pub fn one(api_version: &str, shape: &Shape) -> Self {
        Self(vec![(api_version.to_owned(), shape.clone())])
    }

    fn shape(&self, version: &str) -> Option<&Shape> {
        self.0.iter().find(|(known, _)| known == version).map(|(_, shape)| shape)
    }
}

impl updater::Versions for Versions {
    fn node(&self, version: &str) -> Option<&Node> {
        self.shape(version).map(Shape::root)
    }
}

fn conflict_message(conflicts: &[Conflict]) -> String {
    if let [conflict] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {}: {}", conflict.manager, conflict.field);
    }
    let mut text = format!("Apply failed with {} conflicts:", conflicts.len());
    let mut manager = "";
    for conflict in conflicts {
        if conflict.manager != manager {
            manager = &conflict.manager;
            text.push_str(if text.ends_with("conflicts:") { " " } else { "\n" });
            text.push_str(&format!("conflicts with {manager}:"));
        }
        text.push_str(&format!("\n- {}", conflict.field));
    }
    text
}

/// Applies `intent` to `live` as a server-side apply (`None`: the object is new).
///
/// The intent must hold only the fields that the endpoint may write: no `status` for the object itself, no `spec` for
/// its status. The result has its `managedFields`, but not yet its defaults.
pub fn apply(
    live: Option<&Value>,
    intent: &Value,
    manager: &Manager<'_>,
    force: bool,
    versions: &Versions,
) -> Result<Value, ApplyError> {
    let Some(shape) = versions.shape(manager.api_version) else {
        return Err(ApplyError::Untyped(format!("no corresponding type for {}", manager.api_version)));
    };
    check(intent, shape)?;
    let mut base = live.cloned().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    entries::strip(&mut base);
    let mut managed = live
        .map(Managed::decode)
        .transpose()
        .map_err(|error| ApplyError::Untyped(format!("failed to decode managed fields: {error}")))?
        .unwrap_or_default();
    let updater = Updater { versions, version: manager.api_version, node: shape.root() };
    if live.is_some() && managed.managers.is_empty() {
        let before = Manager { name: BEFORE_FIRST_APPLY, operation: Operation::Update, ..*manager };
        note(&updater, &Value::Object(serde_json::Map::new()), &base, &mut managed, &before);
    }
    let id = managed.id(manager);
    let apply = |force: bool| {
        let mut after = managed.clone();
        let merged = updater.apply(&base, intent, &mut after.managers, &id, force)?;
        Ok((merged, after))
    };
    let applied = match apply(force) {
        // A change from client-side to server-side apply must not conflict with itself.
        Err(conflicts) if manager.name == KUBECTL => {
            let own = last_applied::fields(&base, manager.api_version, shape.root());
            let left = drop_allowed(conflicts, &own);
            if left.is_empty() { apply(true) } else { Err(left) }
        }
        applied => applied,
    };
    let (merged, mut managed) = applied.map_err(|conflicts: Conflicts| named(&conflicts, &managed))?;
    strip_server_fields(&mut managed, &id);
    if merged.is_some() {
        managed.set_time(&id, manager.time);
    }
    let mut object = merged.unwrap_or(base);
    if manager.name == KUBECTL {
        last_applied::sync(&mut object, intent);
    }
    managed.encode(&mut object);
    Ok(object)
}

/// Checks that an intent fits its type.
fn check(intent: &Value, shape: &Shape) -> Result<(), ApplyError> {
    if !intent.is_object() {
        return Err(ApplyError::Invalid("the body of an apply must be an object".to_owned()));
    }
    if intent.pointer("/metadata/managedFields").is_some_and(|entries| !entries.is_null()) {
        return Err(ApplyError::Invalid("metadata.managedFields must be nil".to_owned()));
    }
    let wrong = fields::check(intent, shape.root(), false);
    let wrong = match wrong.as_slice() {
        [] => return Ok(()),
        [one] => one.clone(),
        many => format!("errors:\n  {}", many.join("\n  ")),
    };
    let text = |pointer: &str| intent.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    let (version, kind) = (text("/apiVersion"), text("/kind"));
    // Go shows the group in any case, even an empty one.
    let version = if version.contains('/') { version.to_owned() } else { format!("/{version}") };
    Err(ApplyError::Untyped(format!(
        "failed to create typed patch object ({namespace}/{name}; {version}, Kind={kind}): {wrong}"
    )))
}

/// Records in `after`'s `managedFields` what a create (`before` is `None`), update or patch changed.
/// A write that changes nothing keeps all times.
///
/// `after` may bring entries of its own (a client moves ownership), or an empty list or entry, which forgets all entries.
pub fn update(before: Option<&Value>, after: &mut Value, manager: &Manager<'_>, versions: &Versions) {
    let nothing = Value::Object(serde_json::Map::new());
    let live = before.unwrap_or(&nothing);
    let of_live = || Managed::decode(live).unwrap_or_default();
    let mut managed = match Managed::decode(after) {
        _ if manager.subresource.is_some() => of_live(),
        _ if entries::asks_for_reset(after) => Managed::default(),
        Ok(managed) if !managed.managers.is_empty() => managed,
        _ => of_live(),
    };
    entries::strip(after);
    // An object that has no entries gets some again only by an apply.
    if before.is_some() && managed.managers.is_empty() {
        return;
    }
    let shape = versions.shape(manager.api_version);
    let fits = |object: &Value| shape.is_some_and(|shape| fields::check(object, shape.root(), true).is_empty());
    let Some(shape) = shape.filter(|_| fits(after) && fits(live)) else {
        entries::copy(live, after);
        return;
    };
    let updater = Updater { versions, version: manager.api_version, node: shape.root() };
    let mut base = live.clone();
    entries::strip(&mut base);
    note(&updater, &base, after, &mut managed, manager);
    managed.cap();
    managed.encode(after);
}

/// Records that a manager has changed `old` to `new`.
fn note(updater: &Updater<'_>, old: &Value, new: &Value, managed: &mut Managed, manager: &Manager<'_>) {
    // A temporary manager owns the write until it is known whether anything has changed.
    const THIS_WRITE: &str = "current-operation";
    updater.update(old, new, &mut managed.managers, THIS_WRITE);
    strip_server_fields(managed, THIS_WRITE);
    let Some(changed) = managed.managers.remove(THIS_WRITE) else { return };
    let id = managed.id(manager);
    match managed.managers.get_mut(&id) {
        Some(owned) => owned.fields.add(&changed.fields),
        None => drop(managed.managers.insert(id.clone(), changed)),
    }
    managed.set_time(&id, manager.time);
}

/// Restores the old times of a write that has changed nothing but times of `managedFields`.
pub fn keep_times(old: &Value, new: &mut Value) {
    const ENTRIES: &str = "/metadata/managedFields";
    let same = old.pointer(ENTRIES) == new.pointer(ENTRIES);
    if same || entries::has_none(old) || !entries::same_but_for_times(old, new) {
        return;
    }
    let bare = |object: &Value| {
        let mut object = object.clone();
        entries::strip(&mut object);
        object
    };
    if bare(old) == bare(new) {
        entries::copy(old, new);
    }
}

/// Drops fields that belong to no manager.
fn strip_server_fields(managed: &mut Managed, id: &str) {
    if let Some(owned) = managed.managers.get_mut(id) {
        owned.fields.subtract(&entries::of_the_server());
    }
    managed.managers.retain(|_, owned| !owned.fields.is_empty());
}

fn drop_allowed(conflicts: Conflicts, allowed: &FieldSet) -> Conflicts {
    let left = conflicts.into_iter().map(|(manager, mut fields)| {
        fields.subtract(allowed);
        (manager, fields)
    });
    left.filter(|(_, fields)| !fields.is_empty()).collect()
}

fn named(conflicts: &Conflicts, managed: &Managed) -> ApplyError {
    let of = |id: &str, fields: &FieldSet| -> Vec<Conflict> {
        let manager = managed.show(id);
        fields.paths().into_iter().map(|field| Conflict { manager: manager.clone(), field }).collect()
    };
    ApplyError::Conflicts(conflicts.iter().flat_map(|(id, fields)| of(id, fields)).collect())
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod upstream;
