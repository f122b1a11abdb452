//! Types of a pod template's fields, as the newest Kubernetes that this version knows declares them.
//!
//! `k8s-openapi` cannot replace the table: it ignores fields that it does not know, and it knows the fields of the oldest supported
//! Kubernetes.

mod schema;

pub(crate) use schema::{struct_schema, template_schema};

use std::{collections::BTreeMap, sync::LazyLock};

/// Generated table of the types.
const TABLE: &str = include_str!("pod_types.txt");
/// Struct that a pod template is.
const ROOT: &str = "PodTemplateSpec";
/// Fields that are a number or a string, and no quantity.
const PORTS: [&str; 1] = ["port"];
/// Fields that the table calls any scalar, and that hold a time.
const TIMES: [&str; 3] = ["creationTimestamp", "deletionTimestamp", "time"];

static TYPES: LazyLock<Types> = LazyLock::new(|| Types::read(TABLE));

/// Type of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Text,
    Number,
    Flag,
    /// Amount of a resource, such as `500m`: a text or a number.
    Quantity,
    /// Port by number or by name.
    Port,
    Any,
    /// Struct with this name in the table.
    Struct(&'static str),
    List(Box<Self>),
    Map(Box<Self>),
}

/// Fields of a struct, by name.
pub(crate) type Fields = BTreeMap<&'static str, Type>;

#[derive(Debug, Default)]
struct Types {
    version: &'static str,
    structs: BTreeMap<&'static str, Fields>,
}

impl Types {
    fn read(table: &'static str) -> Self {
        let mut types = Self::default();
        for line in table.lines().filter(|line| !line.starts_with('#')) {
            let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
            if name == "version" {
                types.version = rest;
                continue;
            }
            let fields = rest.split(' ').filter_map(|field| field.split_once(':'));
            types.structs.insert(name, fields.map(|(field, reference)| (field, type_of(field, reference))).collect());
        }
        types
    }
}

fn type_of(field: &str, reference: &'static str) -> Type {
    if let Some(element) = reference.strip_prefix("[]") {
        return Type::List(Box::new(type_of(field, element)));
    }
    if let Some(value) = reference.strip_prefix("{}") {
        return Type::Map(Box::new(type_of(field, value)));
    }
    match reference {
        "s" => Type::Text,
        "n" => Type::Number,
        "b" => Type::Flag,
        "u" if PORTS.contains(&field) => Type::Port,
        "u" if TIMES.contains(&field) => Type::Text,
        "u" => Type::Quantity,
        "?" => Type::Any,
        name => Type::Struct(name),
    }
}

/// Name of the struct of a container's resources.
pub(crate) const RESOURCES: &str = "ResourceRequirements";
/// Name of the struct of a container's security context.
pub(crate) const SECURITY_CONTEXT: &str = "SecurityContext";

/// Returns the type of a pod template.
pub(crate) fn template() -> Type {
    Type::Struct(ROOT)
}

/// Returns the fields of a struct of the table. `None`: the table has no such struct, which a test excludes.
pub(crate) fn fields(name: &str) -> Option<&'static Fields> {
    TYPES.structs.get(name)
}

/// Returns the newest Kubernetes whose fields are known, such as `1.37`.
pub(crate) fn kubernetes() -> &'static str {
    let version = TYPES.version;
    version.rsplit_once('.').map_or(version, |(minor, _)| minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        fn check(name: &str, type_: &Type) {
            match type_ {
                Type::Struct(inner) => assert!(fields(inner).is_some(), "{name}: {inner}"),
                Type::List(inner) | Type::Map(inner) => check(name, inner),
                Type::Text | Type::Number | Type::Flag | Type::Quantity | Type::Port | Type::Any => {}
            }
        }
        check("template", &template());
        assert!(TYPES.structs.len() > 90);
        for (name, fields) in &TYPES.structs {
            fields.iter().for_each(|(field, type_)| check(&format!("{name}.{field}"), type_));
        }
    }

    #[test]
    fn types_of_known_fields() {
        let type_of = |name: &str, field: &str| fields(name).unwrap()[field].clone();
        assert_eq!(type_of("Container", "readinessProbe"), Type::Struct("Probe"));
        assert_eq!(type_of("HTTPGetAction", "port"), Type::Port);
        assert_eq!(type_of("ResourceRequirements", "limits"), Type::Map(Box::new(Type::Quantity)));
        assert_eq!(type_of("Container", "args"), Type::List(Box::new(Type::Text)));
        assert_eq!(type_of("ObjectMeta", "creationTimestamp"), Type::Text);
        assert_eq!(type_of("GRPCAction", "port"), Type::Number);
        assert!(kubernetes().starts_with("1."), "{}", kubernetes());
    }
}
