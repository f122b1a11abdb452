//! ConfigMaps and Secrets that templates name.

use rainbow_api::{ConfigKind, ConfigName};
use std::{collections::BTreeSet, fmt::Display};

use crate::domain;

/// Returns kind and name, such as ``ConfigMap `settings` ``.
pub(super) fn config_name(name: &rainbow_plan::ConfigName) -> String {
    format!("{} `{}`", domain::kind_of_config(name.kind), name.name)
}

/// Describes that the operator was installed without the right to read what templates name.
pub(crate) fn config_not_allowed(names: &BTreeSet<ConfigName>) -> String {
    let access = if names.iter().any(|name| name.kind == ConfigKind::Secret) { "all" } else { "configmaps" };
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    format!(
        "spec.config: `Versioned` needs the right to read {}: `rainbow install --versioned-config {access}` gives it to the operator, or set \
         spec.config to `Shared`",
        names.join(", ")
    )
}

/// Describes required objects that do not exist.
pub(crate) fn config_missing(names: &[&ConfigName]) -> String {
    let (names, verb) =
        (names.iter().map(ToString::to_string).collect::<Vec<_>>(), if names.len() == 1 { "does" } else { "do" });
    format!(
        "{} {verb} not exist: a new color waits; create it, or set `optional: true` where templates name it",
        names.join(", ")
    )
}

pub(crate) fn not_listed(kind: ConfigKind, why: &str) -> String {
    format!("{kind}s cannot be listed, so no color with copies of them is made: {why}")
}

pub(crate) fn not_read_yet(name: &ConfigName) -> String {
    format!("{name} has not been read yet")
}

pub(crate) fn not_read(name: &ConfigName, why: &impl Display) -> String {
    format!("{name} cannot be read, so no color with a copy of it is made: {why}")
}

pub(crate) fn no_config_key(name: &str, why: &impl Display) -> String {
    format!("Secret `{name}`, which holds the key by which Secrets are compared, cannot be read or made: {why}")
}

pub(crate) fn foreign_config_key(name: &str) -> String {
    format!(
        "Secret `{name}` exists and holds no key of Rainbow's, and Secrets are compared by that key: rename or delete it"
    )
}

/// Describes that the object has changed since the plan was made.
pub(crate) fn config_changed(name: &ConfigName) -> String {
    format!("{name} has changed meanwhile")
}
