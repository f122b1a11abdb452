//! Who owns which field: `metadata.managedFields` and server-side apply.
//!
//! The rules are those of structured-merge-diff, which Kubernetes uses: whoever applies owns what the intent says;
//! whoever writes otherwise owns what changed. An apply conflicts where it would change what another owns. A field
//! that left the intent goes if nobody else owns it, with all that nobody owns below it (defaults).

mod entries;
mod set;
mod walk;

use serde_json::Value;

use self::{
    entries::Entry,
    set::{FieldSet, Step},
};
use crate::shape::Shape;

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How a manager writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Server-side apply.
    Apply,
    /// Create, update, or any other patch.
    Update,
}

/// Who writes, and how.
#[derive(Clone, Copy, Debug)]
pub struct Manager<'a> {
    /// The field manager's name.
    pub name: &'a str,
    /// How it writes.
    pub operation: Operation,
    /// Of the written object, `apps/v1`.
    pub api_version: &'a str,
    /// `status`, `scale`; none for the object itself.
    pub subresource: Option<&'a str>,
    /// Now, RFC 3339 with seconds.
    pub time: &'a str,
}

/// A field that an apply would change and that someone else owns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The other owner, as kubectl shows it: `"kubectl-edit" using apps/v1`. The cause's message is `conflict with {manager}`.
    pub manager: String,
    /// The field: `.spec.replicas`.
    pub field: String,
}

/// Why an apply was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Someone else owns fields that the apply would change: HTTP 409, `Conflict`, a cause `FieldManagerConflict` for each.
    #[error("{}", conflict_message(.0))]
    Conflicts(Vec<Conflict>),
    /// The intent cannot be applied: HTTP 400, `BadRequest`.
    #[error("{0}")]
    Invalid(String),
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

/// Server-side apply of `intent` to `live` (`None`: the object is new).
///
/// The intent must hold only what the endpoint may write: without `status` for the object itself, without `spec` for
/// its status. The answer has its `managedFields`, but not yet its defaults. It equals `live` if nothing changed,
/// times included, so that the write can be skipped.
pub fn apply(
    live: Option<&Value>,
    intent: &Value,
    manager: &Manager<'_>,
    force: bool,
    shape: &Shape,
) -> Result<Value, ApplyError> {
    let intent = prepared(intent, shape)?;
    match try_apply(live, &intent, manager, force, shape) {
        // Who changes from `kubectl apply` to `kubectl apply --server-side` shall not clash with oneself.
        Err(ApplyError::Conflicts(mut conflicts)) if manager.name == "kubectl" => {
            let own = last_applied(live, shape).paths();
            conflicts.retain(|conflict| !own.contains(&conflict.field));
            if !conflicts.is_empty() {
                return Err(ApplyError::Conflicts(conflicts));
            }
            try_apply(live, &intent, manager, true, shape)
        }
        other => other,
    }
}

/// Checks an intent, and takes out what an intent cannot say.
fn prepared(intent: &Value, shape: &Shape) -> Result<Value, ApplyError> {
    if !intent.is_object() {
        return Err(ApplyError::Invalid("the body of an apply must be an object".to_owned()));
    }
    if !entries::raw(intent).is_empty() {
        return Err(ApplyError::Invalid("metadata.managedFields must be nil".to_owned()));
    }
    let mut intent = if shape.is_built_in() { walk::without_nulls(intent) } else { intent.clone() };
    if let Some(Value::Object(metadata)) = intent.get_mut("metadata") {
        for field in ["managedFields", "creationTimestamp", "generation", "selfLink", "resourceVersion", "uid"] {
            metadata.remove(field);
        }
    }
    if shape.is_built_in() && intent.get("kind").is_some_and(|kind| kind == "Secret") {
        crate::defaults::encode_string_data(&mut intent);
    }
    walk::check(&intent, shape.root(), "").map_err(ApplyError::Invalid)?;
    Ok(intent)
}

fn try_apply(
    live: Option<&Value>,
    intent: &Value,
    manager: &Manager<'_>,
    force: bool,
    shape: &Shape,
) -> Result<Value, ApplyError> {
    let node = shape.root();
    let base = live.map_or_else(|| Value::Object(serde_json::Map::new()), bare);
    let before = match live {
        None => Vec::new(),
        Some(live) => entries::decode(live).unwrap_or_else(|| vec![before_first_apply(live, manager, shape)]),
    };
    let (own, mut others): (Vec<Entry>, Vec<Entry>) = before.iter().cloned().partition(|entry| entry.is_of(manager));
    let mut last = FieldSet::default();
    own.iter().for_each(|entry| last.add(&entry.fields));

    let all_intended = walk::fields(intent, node);
    let mut kept = identity();
    kept.add(&all_intended);
    others.iter().for_each(|entry| kept.add(&entry.fields));

    let mut merged = walk::merge(&base, intent, node);
    walk::prune(&mut merged, &last, &kept, node);

    let walk::Difference { added, modified: mut changed, removed } = walk::compare(&base, &merged, node);
    changed.add(&added);
    let mut conflicts = Vec::new();
    for other in &mut others {
        let clash = other.fields.intersection(&changed);
        let shown = other.shown();
        conflicts.extend(clash.paths().into_iter().map(|field| Conflict { manager: shown.clone(), field }));
        other.fields.subtract(&clash);
        other.fields.subtract(&removed);
    }
    if !force && !conflicts.is_empty() {
        conflicts.sort();
        return Err(ApplyError::Conflicts(conflicts));
    }

    let mut entry = Entry::of(manager);
    entry.fields = entries::without_system_fields(all_intended);
    if manager.name == "kubectl" {
        sync_last_applied(&mut merged, intent);
    }
    let mut after = others;
    after.push(entry);
    if let Some(live) = live
        && merged == base
        && entries::same(&before, &after)
        && !entries::raw(live).is_empty()
    {
        return Ok(live.clone());
    }
    entries::encode(&mut merged, after);
    Ok(merged)
}

/// Notes in `after`'s `managedFields` what a create (`before` is `None`), update or patch changed.
/// A write that changes nothing keeps all times.
///
/// `after` may bring entries of its own (a client moves ownership), or a single empty one, which forgets all.
pub fn update(before: Option<&Value>, after: &mut Value, manager: &Manager<'_>, shape: &Shape) {
    let node = shape.root();
    let live = before.and_then(entries::decode).unwrap_or_default();
    let mut entries = if manager.subresource.is_some() {
        live
    } else if entries::asks_for_reset(after) {
        Vec::new()
    } else {
        entries::decode(after).unwrap_or(live)
    };
    entries::strip(after);

    let base = before.map_or_else(|| Value::Object(serde_json::Map::new()), bare);
    let walk::Difference { added, modified: mut changed, removed } = walk::compare(&base, after, node);
    changed.add(&added);
    let changed = entries::without_system_fields(changed);
    let removed = entries::without_system_fields(removed);
    if changed.is_empty() && removed.is_empty() {
        entries::encode(after, entries);
        return;
    }

    let mut own = None;
    for entry in &mut entries {
        entry.fields.subtract(&removed);
        if entry.is_of(manager) {
            own = Some(entry);
        } else {
            entry.fields.subtract(&changed);
        }
    }
    match own {
        Some(entry) => {
            entry.fields.add(&changed);
            entry.time = Some(manager.time.to_owned());
        }
        None => entries.push(Entry { fields: changed, ..Entry::of(manager) }),
    }
    entries::encode(after, entries);
}

/// An object without its entries.
fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    entries::strip(&mut object);
    object
}

/// What no apply may take away, whatever the entries say.
fn identity() -> FieldSet {
    let mut metadata = FieldSet::default();
    for name in ["name", "namespace", "uid", "creationTimestamp", "resourceVersion", "generation"] {
        metadata.insert(Step::Field(name.to_owned()));
    }
    let mut identity = FieldSet::default();
    identity.insert(Step::Field("apiVersion".to_owned()));
    identity.insert(Step::Field("kind".to_owned()));
    identity.insert_below(Step::Field("metadata".to_owned()), metadata);
    identity
}

/// An object without entries was written by someone before, so that an apply does not silently take it over.
fn before_first_apply(live: &Value, manager: &Manager<'_>, shape: &Shape) -> Entry {
    let version = live.get("apiVersion").and_then(Value::as_str).unwrap_or(manager.api_version);
    let writer = Manager {
        name: "before-first-apply",
        operation: Operation::Update,
        api_version: version,
        subresource: None,
        time: manager.time,
    };
    let fields = entries::without_system_fields(walk::fields(&bare(live), shape.root()));
    Entry { fields, ..Entry::of(&writer) }
}

/// The fields that the annotation of a client-side `kubectl apply` names.
fn last_applied(live: Option<&Value>, shape: &Shape) -> FieldSet {
    let text = live
        .and_then(|live| live.pointer("/metadata/annotations"))
        .and_then(|annotations| annotations.get(LAST_APPLIED))
        .and_then(Value::as_str);
    let object: Option<Value> = text.and_then(|text| serde_json::from_str(text).ok());
    object.map(|object| walk::fields(&object, shape.root())).unwrap_or_default()
}

/// Keeps the annotation of a client-side `kubectl apply` true, so that one may go back to it.
fn sync_last_applied(merged: &mut Value, intent: &Value) {
    let Some(Value::Object(annotations)) = merged.pointer_mut("/metadata/annotations") else { return };
    let Some(annotation) = annotations.get_mut(LAST_APPLIED) else { return };
    let mut intent = intent.clone();
    if let Some(Value::Object(annotations)) = intent.pointer_mut("/metadata/annotations") {
        annotations.remove(LAST_APPLIED);
    }
    let same =
        annotation.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok()).is_some_and(|old| old == intent);
    if !same {
        *annotation = Value::from(format!("{intent}\n"));
    }
}

#[cfg(test)]
mod tests;
