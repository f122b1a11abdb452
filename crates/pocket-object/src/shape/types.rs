//! Types of the built-in kinds, from a generated table (`types.txt` explains its notation).

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Once, OnceLock},
};

use serde_json::Value;

use super::{Empty, Link, Map, Node, Ownership, Scalar, Special, Strategy, Target};

/// Built-in type, which is parsed at first use.
pub(crate) struct Type {
    table: &'static Table,
    /// Line of the table, after the name.
    line: &'static str,
    atomic: bool,
    node: OnceLock<Node>,
}

impl fmt::Debug for Type {
    /// Writes the type without the types that it refers to, because it may contain itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.line)
    }
}

/// Named types that refer to each other.
#[derive(Debug, Default)]
pub(crate) struct Table {
    types: OnceLock<HashMap<&'static str, Type>>,
    kinds: OnceLock<HashMap<(&'static str, &'static str), &'static str>>,
}

static KUBERNETES: Table = Table { types: OnceLock::new(), kinds: OnceLock::new() };

fn kubernetes() -> &'static Table {
    static READ: Once = Once::new();
    READ.call_once(|| KUBERNETES.read(include_str!("types.txt")));
    &KUBERNETES
}

/// Returns the type of a kind.
pub(super) fn kind(group: &str, kind: &str) -> Option<&'static Type> {
    let group = if group.is_empty() { "-" } else { group };
    let name = kubernetes().kinds.get()?.get(&(group, kind))?;
    kubernetes().find(name)
}

/// Returns the type of `metadata`.
pub(super) fn object_meta() -> Option<Link> {
    kubernetes().find("ObjectMeta").map(|type_| Target::BuiltIn(type_).into())
}

impl Table {
    /// Splits a table into its types and kinds.
    fn read(&'static self, text: &'static str) {
        let (mut types, mut kinds) = (HashMap::new(), HashMap::new());
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, line)) = line.split_once(' ').or((!line.is_empty()).then_some((line, ""))) else {
                continue;
            };
            if name == "kind" {
                let mut words = line.split(' ');
                if let (Some(group), Some(kind), Some(name)) = (words.next(), words.next(), words.next()) {
                    kinds.insert((group, kind), name);
                }
                continue;
            }
            let atomic = name.ends_with('!');
            let type_ = Type { table: self, line, atomic, node: OnceLock::new() };
            types.insert(name.trim_end_matches('!'), type_);
        }
        let _ = self.types.set(types);
        let _ = self.kinds.set(kinds);
    }

    pub(super) fn find(&'static self, name: &str) -> Option<&'static Type> {
        self.types.get()?.get(name)
    }

    /// Returns the type of a reference. A type that is not in the table is any JSON; a test makes sure that there is none.
    fn reference(&'static self, text: &str) -> Link {
        let special = |special: Special| Link::from(Target::Special(special));
        let scalar = |scalar: Scalar| Link::from(Node::scalar(scalar));
        match text {
            "s" => return scalar(Scalar::String),
            "n" => return scalar(Scalar::Number),
            "b" => return scalar(Scalar::Boolean),
            "u" => return scalar(Scalar::Any),
            "?" => return special(Special::Anything),
            "!" => return special(Special::Whole),
            _ => {}
        }
        if let Some(rest) = text.strip_prefix("{}") {
            let rest = Some(self.reference(rest));
            return Node::map(Map { atomic: false, fields: BTreeMap::new(), rest }).into();
        }
        if let Some(rest) = text.strip_prefix("{!}") {
            let rest = Some(self.reference(rest));
            return Node::map(Map { atomic: true, fields: BTreeMap::new(), rest }).into();
        }
        if let Some((keys, element)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let ownership = match keys {
                "" => Ownership::Atomic,
                "=" => Ownership::Set,
                keys => Ownership::Keyed(keys.split(',').map(key).collect()),
            };
            return Node::list(ownership, self.reference(element)).into();
        }
        if let Some(name) = text.strip_prefix('~') {
            return self.overridden(name, false);
        }
        if let Some(name) = text.strip_prefix('*') {
            return self.overridden(name, true);
        }
        match self.find(text) {
            Some(type_) => Target::BuiltIn(type_).into(),
            None => special(Special::Anything),
        }
    }

    /// Returns a type whose field itself decides whether it is owned as a whole.
    fn overridden(&'static self, name: &str, atomic: bool) -> Link {
        let mut node = self.reference(name).node().clone();
        if let Some(map) = &mut node.map {
            map.atomic = atomic;
        }
        if let Some(list) = &mut node.list {
            list.ownership = if atomic { Ownership::Atomic } else { Ownership::Set };
        }
        node.into()
    }
}

impl Type {
    /// Returns the type, which is parsed the first time.
    pub(super) fn node(&self) -> &Node {
        self.node.get_or_init(|| {
            if let Some(alias) = self.line.strip_prefix('=') {
                return self.table.reference(alias).node().clone();
            }
            let mut map = Map { atomic: self.atomic, ..Map::default() };
            for field in self.line.split(' ') {
                // Neither part of a field may contain a colon.
                let Some((name, reference)) = field.split_once(':') else { continue };
                if name.is_empty() {
                    map.rest = Some(self.table.reference(reference));
                } else {
                    map.fields.insert(name.to_owned(), self.field(reference));
                }
            }
            Node::map(map)
        })
    }

    fn field(&self, text: &str) -> Link {
        let (text, empty) = match (text.strip_suffix('.'), text.strip_suffix('-')) {
            (Some(text), _) => (text, Some(Empty::Struct)),
            (None, Some(text)) => (text, Some(Empty::Null)),
            (None, None) => (text, None),
        };
        let (reference, strategy) = match text.split_once('|') {
            None => (text, Strategy::Default),
            Some((reference, "!")) => (reference, Strategy::Replace),
            Some((reference, "+")) => (reference, Strategy::Merge),
            Some((reference, key)) => (reference, Strategy::MergeBy(key.to_owned())),
        };
        Link { strategy, empty, ..self.table.reference(reference) }
    }
}

/// Parses a key of a list, with the default behind `=`.
fn key(text: &str) -> (String, Option<Value>) {
    match text.split_once('=') {
        Some((name, default)) => (name.to_owned(), serde_json::from_str(default).ok()),
        None => (text.to_owned(), None),
    }
}

#[cfg(test)]
impl Table {
    /// Returns a table for a test.
    pub(crate) fn of(text: &str) -> &'static Self {
        let table: &'static Self = Box::leak(Box::default());
        table.read(Box::leak(text.to_owned().into_boxed_str()));
        table
    }

    /// Returns a type by its reference.
    pub(crate) fn link(&'static self, reference: &str) -> Link {
        self.reference(reference)
    }
}
