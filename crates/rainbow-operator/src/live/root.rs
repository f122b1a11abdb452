//! A `Rainbow` as it was read, and what follows from its spec alone.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rainbow_api::{
    Config as ConfigPolicy, Drain, HumanDuration, Keep, Rainbow, RainbowStatus, SpecError, SpecPart, Tier, TierConfig,
    Version, config_of_tiers, labels, read_spec, validate, validate_name,
};
use std::{collections::BTreeMap, sync::Arc};

use super::{ShownCustom, needed};

/// Wait that replaces one that cannot be read: about a hundred years. Nothing ends because of an unknown wait.
const UNKNOWN_WAIT: HumanDuration = HumanDuration::from_secs(100 * 365 * 24 * 3600);

/// A `Rainbow` as it was read. Invalid policy has been replaced by the last valid one, or else by one that ends nothing.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    pub(crate) rainbow: Arc<Rainbow>,
    /// Version that the spec describes. `None`: color or tiers are invalid.
    pub(crate) version: Option<Version>,
    /// Version of the last spec that described one, with its tiers, where this spec describes none.
    pub(crate) last_version: Option<Arc<(Version, Vec<Tier>)>>,
    /// ConfigMaps and Secrets that the templates name, where their content is part of the version.
    pub(crate) config: Arc<TierConfig>,
    /// Errors of the spec.
    pub(crate) errors: Vec<SpecError>,
}

impl Root {
    /// Reads an object as far as possible.
    pub(crate) fn of(shown: ShownCustom) -> Self {
        let ShownCustom { metadata, spec, status } = shown;
        let status = serde_json::from_value::<Option<RainbowStatus>>(status).unwrap_or_else(|error| {
            tracing::warn!(rainbow = ?metadata.name, %error, "a status cannot be read and counts as lost");
            None
        });
        let (spec, unread) = read_spec(&spec);
        let metadata = ObjectMeta { annotations: causes(&metadata), ..needed(&metadata) };
        Self::new(Rainbow { metadata, spec, status }, unread)
    }

    /// Returns the tiers, so that their templates can be packed. `None`: the object is shared already.
    pub(crate) fn tiers_mut(&mut self) -> Option<&mut [Tier]> {
        Arc::get_mut(&mut self.rainbow).map(|rainbow| rainbow.spec.tiers.as_mut_slice())
    }

    /// Returns all tiers whose templates are needed.
    pub(crate) fn tiers(&self) -> impl Iterator<Item = &Tier> {
        let last = self.last_version.iter().flat_map(|last| &last.1);
        self.rainbow.spec.tiers.iter().chain(last)
    }

    /// Checks what was read. `unread` are the errors of what could not be read.
    fn new(rainbow: Rainbow, unread: Vec<SpecError>) -> Self {
        let name = rainbow.metadata.name.as_deref().unwrap_or_default();
        let mut errors = unread;
        errors.extend(validate_name(name));
        errors.extend(validate(&rainbow.spec));
        let version = errors.iter().all(|error| error.part != SpecPart::Version).then(|| Version::of(&rainbow.spec));
        let config = match rainbow.spec.config {
            ConfigPolicy::Shared => TierConfig::new(),
            ConfigPolicy::Versioned => config_of_tiers(&rainbow.spec.tiers),
        };
        let (rainbow, config) = (Arc::new(rainbow), Arc::new(config));
        let mut root = Self { rainbow, version, last_version: None, config, errors };
        root.replace_policy(None);
        root
    }

    pub(crate) fn meta(&self) -> &ObjectMeta {
        &self.rainbow.metadata
    }

    pub(crate) fn status(&self) -> Option<&RainbowStatus> {
        self.rainbow.status.as_ref()
    }

    /// Returns whether the part of the spec can be used.
    pub(crate) fn is_valid(&self, part: &SpecPart) -> bool {
        self.errors.iter().all(|error| error.part != *part)
    }

    /// Takes over from the previous state of the object what this one does not say in a valid way.
    pub(crate) fn inherit(&mut self, before: &Self) {
        if self.errors.is_empty() || self.meta().uid != before.meta().uid {
            return;
        }
        if self.version.is_none() {
            let tiers = || before.rainbow.spec.tiers.clone();
            let described = before.version.as_ref().map(|version| Arc::new((version.clone(), tiers())));
            self.last_version = described.or_else(|| before.last_version.clone());
        }
        self.replace_policy(Some(before));
    }

    /// Replaces invalid policy by that of `before`, or else by policy that ends nothing.
    fn replace_policy(&mut self, before: Option<&Self>) {
        let invalid = |part| !self.is_valid(&part);
        let (drain, keep) = (invalid(SpecPart::Drain), invalid(SpecPart::Keep));
        let (progress, prefix) = (invalid(SpecPart::ProgressDeadline), invalid(SpecPart::NamePrefix));
        if !(drain || keep || progress || prefix) {
            return;
        }
        let before = before.map(|before| &before.rainbow.spec);
        let spec = &mut Arc::make_mut(&mut self.rainbow).spec;
        if drain {
            let unknown =
                Drain { deadline: UNKNOWN_WAIT, settle: UNKNOWN_WAIT, ignore: Vec::new(), ..spec.drain.clone() };
            let valid = before.map_or(unknown, |before| before.drain.clone());
            // The settings of the sidecar are part of the version.
            spec.drain = Drain { sidecar: spec.drain.sidecar.take(), ..valid };
        }
        if keep {
            let unknown = Keep { history: i32::MAX, warm: UNKNOWN_WAIT, ..Keep::default() };
            spec.keep = before.map_or(unknown, |before| before.keep.clone());
        }
        if progress {
            spec.progress_deadline_seconds = before.and_then(|before| before.progress_deadline_seconds);
        }
        if prefix {
            spec.name_prefix = before.and_then(|before| before.name_prefix.clone());
        }
    }
}

/// Annotations that a new color keeps.
fn causes(meta: &ObjectMeta) -> Option<BTreeMap<String, String>> {
    let kept = |(key, _): &(&String, &String)| [labels::CHANGE_CAUSE, labels::RELEASED_BY].contains(&key.as_str());
    let all = meta.annotations.iter().flatten().filter(kept);
    let all: BTreeMap<String, String> = all.map(|(key, value)| (key.clone(), value.clone())).collect();
    (!all.is_empty()).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn object(change: impl FnOnce(&mut Value)) -> ShownCustom {
        let mut object = json!({
            "apiVersion": "rainbow.dev/v1alpha1", "kind": "Rainbow",
            "metadata": { "name": "shop", "namespace": "default", "uid": "root" },
            "spec": {
                "color": "v1",
                "tiers": [{ "name": "web", "ports": [{ "name": "http", "port": 80 }],
                            "template": { "spec": { "containers": [{ "name": "w", "image": "w:1" }] } } }],
                "stages": [{ "name": "active" }],
                "drain": { "deadline": "2h", "settle": "1m" },
                "keep": { "live": 3, "history": 1 },
            },
        });
        change(&mut object);
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn policy_that_is_invalid_is_the_last_one_or_ends_nothing() {
        let valid = Root::of(object(|_| {}));
        assert_eq!(valid.errors, []);
        let broken = || {
            Root::of(object(|object| {
                object["spec"]["drain"] = json!({ "settle": "soon" });
                object["spec"]["keep"]["history"] = json!(-1);
            }))
        };
        let alone = broken();
        assert_eq!((alone.rainbow.spec.drain.settle, alone.rainbow.spec.drain.deadline), (UNKNOWN_WAIT, UNKNOWN_WAIT));
        assert_eq!(alone.rainbow.spec.keep.history, i32::MAX);
        assert!(alone.version.is_some(), "the version is what it was");
        let mut after = broken();
        after.inherit(&valid);
        assert_eq!(
            (&after.rainbow.spec.drain, &after.rainbow.spec.keep),
            (&valid.rainbow.spec.drain, &valid.rainbow.spec.keep)
        );
        // An object inherits policy from its previous state, and not from another object of the same name.
        let mut later = broken();
        later.inherit(&after);
        assert_eq!(later.rainbow.spec.drain, valid.rainbow.spec.drain);
        let mut other = Root::of(object(|object| {
            object["metadata"]["uid"] = json!("other");
            object["spec"]["drain"]["settle"] = json!("soon");
        }));
        other.inherit(&valid);
        assert_eq!(other.rainbow.spec.drain.settle, UNKNOWN_WAIT);
    }

    #[test]
    fn the_last_version_is_remembered() {
        let valid = Root::of(object(|_| {}));
        let broken = |color: &str| {
            Root::of(object(|object| {
                object["spec"]["color"] = json!(color);
                object["spec"]["tiers"][0]["template"] = json!({ "spec": { "containers": "none" } });
            }))
        };
        let mut second = broken("v2");
        assert!(second.version.is_none() && second.last_version.is_none());
        second.inherit(&valid);
        let mut third = broken("v3");
        third.inherit(&second);
        assert_eq!(third.last_version.unwrap().0.color, "v1");
    }

    #[test]
    fn nothing_that_is_written_keeps_an_object_from_being_read() {
        for spec in [json!(null), json!("x"), json!({ "stages": 3 }), json!({ "tiers": [[]], "stages": [{}] })] {
            let root = Root::of(object(|object| {
                object["spec"] = spec.clone();
                object["status"] = json!({ "stages": "none" });
            }));
            assert!(root.version.is_none() && !root.errors.is_empty(), "{spec}");
            assert_eq!(root.meta().uid.as_deref(), Some("root"));
        }
    }
}
