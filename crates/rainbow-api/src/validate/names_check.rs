//! The names of what will be made: short enough, and no two the same.

use std::collections::BTreeMap;

use super::{Errors, SpecPart, not_a_label};
use crate::{RainbowSpec, names, stage_tier, tiers_hash};

pub(super) fn check(spec: &RainbowSpec, errors: &mut Errors) {
    let prefix = spec.name_prefix.as_deref();
    let color = spec.color.clone().unwrap_or_else(|| tiers_hash(&spec.tiers));
    // Names of Services and Deployments of this color, and the field to change.
    let mut made: BTreeMap<String, String> = BTreeMap::new();
    errors.part = SpecPart::Version;
    for tier in &spec.tiers {
        let name = names::instance(prefix, &tier.name, &color);
        let path = format!("spec.tiers[{}].name", tier.name);
        too_long(&name, &path, "shorten the tier, the color or spec.namePrefix", errors);
        service_name(&name, &path, errors);
        // Two tiers and one color cannot make one name; a duplicate tier is reported where the tiers are checked.
        made.insert(name, format!("tier `{}` of color `{color}`", tier.name));
    }
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
        // A stage named as a color makes the names of that color's instances.
        if stage.service.name.is_none() && (stage.name == color || stage.color.as_deref() == Some(&stage.name)) {
            errors.add(
                format!("spec.stages[{}].name", stage.name),
                format!("is the name of a color, too, so that two Services would be called `{name}`: rename the stage or set service.name"),
            );
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

/// Names of Services begin with a letter (RFC 1035).
fn service_name(name: &str, path: &str, errors: &mut Errors) {
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        errors.add(
            path,
            format!("makes the Service name `{name}`, which begins with a digit: set spec.namePrefix, or begin with a letter"),
        );
    }
}
