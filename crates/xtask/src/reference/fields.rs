//! Fields of a resource as rows of a table, from the schema of its definition.

use std::{fmt::Write, fs, path::Path};

use anyhow::{Context, ensure};
use serde_json::Value;

/// Fields whose inside is Kubernetes' own, and documented there.
const OF_KUBERNETES: [&str; 6] = ["template", "resources", "securityContext", "metrics", "behavior", "conditions"];
/// Longest value that is shown as an example, in characters.
const LONGEST_EXAMPLE: usize = 40;

/// Field of a resource.
pub(crate) struct Field {
    /// Path, such as `spec.stages[].name`.
    path: String,
    kind: String,
    default: Option<String>,
    rules: Vec<String>,
    example: Option<String>,
    description: String,
}

/// Documents that the examples are taken from.
pub(crate) struct Examples(Vec<Value>);

impl Examples {
    /// Reads the documents of a YAML file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let documents =
            serde_saphyr::from_multiple(&text).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self(documents))
    }

    /// Returns the documents of a kind.
    pub(crate) fn of_kind(&self, kind: &str) -> Self {
        Self(self.0.iter().filter(|document| document["kind"] == kind).cloned().collect())
    }

    /// Returns the first value at a path. `Some` with `None`: there are values, and they are too long to be shown.
    fn at(&self, path: &str) -> Option<Option<String>> {
        let mut values: Vec<&Value> = self.0.iter().collect();
        for step in path.split('.') {
            let (name, is_list) = step.strip_suffix("[]").map_or((step, false), |name| (name, true));
            let children: Vec<&Value> = match name {
                "*" => values.iter().filter_map(|value| value.as_object()).flat_map(|all| all.values()).collect(),
                _ => values.iter().filter_map(|value| value.get(name)).collect(),
            };
            values = if is_list {
                children.iter().filter_map(|value| value.as_array()).flatten().collect()
            } else {
                children
            };
        }
        let value = values.first()?;
        let text = match value {
            Value::Object(_) | Value::Array(_) => return Some(None),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Some((text.chars().count() <= LONGEST_EXAMPLE).then_some(text))
    }
}

/// Returns the fields of a part of a resource, parents before their children, without those that are documented elsewhere.
///
/// # Errors
/// When a field has no description, or no example although examples are given.
pub(crate) fn rows(
    schema: &Value,
    part: &str,
    left_out: &[String],
    examples: Option<&Examples>,
) -> anyhow::Result<Vec<Field>> {
    let mut rows = Vec::new();
    let part_schema = schema.pointer(&format!("/properties/{part}")).with_context(|| format!("no {part}"))?;
    children(&without(part_schema, left_out), part, examples, &mut rows)?;
    Ok(rows)
}

/// Returns a schema without some of its properties.
fn without(schema: &Value, names: &[String]) -> Value {
    let mut schema = schema.clone();
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.retain(|name, _| !names.contains(name));
    }
    schema
}

/// Returns the names of the fields at a place of a schema.
pub(crate) fn names_at(schema: &Value, pointer: &str) -> Vec<String> {
    let fields = schema.pointer(pointer).and_then(|schema| schema["properties"].as_object());
    fields.into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

fn children(schema: &Value, path: &str, examples: Option<&Examples>, rows: &mut Vec<Field>) -> anyhow::Result<()> {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        // Either of the two may stand in many places. They are documented where an example shows them.
        let is_source = ["secretKeyRef", "configMapKeyRef"].contains(&name.as_str());
        if is_source && examples.is_some_and(|examples| examples.at(&format!("{path}.{name}")).is_none()) {
            continue;
        }
        field(child, &format!("{path}.{name}"), required.contains(&name.as_str()), examples, rows)?;
    }
    Ok(())
}

fn field(
    schema: &Value,
    path: &str,
    is_required: bool,
    examples: Option<&Examples>,
    rows: &mut Vec<Field>,
) -> anyhow::Result<()> {
    let name = path.rsplit('.').next().unwrap_or(path);
    let description = schema["description"].as_str().unwrap_or_default();
    ensure!(!description.is_empty(), "{path} has no description");
    let mut rules = rules(schema);
    if is_required {
        rules.insert(0, "required".into());
    }
    let example = match examples.map(|examples| examples.at(path)) {
        None => None,
        Some(found) => found.with_context(|| format!("{} has no example for {path}", super::EXAMPLES))?,
    };
    let kind = kind(schema);
    let is_of_kubernetes = OF_KUBERNETES.contains(&name) && schema["properties"].get("args").is_none();
    let description = if is_of_kubernetes && name != "template" {
        first_paragraph(description).to_owned()
    } else {
        description.to_owned()
    };
    let default = default(schema);
    rows.push(Field { path: path.to_owned(), kind, default, rules, example, description });
    if is_of_kubernetes {
        return Ok(());
    }
    children(schema, path, examples, rows)?;
    for (inner, suffix) in [("items", "[]"), ("additionalProperties", ".*")] {
        let Some(values) = schema.get(inner).filter(|values| values.is_object()) else { continue };
        children(values, &format!("{path}{suffix}"), examples, rows)?;
    }
    Ok(())
}

fn first_paragraph(text: &str) -> &str {
    text.split("\n\n").next().unwrap_or(text)
}

fn kind(schema: &Value) -> String {
    if schema["x-kubernetes-int-or-string"] == true {
        return "integer or string".into();
    }
    let of = |inner: &Value| if inner.is_object() { kind(inner) } else { "any".into() };
    match schema["type"].as_str() {
        Some("array") => format!("list of {}", of(&schema["items"])),
        Some("object") if schema["additionalProperties"].is_object() => {
            format!("map of {}", of(&schema["additionalProperties"]))
        }
        Some("string") if schema["pattern"].as_str().is_some_and(|pattern| pattern.contains("ms|s|m|h")) => {
            "duration".into()
        }
        Some(other) => other.to_owned(),
        None => "any".into(),
    }
}

/// Returns the default of the schema. Those of objects follow from their fields.
fn default(schema: &Value) -> Option<String> {
    match &schema["default"] {
        Value::Null | Value::Object(_) | Value::Array(_) => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn rules(schema: &Value) -> Vec<String> {
    let mut rules = Vec::new();
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`")).collect();
        rules.push(values.join(", "));
    }
    match (number(&schema["minimum"]), number(&schema["maximum"])) {
        (Some(least), Some(most)) => rules.push(format!("{least} to {most}")),
        (Some(least), None) => rules.push(format!("at least {least}")),
        (None, Some(most)) => rules.push(format!("at most {most}")),
        (None, None) => {}
    }
    for (key, unit) in [("maxLength", "characters"), ("maxItems", "entries"), ("maxProperties", "entries")] {
        if let Some(most) = number(&schema[key]) {
            rules.push(format!("at most {most} {unit}"));
        }
    }
    if let Some(pattern) = schema["pattern"].as_str().filter(|pattern| !pattern.contains("ms|s|m|h")) {
        rules.push(format!("matches `{pattern}`"));
    }
    rules.extend(expressions(schema).map(ToOwned::to_owned));
    rules
}

/// Returns the messages of the CEL rules of a schema.
fn expressions(schema: &Value) -> impl Iterator<Item = &str> {
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    rules.filter_map(|rule| rule["message"].as_str())
}

/// Returns the rules of a resource and of its spec as a whole.
pub(crate) fn rules_of_whole(schema: &Value) -> Option<String> {
    let spec = &schema["properties"]["spec"];
    let rules: Vec<String> = expressions(schema).chain(expressions(spec)).map(|rule| format!("- {rule}")).collect();
    (!rules.is_empty()).then(|| format!("Rules of the whole:\n\n{}", rules.join("\n")))
}

fn number(value: &Value) -> Option<i64> {
    // Limits in a schema are whole numbers, which a definition may write as 1.0.
    value.as_i64().or_else(|| value.as_f64().map(|number| number as i64))
}

/// Returns the table of fields. Fields that a user writes have defaults, rules and examples; those of a status have none.
pub(crate) fn table(rows: &[Field], is_written: bool) -> String {
    let mut text = if is_written {
        "| field | type | default | rule | example | effect |\n|---|---|---|---|---|---|\n".to_owned()
    } else {
        "| field | type | meaning |\n|---|---|---|\n".to_owned()
    };
    for row in rows {
        let path = row.path.split_once('.').map_or(row.path.as_str(), |(_, path)| path);
        let code = |value: &Option<String>| value.as_deref().map_or(String::new(), |text| format!("`{}`", cell(text)));
        let _ = if is_written {
            let rules = cell(&row.rules.join("; "));
            let (default, example) = (code(&row.default), code(&row.example));
            let effect = cell(&row.description);
            writeln!(text, "| `{path}` | {} | {default} | {rules} | {example} | {effect} |", row.kind)
        } else {
            writeln!(text, "| `{path}` | {} | {} |", row.kind, cell(&row.description))
        };
    }
    text
}

/// Returns a text as it stands in a cell of a table: on one line, without bars.
pub(crate) fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
