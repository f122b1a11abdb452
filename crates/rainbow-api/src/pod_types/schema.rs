//! Schema of a pod template for the definition of `Rainbow`: all fields with their types, without descriptions, since the whole
//! definition has to fit into the annotation of a client-side `kubectl apply` (256 KiB).

use serde_json::{Map, Value, json};

use super::{Type, fields, template};

/// Pattern of quantities as Kubernetes reads them.
const QUANTITY: &str = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$";

/// Returns the schema of a pod template. Everything in it may be `null`, as in the templates of a Deployment: tools write `resources:
/// null`.
pub(crate) fn template_schema() -> Value {
    let mut schema = of_type(&template());
    if let Some(root) = schema.as_object_mut() {
        root.remove("nullable");
        root.insert("required".into(), json!(["spec"]));
        root.insert("description".into(), "A `PodTemplateSpec`, kept as it is written.".into());
    }
    schema
}

/// Returns the schema of one struct of a pod, with a description. Everything in it may be `null`, as in a template.
pub(crate) fn struct_schema(name: &str, description: Option<&str>) -> Value {
    let mut schema = of_struct(name);
    schema["description"] = json!(description);
    schema
}

fn of_type(type_: &Type) -> Value {
    let mut schema = match type_ {
        Type::Text => json!({ "type": "string" }),
        Type::Number => json!({ "type": "integer" }),
        Type::Flag => json!({ "type": "boolean" }),
        Type::Port => json!({ "x-kubernetes-int-or-string": true }),
        // Any number is an amount, `cpu: 0.5` as well, which `x-kubernetes-int-or-string` would refuse.
        Type::Quantity => return json!({ "x-kubernetes-preserve-unknown-fields": true, "pattern": QUANTITY }),
        Type::Any => return json!({ "x-kubernetes-preserve-unknown-fields": true }),
        Type::List(element) => json!({ "type": "array", "items": of_type(element) }),
        Type::Map(value) => json!({ "type": "object", "additionalProperties": of_type(value) }),
        Type::Struct(name) => of_struct(name),
    };
    schema["nullable"] = true.into();
    schema
}

fn of_struct(name: &str) -> Value {
    let fields = fields(name).into_iter().flatten();
    let mut properties: Map<String, Value> =
        fields.map(|(field, type_)| ((*field).to_owned(), of_type(type_))).collect();
    // Fields that a pod cannot do without, and for which the API server has no default.
    let required: &[&str] = match name {
        "PodSpec" => &["containers"],
        "Container" => &["name", "image"],
        _ => &[],
    };
    for field in required {
        let Some(property) = properties.get_mut(*field).and_then(Value::as_object_mut) else { continue };
        property.remove("nullable");
        let least = if property.get("type") == Some(&json!("array")) { "minItems" } else { "minLength" };
        property.insert(least.into(), 1.into());
    }
    let mut schema = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}
