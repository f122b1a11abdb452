//! Accessors of JSON values; no accessor panics.

use serde_json::{Map, Value};

pub(crate) type Object = Map<String, Value>;

/// Returns the text at a JSON pointer; empty if there is none.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Returns the integer at a JSON pointer.
pub(crate) fn integer(value: &Value, pointer: &str) -> Option<i64> {
    value.pointer(pointer).and_then(Value::as_i64)
}

/// Returns the list at a JSON pointer; empty if there is none.
pub(crate) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Returns the entries of the map at a JSON pointer; no entries if there is no map.
pub(crate) fn entries<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value.pointer(pointer).and_then(Value::as_object).into_iter().flatten()
}

/// Returns whether the value at a JSON pointer is `true`.
pub(crate) fn truth(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer) == Some(&Value::Bool(true))
}

/// Sets a field that is missing (or null).
pub(crate) fn default(object: &mut Object, key: &str, value: impl Into<Value>) {
    match object.get_mut(key) {
        Some(old) if !old.is_null() => {}
        Some(old) => *old = value.into(),
        None => {
            object.insert(key.to_owned(), value.into());
        }
    }
}

/// Returns the map in a field, if the field is a map.
pub(crate) fn child<'a>(object: &'a mut Object, key: &str) -> Option<&'a mut Object> {
    object.get_mut(key).and_then(Value::as_object_mut)
}

/// Returns the map in a field and creates it if it is missing; `None` if the field is something else.
pub(crate) fn child_or_new<'a>(object: &'a mut Object, key: &str) -> Option<&'a mut Object> {
    default(object, key, Object::new());
    child(object, key)
}

/// Returns the maps in a list.
pub(crate) fn each<'a>(object: &'a mut Object, key: &str) -> impl Iterator<Item = &'a mut Object> {
    object.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}
