//! Fields that a built-in kind does not have.
//!
//! The names of all fields are kept in a compact form, kind by kind from the first write on, so that looking for
//! unknown fields costs no more than a walk over the object.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use serde_json::{Map, Value};

use super::builtin::{generator, reference};
use crate::table::Resource;

/// The fields of a type.
enum Node {
    /// Anything goes.
    Any,
    /// These fields and no others, sorted by name.
    Fields(Box<[(Box<str>, u32)]>),
    /// Any names, with values of one type.
    Map(u32),
    /// Items of one type.
    List(u32),
}

/// The node of what has no fields.
const ANY: u32 = 0;

#[derive(Default)]
struct Types {
    nodes: Vec<Node>,
    by_name: HashMap<Box<str>, u32>,
    kinds: HashMap<(Box<str>, Box<str>), u32>,
}

static TYPES: Mutex<Option<Types>> = Mutex::new(None);

/// Removes the fields that the kind does not have and answers their paths.
pub(crate) fn prune(resource: &Resource, object: &mut Value) -> Vec<String> {
    let mut guard = TYPES.lock().unwrap_or_else(PoisonError::into_inner);
    let types = guard.get_or_insert_with(|| Types { nodes: vec![Node::Any], ..Types::default() });
    let root = types.kind(&resource.group, &resource.kind);
    let mut found = Vec::new();
    types.walk(root, object, &mut String::new(), &mut found);
    found
}

impl Types {
    fn kind(&mut self, group: &str, kind: &str) -> u32 {
        let key = (group.into(), kind.into());
        if let Some(known) = self.kinds.get(&key) {
            return *known;
        }
        let mut generator = generator();
        let root = match reference(&mut generator, group, kind) {
            Some(schema) => {
                let definitions = generator.take_definitions(false);
                self.add(schema.as_value(), &definitions)
            }
            None => ANY,
        };
        self.kinds.insert(key, root);
        root
    }

    fn add(&mut self, schema: &Value, definitions: &Map<String, Value>) -> u32 {
        let wrapped = schema.pointer("/allOf/0/$ref");
        if let Some(name) =
            schema.get("$ref").or(wrapped).and_then(Value::as_str).and_then(|path| path.rsplit('/').next())
        {
            return self.add_named(name, definitions);
        }
        match self.node(schema, definitions) {
            Node::Any => ANY,
            node => self.push(node),
        }
    }

    /// A named type may contain itself, so its place is taken before its fields are looked at.
    fn add_named(&mut self, name: &str, definitions: &Map<String, Value>) -> u32 {
        if let Some(known) = self.by_name.get(name) {
            return *known;
        }
        let Some(schema) = definitions.get(name) else { return ANY };
        let place = self.push(Node::Any);
        self.by_name.insert(name.into(), place);
        let node = self.node(schema, definitions);
        if let Some(slot) = self.nodes.get_mut(place as usize) {
            *slot = node;
        }
        place
    }

    fn node(&mut self, schema: &Value, definitions: &Map<String, Value>) -> Node {
        if let Some(properties) = schema.get("properties").and_then(Value::as_object).filter(|all| !all.is_empty()) {
            let mut fields: Vec<(Box<str>, u32)> =
                properties.iter().map(|(name, schema)| (name.as_str().into(), self.add(schema, definitions))).collect();
            fields.sort();
            return Node::Fields(fields.into());
        }
        if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
            return match self.add(values, definitions) {
                ANY => Node::Any,
                values => Node::Map(values),
            };
        }
        match schema.get("items").map(|items| self.add(items, definitions)) {
            None | Some(ANY) => Node::Any,
            Some(items) => Node::List(items),
        }
    }

    fn push(&mut self, node: Node) -> u32 {
        self.nodes.push(node);
        u32::try_from(self.nodes.len() - 1).unwrap_or(ANY)
    }

    fn walk(&self, at: u32, value: &mut Value, path: &mut String, found: &mut Vec<String>) {
        let length = path.len();
        match (self.nodes.get(at as usize).unwrap_or(&Node::Any), value) {
            (Node::Fields(fields), Value::Object(object)) => object.retain(|name, value| {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
                let known = fields.binary_search_by(|(field, _)| field.as_ref().cmp(name)).ok();
                match known.and_then(|index| fields.get(index)) {
                    Some((_, next)) => self.walk(*next, value, path, found),
                    None => found.push(path.clone()),
                }
                path.truncate(length);
                known.is_some()
            }),
            (Node::Map(next), Value::Object(object)) => {
                for (name, value) in object {
                    path.push('.');
                    path.push_str(name);
                    self.walk(*next, value, path, found);
                    path.truncate(length);
                }
            }
            (Node::List(next), Value::Array(items)) => {
                for (index, item) in items.iter_mut().enumerate() {
                    path.push_str(&format!("[{index}]"));
                    self.walk(*next, item, path, found);
                    path.truncate(length);
                }
            }
            _ => {}
        }
    }
}
