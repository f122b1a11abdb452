//! State of the Services of stages, and of their shadows: their names, their selectors, and whether they are as the spec says.

use rainbow_api::{Rainbow, Stage, names, stage_tier};
use rainbow_plan::{Selection, StageKey, StageService};
use std::collections::{BTreeMap, BTreeSet};

use super::Foreign;
use crate::{
    cache::App,
    claims::StageClaims,
    domain::Owner,
    effective::Effective,
    kind::Kind,
    manifests::{self, Scope},
    messages,
    node_ports::NodePorts,
};

/// Services of stages, as they are seen.
#[derive(Default)]
pub(super) struct Stages {
    pub(super) services: BTreeMap<StageKey, StageService>,
    pub(super) names: BTreeMap<StageKey, String>,
    pub(super) labeled_as: BTreeMap<String, String>,
    pub(super) clashes: Vec<String>,
    pub(super) taken: Vec<(String, Owner)>,
}

/// Returns the name of a stage's Service. Where the spec names none, the Service is named after the tier that clients reach, and keeps its
/// name when they reach another tier in another color: an address does not change with a release. `None`: the tier is unclear.
fn service_name(app: &App, rainbow: &Rainbow, stage: &Stage) -> Option<String> {
    if let Some(name) = &stage.service.name {
        return Some(name.clone());
    }
    let called_after = |tier: &str| names::stage_service(rainbow.spec.name_prefix.as_deref(), tier, &stage.name);
    let own = stage_tier(&rainbow.spec, stage).map(called_after);
    let is_called_after_a_tier = |service: &str| {
        let mut tiers = app.colors.values().flat_map(|color| &color.spec.tiers);
        tiers.any(|tier| called_after(&tier.name) == service)
    };
    let mut made = app.services.iter().filter(|(_, live)| *live.stage == stage.name).map(|(name, _)| &**name);
    let known = made.find(|name| is_called_after_a_tier(name)).map(str::to_owned);
    match own {
        Some(own) if app.services.get(own.as_str()).is_some_and(|live| *live.stage == stage.name) => Some(own),
        own => known.or(own),
    }
}

/// Returns the state of the stages' Services, and their names.
pub(super) fn stages(app: &mut App, scope: &Scope<'_>, effective: &Effective, foreign: &Foreign) -> Stages {
    let Effective { rainbow, invalid_stages, .. } = effective;
    let in_spec = |name: &str| rainbow.spec.stages.iter().any(|stage| stage.name == name);
    let mut claims = StageClaims::new(&effective.claims);
    let mut seen = Stages::default();
    let node_ports = NodePorts::of(app, rainbow);
    for stage in &rainbow.spec.stages {
        let key = StageKey::of(&stage.name);
        let is_invalid = invalid_stages.contains(&stage.name);
        if seen.names.contains_key(&key) {
            continue;
        }
        let known = own_service(app, rainbow, stage);
        // The name may be the invalid part.
        let wanted = if is_invalid { known.clone() } else { service_name(app, rainbow, stage) };
        let Some(wanted) = wanted else { continue };
        let claimed = claims.claim(&wanted, &stage.name, |other| !in_spec(other));
        let name = match (claimed, known) {
            (Ok(()), _) => wanted,
            // The stage continues with the Service that it has.
            (Err(owner), Some(known)) if known != wanted => {
                let purpose = Owner::Stage(stage.name.clone());
                seen.clashes.push(messages::name_taken(Kind::Service, &wanted, &purpose, &owner));
                known
            }
            (Err(owner), _) => {
                seen.taken.push((wanted.clone(), owner));
                seen.services.insert(key.clone(), StageService::Foreign);
                seen.names.insert(key, wanted);
                continue;
            }
        };
        seen.names.insert(key.clone(), name.clone());
        match app.services.get(name.as_str()) {
            Some(live) => {
                let (selects, label, asks) = (live.selects.clone(), live.members_of.to_string(), live.asks);
                let serves = serves(&live.serves);
                let labeled_as = (selects == Selection::Members && label != stage.name).then_some(label);
                // The members of another stage are not this one's, and a label that no pod has names no members.
                let is_on_pods = |label: &str| app.pods.values().any(|pod| pod.said.member.contains_key(label));
                let is_of_another = labeled_as.as_deref().is_some_and(|label| in_spec(label) || !is_on_pods(label));
                let selects = if is_of_another { Selection::Other } else { selects };
                if let Some(label) = labeled_as.filter(|_| !is_of_another) {
                    seen.labeled_as.insert(stage.name.clone(), label);
                }
                // The membership label replaces the serving label.
                let asks_as_it_should = match &selects {
                    Selection::Instance(instance) => asks == app.is_labeled(instance),
                    Selection::Members | Selection::Other => true,
                };
                let (possible, kept) = live.fixed.possible(node_ports.possible(stage, &name));
                if !is_invalid {
                    seen.clashes.extend(kept.iter().map(|kept| messages::kept(&name, &stage.name, kept)));
                }
                let current = asks_as_it_should
                    && (is_invalid || is_current(app, scope, rainbow, &possible, &name, &selects, &seen.labeled_as));
                seen.services.insert(key, StageService::Ours { current, selects, serves });
            }
            None if foreign.contains(&(Kind::Service, name)) => {
                seen.services.insert(key, StageService::Foreign);
            }
            None => {}
        }
    }
    let services = &app.services;
    let wanted: BTreeSet<String> = seen.names.values().cloned().collect();
    for (name, live) in services.iter().filter(|(name, live)| !live.stage.is_empty() && !wanted.contains(&***name)) {
        let (service, stage) = (name.to_string(), live.stage.to_string());
        let key = StageKey::of(&stage);
        let key =
            if seen.names.contains_key(&key) { StageKey::Former { stage, service: service.clone() } } else { key };
        seen.names.insert(key.clone(), service);
        let (selects, serves) = (live.selects.clone(), serves(&live.serves));
        seen.services.insert(key, StageService::Ours { current: true, selects, serves });
    }
    shadows(app, rainbow, &claims, foreign, &mut seen);
    seen
}

/// Returns the color that a stage serves, as its Service says.
fn serves(said: &str) -> Option<String> {
    (!said.is_empty()).then(|| said.to_owned())
}

/// Adds the shadow Services. A shadow Service lives for seconds, so only its selector matters, not what others have written to it.
fn shadows(app: &App, rainbow: &Rainbow, claims: &StageClaims<'_>, foreign: &Foreign, seen: &mut Stages) {
    let shadow = |seen: &Stages, stage: &str| seen.names.get(&StageKey::of(stage)).map(|own| names::shadow(own));
    for stage in &rainbow.spec.stages {
        let Some(name) = shadow(seen, &stage.name) else { continue };
        let in_spec = |name: &str| rainbow.spec.stages.iter().any(|stage| stage.name == name);
        let service = match app.services.get(name.as_str()).filter(|live| !live.shadow_of.is_empty()) {
            Some(live) if *live.shadow_of == stage.name => {
                let is_own = live.selects != Selection::Members || *live.members_of == stage.name;
                let selects = if is_own { live.selects.clone() } else { Selection::Other };
                Some(StageService::Ours { current: true, selects, serves: None })
            }
            Some(_) | None => match claims.other_than_shadow(&name, &stage.name, |other| !in_spec(other)) {
                Some(owner) => {
                    seen.taken.push((name.clone(), owner.clone()));
                    Some(StageService::Foreign)
                }
                None => foreign.contains(&(Kind::Service, name.clone())).then_some(StageService::Foreign),
            },
        };
        if let Some(service) = service {
            seen.services.insert(StageKey::shadow(&stage.name), service);
            seen.names.insert(StageKey::shadow(&stage.name), name);
        }
    }
    // Shadows of stages that are gone, or whose Service had another name then. They are deleted, one after the other where there are
    // several.
    let left = app.services.iter().filter(|(_, live)| !live.shadow_of.is_empty());
    for (name, live) in left {
        let key = StageKey::shadow(&*live.shadow_of);
        let is_ours = matches!(seen.services.get(&key), Some(StageService::Ours { .. }));
        if !is_ours && shadow(seen, &live.shadow_of).as_deref() != Some(&**name) {
            seen.services
                .insert(key.clone(), StageService::Ours { current: true, selects: Selection::Other, serves: None });
            seen.names.insert(key, name.to_string());
        }
    }
}

/// Returns the name of a stage's present Service: the one that the status names, otherwise any that has the stage's label.
fn own_service(app: &App, rainbow: &Rainbow, stage: &Stage) -> Option<String> {
    let status = rainbow.status.iter().flat_map(|status| &status.stages).find(|known| known.name == stage.name);
    let is_own = |name: &&str| app.services.get(name).is_some_and(|live| *live.stage == stage.name);
    let told = status.map(|status| status.service.as_str()).filter(is_own);
    let any = || app.services.iter().find(|(_, live)| *live.stage == stage.name).map(|(name, _)| &**name);
    told.or_else(any).map(str::to_owned)
}

/// Returns whether the Service is as the spec says, without its selector. A Service with a tier that no color has any more cannot be
/// rendered, and stays as it is.
fn is_current(
    app: &mut App,
    scope: &Scope<'_>,
    rainbow: &Rainbow,
    stage: &Stage,
    name: &str,
    selects: &Selection,
    labeled_as: &BTreeMap<String, String>,
) -> bool {
    let label = labeled_as.get(&stage.name).unwrap_or(&stage.name);
    let tier = app.selected_tier(label, selects).cloned();
    let App { services, answers, epoch, .. } = &mut *app;
    services.get_mut(name).zip(tier.as_ref()).is_none_or(|(live, tier)| {
        let is_labeled = *live.stage == stage.name;
        let desired = || manifests::stage(scope, rainbow, stage, name, tier);
        live.content.is_current(&live.meta.uid, *epoch, answers, desired) && is_labeled
    })
}
