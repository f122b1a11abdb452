//! Recorded histories of writes on Kubernetes itself, with its results.
//!
//! `upstream/tests.jsonl` has every test of structured-merge-diff 6.4.2 (package `merge`) that needs no conversion between
//! versions, `upstream/random.jsonl` random histories of the same package, and `upstream/kubernetes.jsonl` random histories
//! of Deployments and Services with the field managers of apimachinery 0.37.2 and the types of client-go 0.37.2.

use serde_json::Value;

use super::{
    ApplyError, Manager, Operation, Versions, apply, compare, fields, update,
    updater::{self, Managers, Updater},
};
use crate::shape::{Link, Node, Shape, types::Table};

/// Versions that all have the same type.
struct Same(Link);

impl updater::Versions for Same {
    fn node(&self, _: &str) -> Option<&Node> {
        Some(self.0.node())
    }
}

/// Runs one recorded history. Returns the difference at its first step that differs.
fn differs(history: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let root = text(&history["root"]);
    let mut versions = Same(Table::of(&text(&history["types"])).link(&root));
    let (mut live, mut managers) = (Value::Null, Managers::new());
    for (index, step) in history["steps"].as_array().unwrap().iter().enumerate() {
        let (op, manager, version) = (text(&step["op"]), text(&step["manager"]), text(&step["version"]));
        if op == "types" {
            versions = Same(Table::of(&text(&step["types"])).link(&root));
            continue;
        }
        let updater = Updater { versions: &versions, version: &version, node: versions.0.node() };
        let mut conflicts = Vec::new();
        let before = managers.clone();
        match op.as_str() {
            "update" => {
                updater.update(&live, &step["object"], &mut managers, &manager);
                live = step["object"].clone();
            }
            _ => match updater.apply(&live, &step["object"], &mut managers, &manager, op == "force") {
                Ok(merged) => live = merged.unwrap_or(live),
                Err(found) => {
                    managers = before;
                    for (manager, fields) in found {
                        conflicts.extend(fields.paths().into_iter().map(|path| format!("{manager} {path}")));
                    }
                }
            },
        }
        conflicts.sort();
        let expected: Vec<String> = step["conflicts"].as_array().into_iter().flatten().map(text).collect();
        if conflicts != expected {
            return Some(format!("step {index}: conflicts {conflicts:?} instead of {expected:?}"));
        }
        if !expected.is_empty() {
            continue;
        }
        if !fields::is_same(&live, &step["live"]) {
            return Some(format!("step {index}: live {live} instead of {}", step["live"]));
        }
        let owned: serde_json::Map<String, Value> = managers
            .iter()
            .map(|(name, owned)| {
                let owned = serde_json::json!({ "version": owned.version, "applied": owned.applied,
                    "fields": owned.fields.encode() });
                (name.clone(), owned)
            })
            .collect();
        let owned = Value::Object(owned);
        let expected = if step["managers"].is_null() { &serde_json::json!({}) } else { &step["managers"] };
        if owned != *expected {
            return Some(format!("step {index}: managers\n{owned}\ninstead of\n{expected}"));
        }
    }
    None
}

fn run(recorded: &str) {
    let mut wrong = 0;
    for (number, line) in recorded.lines().enumerate() {
        let history: Value = serde_json::from_str(line).unwrap();
        if let Some(what) = differs(&history) {
            wrong += 1;
            if wrong < 5 {
                eprintln!("history {number}, {}: {what}\n{}\n", history["test"], history["types"].as_str().unwrap());
            }
        }
    }
    assert_eq!(wrong, 0, "of {} histories", recorded.lines().count());
}

/// Returns an object without the parts in which Go differs: nulls and empty fields, the times of entries, their order.
fn normal(value: &Value) -> Value {
    fn clean(value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let kept = map.iter().map(|(name, value)| (name.clone(), clean(value)));
                let empty = |value: &Value| value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
                kept.filter(|(_, value)| !empty(value)).collect()
            }
            Value::Array(list) => list.iter().map(clean).collect(),
            other => other.clone(),
        }
    }
    let mut object = clean(value);
    if let Some(entries) = value.pointer("/metadata/managedFields").and_then(Value::as_array) {
        let mut entries = entries.clone();
        for entry in &mut entries {
            entry.as_object_mut().unwrap().remove("time");
        }
        // The order of the entries follows from their times.
        entries.sort_by_key(Value::to_string);
        object["metadata"]["managedFields"] = entries.into();
    }
    object
}

/// Runs one recorded history of a built-in kind. Each step starts from the object that Kubernetes had made before.
fn differs_from_kubernetes(history: &Value) -> Option<String> {
    let (group, kind) = (history["group"].as_str().unwrap(), history["kind"].as_str().unwrap());
    let api_version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
    let versions = Versions::one(&api_version, &Shape::builtin(group, kind));
    let mut live: Option<Value> = None;
    for (index, step) in history["steps"].as_array().unwrap().iter().enumerate() {
        let op = step["op"].as_str().unwrap();
        let operation = if op == "update" { Operation::Update } else { Operation::Apply };
        let name = step["manager"].as_str().unwrap();
        let manager = Manager { name, operation, api_version: &api_version, subresource: None, time: "now" };
        let mut result = step["object"].clone();
        if op == "update" {
            if live.is_some() {
                result["metadata"]["uid"] = "uid".into();
            }
            update(live.as_ref(), &mut result, &manager, &versions);
        } else {
            match apply(live.as_ref(), &result, &manager, op == "force", &versions) {
                Ok(applied) => result = applied,
                Err(ApplyError::Conflicts(conflicts)) => {
                    let mut found: Vec<String> = conflicts
                        .iter()
                        .map(|conflict| format!("conflict with {}: {}", conflict.manager, conflict.field))
                        .collect();
                    let expected = step["conflicts"].as_array().into_iter().flatten();
                    let mut expected: Vec<String> = expected.map(|text| text.as_str().unwrap().to_owned()).collect();
                    found.sort();
                    expected.sort();
                    if found != expected {
                        return Some(format!("step {index}: conflicts {found:?} instead of {expected:?}"));
                    }
                    continue;
                }
                Err(error) => {
                    if step["error"] != error.to_string() {
                        return Some(format!("step {index}: {error} instead of {}", step["error"]));
                    }
                    continue;
                }
            }
        }
        if step["result"].is_null() {
            return Some(format!("step {index}: no {} {}", step["error"], step["conflicts"]));
        }
        result["metadata"]["uid"] = "uid".into();
        let (found, expected) = (normal(&result), normal(&step["result"]));
        if found != expected {
            return Some(format!(
                "step {index}, {op} by {name} of {}\n{found}\ninstead of\n{expected}",
                step["object"]
            ));
        }
        live = Some(step["result"].clone());
    }
    None
}

fn run_kubernetes(recorded: &str) {
    let mut wrong = 0;
    for (number, line) in recorded.lines().enumerate() {
        if let Some(what) = differs_from_kubernetes(&serde_json::from_str(line).unwrap()) {
            wrong += 1;
            if wrong < 4 {
                eprintln!("history {number}: {what}\n");
            }
        }
    }
    assert_eq!(wrong, 0, "of {} histories", recorded.lines().count());
}

#[test]
fn objects_and_their_owners_end_as_kubernetes_says() {
    run_kubernetes(include_str!("upstream/kubernetes.jsonl"));
    // More histories, recorded in the same way.
    if let Ok(path) = std::env::var("POCKET_KUBERNETES_HISTORIES") {
        run_kubernetes(&std::fs::read_to_string(path).unwrap());
    }
}

#[test]
fn upstreams_own_histories_end_as_upstream_says() {
    run(include_str!("upstream/tests.jsonl"));
}

#[test]
fn random_histories_end_as_upstream_says() {
    run(include_str!("upstream/random.jsonl"));
    // More histories, recorded in the same way.
    if let Ok(path) = std::env::var("POCKET_SMD_HISTORIES") {
        run(&std::fs::read_to_string(path).unwrap());
    }
}

#[test]
fn a_comparison_is_empty_only_for_the_same() {
    let anything = Table::of("").link("?");
    let found = compare::compare(&serde_json::json!({ "a": 1 }), &serde_json::json!({ "a": 1.0 }), anything.node());
    assert!(found.changed().is_empty() && found.removed.is_empty());
}
