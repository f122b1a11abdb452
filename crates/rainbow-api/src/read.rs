//! Spec that is read as far as possible. The API server's schema refuses what cannot be read. An object that the API server accepted under
//! an older schema, or without one, may still contain it, such as a duration beyond all bounds.

use serde::Deserialize;
use serde_json::{Map, Value};
use serde_path_to_error::{Path, Segment};

use crate::{RainbowSpec, SpecError, SpecPart, validate::parts_of_gate};

/// Reads a spec. A part that cannot be read is left out and named in the answer: a field, or the smallest part of the spec that is of no
/// use without it.
pub fn read_spec(spec: &Value) -> (RainbowSpec, Vec<SpecError>) {
    if let Ok(read) = RainbowSpec::deserialize(spec) {
        return (read, Vec::new());
    }
    let mut errors: Vec<SpecError> = Vec::new();
    let mut rest = spec.clone();
    if !rest.is_object() {
        errors.extend(all_parts("is no object: write the application's tiers and stages"));
        rest = Value::Object(Map::new());
    }
    loop {
        // The validation reports that there are none.
        if let Some(fields) = rest.as_object_mut() {
            fields.entry("tiers").or_insert_with(|| Value::Array(Vec::new()));
        }
        let error = match serde_path_to_error::deserialize(&rest) {
            Ok(read) => {
                let errors = errors.into_iter().flat_map(|error| of_stages(error, &read, spec)).collect();
                return (read, errors);
            }
            Err(error) => error,
        };
        let place = place(&rest, error.path());
        let message = error.inner().to_string();
        let found = SpecError { path: path_text(&rest, &place), message, part: part(&rest, &place) };
        if !take(&mut rest, &place) {
            errors.extend(all_parts(&found.message));
            return (RainbowSpec::default(), errors);
        }
        // A field that cannot be read is reported once, not with each of its parts.
        let follows = |told: &SpecError| told.part == found.part && told.path.starts_with(&found.path);
        if !errors.iter().any(follows) {
            errors.push(found);
        }
    }
}

/// Step to a value within another one.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Entry(usize),
}

/// Returns the place of the value that cannot be read, as far as the path leads.
fn place(value: &Value, path: &Path) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut here = value;
    for segment in path {
        let (step, next) = match segment {
            Segment::Seq { index } => (Step::Entry(*index), here.get(*index)),
            Segment::Map { key } => (Step::Field(key.clone()), here.get(key)),
            Segment::Enum { .. } | Segment::Unknown => break,
        };
        let Some(next) = next else { break };
        steps.push(step);
        here = next;
    }
    steps
}

/// Removes the value at a place.
fn take(value: &mut Value, place: &[Step]) -> bool {
    let Some((last, way)) = place.split_last() else { return false };
    let mut here = value;
    for step in way {
        let next = match step {
            Step::Field(name) => here.get_mut(name),
            Step::Entry(index) => here.get_mut(*index),
        };
        let Some(next) = next else { return false };
        here = next;
    }
    match (last, here) {
        (Step::Field(name), Value::Object(fields)) => fields.remove(name).is_some(),
        (Step::Entry(index), Value::Array(entries)) if *index < entries.len() => {
            entries.remove(*index);
            true
        }
        _ => false,
    }
}

/// Returns the place as people write it: list entries are named where they have names.
fn path_text(value: &Value, place: &[Step]) -> String {
    let mut text = "spec".to_owned();
    let mut here = Some(value);
    for step in place {
        match step {
            Step::Field(name) => {
                here = here.and_then(|value| value.get(name));
                text.push_str(&format!(".{name}"));
            }
            Step::Entry(index) => {
                here = here.and_then(|value| value.get(*index));
                let name = here
                    .and_then(|entry| entry.get("name").or_else(|| entry.get("tier")).or_else(|| entry.get("stage")))
                    .and_then(Value::as_str);
                text.push_str(&name.map_or_else(|| format!("[{index}]"), |name| format!("[{name}]")));
            }
        }
    }
    text
}

/// Returns the part of a spec that cannot be used without the value at a place.
fn part(value: &Value, place: &[Step]) -> SpecPart {
    let Some(Step::Field(field)) = place.first() else { return SpecPart::Version };
    match (field.as_str(), place.get(1)) {
        ("namePrefix", _) => SpecPart::NamePrefix,
        ("stages", Some(Step::Entry(index))) if place.len() > 2 => {
            let name = value["stages"][*index]["name"].as_str();
            name.map_or(SpecPart::Stages, |name| SpecPart::Stage(name.to_owned()))
        }
        ("stages", _) => SpecPart::Stages,
        // The hold that cannot be read could hold the stage.
        ("holds", Some(Step::Entry(index))) if place.len() > 2 => {
            let name = value["holds"][*index]["stage"].as_str();
            name.map_or(SpecPart::Stages, |name| SpecPart::Stage(name.to_owned()))
        }
        ("holds", _) => SpecPart::Stages,
        // A stage whose entry cannot be read would wait for what its user has let pass.
        ("passedSteps" | "skippedGates", Some(Step::Entry(index))) => {
            let name = value[field.as_str()][*index]["stage"].as_str();
            name.map_or(SpecPart::Gates, |name| SpecPart::Stage(name.to_owned()))
        }
        // Stages that name a gate which cannot be read at all are reported where the gates are checked.
        ("gates" | "passedSteps" | "skippedGates", _) => SpecPart::Gates,
        ("drain", _) => SpecPart::Drain,
        ("keep", _) => SpecPart::Keep,
        ("progressDeadlineSeconds", _) => SpecPart::ProgressDeadline,
        // `reuse` is included: whether colors share instances is decided once, when a color is made.
        _ => SpecPart::Version,
    }
}

/// Returns the error of a gate once for each stage that names the gate, because the gate would be another one without what cannot be read.
fn of_stages(error: SpecError, read: &RainbowSpec, spec: &Value) -> Vec<SpecError> {
    let gates = spec["gates"].as_array().into_iter().flatten().filter_map(|gate| gate["name"].as_str());
    let gate = gates.into_iter().find(|name| {
        let rest = error.path.strip_prefix(&format!("spec.gates[{name}]"));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    });
    match (&error.part, gate) {
        (SpecPart::Gates, Some(gate)) => {
            let parts = parts_of_gate(read, gate).into_iter();
            parts.map(|part| SpecError { part, ..error.clone() }).collect()
        }
        _ => vec![error],
    }
}

/// Returns errors that make every part of the spec unusable.
fn all_parts(message: &str) -> Vec<SpecError> {
    use SpecPart::{Drain, Keep, NamePrefix, ProgressDeadline, Stages, Version};
    let all = [Version, Stages, NamePrefix, Drain, Keep, ProgressDeadline];
    all.map(|part| SpecError { path: "spec".to_owned(), message: message.to_owned(), part }).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec() -> Value {
        json!({
            "color": "v2",
            "tiers": [{ "name": "web", "template": {} }, { "name": "api", "template": {} }],
            "stages": [{ "name": "smoke", "promote": "Auto" }, { "name": "active", "color": "v1" }],
            "drain": { "settle": "1m" },
        })
    }

    /// Returns the spec with one change as it is read, and the errors: part, and path with message.
    fn read(change: impl FnOnce(&mut Value)) -> (RainbowSpec, Vec<(SpecPart, String)>) {
        let mut spec = spec();
        change(&mut spec);
        let (read, errors) = read_spec(&spec);
        (read, errors.into_iter().map(|error| (error.part.clone(), error.to_string())).collect())
    }

    #[test]
    fn what_can_be_read_is_read() {
        let (read, errors) = read(|_| {});
        assert_eq!(errors, []);
        assert_eq!(read, serde_json::from_value(spec()).unwrap());
    }

    #[test]
    fn a_stage_without_its_pace_keeps_its_pin() {
        let (read, errors) =
            read(|spec| spec["stages"][1]["shift"] = json!({ "rolling": { "every": "99999999999999999999h" } }));
        let stage = SpecPart::Stage("active".into());
        assert_eq!(errors[0].0, stage);
        assert!(errors[0].1.starts_with("spec.stages[active].shift.rolling.every: "), "{errors:?}");
        assert_eq!(errors.len(), 1, "what is missing then is told by the field: {errors:?}");
        assert_eq!(read.stages[1].color.as_deref(), Some("v1"));
        assert_eq!(read.stages.len(), 2);
    }

    #[test]
    fn each_part_by_itself() {
        type Change = fn(&mut Value);
        let cases: [(Change, SpecPart); 11] = [
            (|spec| spec["holds"] = json!("none"), SpecPart::Stages),
            (
                |spec| spec["holds"] = json!([{ "stage": "active", "paused": "perhaps" }]),
                SpecPart::Stage("active".into()),
            ),
            (|spec| spec["color"] = json!(7), SpecPart::Version),
            (|spec| spec["tiers"] = json!("none"), SpecPart::Version),
            (|spec| drop(spec["tiers"][0].as_object_mut().unwrap().remove("template")), SpecPart::Version),
            (|spec| spec["reuse"] = json!("Sometimes"), SpecPart::Version),
            (|spec| spec["stages"] = json!({ "active": {} }), SpecPart::Stages),
            (|spec| spec["stages"][0]["name"] = json!(1), SpecPart::Stages),
            (|spec| spec["drain"]["settle"] = json!("soon"), SpecPart::Drain),
            (|spec| spec["keep"] = json!({ "live": "many" }), SpecPart::Keep),
            (|spec| spec["namePrefix"] = json!(["a"]), SpecPart::NamePrefix),
        ];
        for (change, part) in cases {
            let (read, errors) = read(change);
            assert!(!errors.is_empty() && errors.iter().all(|(found, _)| *found == part), "{part:?}: {errors:?}");
            let is_there = |name: &str| read.stages.iter().any(|stage| stage.name == name);
            assert!(part == SpecPart::Stages || (is_there("smoke") && is_there("active")), "{part:?}");
        }
    }

    #[test]
    fn nothing_at_all_is_read() {
        for nothing in [json!(null), json!(3), json!([1])] {
            let (read, errors) = read_spec(&nothing);
            assert_eq!(read, RainbowSpec::default());
            assert_eq!(errors.len(), 6, "{errors:?}");
        }
    }
}
