//! What makes two instances the same: a Merkle tree over templates, ports and needs.

use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

use crate::{ColorInstance, ColorSpec, RainbowSpec, Tier};

/// The identity of an instance, in hexadecimal: equal identities are equal all the way down.
pub type Identity = String;

/// Hexadecimal digits of an identity: 80 bits, far from a collision at any number of versions, short enough for a label.
const IDENTITY_DIGITS: usize = 20;
/// Hexadecimal digits of a color named after its tiers, as many as the proof of concept takes of a git commit.
const COLOR_DIGITS: usize = 6;

/// The identity of each tier's instance, by tier name.
///
/// Replicas are no part of it: scaling makes no new color. Needs on unknown tiers and cycles are refused where the spec
/// is validated; here a tier that cannot be resolved is simply absent from the answer.
pub fn identities(tiers: &[Tier]) -> BTreeMap<String, Identity> {
    let mut known: BTreeMap<String, Identity> = BTreeMap::new();
    // Each round resolves at least one tier of a DAG, so as many rounds as tiers are enough, and a cycle ends the loop.
    for _ in 0..tiers.len() {
        for tier in tiers {
            if known.contains_key(&tier.name) {
                continue;
            }
            let needs: Option<BTreeMap<_, _>> =
                tier.needs.iter().map(|need| Some((&need.tier, (known.get(&need.tier)?, &need.env)))).collect();
            if let Some(needs) = needs {
                let mut content =
                    json!({ "name": tier.name, "ports": tier.ports, "template": tier.template, "needs": needs });
                // Left out where there is nothing to say: identities from before there was such a field are the same.
                if !tier.service.is_plain() {
                    content["service"] = json!(tier.service);
                }
                known.insert(tier.name.clone(), hash(&content, IDENTITY_DIGITS));
            }
        }
    }
    known
}

/// The name of a color whose spec gives none.
pub fn tiers_hash(tiers: &[Tier]) -> String {
    hash(&json!(identities(tiers)), COLOR_DIGITS)
}

/// A version of the application: what follows from the tiers of a spec as they were written, templates included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Name of the version.
    pub color: String,
    /// Identity of each tier's instance.
    pub identities: BTreeMap<String, Identity>,
}

impl Version {
    /// The version that a spec describes.
    pub fn of(spec: &RainbowSpec) -> Self {
        let color = spec.color.clone().unwrap_or_else(|| tiers_hash(&spec.tiers));
        Self { color, identities: identities(&spec.tiers) }
    }

    /// The color was made of this version: it has the version's name, and the instances that its tiers make.
    pub fn is_of(&self, color: &ColorSpec) -> bool {
        let same = |instance: &ColorInstance| self.identities.get(&instance.tier) == Some(&instance.identity);
        self.color == color.color && color.instances.len() == self.identities.len() && color.instances.iter().all(same)
    }
}

/// Objects of `serde_json` keep their keys sorted, so equal values have one text.
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
    fn replicas_are_policy() {
        let mut scaled = tier("a", "a:1", &[]);
        scaled.replicas = 9;
        assert_eq!(tiers_hash(&[scaled]), tiers_hash(&[tier("a", "a:1", &[])]));
    }

    /// An upgrade restarts nothing: a tier that says nothing of its Service has the identity that it had before it could.
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
