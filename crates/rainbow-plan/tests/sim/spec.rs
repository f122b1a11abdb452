//! Specs in few words.

use std::time::Duration;

use rainbow_plan::*;

pub fn instance(tier: &str, color: &str) -> InstanceName {
    InstanceName { tier: tier.into(), color: color.into() }
}

/// Tiers such as `backend:5 frontend:5>backend`, in one version.
pub fn tiers(text: &str, version: &str) -> Vec<Tier> {
    text.split_whitespace()
        .map(|tier| {
            let (head, needs) = tier.split_once('>').unwrap_or((tier, ""));
            let (name, replicas) = head.split_once(':').unwrap_or((head, "1"));
            Tier {
                name: name.into(),
                replicas: replicas.parse().unwrap(),
                needs: needs.split(',').filter(|need| !need.is_empty()).map(Into::into).collect(),
                identity: format!("{name}@{version}"),
                counted: false,
            }
        })
        .collect()
}

pub fn stage(name: &str, tier: &str) -> Stage {
    Stage {
        name: name.into(),
        tier: tier.into(),
        promote: Promote::Manual,
        color: None,
        replicas: None,
        shift: Shift::Flip,
        paused: false,
    }
}

pub fn rolling(step: u32, seconds: u64) -> Shift {
    Shift::Rolling { step, every: Duration::from_secs(seconds) }
}

pub fn spec(color: &str, tiers: Vec<Tier>, stages: Vec<Stage>) -> Spec {
    let propagation = Duration::from_millis(super::PROPAGATION as u64);
    Spec { propagation, ..Spec::new(color, tiers, stages) }
}
