//! `metadata.managedFields`: reading and writing its entries.

use serde_json::{Map, Value, json};

use super::{
    Manager, Operation,
    set::{FieldSet, Step},
};

/// More managers that update than this are merged, oldest first.
const MAX_UPDATERS: usize = 10;
const ANCIENT: &str = "ancient-changes";

/// One entry: what one manager owns.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) manager: String,
    pub(super) operation: Operation,
    pub(super) api_version: String,
    pub(super) subresource: String,
    pub(super) time: Option<String>,
    pub(super) fields: FieldSet,
}

impl Entry {
    /// A new entry of a manager, which owns nothing yet.
    pub(super) fn of(manager: &Manager<'_>) -> Self {
        Self {
            manager: manager.name.to_owned(),
            operation: manager.operation,
            api_version: manager.api_version.to_owned(),
            subresource: manager.subresource.unwrap_or_default().to_owned(),
            time: Some(manager.time.to_owned()),
            fields: FieldSet::default(),
        }
    }

    /// Is it the entry of this manager? Whoever applies has one for all versions.
    pub(super) fn is_of(&self, manager: &Manager<'_>) -> bool {
        self.manager == manager.name
            && self.operation == manager.operation
            && self.subresource == manager.subresource.unwrap_or_default()
            && (self.operation == Operation::Apply || self.api_version == manager.api_version)
    }

    /// As conflicts name it: `"kubectl-edit" using apps/v1`.
    pub(super) fn shown(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == Operation::Update {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }

    fn encode(&self) -> Value {
        let mut entry = Map::new();
        let mut put = |key: &str, value: &str| {
            if !value.is_empty() {
                entry.insert(key.to_owned(), Value::from(value));
            }
        };
        put("manager", &self.manager);
        put("operation", if self.operation == Operation::Apply { "Apply" } else { "Update" });
        put("apiVersion", &self.api_version);
        put("time", self.time.as_deref().unwrap_or_default());
        put("fieldsType", "FieldsV1");
        entry.insert("fieldsV1".to_owned(), self.fields.encode());
        if !self.subresource.is_empty() {
            entry.insert("subresource".to_owned(), Value::from(self.subresource.as_str()));
        }
        Value::Object(entry)
    }

    fn decode(entry: &Value) -> Option<Self> {
        let text = |key: &str| entry.get(key).and_then(Value::as_str);
        let operation = match text("operation")? {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        if text("fieldsType").is_some_and(|kind| kind != "FieldsV1") {
            return None;
        }
        Some(Self {
            manager: text("manager").unwrap_or_default().to_owned(),
            operation,
            api_version: text("apiVersion").unwrap_or_default().to_owned(),
            subresource: text("subresource").unwrap_or_default().to_owned(),
            time: text("time").map(str::to_owned),
            fields: FieldSet::decode(entry.get("fieldsV1").unwrap_or(&json!({})))?,
        })
    }
}

/// The raw entries of an object.
pub(super) fn raw(object: &Value) -> &[Value] {
    object.pointer("/metadata/managedFields").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The entries of an object; none if it has none, or if any makes no sense.
pub(super) fn decode(object: &Value) -> Option<Vec<Entry>> {
    let entries: Vec<Entry> = raw(object).iter().map(Entry::decode).collect::<Option<_>>()?;
    (!entries.is_empty()).then_some(entries)
}

/// Does an object ask for its entries to be forgotten, by a single empty one?
pub(super) fn asks_for_reset(object: &Value) -> bool {
    matches!(raw(object), [Value::Object(entry)] if entry.values().all(|value| value.is_null() || value == ""))
}

/// Takes the entries out of an object.
pub(super) fn strip(object: &mut Value) {
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.remove("managedFields");
    }
}

/// Puts entries into an object, in their order.
pub(super) fn encode(object: &mut Value, mut entries: Vec<Entry>) {
    strip(object);
    entries.retain(|entry| !entry.fields.is_empty());
    cap(&mut entries);
    if entries.is_empty() {
        return;
    }
    entries.sort_by(|a, b| {
        (a.operation, &a.time, &a.manager, &a.api_version, &a.subresource).cmp(&(
            b.operation,
            &b.time,
            &b.manager,
            &b.api_version,
            &b.subresource,
        ))
    });
    let Some(object) = object.as_object_mut() else { return };
    if let Value::Object(metadata) = object.entry("metadata").or_insert_with(|| json!({})) {
        metadata.insert("managedFields".to_owned(), entries.iter().map(Entry::encode).collect());
    }
}

/// Are the entries the same but for times and order?
pub(super) fn same(a: &[Entry], b: &[Entry]) -> bool {
    let timeless = |entries: &[Entry]| -> Vec<Entry> {
        let mut entries: Vec<Entry> = entries.iter().map(|entry| Entry { time: None, ..entry.clone() }).collect();
        entries.retain(|entry| !entry.fields.is_empty());
        entries.sort_by(|a, b| {
            (&a.manager, a.operation, &a.api_version, &a.subresource).cmp(&(
                &b.manager,
                b.operation,
                &b.api_version,
                &b.subresource,
            ))
        });
        entries
    };
    timeless(a) == timeless(b)
}

/// Merges the oldest updaters, so that an object with many short-lived clients does not grow.
fn cap(entries: &mut Vec<Entry>) {
    let updaters = |entries: &[Entry]| entries.iter().filter(|entry| entry.operation == Operation::Update).count();
    while updaters(entries) > MAX_UPDATERS {
        let mut oldest: Vec<usize> =
            (0..entries.len()).filter(|index| entries[*index].operation == Operation::Update).collect();
        oldest
            .sort_by(|a, b| (&entries[*a].time, &entries[*a].manager).cmp(&(&entries[*b].time, &entries[*b].manager)));
        // The first of them that has an older one of the same version to join.
        let pair = oldest.iter().enumerate().find_map(|(place, index)| {
            let version = &entries[*index].api_version;
            let older = oldest[..place].iter().find(|older| &entries[**older].api_version == version)?;
            Some((*older, *index))
        });
        let Some((older, newer)) = pair else { return };
        let joined = entries[newer].clone();
        let bucket = &mut entries[older];
        ANCIENT.clone_into(&mut bucket.manager);
        bucket.subresource.clear();
        bucket.time = joined.time;
        bucket.fields.add(&joined.fields);
        entries.remove(newer);
    }
}

/// Takes out of a set what nobody owns: what says which object it is, and what the server writes.
pub(super) fn without_system_fields(mut set: FieldSet) -> FieldSet {
    const OF_METADATA: &[&str] = &[
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ];
    let field = |name: &str| Step::Field(name.to_owned());
    set.remove(&field("apiVersion"));
    set.remove(&field("kind"));
    if let Some(metadata) = set.below_mut(&field("metadata")) {
        OF_METADATA.iter().for_each(|name| metadata.remove(&field(name)));
    }
    set.tidy();
    set
}
