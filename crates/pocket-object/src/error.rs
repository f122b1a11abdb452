//! Mistakes in fields, in the words of Kubernetes.

use std::fmt;

use serde_json::Value;

/// Kind of a mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FieldErrorKind {
    /// Value that is missing.
    Required,
    /// Value that is not allowed here.
    Invalid,
    /// Value outside of a fixed set.
    NotSupported,
    /// Value that must be unique and occurs twice.
    Duplicate,
    /// Field that must not be set (or changed) in this situation.
    Forbidden,
    /// Reference to an object that does not exist.
    NotFound,
    /// String that is too long.
    TooLong,
    /// List or map with too many entries.
    TooMany,
    /// Value of the wrong JSON type.
    TypeInvalid,
    /// Internal error: the fault is not the user's.
    Internal,
}

/// Mistake in an object: its place, its kind, and the correct form.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub struct FieldError {
    /// Path of the field: `spec.containers[0].name`.
    pub path: String,
    /// Kind of the mistake.
    pub kind: FieldErrorKind,
    /// Value that was found, where it helps the reader.
    pub value: Option<Value>,
    /// Description of the correct form.
    pub detail: String,
}

impl FieldError {
    /// Returns the mistake of a missing value.
    pub fn required(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { path: path.into(), kind: FieldErrorKind::Required, value: None, detail: detail.into() }
    }

    /// Returns the mistake of a value that is not allowed.
    pub fn invalid(path: impl Into<String>, value: &Value, detail: impl Into<String>) -> Self {
        Self { path: path.into(), kind: FieldErrorKind::Invalid, value: Some(value.clone()), detail: detail.into() }
    }

    /// Returns the mistake of a value that is not one of `supported`.
    pub fn not_supported(path: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let mut names: Vec<String> = supported.iter().map(|name| format!("{name:?}")).collect();
        names.sort();
        Self {
            path: path.into(),
            kind: FieldErrorKind::NotSupported,
            value: Some(value.clone()),
            detail: if names.is_empty() { String::new() } else { format!("supported values: {}", names.join(", ")) },
        }
    }

    /// Returns the mistake of a value that occurs twice.
    pub fn duplicate(path: impl Into<String>, value: &Value) -> Self {
        Self { path: path.into(), kind: FieldErrorKind::Duplicate, value: Some(value.clone()), detail: String::new() }
    }

    /// Returns the mistake of a field that must not be set, or changed.
    pub fn forbidden(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { path: path.into(), kind: FieldErrorKind::Forbidden, value: None, detail: detail.into() }
    }

    /// Returns the mistake of a reference to an object that does not exist.
    pub fn not_found(path: impl Into<String>, value: &Value) -> Self {
        Self { path: path.into(), kind: FieldErrorKind::NotFound, value: Some(value.clone()), detail: String::new() }
    }

    /// Returns the mistake of a string that is longer than `max` bytes.
    pub fn too_long(path: impl Into<String>, max: usize) -> Self {
        Self {
            path: path.into(),
            kind: FieldErrorKind::TooLong,
            value: None,
            detail: format!("may not be more than {max} bytes"),
        }
    }

    /// Returns the mistake of a list or map that has more than `max` entries.
    pub fn too_many(path: impl Into<String>, actual: usize, max: usize) -> Self {
        Self {
            path: path.into(),
            kind: FieldErrorKind::TooMany,
            value: Some(actual.into()),
            detail: format!("must have at most {max} items"),
        }
    }

    /// Returns the mistake of a value of the wrong type.
    pub fn type_invalid(path: impl Into<String>, value: &Value, detail: impl Into<String>) -> Self {
        Self { path: path.into(), kind: FieldErrorKind::TypeInvalid, value: Some(value.clone()), detail: detail.into() }
    }

    /// Returns the `reason` of a cause in a `Status`.
    pub fn reason(&self) -> &'static str {
        match self.kind {
            FieldErrorKind::Required => "FieldValueRequired",
            FieldErrorKind::Invalid => "FieldValueInvalid",
            FieldErrorKind::NotSupported => "FieldValueNotSupported",
            FieldErrorKind::Duplicate => "FieldValueDuplicate",
            FieldErrorKind::Forbidden => "FieldValueForbidden",
            FieldErrorKind::NotFound => "FieldValueNotFound",
            FieldErrorKind::TooLong => "FieldValueTooLong",
            FieldErrorKind::TooMany => "FieldValueTooMany",
            FieldErrorKind::TypeInvalid => "FieldValueTypeInvalid",
            FieldErrorKind::Internal => "InternalError",
        }
    }

    /// Returns the `message` of a cause in a `Status`: the text without the path.
    pub fn message(&self) -> String {
        let name = match self.kind {
            FieldErrorKind::Required => "Required value",
            FieldErrorKind::Invalid | FieldErrorKind::TypeInvalid => "Invalid value",
            FieldErrorKind::NotSupported => "Unsupported value",
            FieldErrorKind::Duplicate => "Duplicate value",
            FieldErrorKind::Forbidden => "Forbidden",
            FieldErrorKind::NotFound => "Not found",
            FieldErrorKind::TooLong => "Too long",
            FieldErrorKind::TooMany => "Too many",
            FieldErrorKind::Internal => "Internal error",
        };
        let mut text = name.to_owned();
        if let Some(value) = &self.value {
            text.push_str(": ");
            text.push_str(&show(value));
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.message()) } else { write!(f, "{}: {}", self.path, self.message()) }
    }
}

/// Returns a value in the form of messages: strings are quoted, large values are cut.
fn show(value: &Value) -> String {
    const MAX: usize = 512;
    let mut text = value.to_string();
    if text.len() > MAX {
        let mut end = MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_those_of_kubernetes() {
        let check = |error: FieldError, text: &str, reason: &str| {
            assert_eq!(error.to_string(), text);
            assert_eq!(error.reason(), reason);
        };
        check(
            FieldError::invalid("spec.replicas", &json!(-1), "must be greater than or equal to 0"),
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            "FieldValueInvalid",
        );
        check(FieldError::required("spec.selector", ""), "spec.selector: Required value", "FieldValueRequired");
        check(
            FieldError::not_supported("spec.type", &json!("X"), &["NodePort", "ClusterIP"]),
            "spec.type: Unsupported value: \"X\": supported values: \"ClusterIP\", \"NodePort\"",
            "FieldValueNotSupported",
        );
        check(
            FieldError::duplicate("a[1].name", &json!("x")),
            "a[1].name: Duplicate value: \"x\"",
            "FieldValueDuplicate",
        );
        check(FieldError::forbidden("spec", "no"), "spec: Forbidden: no", "FieldValueForbidden");
        check(FieldError::not_found("a.b", &json!("v")), "a.b: Not found: \"v\"", "FieldValueNotFound");
        check(FieldError::too_long("a", 63), "a: Too long: may not be more than 63 bytes", "FieldValueTooLong");
    }

    #[test]
    fn long_values_are_cut_at_a_character() {
        let text = FieldError::invalid("a", &json!("ä".repeat(2000)), "x").to_string();
        assert!(text.len() < 600 && text.contains("...: x"));
    }
}
