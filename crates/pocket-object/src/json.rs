//! Short ways into JSON values, none of which panics.

use serde_json::{Map, Value};

pub(crate) type Object = Map<String, Value>;

/// A text at a JSON pointer; empty if there is none.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// An integer at a JSON pointer.
pub(crate) fn integer(value: &Value, pointer: &str) -> Option<i64> {
    value.pointer(pointer).and_then(Value::as_i64)
}

/// The list at a JSON pointer; empty if there is none.
pub(crate) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The entries of the map at a JSON pointer; none if there is none.
pub(crate) fn entries<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value.pointer(pointer).and_then(Value::as_object).into_iter().flatten()
}

/// Is `true` at a JSON pointer?
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

/// The map in a field, if it is one.
pub(crate) fn child<'a>(object: &'a mut Object, key: &str) -> Option<&'a mut Object> {
    object.get_mut(key).and_then(Value::as_object_mut)
}

/// The map in a field, made if it is missing; `None` if something else is there.
pub(crate) fn child_or_new<'a>(object: &'a mut Object, key: &str) -> Option<&'a mut Object> {
    default(object, key, Object::new());
    child(object, key)
}

/// The maps in a list.
pub(crate) fn each<'a>(object: &'a mut Object, key: &str) -> impl Iterator<Item = &'a mut Object> {
    object.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}
