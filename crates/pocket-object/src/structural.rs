//! Structural schemas of CustomResourceDefinitions: prune, default, validate.

mod cel;
mod format;
mod parse;
mod shape;
mod validate;

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use crate::FieldError;

/// Compiled `openAPIV3Schema`.
#[derive(Debug)]
pub struct Schema {
    root: Node,
}

impl Schema {
    /// Compiles a schema, its patterns and its CEL rules. Mistakes have paths relative to the schema:
    /// `properties[spec].type`.
    pub fn parse(schema: &Value) -> Result<Self, Vec<FieldError>> {
        parse::root(schema).map(|root| Self { root })
    }

    /// Drops the fields that the schema does not know, and returns their paths (`spec.foo`). `apiVersion`, `kind` and `metadata` stay.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        let mut dropped = Vec::new();
        shape::prune(&self.root, object, "", &mut dropped);
        dropped
    }

    /// Fills in the schema's defaults. A null that is not allowed counts as missing.
    pub fn default(&self, object: &mut Value) {
        shape::default(&self.root, object);
    }

    /// Checks an object; `old` is the object before an update, for transition rules. A violation that existed before and has
    /// not changed is accepted, so that a stricter schema does not lock existing objects.
    pub fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = Vec::new();
        validate::check(&self.root, new, old, "", &mut errors);
        // Rules rely on correct types.
        if errors.is_empty() {
            cel::check(&self.root, new, old, &mut errors);
        }
        errors
    }
}

/// Type of a JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// Fields that a map may have besides its properties.
#[derive(Debug, Default)]
enum Additional {
    /// No other fields: they are pruned.
    #[default]
    None,
    /// Any fields.
    Any,
    /// Fields of one schema.
    Of(Box<Node>),
}

/// Way in which the elements of a list are distinguished.
#[derive(Debug, Default)]
enum ListType {
    #[default]
    Atomic,
    Set,
    Map(Vec<String>),
}

/// Place in a schema.
#[derive(Debug, Default)]
struct Node {
    type_: Option<Type>,
    nullable: bool,
    int_or_string: bool,
    preserve_unknown: bool,
    /// Whether the value is a whole object with `apiVersion`, `kind` and `metadata`; also true of the root.
    embedded: bool,
    properties: BTreeMap<String, Node>,
    additional: Additional,
    items: Option<Box<Node>>,
    list_type: ListType,
    default: Option<Value>,
    rules: Vec<cel::Rule>,
    limits: Limits,
}

/// Limits on a value, independent of its type.
#[derive(Debug, Default)]
struct Limits {
    required: Vec<String>,
    allowed: Vec<Value>,
    pattern: Option<Regex>,
    format: String,
    minimum: Option<(f64, bool)>,
    maximum: Option<(f64, bool)>,
    multiple_of: Option<f64>,
    length: Bounds,
    items: Bounds,
    properties: Bounds,
    all_of: Vec<Node>,
    any_of: Vec<Node>,
    one_of: Vec<Node>,
    not: Option<Box<Node>>,
}

/// Least and greatest number.
#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    min: Option<usize>,
    max: Option<usize>,
}

/// Returns the path of a field of a map: plain, or in brackets if the map has any keys.
fn child_path(path: &str, name: &str, in_brackets: bool) -> String {
    match (path.is_empty(), in_brackets) {
        (_, true) => format!("{path}[{name}]"),
        (true, false) => name.to_owned(),
        (false, false) => format!("{path}.{name}"),
    }
}

#[cfg(test)]
mod tests;
