//! Names of all objects that a `Rainbow` makes. Two Rainbows of one namespace can clash by them.

use std::collections::BTreeSet;

use crate::{Color, RainbowSpec, Stage, Version, bound_tiers, compatible_callees, names, stage_tier};

/// Kind and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectName {
    /// Kind, such as `Service`.
    pub kind: &'static str,
    /// Name of the object.
    pub name: String,
}

/// Returns the objects that a spec asks for: those of its stages and of the color that it describes.
pub fn object_names(rainbow: &str, spec: &RainbowSpec) -> BTreeSet<ObjectName> {
    let prefix = spec.name_prefix.as_deref();
    let color = Version::of(spec).color;
    let mut all = BTreeSet::new();
    let mut add = |kind, name| all.insert(ObjectName { kind, name });
    add("Color", names::color_object(rainbow, &color));
    add("PodDisruptionBudget", names::guard(rainbow));
    let bound = bound_tiers(&spec.tiers);
    for tier in &spec.tiers {
        let of_stage = |stage: &Stage| names::instance_of_stage(prefix, &tier.name, &stage.name, &color);
        let own: Vec<String> = match bound.contains(tier.name.as_str()) {
            true => spec.stages.iter().map(of_stage).collect(),
            false => vec![names::instance(prefix, &tier.name, &color)],
        };
        for name in own {
            if !tier.ports.is_empty() {
                add("Service", name.clone());
            }
            add("Deployment", name);
        }
    }
    for stage in &spec.stages {
        for tier in compatible_callees(&spec.tiers) {
            let address = names::inner_address(&stage.name, tier);
            add("PodDisruptionBudget", names::stage_budget(rainbow, &address));
            let service = names::stage_service(prefix, tier, &stage.name);
            add("Service", names::shadow(&service));
            add("Service", service);
        }
        add("PodDisruptionBudget", names::stage_budget(rainbow, &stage.name));
        let by_tier = || Some(names::stage_service(prefix, stage_tier(spec, stage)?, &stage.name));
        if let Some(service) = stage.service.name.clone().or_else(by_tier) {
            add("Service", names::shadow(&service));
            add("Service", service);
        }
    }
    all
}

/// Returns the objects of the colors that a `Rainbow` has. `prefix` is its `spec.namePrefix`, which keeps its value while there are colors.
pub fn object_names_of_colors<'a>(
    rainbow: &str,
    prefix: Option<&str>,
    colors: impl IntoIterator<Item = &'a Color>,
) -> BTreeSet<ObjectName> {
    let of_color = |color: &'a Color| {
        let object = ObjectName { kind: "Color", name: names::color_object(rainbow, &color.spec.color) };
        let instances = color.spec.instances.iter().flat_map(move |instance| {
            let name = names::instance(prefix, &instance.tier, &instance.color);
            ["Deployment", "Service"].map(|kind| ObjectName { kind, name: name.clone() })
        });
        instances.chain([object])
    };
    colors.into_iter().flat_map(of_color).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(prefix: Option<&str>) -> RainbowSpec {
        serde_json::from_value(json!({
            "namePrefix": prefix.unwrap_or_default(), "color": "v1",
            "tiers": [
                { "name": "web", "needs": [{ "tier": "db" }], "ports": [{ "name": "http", "port": 80 }], "template": {} },
                { "name": "db", "ports": [{ "name": "sql", "port": 5432 }], "template": {} },
            ],
            "stages": [{ "name": "live" }, { "name": "smoke", "service": { "name": "try" } }],
        }))
        .unwrap()
    }

    #[test]
    fn two_of_the_same_shape_share_names_unless_they_have_prefixes() {
        let shared = |prefix: Option<&str>| -> Vec<String> {
            let one = object_names("shop", &spec(None));
            let other = object_names("solo", &spec(prefix));
            one.intersection(&other).map(|object| format!("{} {}", object.kind, object.name)).collect()
        };
        let expected = [
            "Deployment db-v1",
            "Deployment web-v1",
            "Service db-v1",
            "Service try",
            "Service try-shadow",
            "Service web-live",
            "Service web-live-shadow",
            "Service web-v1",
        ];
        assert_eq!(shared(None), expected);
        assert_eq!(shared(Some("solo-")), ["Service try", "Service try-shadow"]);
    }

    #[test]
    fn colors_keep_their_names() {
        let color: Color = serde_json::from_value(json!({
            "apiVersion": "rainbow.dev/v1alpha1", "kind": "Color", "metadata": { "name": "shop-v2" },
            "spec": { "rainbow": "shop", "color": "v2", "revision": 2, "tiers": [],
                      "instances": [{ "tier": "db", "color": "v1", "identity": "x" }] },
        }))
        .unwrap();
        let names = object_names_of_colors("shop", Some("s-"), [&color]);
        let names: Vec<String> = names.iter().map(|object| format!("{} {}", object.kind, object.name)).collect();
        assert_eq!(names, ["Color shop-v2", "Deployment s-db-v1", "Service s-db-v1"]);
    }
}
