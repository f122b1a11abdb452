//! Fields of objects that belong to the server, and fields that a kind does not have.

use pocket_object::strict;
use serde_json::Value;

use crate::{
    json::object,
    resource::{Resource, Subresource},
    status::Status,
    write_options::{BodyForm, FieldValidation, WriteOptions},
};

/// Returns `metadata.name`, or an empty text.
pub(super) fn name(object: &Value) -> &str {
    text(object, "name")
}

/// Returns a text of the metadata, or an empty text.
pub(super) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get("metadata").and_then(|metadata| metadata.get(field)).and_then(Value::as_str).unwrap_or_default()
}

/// Returns a field of the metadata.
pub(super) fn meta<'a>(object: &'a Value, field: &str) -> Option<&'a Value> {
    object.get("metadata")?.get(field).filter(|value| !value.is_null())
}

/// Sets a field of the metadata.
pub(super) fn set_meta(value: &mut Value, field: &str, to: Value) {
    object(value, "metadata").insert(field.to_owned(), to);
}

/// Removes a field of the metadata.
pub(super) fn remove_meta(value: &mut Value, field: &str) {
    object(value, "metadata").remove(field);
}

/// Restores a field of the metadata to its old value, or removes it if there was none.
pub(super) fn restore_meta(new: &mut Value, old: &Value, field: &str) {
    match meta(old, field) {
        Some(value) => set_meta(new, field, value.clone()),
        None => remove_meta(new, field),
    }
}

/// Drops what means nothing: empty lists and maps of the metadata, and in built-in kinds all nulls. Typed servers have this
/// effect by their nature, and clients compare with their result.
pub(super) fn tidy(resource: &Resource, object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, value| match value {
            Value::Null => false,
            // An empty `managedFields` is a request to forget the owners of all fields.
            Value::Array(items) => !items.is_empty() || name == "managedFields",
            Value::Object(fields) => !fields.is_empty(),
            _ => true,
        });
    }
    // A null has a meaning in a schema's default and in the raw data of a revision.
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

pub(super) fn finalizers(object: &Value) -> Vec<&str> {
    let list = meta(object, "finalizers").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Drops the fields that cannot be written through this path, so that no manager becomes their owner.
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

/// Warns of a deprecated version.
pub(super) fn warn_of_deprecation(resource: &Resource, write: &WriteOptions) {
    if let Some(text) = resource.custom.as_ref().and_then(|custom| custom.deprecation.as_ref()) {
        write.warn(text.clone());
    }
}

/// Finds fields that the kind does not have, drops them, and warns or refuses as the client wants.
pub(super) fn check(resource: &Resource, body: &mut Value, write: &WriteOptions) -> Result<(), Status> {
    warn_of_deprecation(resource, write);
    let patched = (write.body_form == BodyForm::JsonPatch && write.validation == FieldValidation::Strict)
        .then(|| body.to_string());
    let mut mistakes = write.mistakes.clone();
    match &resource.custom {
        Some(custom) => {
            mistakes.extend(custom.schema.prune(body).iter().map(|path| format!("unknown field {path:?}")));
            mistakes.extend(strict::remove_unknown_metadata(body));
        }
        None => mistakes.extend(strict::remove_unknown(resource.shape(), body)),
    }
    match write.validation {
        _ if mistakes.is_empty() => Ok(()),
        FieldValidation::Ignore => Ok(()),
        FieldValidation::Warn => {
            mistakes.into_iter().for_each(|text| write.warn(text));
            Ok(())
        }
        FieldValidation::Strict => Err(refused(resource, &write.body_form, patched, &strict::sentence(&mistakes))),
    }
}

/// Returns a refusal in the words of Kubernetes, for a whole object or for a patch.
fn refused(resource: &Resource, form: &BodyForm, patched: Option<String>, sentence: &str) -> Status {
    let shown = match form {
        BodyForm::Object => {
            let (kind, version) = (&resource.kind, &resource.version);
            return Status::bad_request(format!(
                "{kind} in version \"{version}\" cannot be handled as a {kind}: {sentence}"
            ));
        }
        BodyForm::JsonPatch => patched.unwrap_or_default(),
        BodyForm::StrategicPatch(shown) => shown.clone(),
    };
    Status::invalid_patch(&shown, sentence)
}
