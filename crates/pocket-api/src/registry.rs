//! Kinds that are served now: those of the table and those that CustomResourceDefinitions add.

use std::sync::Arc;

use crate::{resource::Resource, table::built_in};

/// Immutable view of the kinds; a change of a definition makes a new one.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    built_in: Arc<[Arc<Resource>]>,
    custom: Vec<Arc<Resource>>,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self { built_in: built_in().into(), custom: Vec::new() }
    }

    /// Returns the same registry with other custom kinds.
    pub(crate) fn with_custom(&self, custom: Vec<Arc<Resource>>) -> Self {
        Self { built_in: self.built_in.clone(), custom }
    }

    /// Returns all kinds in all their versions.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.built_in.iter().chain(&self.custom)
    }

    pub(crate) fn custom(&self) -> &[Arc<Resource>] {
        &self.custom
    }

    /// Returns the kind that a path names.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.all().find(|known| known.plural == plural && known.group == group && known.version == version)
    }

    /// Returns whether any kind is served in the group and version.
    pub(crate) fn has_version(&self, group: &str, version: &str) -> bool {
        self.all().any(|known| known.group == group && known.version == version)
    }

    /// Returns a built-in kind that the server itself uses.
    pub(crate) fn built_in(&self, group: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.built_in.iter().find(|known| known.plural == plural && known.group == group)
    }

    /// Returns groups and their versions in the order in which they are shown: built-in groups first, newest version first.
    pub(crate) fn groups(&self) -> Vec<(&str, Vec<&str>)> {
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for kind in self.all() {
            match groups.iter_mut().find(|(group, _)| *group == kind.group) {
                Some((_, versions)) if versions.contains(&kind.version.as_ref()) => {}
                Some((_, versions)) => versions.push(&kind.version),
                None => groups.push((&kind.group, vec![&kind.version])),
            }
        }
        for (_, versions) in &mut groups {
            versions.sort_by_key(|version| std::cmp::Reverse(priority(version)));
        }
        groups
    }
}

/// Returns the rank of a version as Kubernetes orders them: `v2` over `v1` over `v1beta2` over `v1alpha1` over any other text.
pub(crate) fn priority(version: &str) -> (u8, u32, u32) {
    let parse = || {
        let rest = version.strip_prefix('v')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (major, rest) = rest.split_at(digits);
        let major: u32 = major.parse().ok()?;
        let (stability, minor) = match rest {
            "" => (3, ""),
            rest => match rest.strip_prefix("beta") {
                Some(minor) => (2, minor),
                None => (1, rest.strip_prefix("alpha")?),
            },
        };
        Some((stability, major, if minor.is_empty() { 0 } else { minor.parse().ok()? }))
    };
    parse().unwrap_or((0, 0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_in_kubernetes() {
        let mut versions = vec!["foo1", "v1alpha1", "v10", "v1beta2", "v2", "v1", "v11beta2", "v1beta1"];
        versions.sort_by_key(|version| std::cmp::Reverse(priority(version)));
        assert_eq!(versions, ["v10", "v2", "v1", "v11beta2", "v1beta2", "v1beta1", "v1alpha1", "foo1"]);
    }
}
