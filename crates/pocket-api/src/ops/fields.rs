//! The fields of objects that belong to the server, and fields that a kind does not have.

use serde_json::{Value, json};

use super::{FieldValidation, Write};
use crate::{
    openapi,
    status::Status,
    strategy::object,
    table::{Resource, Subresource},
};

/// `metadata.name`, or nothing.
pub(super) fn name(object: &Value) -> &str {
    text(object, "name")
}

/// A text in the metadata, or nothing.
pub(super) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get("metadata").and_then(|metadata| metadata.get(field)).and_then(Value::as_str).unwrap_or_default()
}

/// A field of the metadata.
pub(super) fn meta<'a>(object: &'a Value, field: &str) -> Option<&'a Value> {
    object.get("metadata")?.get(field).filter(|value| !value.is_null())
}

/// Sets a field of the metadata.
pub(super) fn set_meta(value: &mut Value, field: &str, to: Value) {
    object(value, "metadata").insert(field.to_owned(), to);
}

/// Takes a field of the metadata away.
pub(super) fn remove_meta(value: &mut Value, field: &str) {
    object(value, "metadata").remove(field);
}

/// Sets a field of the metadata to what it was, or takes it away if it was not.
pub(super) fn restore_meta(new: &mut Value, old: &Value, field: &str) {
    match meta(old, field) {
        Some(value) => set_meta(new, field, value.clone()),
        None => remove_meta(new, field),
    }
}

/// Drops what says nothing: empty lists and maps of the metadata, and in built-in kinds all nulls. Typed servers do so
/// by nature, and clients compare with it.
pub(super) fn tidy(resource: &Resource, object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|_, value| match value {
            Value::Null => false,
            Value::Array(items) => !items.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
            _ => true,
        });
    }
    // A null means something in a schema's default and in the raw data of a revision.
    let raw = matches!(resource.plural.as_ref(), "customresourcedefinitions" | "controllerrevisions");
    if resource.custom.is_none() && !raw {
        drop_nulls(object);
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// The finalizers.
pub(super) fn finalizers(object: &Value) -> Vec<&str> {
    let list = meta(object, "finalizers").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Drops the fields that cannot be written through this path, so that nobody comes to own them.
pub(super) fn keep_only(resource: &Resource, sub: Option<&Subresource>, intent: &mut Value) {
    let Some(fields) = intent.as_object_mut() else { return };
    match sub {
        Some(sub) if *sub == Subresource::Status => {
            fields.retain(|field, _| matches!(field.as_str(), "apiVersion" | "kind" | "metadata" | "status"));
            if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.retain(|field, _| matches!(field.as_str(), "name" | "namespace" | "uid" | "resourceVersion"));
            }
        }
        _ if resource.has_status() => drop(fields.remove("status")),
        _ => {}
    }
}

/// Finds fields that the kind does not have, drops them, and warns or refuses as the client wants.
pub(super) fn check(resource: &Resource, body: &mut Value, write: &Write) -> Result<(), Status> {
    let unknown = match &resource.custom {
        Some(custom) => {
            if let Some(text) = &custom.deprecation {
                write.warn(text.clone());
            }
            custom.schema.prune(body)
        }
        None if write.validation == FieldValidation::Ignore => return Ok(()),
        None => openapi::prune(resource, body),
    };
    if unknown.is_empty() || write.validation == FieldValidation::Ignore {
        return Ok(());
    }
    let texts: Vec<String> = unknown.iter().map(|path| format!("unknown field {}", json!(path))).collect();
    match write.validation {
        FieldValidation::Strict => {
            let name = name(body);
            let shown = if name.is_empty() { text(body, "generateName") } else { name };
            Err(Status::bad_request(format!(
                "{} in version \"{}\" cannot be handled as a {}: strict decoding error: {}",
                resource.kind,
                resource.version,
                resource.kind,
                texts.join(", ")
            ))
            .about(resource, shown, Vec::new()))
        }
        _ => {
            texts.into_iter().for_each(|text| write.warn(text));
            Ok(())
        }
    }
}
