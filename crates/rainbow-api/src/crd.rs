//! The custom resource definitions, from the Rust types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSONSchemaProps};
use kube::CustomResourceExt;

use crate::{Color, Rainbow, labels};

/// Both definitions, `Rainbow` first.
///
/// Their schemas are structural, and nothing in them is nullable: an optional field is left out, never `null`. (A nullable
/// enum is refused by older API servers, and `null` would be kept beside "absent" as a second way to say the same.)
/// API servers without CEL drop `x-kubernetes-validations`; the operator checks everything again anyway.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut all = vec![Rainbow::crd(), Color::crd()];
    for crd in &mut all {
        crd.metadata.labels.get_or_insert_default().insert(labels::MANAGED_BY.into(), labels::MANAGER.into());
        for version in &mut crd.spec.versions {
            if let Some(schema) = version.schema.as_mut().and_then(|v| v.open_api_v3_schema.as_mut()) {
                strip_nullable(schema);
            }
        }
    }
    all
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
                assert!(part.not.is_none() && part.ref_path.is_none() && part.nullable.is_none(), "{path}");
            });
        }
    }

    /// The cost of a CEL rule is estimated from the limits of the lists and texts it walks: without limits an API server
    /// refuses the whole definition.
    #[test]
    fn what_rules_walk_is_limited() {
        let rainbow = &crds()[0];
        let spec = &schema(rainbow).properties.as_ref().unwrap()["spec"];
        assert_eq!(spec.x_kubernetes_validations.as_ref().map(Vec::len), Some(5));
        every(spec, "spec", &mut |path, part| {
            if part.type_.as_deref() == Some("array") {
                assert!(part.max_items.is_some(), "{path}: no maxItems");
                // The entries of metrics have no key.
                let kind = if path.ends_with(".autoscale.metrics") { "atomic" } else { "map" };
                assert_eq!(part.x_kubernetes_list_type.as_deref(), Some(kind), "{path}");
            }
            if path.ends_with(".name") || path.ends_with(".tier") {
                assert!(part.max_length.is_some(), "{path}: no maxLength");
            }
        });
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
