//! Check of an object of Rainbow's group against the schema of its definition: unknown fields, values of another type, and missing fields. Every error is reported
//! in the words of a manifest. Everything else in the schema, such as limits, is left to the validation and to `rules`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Map, Value};

use super::{source::Source, wrong::Wrong};
use crate::error::nearest;

/// Schemas by kind, from the definitions.
static SCHEMAS: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
    let schema = |crd: CustomResourceDefinition| {
        let version = crd.spec.versions.into_iter().next();
        let schema = version.and_then(|version| version.schema?.open_api_v3_schema);
        (crd.spec.names.kind, serde_json::to_value(schema).unwrap_or_default())
    };
    rainbow_api::crds().into_iter().map(schema).collect()
});
/// Fields of Kubernetes' own types, which the validation knows better.
const OF_KUBERNETES: [&str; 3] = ["template", "resources", "securityContext"];
/// Largest number of fields that a message lists where none is like the written one.
const SHOWN: usize = 12;

/// Returns the schemas by kind.
pub(crate) fn all() -> &'static BTreeMap<String, Value> {
    &SCHEMAS
}

/// Fields of every object, which the schema leaves out.
const OF_OBJECTS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Result of the check.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub(crate) wrong: Vec<Wrong>,
    /// Paths of fields that stand there under another name, and so are not missing.
    pub(crate) meant: Vec<String>,
}

/// Returns everything in an object that the schema of its kind does not allow. `at`: path of the object in the document, where it is an entry
/// of a list.
pub(crate) fn check(kind: &str, object: &Value, source: &Source, at: &str) -> Checked {
    let mut checker = Checker { source, at, checked: Checked::default() };
    if let Some(schema) = SCHEMAS.get(kind) {
        checker.value(schema, object, &mut String::new());
    }
    checker.checked
}

struct Checker<'a> {
    source: &'a Source,
    at: &'a str,
    checked: Checked,
}

impl Checker<'_> {
    fn value(&mut self, schema: &Value, found: &Value, path: &mut String) {
        let wanted = schema["type"].as_str();
        match (wanted, found) {
            // `null` counts as a missing field.
            (_, Value::Null) | (None, _) => {}
            (Some("object"), Value::Object(fields)) => self.fields(schema, fields, path),
            (Some("array"), Value::Array(entries)) => {
                for (index, entry) in entries.iter().enumerate() {
                    let step = format!("[{}]", entry_name(entry, index));
                    within(path, &step, |path| self.value(&schema["items"], entry, path));
                }
            }
            (Some("string"), Value::String(text)) => self.choice(schema, text, path),
            (Some("boolean"), Value::Bool(_)) | (Some("number"), Value::Number(_)) => {}
            (Some("integer"), Value::Number(number)) if number.is_i64() => {
                let fits = number.as_i64().is_some_and(|number| i32::try_from(number).is_ok());
                if !fits && schema["format"] == "int32" {
                    self.add(
                        path,
                        format!("`{number}` is too far from 0: write a number from {} to {}", i32::MIN, i32::MAX),
                    );
                }
            }
            (Some(wanted), found) => {
                let written = self.source.plain(&format!("{}{path}", self.at)).map(str::to_owned);
                self.add(path, type_message(wanted, found, written.as_deref()));
            }
        }
    }

    fn fields(&mut self, schema: &Value, fields: &Map<String, Value>, path: &mut String) {
        let Some(known) = schema["properties"].as_object() else {
            let of_all = &schema["additionalProperties"];
            for (name, found) in fields.iter().filter(|_| of_all.is_object()) {
                within(path, &format!("[{name}]"), |path| self.value(of_all, found, path));
            }
            return;
        };
        let keeps_all = schema["x-kubernetes-preserve-unknown-fields"].as_bool() == Some(true);
        // A missing field is not reported beside its own misspelling.
        let mut meant = BTreeSet::new();
        let is_root = path.is_empty();
        let known_name = |name: &str| known.contains_key(name) || is_root && OF_OBJECTS.contains(&name);
        for (name, found) in fields {
            within(path, &dotted(name, is_root), |path| match known.get(name) {
                // A gate's `template` is the use of a `GateTemplate`, which has arguments.
                Some(schema) if OF_KUBERNETES.contains(&name.as_str()) && schema["properties"]["args"].is_null() => {}
                Some(schema) if !is_root || name != "status" => self.value(schema, found, path),
                None if !keeps_all && !known_name(name) => {
                    let others = known.keys().map(String::as_str).chain(OF_OBJECTS.into_iter().filter(|_| is_root));
                    let others = others.filter(|name| !(fields.contains_key(*name) || is_root && *name == "status"));
                    let others: Vec<&str> = others.collect();
                    let like = like(name, &others);
                    meant.extend(like);
                    let present =
                        fields.keys().map(String::as_str).filter(|other| known_name(other)).collect::<Vec<_>>();
                    let twin = self::like(name, &present).filter(|_| like.is_none());
                    self.add(path, no_field(like, twin, &others));
                }
                Some(_) | None => {}
            });
        }
        for name in &meant {
            self.checked.meant.push(format!("{path}{}", dotted(name, is_root)));
        }
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for name in required.filter(|name| fields.get(*name).is_none_or(Value::is_null) && !meant.contains(name)) {
            let step = dotted(name, path.is_empty());
            within(path, &step, |path| self.add(path, "is missing: add it".to_owned()));
        }
    }

    fn choice(&mut self, schema: &Value, text: &str, path: &str) {
        let choices: Vec<&str> = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if choices.is_empty() || choices.contains(&text) {
            return;
        }
        let remedy = match like(text, &choices) {
            Some(choice) => format!("did you mean `{choice}`?"),
            None => format!("write {}", either(&choices)),
        };
        self.add(path, format!("`{text}` is not possible: {remedy}"));
    }

    fn add(&mut self, path: &str, message: String) {
        self.checked.wrong.push(Wrong { path: path.to_owned(), message });
    }
}

/// Returns the name of an entry in a path, by which people tell entries apart.
pub(crate) fn entry_name(entry: &Value, index: usize) -> String {
    let name = ["name", "tier", "stage"].iter().find_map(|field| entry[*field].as_str());
    name.filter(|name| !name.is_empty()).map_or_else(|| index.to_string(), str::to_owned)
}

fn dotted(name: &str, is_root: bool) -> String {
    if is_root { name.to_owned() } else { format!(".{name}") }
}

/// Runs a check one step deeper in the path.
fn within(path: &mut String, step: &str, check: impl FnOnce(&mut String)) {
    let length = path.len();
    path.push_str(step);
    check(path);
    path.truncate(length);
}

/// Returns the name that was most likely meant.
fn like<'a>(typed: &str, names: &[&'a str]) -> Option<&'a str> {
    let same = names.iter().copied().find(|name| name.eq_ignore_ascii_case(typed));
    same.or_else(|| nearest(typed, names.iter().copied()))
}

/// Returns the message for an unknown field. `twin`: field that was most likely meant and exists as well.
fn no_field(like: Option<&str>, twin: Option<&str>, others: &[&str]) -> String {
    if let Some(twin) = twin {
        return format!("there is no such field, and `{twin}` is there already: take this one out");
    }
    match (like, others) {
        (Some(name), _) => format!("there is no such field: did you mean `{name}`?"),
        (None, []) => "there is no such field: take it out".to_owned(),
        (None, _) if others.len() > SHOWN => {
            format!("there is no such field: take it out, or use one of {}, …", others[..SHOWN].join(", "))
        }
        (None, _) => format!("there is no such field: take it out, or use one of {}", others.join(", ")),
    }
}

/// Joins names as `a`, `a or b`, `a, b or c`.
pub(crate) fn either(names: &[&str]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [only] => (*only).to_owned(),
        [all @ .., last] => format!("{} or {last}", all.join(", ")),
    }
}

/// Returns the message for a value of another type. `written`: the text in the file, where it has no quotes.
fn type_message(wanted: &str, found: &Value, written: Option<&str>) -> String {
    let shown = match (written, found) {
        (Some(written), _) => format!("`{written}`"),
        (None, Value::String(text)) => format!("`\"{text}\"`"),
        (None, Value::Array(_)) => "a list".to_owned(),
        (None, Value::Object(_)) => "a map".to_owned(),
        (None, other) => format!("`{other}`"),
    };
    let text = written.map(str::to_owned).unwrap_or_else(|| found.to_string());
    match (wanted, found) {
        ("string", Value::Number(_)) => format!("{shown} is a number in YAML: put it in quotes: \"{text}\""),
        ("string", Value::Bool(_)) => format!("{shown} is true or false in YAML: put it in quotes: \"{text}\""),
        ("string", _) => format!("is {shown}: write a text"),
        ("integer", Value::String(text)) if text.parse::<i64>().is_ok() => {
            format!("{shown} is a text: take the quotes off: {text}")
        }
        ("integer", Value::Array(_) | Value::Object(_)) => format!("is {shown}: write a whole number"),
        ("integer" | "number", Value::String(_)) => format!("{shown} is a text: write a number"),
        ("integer" | "number", _) => format!("{shown} is no whole number: write one"),
        ("boolean", Value::Array(_) | Value::Object(_)) => format!("is {shown}: write true or false"),
        ("boolean", Value::String(text)) if ["true", "false"].contains(&text.as_str()) => {
            format!("{shown} is a text: take the quotes off: {text}")
        }
        ("boolean", _) => format!("{shown} is neither true nor false: write one of them"),
        ("object", Value::Array(_)) => "is a list: write fields, `name: value`, without `-` before them".to_owned(),
        ("object", _) => format!("{shown} is a single value: write fields, `name: value`, below it"),
        ("array", Value::Object(_)) => "is a map: write a list, each entry after `- `".to_owned(),
        ("array", _) => format!("{shown} is a single value: write a list, each entry after `- `"),
        (_, _) => format!("is {shown}: write a value of another type"),
    }
}
