//! Single fields in which two values differ. Lists of named entries are compared by name.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

/// Field that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    /// Path of the field, such as `template.spec.containers[frontend].image`.
    pub(super) path: String,
    /// Short name of the field for people: `image`, `env COLOR`, `ports`.
    #[serde(skip)]
    pub(super) aspect: String,
    /// Value in the first color. Null: the field does not exist.
    pub(super) a: Value,
    /// Value in the second color. Null: the field does not exist.
    pub(super) b: Value,
}

/// Returns all fields that differ, in order.
pub(super) fn between(a: &Value, b: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    walk(&mut Vec::new(), a, b, &mut changes);
    changes
}

fn walk(path: &mut Vec<Step>, a: &Value, b: &Value, changes: &mut Vec<Change>) {
    if a == b {
        return;
    }
    match (a, b, names(a), names(b)) {
        (Value::Object(one), Value::Object(other), _, _) => {
            let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for key in keys {
                path.push(Step::Field(key.clone()));
                walk(path, a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null), changes);
                path.pop();
            }
        }
        (_, _, Some(one), Some(other)) if !(one.is_empty() && other.is_empty()) => {
            let before = changes.len();
            let all: BTreeSet<&str> = one.iter().chain(&other).copied().collect();
            for name in all {
                path.push(Step::Entry(name.to_owned()));
                walk(path, entry(a, name), entry(b, name), changes);
                path.pop();
            }
            // Only the order of the entries differs.
            if changes.len() == before {
                changes.push(change(path, a, b));
            }
        }
        _ => changes.push(change(path, a, b)),
    }
}

/// Returns the names of a list's entries, if every entry has a name and no two are equal. A missing list counts as empty.
fn names(value: &Value) -> Option<Vec<&str>> {
    let list = match value {
        Value::Null => return Some(Vec::new()),
        Value::Array(list) => list,
        _ => return None,
    };
    let names: Vec<&str> = list.iter().map(|entry| entry.get("name").and_then(Value::as_str)).collect::<Option<_>>()?;
    let different: BTreeSet<&str> = names.iter().copied().collect();
    (different.len() == names.len()).then_some(names)
}

fn entry<'a>(list: &'a Value, name: &str) -> &'a Value {
    let found =
        list.as_array().into_iter().flatten().find(|entry| entry.get("name").and_then(Value::as_str) == Some(name));
    found.unwrap_or(&Value::Null)
}

/// One step down into a value.
#[derive(Clone, Debug)]
enum Step {
    Field(String),
    Entry(String),
}

fn change(path: &[Step], a: &Value, b: &Value) -> Change {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Field(name) if text.is_empty() => text.push_str(name),
            Step::Field(name) => text.push_str(&format!(".{name}")),
            Step::Entry(name) => text.push_str(&format!("[{name}]")),
        }
    }
    Change { aspect: aspect(path).unwrap_or_else(|| text.clone()), path: text, a: a.clone(), b: b.clone() }
}

/// Returns the short name of a field: kind and name for an object with configuration; the part after the container's name for a field of a
/// container; the name for an environment variable. `None`: the path has no shorter name.
fn aspect(path: &[Step]) -> Option<String> {
    if let [Step::Field(config), Step::Field(kind), Step::Field(name)] = path
        && config == "config"
    {
        return Some(format!("{kind} {name}"));
    }
    let at = path.iter().position(|step| matches!(step, Step::Field(name) if name == "containers"))?;
    match path.get(at + 1..)? {
        [Step::Entry(_), Step::Field(field), Step::Entry(name), ..] => Some(format!("{field} {name}")),
        [Step::Entry(_), Step::Field(field), ..] => Some(field.clone()),
        [Step::Entry(name)] => Some(format!("container {name}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(a: Value, b: Value) -> Vec<(String, String)> {
        between(&a, &b).into_iter().map(|change| (change.path, change.aspect)).collect()
    }

    #[test]
    fn named_entries_are_compared_by_name() {
        let containers = |containers: Value| json!({ "spec": { "containers": containers } });
        let a = containers(json!([{ "name": "a", "image": "a:1", "env": [{ "name": "X", "value": "1" }] }]));
        let b = containers(json!([
            { "name": "log", "image": "log" },
            { "name": "a", "image": "a:2", "env": [{ "name": "X", "value": "2" }], "args": ["-v"] },
        ]));
        let paths = shown(a, b);
        let paths: Vec<(&str, &str)> = paths.iter().map(|(path, aspect)| (&**path, &**aspect)).collect();
        assert_eq!(
            paths,
            [
                ("spec.containers[a].args", "args"),
                ("spec.containers[a].env[X].value", "env X"),
                ("spec.containers[a].image", "image"),
                ("spec.containers[log]", "container log"),
            ]
        );
    }

    #[test]
    fn configuration_is_named() {
        let reads = |copy: &str| json!({ "config": { "ConfigMap": { "settings": copy, "other": "other-1" } } });
        let found = shown(reads("settings-1"), reads("settings-2"));
        assert_eq!(found, [("config.ConfigMap.settings".to_owned(), "ConfigMap settings".to_owned())]);
    }

    #[test]
    fn other_lists_and_orders_are_told_as_a_whole() {
        assert_eq!(shown(json!({ "args": [1] }), json!({ "args": [2] })).len(), 1);
        let list = |names: [&str; 2]| json!(names.map(|name| json!({ "name": name })));
        assert_eq!(shown(json!({ "env": list(["A", "B"]) }), json!({ "env": list(["B", "A"]) })).len(), 1);
        assert_eq!(shown(json!({ "ports": [] }), json!({ "ports": [{ "name": "http" }] }))[0].0, "ports[http]");
        assert_eq!(shown(json!({ "a": 1 }), json!({ "a": 1 })), []);
    }
}
