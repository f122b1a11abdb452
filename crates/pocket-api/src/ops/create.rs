//! Creation of objects.

use std::sync::Arc;

use rand::RngExt;
use serde_json::{Value, json};

use super::{Ownership, Step, check_type, fields};
use crate::{
    Api, convert,
    resource::Resource,
    status::Status,
    store::{Change, Stored, Writer, key},
    write_options::WriteOptions,
};

/// Letters of generated names: no vowels, so no words.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// Length to which `metadata.name` without its suffix is cut.
const MAX_GENERATED_BASE: usize = 58;

impl Api {
    /// Creates an object in a namespace (empty for a cluster-scoped kind).
    pub(crate) fn create(
        &self,
        resource: &Resource,
        namespace: &str,
        mut object: Value,
        write: &WriteOptions,
    ) -> Result<Arc<Stored>, Status> {
        check_type(resource, &object)?;
        fields::check(resource, &mut object, write)?;
        let mut writer = self.store().writer();
        self.create_locked(&mut writer, resource, namespace, object, write, Ownership::Track)
    }

    pub(super) fn create_locked(
        &self,
        writer: &mut Writer,
        resource: &Resource,
        namespace: &str,
        mut object: Value,
        write: &WriteOptions,
        ownership: Ownership,
    ) -> Result<Arc<Stored>, Status> {
        if !fields::text(&object, "resourceVersion").is_empty() {
            return Err(Status::bad_request("resourceVersion should not be set on objects to be created"));
        }
        set_system_fields(resource, namespace, &mut object, &write.now)?;
        let name = fields::name(&object).to_owned();
        if resource.namespaced {
            self.check_namespace(resource, namespace, &name)?;
        }
        let key = key(namespace, &name);
        if self.store().get(&resource.storage, &key).is_some() {
            return Err(Status::already_exists(resource, &name));
        }
        if resource.has_status()
            && let Some(fields) = object.as_object_mut()
        {
            fields.remove("status");
        }
        let tracks = ownership == Ownership::Track;
        let step = Step { resource, sub: None, key: &key, old: None, write, tracks };
        self.complete(writer, &step, &mut object)?;
        convert::to_storage(resource, &mut object);
        if write.dry_run {
            return Ok(Self::dry_run_result(resource, &key, &object, 0));
        }
        self.commit(writer, resource, &key, None, Change::Put(object))
    }

    fn check_namespace(&self, resource: &Resource, namespace: &str, name: &str) -> Result<(), Status> {
        let registry = self.registry();
        let Some(namespaces) = registry.built_in("", "namespaces") else { return Ok(()) };
        let Some(found) = self.store().get(&namespaces.storage, &key("", namespace)) else {
            return Err(Status::not_found(namespaces, namespace));
        };
        if fields::meta(&found.value(), "deletionTimestamp").is_none() {
            return Ok(());
        }
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        let cause = json!({"reason": "NamespaceTerminating", "field": "metadata.namespace",
            "message": format!("namespace {namespace} is being terminated")});
        Err(Status::forbidden(resource, name, &why).about(resource, name, vec![cause]))
    }
}

fn set_system_fields(resource: &Resource, namespace: &str, object: &mut Value, now: &str) -> Result<(), Status> {
    let named = fields::text(object, "namespace");
    if resource.namespaced {
        if !named.is_empty() && named != namespace {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        fields::set_meta(object, "namespace", json!(namespace));
    } else {
        fields::remove_meta(object, "namespace");
    }
    let prefix = fields::text(object, "generateName").to_owned();
    if fields::name(object).is_empty() {
        if prefix.is_empty() {
            let errors = [pocket_object::FieldError::required("metadata.name", "name or generateName is required")];
            return Err(Status::invalid(resource, "", &errors));
        }
        fields::set_meta(object, "name", json!(generate_name(&prefix)));
    }
    for field in ["selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"] {
        fields::remove_meta(object, field);
    }
    fields::set_meta(object, "uid", json!(uid()));
    fields::set_meta(object, "creationTimestamp", json!(now));
    match resource.generation {
        true => fields::set_meta(object, "generation", json!(1)),
        false => fields::remove_meta(object, "generation"),
    }
    Ok(())
}

fn generate_name(prefix: &str) -> String {
    let end =
        prefix.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= MAX_GENERATED_BASE).last();
    let mut name = prefix[..end.unwrap_or(0)].to_owned();
    let mut random = rand::rng();
    name.extend((0..5).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])));
    name
}

/// Returns a random UUID (version 4).
pub(crate) fn uid() -> String {
    let mut bits: u128 = rand::rng().random();
    bits = bits & !(0xf << 76) | 4 << 76;
    bits = bits & !(0b11 << 62) | 0b10 << 62;
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_version_four_uuids() {
        for _ in 0..100 {
            let uid = uid();
            assert_eq!(uid.len(), 36);
            assert_eq!(uid.as_bytes()[14], b'4', "{uid}");
            assert!(matches!(uid.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{uid}");
        }
    }

    #[test]
    fn long_prefixes_are_cut_between_letters() {
        assert_eq!(generate_name("web-").len(), 9);
        let name = generate_name(&"ü".repeat(60));
        assert_eq!(name.chars().filter(|c| *c == 'ü').count(), 29);
    }
}
