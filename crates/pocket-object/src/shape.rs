//! Types of objects as structured-merge-diff sees them: declared fields of structs, lists that are sets or have keys,
//! values that are owned as a whole, and the merge rules of a strategic merge patch.

mod crd;
pub(crate) mod types;

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use serde_json::Value;

/// Type of a kind. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shape {
    root: Link,
}

/// Type of a value at one place. A place that takes several forms has several of these; the value decides.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    scalar: Option<Scalar>,
    list: Option<List>,
    map: Option<Map>,
}

/// Form of a place that fits a value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form<'a> {
    Scalar(Scalar),
    List(&'a List),
    Map(&'a Map),
}

/// Type of a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    String,
    Number,
    Boolean,
    Any,
}

/// Type of a list.
#[derive(Clone, Debug)]
pub(crate) struct List {
    pub(crate) ownership: Ownership,
    pub(crate) element: Link,
}

/// Granularity of ownership in a list: the whole list, or each element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// List that is owned as a whole.
    Atomic,
    /// Unique scalars, owned one by one.
    Set,
    /// Maps that differ in these keys, each with the default that counts where it is missing. The keys are ordered by name.
    Keyed(Vec<(String, Option<Value>)>),
}

/// Type of a map or struct.
#[derive(Clone, Debug, Default)]
pub(crate) struct Map {
    /// Whether the map is owned as a whole.
    pub(crate) atomic: bool,
    /// Declared fields.
    fields: BTreeMap<String, Link>,
    /// Type of every other field. Without it, only declared fields are allowed.
    rest: Option<Link>,
}

/// Reference to the type of a field or element.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    target: Target,
    /// Effect of a strategic merge patch here.
    pub(crate) strategy: Strategy,
    /// Value that Go writes into an empty field. Most fields are left out instead.
    empty: Option<Empty>,
}

/// Empty field that Go does not leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Empty {
    Struct,
    Null,
}

#[derive(Clone, Copy, Debug)]
enum Special {
    /// Any JSON: maps merge key by key, lists are owned as a whole.
    Anything,
    /// Any JSON, owned as a whole.
    Whole,
}

#[derive(Clone, Debug)]
enum Target {
    Own(Arc<Node>),
    /// Built-in type, which may contain itself.
    BuiltIn(&'static types::Type),
    Special(Special),
}

/// Effect of a strategic merge patch on a list or map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// Replaces a list; merges a map.
    #[default]
    Default,
    /// Replaces a map.
    Replace,
    /// Adds scalars.
    Merge,
    /// Merges maps with the same value of this key.
    MergeBy(String),
}

static ANYTHING: LazyLock<Node> = LazyLock::new(|| special(Special::Anything));
static WHOLE: LazyLock<Node> = LazyLock::new(|| special(Special::Whole));
static ANY_LINK: Link = Link { target: Target::Special(Special::Anything), strategy: Strategy::Default, empty: None };
static EMPTY_STRUCT: LazyLock<Value> = LazyLock::new(|| Value::Object(serde_json::Map::new()));
static NULL: Value = Value::Null;

fn special(what: Special) -> Node {
    let list = List { ownership: Ownership::Atomic, element: Target::Special(Special::Whole).into() };
    let atomic = matches!(what, Special::Whole);
    let map = Map { atomic, fields: BTreeMap::new(), rest: Some(Target::Special(what).into()) };
    Node { scalar: Some(Scalar::Any), list: Some(list), map: Some(map) }
}

impl Node {
    fn scalar(scalar: Scalar) -> Self {
        Self { scalar: Some(scalar), ..Self::default() }
    }

    fn list(ownership: Ownership, element: Link) -> Self {
        Self { list: Some(List { ownership, element }), ..Self::default() }
    }

    fn map(map: Map) -> Self {
        Self { map: Some(map), ..Self::default() }
    }

    /// Returns the form that fits a value. A value that fits none, a null or nothing gets the first form of map, scalar, list.
    pub(crate) fn form(&self, value: Option<&Value>) -> Form<'_> {
        let fitting = match value {
            Some(Value::Object(_)) => self.map.as_ref().map(Form::Map),
            Some(Value::Array(_)) => self.list.as_ref().map(Form::List),
            Some(Value::Null) | None => None,
            Some(_) => self.scalar.map(Form::Scalar),
        };
        let first = || match (&self.map, self.scalar, &self.list) {
            (Some(map), ..) => Form::Map(map),
            (None, Some(scalar), _) => Form::Scalar(scalar),
            (None, None, Some(list)) => Form::List(list),
            (None, None, None) => Form::Scalar(Scalar::Any),
        };
        fitting.unwrap_or_else(first)
    }

    /// Returns the form of a map, if the place may be one.
    pub(crate) fn as_map(&self) -> Option<&Map> {
        self.map.as_ref()
    }

    /// Returns the form of a list, if the place may be one.
    pub(crate) fn as_list(&self) -> Option<&List> {
        self.list.as_ref()
    }

    /// Returns the type of a field; any JSON for a field that is not declared.
    pub(crate) fn field(&self, name: &str) -> &Link {
        self.map.as_ref().and_then(|map| map.field(name)).unwrap_or(&ANY_LINK)
    }

    /// Returns the type of the elements of a list.
    pub(crate) fn element(&self) -> &Node {
        self.list.as_ref().map_or_else(|| &*ANYTHING, |list| list.element.node())
    }
}

impl Map {
    /// Returns the type of a field, if the field is allowed.
    pub(crate) fn field(&self, name: &str) -> Option<&Link> {
        self.fields.get(name).or(self.rest.as_ref())
    }

    /// Returns whether a field is declared by name.
    pub(crate) fn declares(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// Returns whether nothing is known of the fields.
    pub(crate) fn is_untyped(&self) -> bool {
        let free = matches!(&self.rest, Some(Link { target: Target::Special(Special::Anything), .. }));
        self.fields.is_empty() && free
    }

    /// Returns the fields that Go writes even if they are empty, with the values that it writes.
    pub(crate) fn never_left_out(&self) -> impl Iterator<Item = (&str, &'static Value)> {
        self.fields.iter().filter_map(|(name, link)| Some((name.as_str(), link.empty?.value())))
    }
}

impl Empty {
    fn value(self) -> &'static Value {
        match self {
            Self::Struct => &EMPTY_STRUCT,
            Self::Null => &NULL,
        }
    }
}

impl Link {
    /// Returns the referenced type.
    pub(crate) fn node(&self) -> &Node {
        match &self.target {
            Target::Own(node) => node,
            Target::BuiltIn(type_) => type_.node(),
            Target::Special(Special::Anything) => &ANYTHING,
            Target::Special(Special::Whole) => &WHOLE,
        }
    }
}

impl From<Target> for Link {
    fn from(target: Target) -> Self {
        Self { target, strategy: Strategy::Default, empty: None }
    }
}

impl From<Node> for Link {
    fn from(node: Node) -> Self {
        Target::Own(Arc::new(node)).into()
    }
}

impl Shape {
    /// Returns whether a kind has a built-in type.
    pub fn has_builtin(group: &str, kind: &str) -> bool {
        types::kind(group, kind).is_some()
    }

    /// Returns the type of a built-in kind; any JSON with metadata for an unknown kind.
    pub fn builtin(group: &str, kind: &str) -> Self {
        match types::kind(group, kind) {
            Some(type_) => Self { root: Target::BuiltIn(type_).into() },
            None => Self::untyped(),
        }
    }

    /// Returns the type that a CRD's `openAPIV3Schema` declares.
    pub fn from_crd_schema(schema: &Value) -> Self {
        Self { root: crd::root(schema).into() }
    }

    /// Returns the type of any JSON with metadata.
    pub fn untyped() -> Self {
        let fields = types::object_meta().map(|metadata| ("metadata".to_owned(), metadata));
        let rest = Some(Target::Special(Special::Anything).into());
        Self { root: Node::map(Map { atomic: false, fields: fields.into_iter().collect(), rest }).into() }
    }

    /// Returns the type of the whole object.
    pub(crate) fn root(&self) -> &Node {
        self.root.node()
    }
}

impl Default for Shape {
    fn default() -> Self {
        Self::untyped()
    }
}

#[cfg(test)]
mod tests;
