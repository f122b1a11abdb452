//! Custom resource definitions, generated from the Rust types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSONSchemaProps};
use kube::CustomResourceExt;
use std::collections::BTreeMap;

use crate::{Approval, Color, GateTemplate, Rainbow, labels, pod_types};

/// Returns the definitions: `Rainbow`, `Color`, `Approval`, `GateTemplate`.
///
/// Their schemas are structural, and nothing in them is nullable: an optional field is left out, never `null`. (Older API servers refuse a
/// nullable enum, and `null` beside "absent" would be a second way to say the same.) API servers without CEL drop
/// `x-kubernetes-validations`. The operator checks everything again in any case.
///
/// The pod templates of a `Rainbow` and the settings of its sidecar are an exception. Their schema has all fields of a pod, and each field
/// may be `null`, so that the API server refuses in them what it refuses in a Deployment. The templates of a `Color` are kept with any
/// content: a snapshot never loses a field that a later schema does not have.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut all = vec![Rainbow::crd(), Color::crd(), Approval::crd(), GateTemplate::crd()];
    for crd in &mut all {
        crd.metadata.labels.get_or_insert_default().insert(labels::MANAGED_BY.into(), labels::MANAGER.into());
        for version in &mut crd.spec.versions {
            if let Some(schema) = version.schema.as_mut().and_then(|v| v.open_api_v3_schema.as_mut()) {
                strip_nullable(schema);
            }
        }
    }
    if let Some(sidecar) = all.first_mut().and_then(sidecar) {
        for (field, name) in [("resources", pod_types::RESOURCES), ("securityContext", pod_types::SECURITY_CONTEXT)] {
            let Some(schema) = sidecar.get_mut(field) else { continue };
            let of_pods = pod_types::struct_schema(name, schema.description.as_deref());
            *schema = serde_json::from_value(of_pods).unwrap_or_else(|_| schema.clone());
        }
    }
    if let Some(template) = all.first_mut().and_then(template) {
        // The table is a constant; a test compares the outcome.
        *template = serde_json::from_value(pod_types::template_schema()).unwrap_or_else(|_| template.clone());
    }
    all
}

/// Returns the schema of the pod templates in a definition.
fn template(crd: &mut CustomResourceDefinition) -> Option<&mut JSONSchemaProps> {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaPropsOrArray as Items;
    let schema = crd.spec.versions.first_mut()?.schema.as_mut()?.open_api_v3_schema.as_mut()?;
    let tiers = schema.properties.as_mut()?.get_mut("spec")?.properties.as_mut()?.get_mut("tiers")?;
    let Some(Items::Schema(tier)) = &mut tiers.items else { return None };
    tier.properties.as_mut()?.get_mut("template")
}

/// Returns the fields of `spec.drain.sidecar` in a definition.
fn sidecar(crd: &mut CustomResourceDefinition) -> Option<&mut BTreeMap<String, JSONSchemaProps>> {
    let schema = crd.spec.versions.first_mut()?.schema.as_mut()?.open_api_v3_schema.as_mut()?;
    let drain = schema.properties.as_mut()?.get_mut("spec")?.properties.as_mut()?.get_mut("drain")?;
    drain.properties.as_mut()?.get_mut("sidecar")?.properties.as_mut()
}

fn strip_nullable(schema: &mut JSONSchemaProps) {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        JSONSchemaPropsOrArray as Items, JSONSchemaPropsOrBool as Additional,
    };
    schema.nullable = None;
    schema.properties.iter_mut().flat_map(|all| all.values_mut()).for_each(strip_nullable);
    match &mut schema.items {
        Some(Items::Schema(items)) => strip_nullable(items),
        Some(Items::Schemas(items)) => items.iter_mut().for_each(strip_nullable),
        None => {}
    }
    if let Some(Additional::Schema(values)) = &mut schema.additional_properties {
        strip_nullable(values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaPropsOrArray;

    fn every(schema: &JSONSchemaProps, path: &str, see: &mut dyn FnMut(&str, &JSONSchemaProps)) {
        use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaPropsOrArray as Items;
        see(path, schema);
        for (name, property) in schema.properties.iter().flatten() {
            every(property, &format!("{path}.{name}"), see);
        }
        if let Some(Items::Schema(items)) = &schema.items {
            every(items, &format!("{path}[]"), see);
        }
    }

    /// Returns whether a path is within a part of a pod, whose schema follows that of a Deployment.
    fn is_in_template(path: &str) -> bool {
        let sidecar = ["drain.sidecar.resources.", "drain.sidecar.securityContext."];
        path.contains("tiers[].template.") || sidecar.iter().any(|part| path.contains(part))
    }

    fn schema(crd: &CustomResourceDefinition) -> &JSONSchemaProps {
        crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap()
    }

    /// A schema is structural when every part of it has a type, and no part hides in anyOf, oneOf, allOf or not.
    #[test]
    fn schemas_are_structural() {
        for crd in crds() {
            every(schema(&crd), "", &mut |path, part| {
                let is_open = part.x_kubernetes_preserve_unknown_fields == Some(true);
                let is_int_or_string = part.x_kubernetes_int_or_string == Some(true);
                assert!(part.type_.is_some() || is_open || is_int_or_string, "{path}: no type");
                assert!(part.any_of.is_none() && part.one_of.is_none() && part.all_of.is_none(), "{path}");
                assert!(part.not.is_none() && part.ref_path.is_none(), "{path}");
                assert!(part.nullable.is_none() || is_in_template(path), "{path}");
            });
        }
    }

    /// The API server estimates the cost of a CEL rule from the limits of the lists and texts that the rule walks. Without limits it
    /// refuses the whole definition.
    #[test]
    fn what_rules_walk_is_limited() {
        let rainbow = &crds()[0];
        let spec = &schema(rainbow).properties.as_ref().unwrap()["spec"];
        assert_eq!(spec.x_kubernetes_validations.as_ref().map(Vec::len), Some(5));
        every(spec, "spec", &mut |path, part| {
            if is_in_template(path) {
                return;
            }
            if part.type_.as_deref() == Some("array") {
                assert!(part.max_items.is_some(), "{path}: no maxItems");
                // Texts have no key to be merged by, and neither have the entries of metrics.
                let items = match &part.items {
                    Some(JSONSchemaPropsOrArray::Schema(items)) => items.type_.as_deref(),
                    Some(JSONSchemaPropsOrArray::Schemas(_)) | None => None,
                };
                let without_key =
                    [".autoscale.metrics", ".drain.ignore", ".matchExpressions", ".manual.freeze", ".shift.steps"];
                let is_atomic = items == Some("string") || without_key.iter().any(|end| path.ends_with(end));
                let list_type = if is_atomic { "atomic" } else { "map" };
                assert_eq!(part.x_kubernetes_list_type.as_deref(), Some(list_type), "{path}");
            }
            if path.ends_with(".name") || path.ends_with(".tier") {
                assert!(part.max_length.is_some(), "{path}: no maxLength");
            }
        });
    }

    /// A misspelt field would get through a part of the schema that is open.
    #[test]
    fn a_template_has_the_fields_of_a_pod_and_no_others() {
        let mut crds = crds();
        let [rainbow, color, _, _] = &mut crds[..] else { panic!() };
        every(template(rainbow).unwrap(), "template", &mut |path, part| {
            let is_scalar = part.type_.as_deref() != Some("object");
            let is_map = part.additional_properties.is_some();
            let is_struct = part.properties.is_some() && part.x_kubernetes_preserve_unknown_fields.is_none();
            assert!(is_scalar || is_map || is_struct, "{path}");
        });
        let mut pod = |field: &str| {
            let pod = template(rainbow).unwrap().properties.as_ref().unwrap()["spec"].properties.clone().unwrap();
            serde_json::to_value(&pod[field]).unwrap()
        };
        let probe = &pod("containers")["items"]["properties"]["readinessProbe"];
        assert_eq!(probe["properties"]["httpGet"]["properties"]["port"]["x-kubernetes-int-or-string"], true);
        assert_eq!(pod("containers")["items"]["required"], serde_json::json!(["name", "image"]));
        assert_eq!(template(color).unwrap().x_kubernetes_preserve_unknown_fields, Some(true));
    }

    /// A client-side `kubectl apply` puts the whole definition into an annotation, and all annotations together may have 256 KiB.
    #[test]
    fn a_definition_fits_into_an_annotation() {
        for crd in crds() {
            let length = serde_json::to_string(&crd).unwrap().len();
            assert!(length < 200 * 1024, "{length}");
        }
    }

    #[test]
    fn a_color_is_immutable() {
        let color = &crds()[1];
        let spec = &schema(color).properties.as_ref().unwrap()["spec"];
        for (name, property) in spec.properties.iter().flatten() {
            let immutable =
                property.x_kubernetes_validations.iter().flatten().any(|rule| rule.rule == "self == oldSelf");
            assert_eq!(immutable, !["retire", "drain"].contains(&name.as_str()), "{name}");
        }
    }
}
