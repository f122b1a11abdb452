//! Bodies in protobuf, which kubectl sends since 1.32 for `create <something>`, `auth can-i` and evictions, and other clients
//! in Go for all their writes.
//!
//! A body with an unknown field is refused with 415, because an incomplete object must not be stored.

mod fields;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use self::Type::{
    Bool, BytesMap, Inline, Int, IntOrString, Message, MicroTime, Quantities, Quantity, Raw, Text, TextMap, Time,
};
use crate::{status::Status, time::timestamp};

/// Greatest depth of nested messages.
const MAX_DEPTH: usize = 32;
const MAGIC: &[u8] = b"k8s\0";

/// Type of a field.
enum Type {
    Text,
    Int,
    Bool,
    TextMap,
    BytesMap,
    Quantity,
    Quantities,
    IntOrString,
    /// Time in whole seconds.
    Time,
    MicroTime,
    /// Piece of JSON.
    Raw,
    Message(&'static [Field]),
    /// Message whose fields belong to its parent in JSON.
    Inline(&'static [Field]),
}

/// Number of occurrences of a field, and the meaning of its absence.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Count {
    /// Field that is always sent; the zero value means that it is not set.
    Plain,
    /// Field that is sent only if it is set.
    Optional,
    /// Field that occurs any number of times.
    List,
}

struct Field(u32, &'static str, Type, Count);

const fn one(number: u32, name: &'static str, type_: Type) -> Field {
    Field(number, name, type_, Count::Plain)
}
const fn opt(number: u32, name: &'static str, type_: Type) -> Field {
    Field(number, name, type_, Count::Optional)
}
const fn list(number: u32, name: &'static str, type_: Type) -> Field {
    Field(number, name, type_, Count::List)
}

fn unsupported(what: &str) -> Status {
    Status::unsupported_media_type(
        &format!("application/vnd.kubernetes.protobuf with {what}"),
        "application/json, application/yaml",
    )
}

/// Returns whether bodies of a kind may be in protobuf.
#[cfg(test)]
pub(crate) fn has(api_version: &str, kind: &str) -> bool {
    fields::of(api_version, kind).is_some()
}

/// Parses an object in Kubernetes' protobuf envelope, and returns it as JSON.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Status> {
    let broken = || Status::bad_request("error decoding the body as protobuf: it is cut short or damaged");
    let body = bytes.strip_prefix(MAGIC).ok_or_else(broken)?;
    let (mut api_version, mut name, mut raw) = (String::new(), String::new(), &[][..]);
    for entry in Reader(body) {
        match entry.ok_or_else(broken)? {
            (1, Wire::Block(types)) => {
                for entry in Reader(types) {
                    match entry.ok_or_else(broken)? {
                        (1, Wire::Block(text)) => api_version = String::from_utf8_lossy(text).into_owned(),
                        (2, Wire::Block(text)) => name = String::from_utf8_lossy(text).into_owned(),
                        _ => {}
                    }
                }
            }
            (2, Wire::Block(block)) => raw = block,
            _ => {}
        }
    }
    let fields = fields::of(&api_version, &name).ok_or_else(|| unsupported(&format!("a {name} of {api_version}")))?;
    let mut object = message(fields, raw, &name, 0)?;
    object.insert("apiVersion".into(), json!(api_version));
    object.insert("kind".into(), json!(name));
    Ok(Value::Object(object))
}

fn message(fields: &[Field], bytes: &[u8], path: &str, depth: usize) -> Result<Map<String, Value>, Status> {
    let broken = || Status::bad_request(format!("error decoding the body as protobuf: {path} is damaged"));
    if depth > MAX_DEPTH {
        return Err(broken());
    }
    let mut object = Map::new();
    for entry in Reader(bytes) {
        let (number, wire) = entry.ok_or_else(broken)?;
        let Some(Field(_, name, type_, count)) = fields.iter().find(|field| field.0 == number) else {
            return Err(unsupported(&format!("field {number} of {path}")));
        };
        if let (Inline(fields), Wire::Block(block)) = (type_, &wire) {
            object.append(&mut message(fields, block, path, depth + 1)?);
            continue;
        }
        let path = format!("{path}.{name}");
        if let (TextMap | BytesMap | Quantities, Wire::Block(pair)) = (type_, &wire) {
            let (key, value) = map_entry(type_, pair).ok_or_else(broken)?;
            let map = object.entry(*name).or_insert_with(|| json!({}));
            if let Some(map) = map.as_object_mut() {
                map.insert(key, value);
            }
            continue;
        }
        let Some(value) = value(type_, wire, &path, depth)? else { continue };
        match count {
            Count::List => {
                if let Some(items) = object.entry(*name).or_insert_with(|| json!([])).as_array_mut() {
                    items.push(value);
                }
            }
            Count::Plain if is_zero(&value) => {}
            Count::Plain | Count::Optional => drop(object.insert((*name).to_owned(), value)),
        }
    }
    Ok(object)
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) | Value::Array(_) => false,
    }
}

fn value(type_: &Type, wire: Wire<'_>, path: &str, depth: usize) -> Result<Option<Value>, Status> {
    let text = |block: &[u8]| Value::from(String::from_utf8_lossy(block).into_owned());
    Ok(Some(match (type_, wire) {
        (Text, Wire::Block(block)) => text(block),
        // Negative numbers are sent as their two's complement.
        (Int, Wire::Number(number)) => json!(number.cast_signed()),
        (Bool, Wire::Number(number)) => json!(number != 0),
        (Message(fields), Wire::Block(block)) => Value::Object(message(fields, block, path, depth + 1)?),
        (IntOrString, Wire::Block(block)) => {
            let (mut is_text, mut number, mut string) = (false, json!(0), json!(""));
            for (field, wire) in Reader(block).flatten() {
                match (field, wire) {
                    (1, Wire::Number(kind)) => is_text = kind == 1,
                    (2, Wire::Number(value)) => number = json!(value.cast_signed()),
                    (3, Wire::Block(value)) => string = text(value),
                    _ => {}
                }
            }
            if is_text { string } else { number }
        }
        (Quantity, Wire::Block(block)) => match first_block(block) {
            Some(quantity) => text(quantity),
            None => return Ok(None),
        },
        (Raw, Wire::Block(block)) => match first_block(block) {
            Some(raw) => serde_json::from_slice(raw).map_err(|error| {
                Status::bad_request(format!("error decoding the body as protobuf: {path}: {error}"))
            })?,
            None => return Ok(None),
        },
        (Time | MicroTime, Wire::Block(block)) => {
            let (mut seconds, mut nanoseconds) = (0, 0);
            for entry in Reader(block).flatten() {
                match entry {
                    (1, Wire::Number(value)) => seconds = value.cast_signed(),
                    (2, Wire::Number(value)) => nanoseconds = i32::try_from(value).unwrap_or(0),
                    _ => {}
                }
            }
            match jiff::Timestamp::new(seconds, nanoseconds) {
                // The zero time of Go means that no time is set.
                Ok(at) if seconds > 0 && matches!(type_, Time) => json!(timestamp(at)),
                Ok(at) if seconds > 0 => json!(at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()),
                _ => return Ok(None),
            }
        }
        _ => {
            return Err(Status::bad_request(format!("error decoding the body as protobuf: {path} is of another type")));
        }
    }))
}

fn map_entry(type_: &Type, pair: &[u8]) -> Option<(String, Value)> {
    let (mut key, mut value) = (String::new(), json!(""));
    for entry in Reader(pair) {
        match entry? {
            (1, Wire::Block(block)) => key = String::from_utf8_lossy(block).into_owned(),
            (2, Wire::Block(block)) => {
                value = match type_ {
                    BytesMap => json!(STANDARD.encode(block)),
                    Quantities => json!(String::from_utf8_lossy(first_block(block)?)),
                    _ => json!(String::from_utf8_lossy(block)),
                }
            }
            _ => {}
        }
    }
    Some((key, value))
}

/// Returns the content of a message with one field.
fn first_block(message: &[u8]) -> Option<&[u8]> {
    Reader(message).flatten().find_map(|entry| match entry {
        (1, Wire::Block(block)) => Some(block),
        _ => None,
    })
}

/// Field as it is on the wire.
enum Wire<'a> {
    Number(u64),
    Block(&'a [u8]),
}

/// Reader of fields. `None` as an item means that the rest cannot be read; it is the last item.
struct Reader<'a>(&'a [u8]);

impl<'a> Iterator for Reader<'a> {
    type Item = Option<(u32, Wire<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Reader<'a> {
    fn field(&mut self) -> Option<(u32, Wire<'a>)> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok()?;
        let wire = match tag & 7 {
            0 => Wire::Number(self.varint()?),
            1 => Wire::Block(self.take(8)?),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Wire::Block(self.take(length)?)
            }
            5 => Wire::Block(self.take(4)?),
            _ => return None,
        };
        Some((number, wire))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (block, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(block)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
        bytes.extend_from_slice(content);
        bytes
    }

    /// Builds a field as [`block`] does, for contents of up to 16 KiB and numbers of up to 15.
    fn long_block(number: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len();
        let mut bytes =
            vec![number << 3 | 2, u8::try_from(length & 0x7f).unwrap() | 0x80, u8::try_from(length >> 7).unwrap()];
        bytes.extend_from_slice(content);
        bytes
    }

    fn long_envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let types = [block(1, api_version.as_bytes()), block(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), block(1, &types), long_block(2, raw)].concat()
    }

    fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let types = [block(1, api_version.as_bytes()), block(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), block(1, &types), block(2, raw)].concat()
    }

    #[test]
    fn a_config_map() {
        let metadata = [block(1, b"a"), block(3, b""), block(11, &[block(1, b"k"), block(2, b"v")].concat())].concat();
        let raw = [block(1, &metadata), block(2, &[block(1, b"x"), block(2, b"")].concat()), vec![4 << 3, 0]].concat();
        let expected = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": {"k": "v"}},
            "data": {"x": ""}, "immutable": false});
        assert_eq!(parse(&envelope("v1", "ConfigMap", &raw)).unwrap(), expected);
    }

    #[test]
    fn a_token_for_a_pod() {
        let reference = [block(1, b"Pod"), block(3, b"p")].concat();
        let spec = [block(1, b"vault"), block(3, &reference), vec![4 << 3, 60]].concat();
        let expected = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {
            "audiences": ["vault"], "boundObjectRef": {"kind": "Pod", "name": "p"}, "expirationSeconds": 60}});
        let raw = [block(1, b""), block(2, &spec), block(3, b"")].concat();
        assert_eq!(parse(&envelope("authentication.k8s.io/v1", "TokenRequest", &raw)).unwrap(), expected);
    }

    #[test]
    fn fields_of_a_pod_that_are_not_its_own_in_protobuf() {
        // In protobuf, a volume's source and a probe's handler are messages of their own; in JSON they are not.
        let reference = block(1, &block(1, b"c"));
        let source = [vec![0x9a, 0x01, u8::try_from(reference.len()).unwrap()], reference].concat();
        let volume = [block(1, b"v"), block(2, &source)].concat();
        let port = [vec![1 << 3, 0], vec![2 << 3, 80], block(3, b"")].concat();
        let probe = [block(1, &block(2, &[block(1, b"/"), block(2, &port)].concat())), vec![2 << 3, 5]].concat();
        let limits = [block(1, b"cpu"), block(2, &block(1, b"10m"))].concat();
        let container = [block(1, b"a"), block(8, &block(1, &limits)), block(11, &probe)].concat();
        let spec = [block(1, &volume), block(2, &container)].concat();
        let expected = json!({"apiVersion": "v1", "kind": "Pod", "spec": {
            "volumes": [{"name": "v", "configMap": {"name": "c"}}],
            "containers": [{"name": "a", "resources": {"limits": {"cpu": "10m"}},
                "readinessProbe": {"httpGet": {"path": "/", "port": 80}, "initialDelaySeconds": 5}}],
        }});
        let raw = long_block(2, &spec);
        assert_eq!(parse(&long_envelope("v1", "Pod", &raw)).unwrap(), expected);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let error = parse(&envelope("v1", "Nothing", b"")).unwrap_err();
        assert_eq!((error.code.as_u16(), error.message.contains("a Nothing of v1")), (415, true));
        let error = parse(&envelope("v1", "ConfigMap", &block(15, b"x"))).unwrap_err();
        assert_eq!((error.code.as_u16(), error.message.contains("field 15 of ConfigMap")), (415, true));
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(raw: Vec<u8>, kind in prop::sample::select(vec!["Service", "Deployment", "Secret"])) {
            let raw = &raw[..raw.len().min(100)];
            let _ = parse(&envelope(if kind == "Deployment" { "apps/v1" } else { "v1" }, kind, raw));
            let _ = parse(&[MAGIC, raw].concat());
        }
    }
}
