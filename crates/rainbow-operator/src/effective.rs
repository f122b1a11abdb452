//! Spec that is planned for: invalid parts are reported and not used, and everything else continues.
//!
//! A spec whose version is invalid makes no color. Colors then have the sizes and entry tiers that their statuses remember, and the color
//! that was described last stays the newest. An invalid stage keeps what it serves. Invalid policy was replaced where the object was read.

use rainbow_api::{
    Color, ColorConfig, ConfigName, Demand, Rainbow, Reason, SpecPart, Stage, StageService, Tier, TierConfig, Version,
    bound_tiers, compatible_callees, inner_stage,
};
use rainbow_plan::InstanceName;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    cache::App,
    claims::Claims,
    config::Resolution,
    domain::{self, Obstacle, Owner},
    kind::Kind,
    live::Root,
    manifests::Scope,
    messages,
};

/// Spec that is planned for.
pub(crate) struct Effective {
    /// Rainbow without anything invalid, except for stages.
    pub(crate) rainbow: Arc<Rainbow>,
    /// Version that the tiers of `rainbow` describe. `None`: no version is known.
    pub(crate) version: Option<Version>,
    /// Copies of configuration that the version reads.
    pub(crate) config: Vec<ColorConfig>,
    /// Whether the spec itself describes that version.
    pub(crate) is_valid: bool,
    /// Whether the spec's drain settings are valid. Otherwise `rainbow` has others in their place.
    has_valid_drain: bool,
    /// Stages that keep what they serve.
    pub(crate) invalid_stages: BTreeSet<String>,
    /// Owners of the names.
    pub(crate) claims: Claims,
    /// Errors of the spec, in one sentence.
    pub(crate) invalid: Option<Obstacle>,
    /// Reason why the spec's version is not made yet, where that may pass by itself.
    pub(crate) waits: Option<Obstacle>,
}

impl Effective {
    pub(crate) fn of(app: &App, root: &Root, scope: &Scope<'_>) -> Self {
        let claims = Claims::of(app, scope);
        let mut errors: Vec<String> = Vec::new();
        for error in root.errors.iter().map(ToString::to_string) {
            if !errors.contains(&error) {
                errors.push(error);
            }
        }
        let is_valid = |part: SpecPart| root.is_valid(&part);
        let asked = root.rainbow.spec.name_prefix.as_deref().unwrap_or_default();
        let prefix = scope.prefix.unwrap_or_default();
        // Under another prefix everything would be made a second time, and both Deployments of an instance would select the pods of either.
        // Existing objects keep their names, and new objects follow them.
        if prefix != asked && is_valid(SpecPart::NamePrefix) {
            errors.push(messages::prefix_changed(prefix, asked));
        }
        let mut version = root.version.clone();
        // Without a usable prefix, the first color would have names that its user did not ask for.
        if !is_valid(SpecPart::NamePrefix) && app.prefix().is_none() {
            version = None;
        }
        let mut blocked = None;
        let mut config = Vec::new();
        if let Some(plain) = version.take() {
            let copies = match app.config.resolve(scope.rainbow, &named(&root.config)) {
                Resolution::Copies(copies) => Some(copies),
                Resolution::Blocked(reason, message) => {
                    blocked = Some(Obstacle { reason, message });
                    // The color that was described last may differ in nothing else. Then the spec's policy applies to it.
                    last_config(app, root, &plain)
                }
            };
            version = copies.as_ref().map(|copies| configured(root, plain, copies));
            config = copies.unwrap_or_default();
        }
        if let Some(clash) = version.as_ref().and_then(|version| clash(app, &claims, root, version, scope)) {
            errors.push(clash);
            version = None;
        }
        let valid = version.is_some();
        let mut rainbow = Arc::clone(&root.rainbow);
        if prefix != asked {
            Arc::make_mut(&mut rainbow).spec.name_prefix = Some(prefix.to_owned());
        }
        if !valid {
            let known = remembered(app, root);
            version = known.as_ref().map(|(version, _)| version.clone());
            Arc::make_mut(&mut rainbow).spec.tiers = known.map(|(_, tiers)| tiers).unwrap_or_default();
        }
        let mut invalid_stages: BTreeSet<String> = BTreeSet::new();
        for error in &root.errors {
            if let SpecPart::Stage(stage) = &error.part {
                invalid_stages.insert(stage.clone());
            }
        }
        if !is_valid(SpecPart::Stages) {
            let unread = unread_stages(app, &rainbow);
            invalid_stages.extend(unread.iter().map(|stage| stage.name.clone()));
            Arc::make_mut(&mut rainbow).spec.stages.extend(unread);
        }
        let inner = inner_stages(app, &rainbow.spec, prefix);
        if !inner.is_empty() {
            Arc::make_mut(&mut rainbow).spec.stages.extend(inner);
        }
        // The spec of a Rainbow that is being deleted does not matter: everything that was made must be deleted.
        let is_told = !errors.is_empty() && root.meta().deletion_timestamp.is_none();
        let invalid = is_told.then(|| Obstacle { reason: Reason::InvalidSpec, message: errors.join("; ") });
        let blocked = blocked.filter(|_| root.meta().deletion_timestamp.is_none());
        let (waits, blocked): (Option<Obstacle>, Option<Obstacle>) = match blocked {
            Some(blocked) if blocked.reason == Reason::ConfigMissing => (Some(blocked), None),
            blocked => (None, blocked),
        };
        let invalid = invalid.or(blocked);
        let has_valid_drain = is_valid(SpecPart::Drain);
        Self { rainbow, version, config, is_valid: valid, has_valid_drain, invalid_stages, claims, invalid, waits }
    }
}

impl Effective {
    /// Returns whether the spec describes the color, so that its policy applies to the color's pods. An invalid spec does not.
    pub(crate) fn describes(&self, color: &Color) -> bool {
        self.is_valid && self.has_valid_drain && self.version.as_ref().is_some_and(|version| version.is_of(&color.spec))
    }

    /// Returns the color whose policy applies to the pods of an instance that several colors may have: the one that the spec describes,
    /// otherwise the newest.
    pub(crate) fn speaker<'a>(&self, app: &'a App, instance: &InstanceName) -> Option<&'a Arc<Color>> {
        let has = |color: &&Arc<Color>| {
            color.spec.instances.iter().any(|known| known.tier == *instance.tier && known.color == *instance.color)
        };
        app.colors.values().filter(has).max_by_key(|color| self.rank(color))
    }

    /// Returns a color's rank: the policy of the color with the highest rank applies to what colors share.
    pub(crate) fn rank(&self, color: &Color) -> (bool, i64) {
        (self.describes(color), color.spec.revision)
    }
}

/// Returns the addresses through which stages' callers reach tiers that may be newer, in the shape of stages: those of the spec's tiers and
/// of each color's. The planner decides which of them exist at a time.
fn inner_stages(app: &App, spec: &rainbow_api::RainbowSpec, prefix: &str) -> Vec<Stage> {
    let mut colors: Vec<&Arc<Color>> = app.colors.values().collect();
    colors.sort_by_key(|color| std::cmp::Reverse(color.spec.revision));
    // The spec comes first, then newer colors before older ones.
    let all = std::iter::once(&spec.tiers).chain(colors.into_iter().map(|color| &color.spec.tiers));
    let mut tiers: BTreeMap<&str, &Tier> = BTreeMap::new();
    for known in all {
        for name in compatible_callees(known) {
            if let Some(tier) = known.iter().find(|tier| tier.name == name) {
                tiers.entry(name).or_insert(tier);
            }
        }
    }
    let prefix = Some(prefix).filter(|prefix| !prefix.is_empty());
    let of_stage = |stage: &Stage| tiers.values().map(|tier| inner_stage(prefix, stage, tier)).collect::<Vec<_>>();
    spec.stages.iter().flat_map(of_stage).collect()
}

/// Returns the objects that any tier's template names.
fn named(config: &TierConfig) -> BTreeMap<ConfigName, Demand> {
    let mut all: BTreeMap<ConfigName, Demand> = BTreeMap::new();
    for (name, demand) in config.values().flatten() {
        let known = all.entry(name.clone()).or_insert(*demand);
        *known = (*demand).max(*known);
    }
    all
}

fn configured(root: &Root, plain: Version, config: &[ColorConfig]) -> Version {
    let spec = &root.rainbow.spec;
    if root.config.values().all(BTreeMap::is_empty) {
        return plain;
    }
    plain.configured(spec.color.as_deref(), &spec.tiers, &root.config, config)
}

/// Returns the copies of the color that was described last, if the spec describes that color apart from the content of its configuration.
fn last_config(app: &App, root: &Root, plain: &Version) -> Option<Vec<ColorConfig>> {
    let (_, color) = app.color(root.status()?.color.as_deref()?)?;
    let config = &color.spec.config;
    configured(root, plain.clone(), config).is_of(&color.spec).then(|| config.clone())
}

/// Returns the version that was described last, with its tiers: that of the last valid spec, otherwise of the color that the status
/// remembers.
fn remembered(app: &App, root: &Root) -> Option<(Version, Vec<Tier>)> {
    if let Some(last) = &root.last_version {
        return Some(last.as_ref().clone());
    }
    let (_, color) = app.color(root.status()?.color.as_deref()?)?;
    let identities = color.spec.instances.iter().map(|instance| (instance.tier.clone(), instance.identity.clone()));
    let version = Version { color: color.spec.color.clone(), identities: identities.collect() };
    Some((version, color.spec.tiers.clone()))
}

/// Returns why the color that the spec describes cannot be made: an object of another purpose has a name that the color would use.
fn clash(app: &App, claims: &Claims, root: &Root, version: &Version, scope: &Scope<'_>) -> Option<String> {
    if app.color(&version.color).is_some() {
        return None;
    }
    let spec = &root.rainbow.spec;
    let bound = bound_tiers(&spec.tiers);
    spec.tiers.iter().find_map(|tier| {
        let shared = InstanceName::shared(tier.name.as_str(), version.color.as_str());
        let own: Vec<InstanceName> = match bound.contains(tier.name.as_str()) {
            true => domain::user_stages(spec).map(|stage| shared.of_stage(stage)).collect(),
            false => vec![shared],
        };
        own.into_iter().find_map(|instance| {
            let name = domain::object_name(scope.prefix, &instance);
            let taken = |kind| claims.other(kind, &name, &instance).map(|owner| (kind, owner));
            let (kind, owner) = taken(Kind::Deployment).or_else(|| taken(Kind::Service))?;
            Some(messages::color_name_taken(kind, &name, &Owner::Instance(instance.clone()), owner))
        })
    })
}

/// Returns the stages that have a Service and of which nothing is known, for a spec whose stages cannot all be read.
fn unread_stages(app: &App, rainbow: &Rainbow) -> Vec<Stage> {
    let is_known = |name: &str| rainbow.spec.stages.iter().any(|stage| stage.name == name);
    let services = app.services.iter().filter(|(_, found)| !found.stage.is_empty() && !is_known(&found.stage));
    let mut stages: Vec<Stage> = Vec::new();
    for (service, found) in services {
        if stages.iter().all(|stage| stage.name != *found.stage) {
            let service = StageService { name: Some(service.to_string()), ..StageService::default() };
            stages.push(Stage { name: found.stage.to_string(), service, ..Stage::default() });
        }
    }
    stages
}
