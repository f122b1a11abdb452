//! Place of a check in the application: its names and addresses.

use rainbow_api::{Color, GateArgument, Stage, Tier, bound_tiers, entry_tiers, names};
use rainbow_plan::{Check, InstanceName, StageKey};
use std::collections::BTreeMap;

use super::answer::Place;
use crate::{cache::App, domain, effective::Effective, manifests::Scope};

/// Application in which checks have their places.
pub(crate) struct Site<'a> {
    pub(crate) app: &'a App,
    pub(crate) effective: &'a Effective,
    pub(crate) scope: &'a Scope<'a>,
    /// Names of the stages' Services.
    pub(crate) services: &'a BTreeMap<StageKey, String>,
}

/// Returns the name of the user's stage, and the tier whose address moves on its own.
pub(super) fn stage_and_tier(stage: &str) -> (&str, Option<&str>) {
    stage.split_once('.').map_or((stage, None), |(stage, tier)| (stage, Some(tier)))
}

impl Site<'_> {
    /// Returns the place of a check. What the color does not have is left empty.
    pub(super) fn place(&self, check: &Check, args: Vec<GateArgument>) -> Place {
        let rainbow = &self.effective.rainbow;
        let (stage, _) = stage_and_tier(&check.stage);
        let found = rainbow.spec.stages.iter().find(|found| found.name == check.stage);
        let color = self.app.color(&check.color).map(|(_, color)| color);
        let tier = found.zip(color).and_then(|(stage, color)| self.entry(stage, color));
        let service = |color: &Color, tier: &Tier| self.service(color, &tier.name, stage);
        Place {
            namespace: self.scope.namespace.to_owned(),
            rainbow: self.scope.rainbow.to_owned(),
            rainbow_uid: rainbow.metadata.uid.clone().unwrap_or_default(),
            stage: stage.to_owned(),
            tier: tier.map(|tier| tier.name.clone()).unwrap_or_default(),
            service: self.services.get(&StageKey::of(&check.stage)).cloned().unwrap_or_default(),
            candidate: tier.zip(color).filter(|(tier, _)| !tier.ports.is_empty()).and_then(|(t, c)| service(c, t)),
            ports: tier.map(ports).unwrap_or_default(),
            tiers: color.map(|color| self.addresses(color, stage)).unwrap_or_default(),
            args,
        }
    }

    /// Returns the tier of the color that clients of the stage reach.
    fn entry<'a>(&self, stage: &'a Stage, color: &'a Color) -> Option<&'a Tier> {
        let tiers = &color.spec.tiers;
        let status = color.status.as_ref().filter(|status| status.phase.is_some());
        let entries = status.map_or(&color.spec.entries, |status| &status.entries);
        let described = stage.tier.as_ref().filter(|_| self.effective.describes(color) || stage.name.contains('.'));
        let only = || match entry_tiers(tiers).as_slice() {
            [only] => Some((*only).to_owned()),
            _ => stage.tier.clone(),
        };
        let name = described.or(entries.get(&stage.name)).cloned().or_else(only)?;
        tiers.iter().find(|tier| tier.name == name)
    }

    /// Returns the name of the Service of the color's instance of a tier, as it belongs to the stage.
    fn service(&self, color: &Color, tier: &str, stage: &str) -> Option<String> {
        let known = color.spec.instances.iter().find(|known| known.tier == tier)?;
        let shared = InstanceName::shared(known.tier.as_str(), known.color.as_str());
        let is_bound = bound_tiers(&color.spec.tiers).contains(tier);
        let instance = if is_bound { shared.of_stage(stage) } else { shared };
        Some(domain::object_name(self.scope.prefix, &instance))
    }

    /// Returns a variable and an address for each tier of the color. The names, and whether a port is part of the address, are as the tier's
    /// first caller asks for them.
    fn addresses(&self, color: &Color, stage: &str) -> Vec<(String, String)> {
        let tiers = &color.spec.tiers;
        let reachable = tiers.iter().filter(|tier| !tier.ports.is_empty());
        let address = |tier: &Tier| {
            let need = tiers.iter().flat_map(|caller| &caller.needs).find(|need| need.tier == tier.name);
            let env = need.and_then(|need| need.env.clone()).unwrap_or_else(|| names::default_env(&tier.name));
            let host = self.service(color, &tier.name, stage)?;
            let port = need.and_then(|need| tier.needed_port(need));
            Some((env, port.map_or_else(|| host.clone(), |port| format!("{host}:{}", port.port))))
        };
        reachable.filter_map(address).collect()
    }
}

fn ports(tier: &Tier) -> Vec<(String, i32, String)> {
    let protocol = |port: &rainbow_api::TierPort| port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
    tier.ports.iter().map(|port| (port.name.clone(), port.port, protocol(port))).collect()
}
