//! Entries of `metadata.managedFields`: reading and writing.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    Manager, Operation,
    set::{Branch, FieldSet, Step},
    updater::{ManagerFields, Managers},
};

/// Greatest number of managers that update; the oldest ones beyond it are merged.
const MAX_UPDATERS: usize = 10;
const ANCIENT: &str = "ancient-changes";

/// Entries of an object, by the identifier of their manager.
#[derive(Clone, Debug, Default)]
pub(super) struct Managed {
    pub(super) managers: Managers,
    ids: BTreeMap<String, Id>,
    times: BTreeMap<String, String>,
}

/// Identity of an entry.
#[derive(Clone, Debug)]
struct Id {
    manager: String,
    operation: Operation,
    /// Empty for a manager that applies, which has one entry for all versions.
    api_version: String,
    subresource: String,
}

impl Id {
    fn new(manager: &str, operation: Operation, api_version: &str, subresource: &str) -> Self {
        let manager = if manager.is_empty() { "unknown" } else { manager };
        let api_version = if operation == Operation::Apply { "" } else { api_version };
        Self {
            manager: manager.to_owned(),
            operation,
            api_version: api_version.to_owned(),
            subresource: subresource.to_owned(),
        }
    }

    /// Returns the identity as text; its order is the order in which Kubernetes sorts managers.
    fn key(&self) -> String {
        let operation = self.operation.name();
        let mut key = format!("{{\"manager\":{},\"operation\":\"{operation}\"", json!(self.manager));
        for (name, value) in [("apiVersion", &self.api_version), ("subresource", &self.subresource)] {
            if !value.is_empty() {
                key.push_str(&format!(",\"{name}\":{}", json!(value)));
            }
        }
        key.push('}');
        key
    }
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

impl Managed {
    /// Returns the identifier of a manager, under which its fields are kept.
    pub(super) fn id(&mut self, manager: &Manager<'_>) -> String {
        let subresource = manager.subresource.unwrap_or_default();
        self.register(Id::new(manager.name, manager.operation, manager.api_version, subresource))
    }

    fn register(&mut self, id: Id) -> String {
        let key = id.key();
        self.ids.insert(key.clone(), id);
        key
    }

    /// Records the time of a manager's write.
    pub(super) fn set_time(&mut self, id: &str, time: &str) {
        self.times.insert(id.to_owned(), time.to_owned());
    }

    /// Returns a manager in the notation of conflicts: `"kubectl-edit" using apps/v1`.
    pub(super) fn show(&self, id: &str) -> String {
        let Some(id) = self.ids.get(id) else { return format!("{id:?}") };
        let mut text = format!("{:?}", id.manager);
        if !id.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", id.subresource));
        }
        if id.operation == Operation::Update {
            text.push_str(&format!(" using {}", id.api_version));
        }
        text
    }

    /// Reads the entries of an object. Fails if any entry is malformed.
    pub(super) fn decode(object: &Value) -> Result<Self, String> {
        let mut managed = Self::default();
        for (index, entry) in raw(object).iter().enumerate() {
            managed.decode_entry(index, entry)?;
        }
        Ok(managed)
    }

    fn decode_entry(&mut self, index: usize, entry: &Value) -> Result<(), String> {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
        let operation = match text("operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err("operation must be `Apply` or `Update`".to_owned()),
        };
        let version = text("apiVersion");
        if version.is_empty() {
            return Err("apiVersion must not be empty".to_owned());
        }
        match text("fieldsType") {
            "FieldsV1" => {}
            "" => return Err(format!("missing fieldsType in managed fields entry {index}")),
            other => return Err(format!("invalid fieldsType {other:?} in managed fields entry {index}")),
        }
        let fields = FieldSet::decode(entry.get("fieldsV1").unwrap_or(&json!({})))
            .ok_or_else(|| format!("error decoding set of managed fields entry {index}"))?;
        let id = self.register(Id::new(text("manager"), operation, version, text("subresource")));
        if !text("time").is_empty() {
            self.set_time(&id, text("time"));
        }
        let owned = ManagerFields { version: version.to_owned(), applied: operation == Operation::Apply, fields };
        self.managers.insert(id, owned);
        Ok(())
    }

    /// Writes the entries into an object, in their order.
    pub(super) fn encode(&self, object: &mut Value) {
        strip(object);
        let mut entries: Vec<_> = self
            .managers
            .iter()
            .filter_map(|(key, owned)| Some((self.ids.get(key)?, self.times.get(key), owned)))
            .collect();
        entries.sort_by_key(|(id, time, owned)| (id.operation, *time, &id.manager, &owned.version, &id.subresource));
        let entries: Vec<Value> = entries.into_iter().map(|(id, time, owned)| encode_entry(id, time, owned)).collect();
        let Some(object) = object.as_object_mut().filter(|_| !entries.is_empty()) else { return };
        if let Value::Object(metadata) = object.entry("metadata").or_insert_with(|| json!({})) {
            metadata.insert("managedFields".to_owned(), entries.into());
        }
    }

    /// Merges the oldest managers that update, so that an object with many short-lived clients does not grow.
    pub(super) fn cap(&mut self) {
        let mut updaters: Vec<String> =
            self.managers.iter().filter(|(_, owned)| !owned.applied).map(|(id, _)| id.clone()).collect();
        let mut count = updaters.len();
        if count <= MAX_UPDATERS {
            return;
        }
        updaters.sort_by(|a, b| (self.times.get(a), a).cmp(&(self.times.get(b), b)));
        let mut first_of_version: BTreeMap<String, String> = BTreeMap::new();
        for id in updaters {
            if count <= MAX_UPDATERS {
                return;
            }
            let Some(version) = self.managers.get(&id).map(|owned| owned.version.clone()) else { continue };
            let bucket = self.register(Id::new(ANCIENT, Operation::Update, &version, ""));
            let Some(first) = first_of_version.get(&version).cloned() else {
                first_of_version.insert(version, id);
                continue;
            };
            if !self.managers.contains_key(&bucket)
                && let Some(owned) = self.managers.remove(&first)
            {
                self.managers.insert(bucket.clone(), owned);
            }
            if id != bucket
                && let Some(merged) = self.managers.remove(&id)
                && let Some(owned) = self.managers.get_mut(&bucket)
            {
                owned.fields.add(&merged.fields);
                count -= 1;
                // The merged entry has the newer time.
                if let Some(time) = self.times.get(&id).cloned() {
                    self.times.insert(bucket, time);
                }
            }
        }
    }
}

fn encode_entry(id: &Id, time: Option<&String>, owned: &ManagerFields) -> Value {
    let mut entry = Map::new();
    let mut put = |key: &str, value: &str| {
        if !value.is_empty() {
            entry.insert(key.to_owned(), Value::from(value));
        }
    };
    put("manager", &id.manager);
    put("operation", id.operation.name());
    put("apiVersion", &owned.version);
    put("time", time.map(String::as_str).unwrap_or_default());
    put("fieldsType", "FieldsV1");
    put("subresource", &id.subresource);
    entry.insert("fieldsV1".to_owned(), owned.fields.encode());
    Value::Object(entry)
}

/// Returns the raw entries of an object.
fn raw(object: &Value) -> &[Value] {
    object.pointer("/metadata/managedFields").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Returns whether an object has no entries.
pub(super) fn has_none(object: &Value) -> bool {
    raw(object).is_empty()
}

/// Returns whether an object asks to forget its entries, by an empty list or a single empty entry.
pub(super) fn asks_for_reset(object: &Value) -> bool {
    match object.pointer("/metadata/managedFields").and_then(Value::as_array).map(Vec::as_slice) {
        Some([]) => true,
        Some([Value::Object(entry)]) => entry.values().all(|value| value.is_null() || value == ""),
        _ => false,
    }
}

/// Removes the entries from an object.
pub(super) fn strip(object: &mut Value) {
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.remove("managedFields");
    }
}

/// Writes the entries of `from` into `object`.
pub(super) fn copy(from: &Value, object: &mut Value) {
    strip(object);
    let Some(entries) = from.pointer("/metadata/managedFields") else { return };
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.insert("managedFields".to_owned(), entries.clone());
    }
}

/// Returns whether two objects have the same entries except for times.
pub(super) fn same_but_for_times(a: &Value, b: &Value) -> bool {
    let timeless = |object: &Value| -> Option<BTreeMap<String, ManagerFields>> {
        Managed::decode(object).ok().map(|managed| managed.managers)
    };
    timeless(a) == timeless(b)
}

/// Returns the places that no manager owns: the identity of the object, and the fields that the server writes.
pub(super) fn of_the_server() -> FieldSet {
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
    ];
    let field = |name: &str| Step::Field(name.to_owned());
    let mut metadata = FieldSet::default();
    OF_METADATA.iter().for_each(|name| metadata.insert(field(name), Branch::leaf()));
    let mut set = FieldSet::default();
    set.insert(field("apiVersion"), Branch::leaf());
    set.insert(field("kind"), Branch::leaf());
    set.insert(field("metadata"), Branch { member: true, below: metadata });
    set
}
