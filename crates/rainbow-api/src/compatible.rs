//! Tiers that each stage has for itself, because a tier that they call may be newer than they are.

use std::collections::BTreeSet;

use crate::{Stage, StageService, Tier, names};

/// Returns the names of the tiers that each stage has for itself: those from which a need that is `compatible: Backward` can be reached.
/// The address of the needed tier is the stage's own.
pub fn bound_tiers(tiers: &[Tier]) -> BTreeSet<&str> {
    let own = tiers.iter().filter(|tier| tier.compatible_needs().next().is_some());
    let mut bound: BTreeSet<&str> = own.map(|tier| tier.name.as_str()).collect();
    // Each round finds at least one more tier, or is the last.
    loop {
        let reaches = |tier: &&Tier| tier.needs.iter().any(|need| bound.contains(need.tier.as_str()));
        let more: Vec<&str> = tiers.iter().filter(reaches).map(|tier| tier.name.as_str()).collect();
        let before = bound.len();
        bound.extend(more);
        if bound.len() == before {
            return bound;
        }
    }
}

/// Returns the names of the tiers that others call by a need that is `compatible: Backward`.
pub fn compatible_callees(tiers: &[Tier]) -> BTreeSet<&str> {
    tiers.iter().flat_map(Tier::compatible_needs).map(|need| need.tier.as_str()).collect()
}

/// Returns the address through which a stage's callers reach a tier, in the shape of a stage. Its Service has the fields that the tier asks
/// for.
pub fn inner_stage(prefix: Option<&str>, stage: &Stage, tier: &Tier) -> Stage {
    let said = &tier.service;
    Stage {
        name: names::inner_address(&stage.name, &tier.name),
        tier: Some(tier.name.clone()),
        service: StageService {
            name: Some(names::stage_service(prefix, &tier.name, &stage.name)),
            labels: said.labels.clone(),
            annotations: said.annotations.clone(),
            session_affinity: said.session_affinity.clone(),
            session_affinity_config: said.session_affinity_config.clone(),
            traffic_distribution: said.traffic_distribution.clone(),
            ip_families: said.ip_families.clone(),
            ip_family_policy: said.ip_family_policy.clone(),
            ..StageService::default()
        },
        ..Stage::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whoever_reaches_a_compatible_callee_belongs_to_a_stage() {
        let tiers: Vec<Tier> = serde_json::from_value(json!([
            { "name": "web", "needs": [{ "tier": "api" }], "template": {} },
            { "name": "api", "needs": [{ "tier": "db", "compatible": "Backward" }, { "tier": "cache" }], "template": {} },
            { "name": "db", "template": {} },
            { "name": "cache", "template": {} },
        ]))
        .unwrap();
        assert_eq!(bound_tiers(&tiers).into_iter().collect::<Vec<_>>(), ["api", "web"]);
        assert_eq!(compatible_callees(&tiers).into_iter().collect::<Vec<_>>(), ["db"]);
    }
}
