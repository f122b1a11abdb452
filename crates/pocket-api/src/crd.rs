//! CustomResourceDefinitions: checks at each write, and their conversion to rows of the resource table.

use std::sync::Arc;

use pocket_object::{FieldError, structural::Schema};
use serde_json::{Value, json};

use crate::{
    json::{object, to_bytes},
    registry::Registry,
    resource::{CustomKind, CustomParts, Resource, ScalePaths, Subresource},
};

/// Returns the served versions of an established definition.
pub(crate) fn resources(definition: &Value) -> Vec<Arc<Resource>> {
    let established = definition.pointer("/status/conditions").and_then(Value::as_array).is_some_and(|conditions| {
        conditions.iter().any(|condition| condition["type"] == "Established" && condition["status"] == "True")
    });
    let versions = definition.pointer("/spec/versions").and_then(Value::as_array);
    let Some(versions) = versions.filter(|_| established) else { return Vec::new() };
    versions
        .iter()
        .filter(|version| version["served"] == true)
        .filter_map(|version| resource(definition, versions, version))
        .map(Arc::new)
        .collect()
}

fn resource(definition: &Value, versions: &[Value], version: &Value) -> Option<Resource> {
    let text = |pointer: &str| definition.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let texts = |pointer: &str| -> Vec<String> {
        let list = definition.pointer(pointer).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let group = text("/spec/group");
    let storage = versions.iter().find(|version| version["storage"] == true)?;
    let schema = version.pointer("/schema/openAPIV3Schema").cloned().unwrap_or_else(|| json!({"type": "object"}));
    let deprecated = version["deprecated"] == true;
    let name = version["name"].as_str()?.to_owned();
    let kind = text("/spec/names/kind");
    let deprecation = deprecated.then(|| match version["deprecationWarning"].as_str() {
        Some(warning) => warning.to_owned(),
        None => format!("{group}/{name} {kind} is deprecated"),
    });
    let custom = CustomKind {
        definition: text("/metadata/name"),
        storage_api_version: format!("{group}/{}", storage["name"].as_str()?),
        converts: versions.len() > 1,
        schema: Schema::parse(&schema).ok()?,
        schema_json: to_bytes(&schema),
        table: pocket_object::table::for_crd(version.get("additionalPrinterColumns").unwrap_or(&Value::Null)),
        deprecation,
    };
    let selectable = version["selectableFields"].as_array();
    let fields = selectable.into_iter().flatten().filter_map(|field| field["jsonPath"].as_str());
    Some(Resource::custom(CustomParts {
        version: name,
        list_kind: text("/spec/names/listKind"),
        plural: text("/spec/names/plural"),
        singular: text("/spec/names/singular"),
        short_names: texts("/spec/names/shortNames"),
        categories: texts("/spec/names/categories"),
        namespaced: text("/spec/scope") == "Namespaced",
        subresources: subresources(version),
        fields: fields.map(|path| path.trim_start_matches('.').to_owned()).collect(),
        group,
        kind,
        custom: Arc::new(custom),
    }))
}

fn subresources(version: &Value) -> Vec<Subresource> {
    let mut found = Vec::new();
    if version.pointer("/subresources/status").is_some_and(Value::is_object) {
        found.push(Subresource::Status);
    }
    if let Some(scale) = version.pointer("/subresources/scale").filter(|scale| scale.is_object()) {
        let pointer = |name: &str| scale[name].as_str().map(|path| path.replace('.', "/").into());
        if let (Some(spec), Some(status)) = (pointer("specReplicasPath"), pointer("statusReplicasPath")) {
            found.push(Subresource::Scale(ScalePaths { spec, status, selector: pointer("labelSelectorPath") }));
        }
    }
    found
}

/// Fills in names, checks the schemas and sets the conditions, as the API server and its controllers do in steps.
pub(crate) fn prepare(
    registry: &Registry,
    old: Option<&Value>,
    new: &mut Value,
    now: &str,
) -> Result<(), Vec<FieldError>> {
    let name = new.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let spec = object(new, "spec");
    spec.entry("conversion").or_insert_with(|| json!({"strategy": "None"}));
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
        let kind = names.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        names.entry("singular").or_insert_with(|| json!(kind.to_lowercase()));
        names.entry("listKind").or_insert_with(|| json!(format!("{kind}List")));
    }
    let errors = check(&name, new, old);
    if !errors.is_empty() {
        return Err(errors);
    }
    set_status(registry, &name, new, old, now);
    Ok(())
}

fn check(name: &str, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let text = |pointer: &str| new.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    for (pointer, path) in [
        ("/spec/group", "spec.group"),
        ("/spec/names/plural", "spec.names.plural"),
        ("/spec/names/kind", "spec.names.kind"),
        ("/spec/scope", "spec.scope"),
    ] {
        if text(pointer).is_empty() {
            errors.push(FieldError::required(path, ""));
        }
    }
    if !matches!(text("/spec/scope"), "" | "Namespaced" | "Cluster") {
        errors.push(FieldError::not_supported("spec.scope", &new["spec"]["scope"], &["Cluster", "Namespaced"]));
    }
    let expected = format!("{}.{}", text("/spec/names/plural"), text("/spec/group"));
    if errors.is_empty() && name != expected {
        errors.push(FieldError::invalid("metadata.name", &json!(name), "must be spec.names.plural+\".\"+spec.group"));
    }
    if let Some(strategy) = new.pointer("/spec/conversion/strategy").filter(|strategy| *strategy != "None") {
        errors.push(FieldError::not_supported("spec.conversion.strategy", strategy, &["None"]));
    }
    errors.extend(check_versions(new));
    if let Some(old) = old {
        for (pointer, path) in [
            ("/spec/group", "spec.group"),
            ("/spec/scope", "spec.scope"),
            ("/spec/names/kind", "spec.names.kind"),
            ("/spec/names/plural", "spec.names.plural"),
        ] {
            if old.pointer(pointer) != new.pointer(pointer) {
                let value = new.pointer(pointer).cloned().unwrap_or_default();
                errors.push(FieldError::invalid(path, &value, "field is immutable"));
            }
        }
    }
    errors
}

fn check_versions(new: &Value) -> Vec<FieldError> {
    let Some(versions) = new.pointer("/spec/versions").and_then(Value::as_array).filter(|list| !list.is_empty()) else {
        return vec![FieldError::required("spec.versions", "must have at least one version")];
    };
    let mut errors = Vec::new();
    let stored = versions.iter().filter(|version| version["storage"] == true).count();
    if stored != 1 {
        errors.push(FieldError::invalid(
            "spec.versions",
            &json!(stored),
            "must have exactly one version marked as storage version",
        ));
    }
    for (index, version) in versions.iter().enumerate() {
        let path = format!("spec.versions[{index}]");
        if version["name"].as_str().unwrap_or_default().is_empty() {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        }
        if versions[..index].iter().any(|earlier| earlier["name"] == version["name"]) {
            errors.push(FieldError::duplicate(format!("{path}.name"), &version["name"]));
        }
        let Some(schema) = version.pointer("/schema/openAPIV3Schema") else {
            errors.push(FieldError::required(format!("{path}.schema.openAPIV3Schema"), "schemas are required"));
            continue;
        };
        if let Err(found) = Schema::parse(schema) {
            let base = format!("{path}.schema.openAPIV3Schema");
            errors.extend(found.into_iter().map(|mut error| {
                error.path = match error.path.is_empty() {
                    true => base.clone(),
                    false if error.path.starts_with('[') => format!("{base}{}", error.path),
                    false => format!("{base}.{}", error.path),
                };
                error
            }));
        }
    }
    errors
}

/// Sets the conditions. Names are accepted unless another definition of the group has them.
fn set_status(registry: &Registry, name: &str, new: &mut Value, old: Option<&Value>, now: &str) {
    let group = new["spec"]["group"].clone();
    let names = new["spec"]["names"].clone();
    let clash = registry.custom().iter().find(|known| {
        let other = known.custom.as_ref().is_some_and(|custom| custom.definition != name);
        other && group == *known.group && (names["kind"] == *known.kind || names["listKind"] == *known.list_kind)
    });
    let was_established = old
        .and_then(|old| old.pointer("/status/conditions")?.as_array())
        .is_some_and(|conditions| conditions.iter().any(|c| c["type"] == "Established" && c["status"] == "True"));
    let storage = new["spec"]["versions"].as_array().into_iter().flatten().find(|version| version["storage"] == true);
    let storage = storage.map(|version| version["name"].clone()).unwrap_or_default();
    let since = |type_: &str, status: &str| {
        let before = old.and_then(|old| old.pointer("/status/conditions")?.as_array());
        let same = before.into_iter().flatten().find(|c| c["type"] == type_ && c["status"] == status);
        same.map_or_else(|| json!(now), |condition| condition["lastTransitionTime"].clone())
    };
    let accepted = match clash {
        None => json!({"type": "NamesAccepted", "status": "True", "reason": "NoConflicts",
            "message": "no conflicts found", "lastTransitionTime": since("NamesAccepted", "True")}),
        Some(other) => json!({"type": "NamesAccepted", "status": "False", "reason": "KindConflict",
            "message": format!("\"{}\" is already in use", other.kind), "lastTransitionTime": since("NamesAccepted", "False")}),
    };
    let established = if clash.is_none() || was_established {
        json!({"type": "Established", "status": "True", "reason": "InitialNamesAccepted",
            "message": "the initial names have been accepted", "lastTransitionTime": since("Established", "True")})
    } else {
        json!({"type": "Established", "status": "False", "reason": "NotAccepted",
            "message": "not all names are accepted", "lastTransitionTime": since("Established", "False")})
    };
    let others: Vec<Value> = new
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|c| c["type"] != "NamesAccepted" && c["type"] != "Established")
        .cloned()
        .collect();
    let status = object(new, "status");
    status.insert("conditions".into(), [accepted, established].into_iter().chain(others).collect());
    status.insert("acceptedNames".into(), if clash.is_none() { names } else { json!({"plural": "", "kind": ""}) });
    let stored = status.entry("storedVersions").or_insert_with(|| json!([]));
    if let Some(stored) = stored.as_array_mut()
        && !stored.contains(&storage)
    {
        stored.push(storage);
    }
}
