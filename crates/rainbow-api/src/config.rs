//! Kinds and names of the configuration that is part of a version: ConfigMaps and Secrets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// Whether the content of the ConfigMaps and Secrets that pod templates name is part of the version.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Config {
    /// All colors read the objects themselves. A change reaches the pods of every color, as Kubernetes has it.
    #[default]
    Shared,
    /// Each color reads immutable copies, made when the color is made. A change of an object is a release.
    Versioned,
}

impl Config {
    pub(crate) fn is_shared(&self) -> bool {
        *self == Self::Shared
    }
}

/// Kind of an object that holds configuration.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
pub enum ConfigKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

impl fmt::Display for ConfigKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        })
    }
}

/// Name of a ConfigMap or a Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigName {
    /// Kind of the object.
    pub kind: ConfigKind,
    /// Name of the object.
    pub name: String,
}

/// Writes the kind and the name, such as ``Secret `database` ``.
impl fmt::Display for ConfigName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind, self.name)
    }
}

/// Whether pods start without an object that their template names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Demand {
    /// Every place that names the object says `optional: true`.
    Optional,
    /// Pods wait for the object.
    Required,
}

/// Objects that the templates of tiers name, by name of the tier.
pub type TierConfig = BTreeMap<String, BTreeMap<ConfigName, Demand>>;
