//! Checks of an object of Rainbow's group without a cluster: by its schema, by the validation that the operator uses, and by the limits and CEL rules that the API
//! server checks. A field is reported once, by the check with the best message.

use std::{collections::BTreeMap, sync::LazyLock};

use pocket_object::{FieldError, FieldErrorKind, structural};
use rainbow_api::{GateTemplateSpec, SpecError, read_spec, validate, validate_name, validate_template};
use serde::Deserialize;
use serde_json::Value;

use super::{
    gates,
    schema::{self, entry_name},
    source::Source,
    wrong::Wrong,
};

/// Schemas by kind, with their limits and rules. The schemas are constants, and a test compiles them.
static RULES: LazyLock<BTreeMap<&str, structural::Schema>> = LazyLock::new(|| {
    let parsed =
        |(kind, schema): (&'static String, &Value)| Some((kind.as_str(), structural::Schema::parse(schema).ok()?));
    schema::all().iter().filter_map(parsed).collect()
});

/// Returns everything that is wrong with an object of Rainbow's group. `at`: path of the object in the document, where it is an entry of a list.
pub(crate) fn check(kind: &str, object: &Value, source: &Source, at: &str) -> Vec<Wrong> {
    let schema::Checked { mut wrong, meant } = schema::check(kind, object, source, at);
    if object["spec"].is_object() {
        let errors = of_spec(kind, &without_nulls(&object["spec"])).into_iter();
        let mut errors: Vec<Wrong> = errors.filter(|error| !meant.contains(&error.path)).collect();
        // A wrong gate is an error of each stage that names it.
        errors.dedup();
        add_unknown(&mut wrong, errors);
    }
    let name = object["metadata"]["name"].as_str().filter(|_| kind == "Rainbow").and_then(validate_name);
    wrong.extend(name.map(|error| Wrong::new(error.path, error.message)));
    if let Some(rules) = RULES.get(kind) {
        let mut stored = without_nulls(object);
        rules.prune(&mut stored);
        rules.default(&mut stored);
        // Missing fields are reported already, except in a template.
        let is_known = |error: &FieldError| error.kind == FieldErrorKind::Required && !error.path.contains(".template");
        let errors = rules.validate(&stored, None).into_iter().filter(|error| !is_known(error));
        let errors: Vec<Wrong> = errors.map(|error| Wrong::new(named(object, &error.path), error.message())).collect();
        // A rule about a map only repeats an error inside the map.
        let is_new = |error: &Wrong| !wrong.iter().any(|known| is_within(&known.path, &error.path));
        let errors = errors.into_iter().filter(is_new).collect();
        add_unknown(&mut wrong, errors);
    }
    wrong
}

/// Returns the errors that the validation of the operator finds.
fn of_spec(kind: &str, spec: &Value) -> Vec<Wrong> {
    let wrong = |error: SpecError| Wrong::new(error.path, error.message);
    match kind {
        "Rainbow" => {
            let (read, unread) = read_spec(spec);
            let errors = unread.into_iter().chain(validate(&read)).map(wrong);
            let of_gates =
                read.gates.iter().flat_map(|gate| gates::check(&gate.check, &format!("spec.gates[{}]", gate.name)));
            errors.chain(of_gates).collect()
        }
        // A spec of the wrong shape is reported by the schema.
        "GateTemplate" => GateTemplateSpec::deserialize(spec)
            .map(|read| {
                validate_template(&read).into_iter().map(wrong).chain(gates::check(&read.check, "spec")).collect()
            })
            .unwrap_or_default(),
        "Approval" => gates::approval(spec).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Returns a spec as the API server stores it, without the fields that are `null`. Templates are kept as they are.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let is_there = |(_, value): &(&String, &Value)| !value.is_null();
            let kept =
                |name: &str, value: &Value| if name == "template" { value.clone() } else { without_nulls(value) };
            fields.iter().filter(is_there).map(|(name, value)| (name.clone(), kept(name, value))).collect()
        }
        Value::Array(entries) => entries.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// Adds the errors about fields that have no error yet: a field of the wrong type is also missing, too short, and so on.
fn add_unknown(wrong: &mut Vec<Wrong>, errors: Vec<Wrong>) {
    let is_known = |error: &Wrong| wrong.iter().any(|known| is_within(&error.path, &known.path));
    let new: Vec<Wrong> = errors.into_iter().filter(|error| !is_known(error)).collect();
    wrong.extend(new);
}

/// Returns whether the path of a field is another path, or leads into it.
fn is_within(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Converts a path with numbers to one with names, where entries of lists have names.
fn named(object: &Value, path: &str) -> String {
    let (mut text, mut here, mut rest) = (String::new(), object, path);
    while !rest.is_empty() {
        let end = if rest.starts_with('[') {
            rest.find(']').map(|at| at + 1)
        } else {
            rest[1..].find(['.', '[']).map(|at| at + 1)
        };
        let (step, after) = rest.split_at(end.unwrap_or(rest.len()));
        let key = step.trim_start_matches(['.', '[']).trim_end_matches(']');
        here = match (key.parse::<usize>(), here) {
            // Within a template, the validation uses numbers.
            (Ok(index), Value::Array(entries)) if !text.contains(".template") => {
                let entry = entries.get(index).unwrap_or(&Value::Null);
                text.push_str(&format!("[{}]", entry_name(entry, index)));
                entry
            }
            _ => {
                text.push_str(step);
                key.parse::<usize>().ok().and_then(|index| here.get(index)).unwrap_or(&here[key])
            }
        };
        rest = after;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_rules_compile() {
        for (kind, schema) in schema::all() {
            assert!(RULES.contains_key(kind.as_str()), "{kind}: {:?}", structural::Schema::parse(schema).err());
        }
    }

    #[test]
    fn entries_are_named() {
        let object = json!({ "spec": { "tiers": [{ "name": "web", "needs": [{ "tier": "api" }], "ports": [{}] }] } });
        assert_eq!(named(&object, "spec.tiers[0].needs[0].env"), "spec.tiers[web].needs[api].env");
        assert_eq!(named(&object, "spec.tiers[0].ports[0].port"), "spec.tiers[web].ports[0].port");
        assert_eq!(named(&object, "spec.tiers[7].x"), "spec.tiers[7].x");
        assert_eq!(named(&object, "spec"), "spec");
    }

    /// Errors that only the API server's schema finds are found as well.
    #[test]
    fn limits_and_rules_are_checked() {
        let tier = json!({ "name": "web", "ports": [{ "name": "http", "port": 80 }], "template": { "spec": { "containers": [{ "name": "web", "image": "web:1" }] } } });
        let object = |stages: Value| {
            json!({
                "apiVersion": "rainbow.dev/v1alpha1", "kind": "Rainbow", "metadata": { "name": "shop" },
                "spec": { "tiers": [tier], "stages": stages },
            })
        };
        let found = |object: &Value| check("Rainbow", object, &Source::default(), "");
        assert_eq!(found(&object(json!([{ "name": "active" }]))), []);
        let many: Vec<Value> = (0..300).map(|n| json!({ "name": format!("s{n}") })).collect();
        let wrong = found(&object(json!(many)));
        assert!(
            wrong.iter().any(|wrong| wrong.path == "spec.stages" && wrong.message.contains("at most")),
            "{wrong:?}"
        );
    }

    #[test]
    fn a_path_ends_at_a_boundary() {
        assert!(is_within("spec.color", "spec.color") && is_within("spec.tiers[web].name", "spec.tiers"));
        assert!(!is_within("spec.colors", "spec.color"));
    }
}
