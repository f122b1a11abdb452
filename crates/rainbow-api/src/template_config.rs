//! ConfigMaps and Secrets that pod templates name, and the names of their copies.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{ColorConfig, ConfigKind, ConfigName, Demand, Tier, TierConfig};

/// Hexadecimal digits of the content's hash at the end of a copy's name, as many as kustomize's configMapGenerator takes.
pub const CONTENT_DIGITS: usize = 10;
/// Longest name of an object, in characters.
const NAME: usize = 253;

/// Returns the objects that the templates of tiers name.
pub fn config_of_tiers(tiers: &[Tier]) -> TierConfig {
    tiers.iter().map(|tier| (tier.name.clone(), config_of(&tier.template))).collect()
}

/// Returns the objects that a pod template names in volumes, in `env` and in `envFrom`.
///
/// `imagePullSecrets` and the Secrets of volume drivers are the node's credentials; no container reads them, so they are not configuration.
pub fn config_of(template: &Value) -> BTreeMap<ConfigName, Demand> {
    let mut found: BTreeMap<ConfigName, Demand> = BTreeMap::new();
    visit(&mut template.clone(), &mut |kind, name, need| {
        let known = found.entry(ConfigName { kind, name: name.clone() }).or_insert(need);
        *known = need.max(*known);
    });
    found
}

/// Makes a pod template read a color's copies in place of the objects.
pub fn read_copies(template: &mut Value, config: &[ColorConfig]) {
    visit(template, &mut |kind, name, _| {
        if let Some(known) = config.iter().find(|known| known.kind == kind && known.name == *name) {
            name.clone_from(&known.copy);
        }
    });
}

/// Returns the name of the copy of an object with this content, such as `settings-0a1b2c3d4e`.
pub fn copy_name(name: &str, content: &str) -> String {
    let kept = name.char_indices().nth(NAME - 1 - CONTENT_DIGITS).map_or(name, |(end, _)| &name[..end]);
    format!("{}-{content}", kept.trim_end_matches(['.', '-']))
}

/// Calls `see` with every name of a ConfigMap or a Secret in a pod template.
fn visit(template: &mut Value, see: &mut impl FnMut(ConfigKind, &mut String, Demand)) {
    let Some(spec) = template.get_mut("spec") else { return };
    for volume in items(spec, "volumes") {
        source(volume, "configMap", "name", ConfigKind::ConfigMap, see);
        source(volume, "secret", "secretName", ConfigKind::Secret, see);
        for projected in volume.get_mut("projected").into_iter().flat_map(|volume| items(volume, "sources")) {
            source(projected, "configMap", "name", ConfigKind::ConfigMap, see);
            source(projected, "secret", "name", ConfigKind::Secret, see);
        }
    }
    for list in ["initContainers", "containers"] {
        for container in items(spec, list) {
            for from in items(container, "envFrom") {
                source(from, "configMapRef", "name", ConfigKind::ConfigMap, see);
                source(from, "secretRef", "name", ConfigKind::Secret, see);
            }
            for from in items(container, "env").filter_map(|variable| variable.get_mut("valueFrom")) {
                source(from, "configMapKeyRef", "name", ConfigKind::ConfigMap, see);
                source(from, "secretKeyRef", "name", ConfigKind::Secret, see);
            }
        }
    }
}

fn items<'a>(value: &'a mut Value, list: &str) -> impl Iterator<Item = &'a mut Value> {
    value.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten()
}

fn source(
    value: &mut Value,
    field: &str,
    name: &str,
    kind: ConfigKind,
    see: &mut impl FnMut(ConfigKind, &mut String, Demand),
) {
    let Some(source) = value.get_mut(field) else { return };
    let need = if source["optional"] == true { Demand::Optional } else { Demand::Required };
    if let Some(Value::String(name)) = source.get_mut(name).filter(|name| **name != "") {
        see(kind, name, need);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Template with every place that a container reads configuration from, and with places that it does not read from.
    fn template() -> Value {
        json!({ "spec": {
            "imagePullSecrets": [{ "name": "registry" }],
            "volumes": [
                { "name": "a", "configMap": { "name": "files", "items": [{ "key": "x", "path": "x" }] } },
                { "name": "b", "secret": { "secretName": "tls", "optional": true } },
                { "name": "c", "projected": { "sources": [
                    { "configMap": { "name": "extra", "optional": true } }, { "secret": { "name": "token" } },
                    { "serviceAccountToken": { "path": "t" } },
                ] } },
                { "name": "d", "csi": { "driver": "x", "nodePublishSecretRef": { "name": "driver" } } },
            ],
            "initContainers": [{ "name": "i", "envFrom": [{ "secretRef": { "name": "migrate" } }] }],
            "containers": [{
                "name": "c",
                "envFrom": [{ "prefix": "P_", "configMapRef": { "name": "settings", "optional": true } }],
                "env": [
                    { "name": "A", "value": "files" },
                    { "name": "B", "valueFrom": { "configMapKeyRef": { "name": "settings", "key": "b" } } },
                    { "name": "C", "valueFrom": { "secretKeyRef": { "name": "database", "key": "c", "optional": true } } },
                    { "name": "D", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
                ],
            }],
        } })
    }

    #[test]
    fn every_place_is_found() {
        let found = config_of(&template());
        let text: Vec<String> = found.iter().map(|(name, need)| format!("{name} {need:?}")).collect();
        assert_eq!(
            text,
            [
                "ConfigMap `extra` Optional",
                "ConfigMap `files` Required",
                // One place says that the object is optional, another one does not.
                "ConfigMap `settings` Required",
                "Secret `database` Optional",
                "Secret `migrate` Required",
                "Secret `tls` Optional",
                "Secret `token` Required",
            ]
        );
        assert!(config_of(&json!({ "spec": { "containers": "none" } })).is_empty());
        assert!(config_of(&json!(null)).is_empty());
    }

    #[test]
    fn copies_are_named_in_their_places_and_nowhere_else() {
        let config: Vec<ColorConfig> = config_of(&template())
            .into_keys()
            .map(|ConfigName { kind, name }| ColorConfig {
                kind,
                copy: format!("{name}-1"),
                name,
                content: Default::default(),
            })
            .collect();
        let mut changed = template();
        read_copies(&mut changed, &config);
        let names: Vec<String> = config_of(&changed).into_keys().map(|found| found.name).collect();
        assert_eq!(names, ["extra-1", "files-1", "settings-1", "database-1", "migrate-1", "tls-1", "token-1"],);
        let back: Vec<ColorConfig> = config
            .iter()
            .map(|known| ColorConfig { name: known.copy.clone(), copy: known.name.clone(), ..known.clone() })
            .collect();
        read_copies(&mut changed, &back);
        assert_eq!(changed, template(), "nothing else has changed");
    }

    #[test]
    fn names_of_copies_are_names() {
        assert_eq!(copy_name("settings", "0123456789"), "settings-0123456789");
        let long = copy_name(&"a.".repeat(126), "0123456789");
        assert!(long.len() <= NAME && long.ends_with("a-0123456789"), "{long}");
    }
}
