//! Pod templates of tiers as JSON text: a tree of values takes ten times the memory, and templates are needed only where an
//! object is rendered.

use rainbow_api::Tier;
use serde_json::Value;

/// Makes texts of the templates. A template that is a text already was refused by the API server's schema, or is packed.
pub(super) fn pack(tiers: &mut [Tier]) {
    for tier in tiers.iter_mut().filter(|tier| !tier.template.is_string()) {
        let mut text = tier.template.to_string();
        text.shrink_to_fit();
        tier.template = Value::String(text);
    }
}

/// The template of a tier, packed or not.
pub(crate) fn template(tier: &Tier) -> Value {
    match &tier.template {
        Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
        other => other.clone(),
    }
}

/// Tiers with their templates as they were written.
pub(crate) fn unpacked(tiers: &[Tier]) -> Vec<Tier> {
    tiers.iter().map(|tier| Tier { template: template(tier), ..tier.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_is_lost() {
        let written = json!({ "spec": { "containers": [{ "name": "b", "args": ["\"é\n"], "n": 1.5, "none": null }] } });
        let tier: Tier = serde_json::from_value(json!({ "name": "b", "template": written })).unwrap();
        let mut tiers = vec![tier.clone()];
        for _ in 0..2 {
            pack(&mut tiers);
            assert!(tiers[0].template.is_string());
            assert_eq!(unpacked(&tiers), std::slice::from_ref(&tier));
        }
    }
}
