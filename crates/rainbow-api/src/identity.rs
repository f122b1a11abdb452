//! Identity of an instance: a Merkle tree over templates, ports and needs.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

use crate::{ColorConfig, ColorInstance, ColorSpec, Config, RainbowSpec, Tier, TierConfig, config_of_tiers};

/// Identity of an instance, in hexadecimal. Instances with equal identities are equal all the way down.
pub type Identity = String;

/// Hexadecimal digits of an identity: 80 bits, far from a collision at any number of versions, short enough for a label.
const IDENTITY_DIGITS: usize = 20;
/// Hexadecimal digits of a color named after its tiers, as many as the proof of concept takes of a git commit.
const COLOR_DIGITS: usize = 6;

/// Returns the identity of each tier's instance, by tier name.
///
/// Replicas are not part of an identity: scaling makes no new color. The validation of the spec refuses needs on unknown tiers and cycles.
/// Here a tier that cannot be resolved is absent from the answer.
pub fn identities(tiers: &[Tier]) -> BTreeMap<String, Identity> {
    let mut known: BTreeMap<String, Identity> = BTreeMap::new();
    // Each round resolves at least one tier of a DAG, so as many rounds as tiers are enough, and a cycle ends the loop.
    for _ in 0..tiers.len() {
        for tier in tiers {
            if known.contains_key(&tier.name) {
                continue;
            }
            let needs: Option<BTreeMap<_, _>> = tier
                .own_needs()
                .map(|need| {
                    let callee = known.get(&need.tier)?;
                    // Left out where there is none, as below. The number is part of what the callee is.
                    let value = match &need.port {
                        None => json!([callee, need.env]),
                        Some(port) => json!([callee, need.env, port]),
                    };
                    Some((&need.tier, value))
                })
                .collect();
            if let Some(needs) = needs {
                let mut content =
                    json!({ "name": tier.name, "ports": tier.ports, "template": tier.template, "needs": needs });
                // A callee that may be newer is not part of what the caller is, but how the caller reaches it.
                let calls: BTreeMap<&str, Value> = tier
                    .compatible_needs()
                    .map(|need| {
                        let callee = tiers.iter().find(|other| other.name == need.tier);
                        // The number is part of the caller, which has it in a variable.
                        let value = match callee.and_then(|callee| callee.needed_port(need)) {
                            None => json!(need.env),
                            Some(port) => json!([need.env, port.port]),
                        };
                        (need.tier.as_str(), value)
                    })
                    .collect();
                if !calls.is_empty() {
                    content["calls"] = json!(calls);
                }
                // Left out where the tier says nothing of its Service, so that identities from before this field existed stay the same.
                if !tier.service.is_plain() {
                    content["service"] = json!(tier.service);
                }
                known.insert(tier.name.clone(), hash(&content, IDENTITY_DIGITS));
            }
        }
    }
    known
}

/// Returns the name of a color whose spec gives none.
pub fn tiers_hash(tiers: &[Tier]) -> String {
    hash(&json!(identities(tiers)), COLOR_DIGITS)
}

/// Returns the identities of instances that read copies of configuration. The copies of a tier, and those of the tiers that it needs, are
/// part of its identity. A tier without copies keeps its identity from `plain`.
fn with_config(
    tiers: &[Tier],
    plain: &BTreeMap<String, Identity>,
    named: &TierConfig,
    config: &[ColorConfig],
) -> BTreeMap<String, Identity> {
    let mut known: BTreeMap<String, Identity> = BTreeMap::new();
    for _ in 0..tiers.len() {
        for tier in tiers.iter().filter(|tier| plain.contains_key(&tier.name)) {
            if known.contains_key(&tier.name) {
                continue;
            }
            let needs: Option<BTreeMap<&str, &Identity>> =
                tier.own_needs().map(|need| Some((need.tier.as_str(), known.get(&need.tier)?))).collect();
            let Some(needs) = needs else { continue };
            let before = &plain[&tier.name];
            let is_named = |one: &&ColorConfig| {
                let names = named.get(&tier.name).into_iter().flatten();
                names.into_iter().any(|(name, _)| name.kind == one.kind && name.name == one.name)
            };
            let copies: Vec<String> =
                config.iter().filter(is_named).map(|one| format!("{}/{}/{}", one.kind, one.name, one.copy)).collect();
            let is_plain =
                copies.is_empty() && needs.iter().all(|(tier, identity)| plain.get(*tier) == Some(*identity));
            let identity = match is_plain {
                true => before.clone(),
                false => hash(&json!({ "identity": before, "config": copies, "needs": needs }), IDENTITY_DIGITS),
            };
            known.insert(tier.name.clone(), identity);
        }
    }
    known
}

/// Version of the application: what follows from the tiers of a spec as they were written, templates included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Name of the version.
    pub color: String,
    /// Identity of each tier's instance.
    pub identities: BTreeMap<String, Identity>,
}

impl Version {
    /// Returns the version that a spec describes.
    pub fn of(spec: &RainbowSpec) -> Self {
        let color = spec.color.clone().unwrap_or_else(|| tiers_hash(&spec.tiers));
        Self { color, identities: identities(&spec.tiers) }
    }

    /// Returns the version that a spec describes, provided that its configuration is what a color has copies of. `None`: `spec.config` is
    /// `Versioned` and gives the version its name.
    pub fn beside(spec: &RainbowSpec, color: &ColorSpec) -> Option<Self> {
        let plain = Self::of(spec);
        match spec.config {
            Config::Shared => Some(plain),
            Config::Versioned => {
                let name = spec.color.as_ref()?;
                let named = config_of_tiers(&spec.tiers);
                let is_known = |(name, _): (&crate::ConfigName, _)| {
                    color.config.iter().any(|known| known.kind == name.kind && known.name == name.name)
                };
                let all = named.values().flatten().all(is_known);
                let version = plain.configured(Some(name), &spec.tiers, &named, &color.config);
                // A tier that names an object without a copy cannot be what the color has.
                Some(if all { version } else { Self { identities: BTreeMap::new(), ..version } })
            }
        }
    }

    /// Returns the version with copies of configuration. `color` is the name that the spec gives the version. `named` are the objects that
    /// the templates of `tiers` name.
    #[must_use]
    pub fn configured(&self, color: Option<&str>, tiers: &[Tier], named: &TierConfig, config: &[ColorConfig]) -> Self {
        let identities = with_config(tiers, &self.identities, named, config);
        let color = color.map_or_else(|| hash(&json!(identities), COLOR_DIGITS), str::to_owned);
        Self { color, identities }
    }

    /// Returns whether the color was made of this version: it has the version's name and the instances that the version's tiers make.
    pub fn is_of(&self, color: &ColorSpec) -> bool {
        let same = |instance: &ColorInstance| self.identities.get(&instance.tier) == Some(&instance.identity);
        self.color == color.color && color.instances.len() == self.identities.len() && color.instances.iter().all(same)
    }
}

/// Returns the first `digits` hexadecimal digits of a value's hash. Objects of `serde_json` keep their keys sorted, so equal values have one text.
pub(crate) fn hash(value: &serde_json::Value, digits: usize) -> String {
    let digest = Sha256::digest(value.to_string());
    let mut text: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(digits);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tier(name: &str, image: &str, needs: &[&str]) -> Tier {
        serde_json::from_value(json!({
            "name": name,
            "needs": needs.iter().map(|tier| json!({ "tier": tier })).collect::<Vec<_>>(),
            "template": { "spec": { "containers": [{ "name": name, "image": image }] } },
        }))
        .unwrap()
    }

    #[test]
    fn a_change_reaches_dependents_and_no_one_else() {
        let one = identities(&[tier("a", "a:1", &["b"]), tier("b", "b:1", &[]), tier("c", "c:1", &[])]);
        let two = identities(&[tier("a", "a:1", &["b"]), tier("b", "b:2", &[]), tier("c", "c:1", &[])]);
        assert_ne!(one["a"], two["a"]);
        assert_ne!(one["b"], two["b"]);
        assert_eq!(one["c"], two["c"]);
    }

    #[test]
    fn a_callee_that_may_be_newer_is_not_part_of_its_callers() {
        let all = |callee: &str, compatible: &str| {
            let mut caller = json!(tier("a", "a:1", &["b"]));
            caller["needs"][0]["compatible"] = json!(compatible);
            identities(&[serde_json::from_value(caller).unwrap(), tier("b", callee, &[])])
        };
        let (one, two) = (all("b:1", "Backward"), all("b:2", "Backward"));
        assert_eq!(one["a"], two["a"]);
        assert_ne!(one["b"], two["b"]);
        assert_ne!(one["a"], all("b:1", "Same")["a"], "it has another address");
    }

    #[test]
    fn a_port_that_is_handed_over_is_identity() {
        let all = |port: Option<&str>, number: i32, compatible: &str| {
            let mut caller = json!(tier("a", "a:1", &["b"]));
            caller["needs"][0]["port"] = json!(port);
            caller["needs"][0]["compatible"] = json!(compatible);
            let mut callee = json!(tier("b", "b:1", &[]));
            callee["ports"] = json!([{ "name": "http", "port": number }]);
            identities(&[caller, callee].map(|tier| serde_json::from_value(tier).unwrap()))["a"].clone()
        };
        for compatible in ["Same", "Backward"] {
            assert_ne!(all(None, 80, compatible), all(Some("http"), 80, compatible), "another variable");
            assert_ne!(all(Some("http"), 81, compatible), all(Some("http"), 80, compatible), "another number");
        }
        assert_eq!(all(None, 81, "Backward"), all(None, 80, "Backward"), "the variable is the same");
    }

    #[test]
    fn replicas_are_policy() {
        let mut scaled = tier("a", "a:1", &[]);
        scaled.replicas = 9;
        assert_eq!(tiers_hash(&[scaled]), tiers_hash(&[tier("a", "a:1", &[])]));
    }

    /// An upgrade restarts nothing: a tier that says nothing of its Service has the identity that it had before the field existed.
    #[test]
    fn fields_of_the_service_are_identity() {
        let with = |service: serde_json::Value| {
            let mut tier = json!(tier("a", "a:1", &[]));
            tier["service"] = service;
            identities(&[serde_json::from_value(tier).unwrap()])["a"].clone()
        };
        let content = json!({
            "name": "a", "ports": [], "needs": {},
            "template": { "spec": { "containers": [{ "name": "a", "image": "a:1" }] } },
        });
        let before = hash(&content, IDENTITY_DIGITS);
        assert_eq!(identities(&[tier("a", "a:1", &[])])["a"], before);
        assert_eq!(with(json!({})), before);
        assert_ne!(with(json!({ "clusterIP": "None" })), before);
    }

    /// Identities and names stay as they have always been: an upgrade makes no new color. The digits are those of the version before
    /// `spec.config`.
    #[test]
    fn golden() {
        let tiers = [tier("a", "a:1", &["b"]), tier("b", "b:1", &[])];
        let all = identities(&tiers);
        assert_eq!((all["a"].as_str(), all["b"].as_str()), ("c849873352cdc5abdb95", "ccd93211848a4f0341b5"));
        assert_eq!(tiers_hash(&tiers), "149f4b");
    }

    #[test]
    fn copies_are_identity_of_who_reads_them_and_of_dependents() {
        let mut tiers = [tier("a", "a:1", &["b"]), tier("b", "b:1", &[]), tier("c", "c:1", &[])];
        tiers[1].template["spec"]["volumes"] = json!([{ "name": "x", "configMap": { "name": "settings" } }]);
        let plain = Version { color: tiers_hash(&tiers), identities: identities(&tiers) };
        let named = config_of_tiers(&tiers);
        let configured = |copy: &str| {
            let config = json!([{ "kind": "ConfigMap", "name": "settings", "copy": copy },
                                { "kind": "Secret", "name": "settings", "copy": "of-no-tier" }]);
            let config: Vec<ColorConfig> = serde_json::from_value(config).unwrap();
            plain.configured(None, &tiers, &named, &config)
        };
        let (one, two) = (configured("settings-1"), configured("settings-2"));
        for tier in ["a", "b"] {
            assert_ne!(one.identities[tier], plain.identities[tier], "{tier}");
            assert_ne!(one.identities[tier], two.identities[tier], "{tier}");
        }
        assert_eq!(one.identities["c"], plain.identities["c"]);
        assert!(one.color != two.color && one.color != plain.color);
        assert_eq!(plain.configured(None, &tiers, &named, &[]), plain, "without copies nothing changes");
        assert_eq!(plain.configured(Some("v1"), &tiers, &named, &[]).color, "v1");
    }

    #[test]
    fn a_spec_is_compared_with_a_color_by_the_copies_that_the_color_has() {
        let mut spec = RainbowSpec { color: Some("v1".into()), config: Config::Versioned, ..RainbowSpec::default() };
        spec.tiers = vec![tier("a", "a:1", &[])];
        spec.tiers[0].template["spec"]["volumes"] = json!([{ "name": "x", "secret": { "secretName": "tls" } }]);
        let config = json!([{ "kind": "Secret", "name": "tls", "copy": "tls-1" }]);
        let config: Vec<ColorConfig> = serde_json::from_value(config).unwrap();
        let version = Version::of(&spec).configured(Some("v1"), &spec.tiers, &config_of_tiers(&spec.tiers), &config);
        let mut color: ColorSpec = serde_json::from_value(json!({
            "rainbow": "shop", "color": "v1", "revision": 1, "tiers": spec.tiers, "config": config,
            "instances": [{ "tier": "a", "color": "v1", "identity": version.identities["a"] }],
        }))
        .unwrap();
        let describes = |spec: &RainbowSpec, color: &ColorSpec| Version::beside(spec, color).map(|it| it.is_of(color));
        assert_eq!(describes(&spec, &color), Some(true));
        color.config[0].copy = "tls-2".into();
        assert_eq!(describes(&spec, &color), Some(false));
        color.config.clear();
        color.instances[0].identity = Version::of(&spec).identities["a"].clone();
        assert_eq!(describes(&spec, &color), Some(false), "the color reads the object itself");
        spec.config = Config::Shared;
        assert_eq!(describes(&spec, &color), Some(true));
        spec.config = Config::Versioned;
        spec.color = None;
        assert_eq!(describes(&spec, &color), None);
    }

    #[test]
    fn a_spec_describes_the_color_that_was_made_of_it() {
        let spec = |color: Option<&str>, tiers: &[Tier]| RainbowSpec {
            color: color.map(str::to_owned),
            tiers: tiers.to_vec(),
            ..RainbowSpec::default()
        };
        let tiers = [tier("a", "a:1", &["b"]), tier("b", "b:1", &[])];
        let made = |name: &str| -> ColorSpec {
            let instance = |(tier, identity)| json!({ "tier": tier, "color": name, "identity": identity });
            let instances: Vec<_> = identities(&tiers).into_iter().map(instance).collect();
            serde_json::from_value(json!({
                "rainbow": "shop", "color": name, "revision": 1, "tiers": tiers, "instances": instances,
            }))
            .unwrap()
        };
        let describes = |spec: &RainbowSpec, color: &ColorSpec| Version::of(spec).is_of(color);
        assert!(describes(&spec(Some("v1"), &tiers), &made("v1")));
        assert!(describes(&spec(None, &tiers), &made(&tiers_hash(&tiers))));
        assert!(!describes(&spec(Some("v2"), &tiers), &made("v1")), "another name");
        assert!(!describes(&spec(Some("v1"), &tiers[1..]), &made("v1")), "a tier less");
        let other = [tier("a", "a:1", &["b"]), tier("b", "b:2", &[])];
        assert!(!describes(&spec(Some("v1"), &other), &made("v1")), "a name that other tiers have");
    }

    #[test]
    fn a_cycle_ends() {
        assert!(identities(&[tier("a", "a:1", &["b"]), tier("b", "b:1", &["a"])]).is_empty());
    }
}
