//! Refusals of the API server for an object, with the places of the fields in the manifest.

use kube::core::Status;

use crate::{
    error::Error,
    manifest::{Document, Finding, Wrong, lines},
};

/// Beginning of the answer to a server-side apply of fields that the kind does not have. The answer has code 500.
const UNTYPED: &str = "failed to create typed patch object";

/// Returns an error with the fields that the API server names, and their places. `None`: the answer names no field.
pub(super) fn placed(document: &Document, status: &Status) -> Option<Error> {
    let wrong = match status.code {
        500 if status.message.starts_with(UNTYPED) => untyped(&status.message),
        400 | 422 => caused(status),
        _ => Vec::new(),
    };
    let findings: Vec<Finding> = wrong.iter().map(|wrong| document.finding(wrong)).collect();
    (!findings.is_empty()).then(|| Error::Usage(lines(&findings)))
}

/// Returns the fields of an answer about an object as a whole.
fn caused(status: &Status) -> Vec<Wrong> {
    let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    let told = causes.iter().filter(|cause| !cause.field.is_empty() && !cause.message.is_empty());
    told.map(|cause| Wrong::new(cause.field.as_str(), format!("the cluster refused: {}", cause.message))).collect()
}

/// Returns the fields of an answer such as `failed to create typed patch object (ns/x; v1, Kind=ConfigMap): .data.a: expected string, got …`. An
/// answer about several fields has a line for each.
fn untyped(message: &str) -> Vec<Wrong> {
    let told = message.split_once("): ").map_or(message, |(_, told)| told);
    let fields = told.lines().map(str::trim).filter_map(|line| line.strip_prefix('.')?.split_once(": "));
    fields.map(|(path, why)| Wrong::new(path, sentence(why))).collect()
}

fn sentence(why: &str) -> String {
    let wanted = why.strip_prefix("expected ").and_then(|rest| rest.split([',', ' ']).next());
    match wanted {
        _ if why.starts_with("field not declared") => "there is no such field: check the spelling".to_owned(),
        Some("string") => "must be a text: put it in quotes".to_owned(),
        Some("numeric") => "must be a number: write it without quotes".to_owned(),
        Some("boolean") => "must be true or false, without quotes".to_owned(),
        Some("map") => "must be a map: write fields, `name: value`, below it".to_owned(),
        Some("list") => "must be a list: write each entry after `- `".to_owned(),
        _ => format!("the cluster refused: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_a_kind_does_not_have_are_named() {
        let told = |message: &str| {
            untyped(message).into_iter().map(|wrong| format!("{}: {}", wrong.path, wrong.message)).collect::<Vec<_>>()
        };
        let head = "failed to create typed patch object (default/x; /v1, Kind=ConfigMap): ";
        assert_eq!(
            told(&format!("{head}.datta: field not declared in schema")),
            ["datta: there is no such field: check the spelling"]
        );
        assert_eq!(
            told(&format!(
                "{head}errors:\n  .data.a: expected string, got &value.valueUnstructured{{Value:1}}\n  .spec.replicas: expected numeric (int or float), got string"
            )),
            ["data.a: must be a text: put it in quotes", "spec.replicas: must be a number: write it without quotes"]
        );
        assert_eq!(told("something else"), Vec::<String>::new());
    }
}
