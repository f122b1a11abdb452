//! Names of the objects that are made: short enough, and no two the same.

use std::collections::BTreeMap;

use super::{Errors, SpecPart, not_a_label};
use crate::{RainbowSpec, Stage, bound_tiers, compatible_callees, names, stage_tier, tiers_hash};

pub(super) fn check(spec: &RainbowSpec, errors: &mut Errors) {
    let prefix = spec.name_prefix.as_deref();
    let color = spec.color.clone().unwrap_or_else(|| tiers_hash(&spec.tiers));
    // Names of this color's Services and Deployments, with the field to change.
    let mut made: BTreeMap<String, String> = BTreeMap::new();
    errors.part = SpecPart::Version;
    let bound = bound_tiers(&spec.tiers);
    for tier in &spec.tiers {
        let path = format!("spec.tiers[{}].name", tier.name);
        let of_stage = |stage: &Stage| names::instance_of_stage(prefix, &tier.name, &stage.name, &color);
        let (names, remedy) = match bound.contains(tier.name.as_str()) {
            true => (
                spec.stages.iter().map(of_stage).collect(),
                "shorten the tier, the stage, the color or spec.namePrefix",
            ),
            false => {
                (vec![names::instance(prefix, &tier.name, &color)], "shorten the tier, the color or spec.namePrefix")
            }
        };
        for name in names {
            too_long(&name, &path, remedy, errors);
            service_name(&name, &path, errors);
            // Two tiers of one color cannot make the same name. A duplicate tier is reported where the tiers are checked.
            let owner = format!("tier `{}` of color `{color}`", tier.name);
            if let Some(other) = made.insert(name.clone(), owner.clone())
                && other != owner
            {
                let text =
                    format!("makes the name `{name}`, which is that of {other} already: rename the tier or the stage");
                errors.add(&path, text);
            }
        }
    }
    inner_addresses(spec, &mut made, errors);
    for stage in &spec.stages {
        errors.part = SpecPart::Stage(stage.name.clone());
        let Some(tier) = stage_tier(spec, stage) else { continue };
        let (name, path) = match &stage.service.name {
            Some(name) => {
                let path = format!("spec.stages[{}].service.name", stage.name);
                if !names::is_dns_label(name) {
                    errors.add(&path, not_a_label(name));
                    continue;
                }
                (name.clone(), path)
            }
            None => (names::stage_service(prefix, tier, &stage.name), format!("spec.stages[{}].name", stage.name)),
        };
        too_long(&name, &path, "shorten the tier, the stage or spec.namePrefix, or set service.name", errors);
        service_name(&name, &path, errors);
        let owner = format!("stage `{}`", stage.name);
        if let Some(other) = made.insert(name.clone(), owner.clone())
            && other != owner
        {
            errors.add(
                format!("spec.stages[{}].service.name", stage.name),
                format!("Service `{name}` is that of {other} already: set another service.name"),
            );
        }
        // A stage named like a color makes the names of that color's instances.
        if stage.service.name.is_none() && (stage.name == color || stage.color.as_deref() == Some(&stage.name)) {
            errors.add(
                format!("spec.stages[{}].name", stage.name),
                format!("is the name of a color, too, so that two Services would be called `{name}`: rename the stage or set service.name"),
            );
        }
    }
}

/// Checks the addresses through which stages' callers reach tiers that may be newer.
fn inner_addresses(spec: &RainbowSpec, made: &mut BTreeMap<String, String>, errors: &mut Errors) {
    for stage in &spec.stages {
        for tier in compatible_callees(&spec.tiers) {
            let path = format!("spec.tiers[{tier}].name");
            // The address is a label's value and the name of a membership label.
            let address = names::inner_address(&stage.name, tier);
            too_long(&address, &path, "shorten the tier or the stage", errors);
            let name = names::stage_service(spec.name_prefix.as_deref(), tier, &stage.name);
            too_long(&name, &path, "shorten the tier, the stage or spec.namePrefix", errors);
            service_name(&name, &path, errors);
            let owner = format!("tier `{tier}` in stage `{}`", stage.name);
            if let Some(other) = made.insert(name.clone(), owner.clone())
                && other != owner
            {
                let text =
                    format!("makes the name `{name}`, which is that of {other} already: rename the tier or the stage");
                errors.add(&path, text);
            }
        }
    }
}

fn too_long(name: &str, path: &str, remedy: &str, errors: &mut Errors) {
    if name.len() > names::MAX_NAME {
        errors.add(
            path,
            format!(
                "makes the name `{name}` of {} characters, and {} is the most: {remedy}",
                name.len(),
                names::MAX_NAME
            ),
        );
    }
}

/// Checks that the name of a Service begins with a letter (RFC 1035).
fn service_name(name: &str, path: &str, errors: &mut Errors) {
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        errors.add(
            path,
            format!("makes the Service name `{name}`, which begins with a digit: set spec.namePrefix, or begin with a letter"),
        );
    }
}
