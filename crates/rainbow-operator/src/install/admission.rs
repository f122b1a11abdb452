//! Admission policies: the API server refuses, before anything is written and for any client, a color name that another version has, names
//! of objects that a sibling has, and an edit of the address of a tier, which could send callers to a callee that is older than they are.
//! The rules of a definition see one object only. These policies see the other objects of its namespace.
//!
//! The operator checks the same and more, and reports it. So a policy that cannot be evaluated admits, and each policy refuses only what is
//! certainly wrong: ports, needs and hashed color names are left to the operator. The exception is an approval of a manual gate, which the
//! API server alone can check, since it alone knows who writes. A write that changes none of the names is never refused,
//! so that a Rainbow with a conflict can be rolled back, held, fixed and deleted.

use serde_json::{Value, json};

use rainbow_api::{FIELD_MANAGER, labels::STAGE};

use super::metadata;

const GROUP: &str = "admissionregistration.k8s.io/v1";

/// Name of the policy about color names, and of its binding.
pub const COLOR_NAMES: &str = "rainbow-color-names";
/// Name of the policy about the names of objects, and of its binding.
pub const OBJECT_NAMES: &str = "rainbow-object-names";

/// Name of the policy about the addresses of tiers, and of its binding.
pub const TIER_ADDRESSES: &str = "rainbow-tier-addresses";

/// Name of the policy about those who approve, and of its binding.
pub const APPROVERS: &str = "rainbow-approvers";

/// Returns the policies, each with its binding.
pub(super) fn policies() -> [Value; 8] {
    let [colors, objects] = [on_color_names(), on_object_names()];
    let addresses = binding(TIER_ADDRESSES, None);
    let beside = Some(json!({ "selector": {}, "parameterNotFoundAction": "Allow" }));
    [
        colors,
        binding(COLOR_NAMES, beside.clone()),
        objects,
        binding(OBJECT_NAMES, beside),
        on_tier_addresses(),
        addresses,
        on_approvers(),
        binding(APPROVERS, None),
    ]
}

/// Returns a policy about Rainbows that compares each with all objects of a kind in its namespace.
fn policy(name: &str, beside: &str, conditions: &Value, variables: &Value, validation: &Value) -> Value {
    json!({
        "apiVersion": GROUP, "kind": "ValidatingAdmissionPolicy", "metadata": metadata(name, None),
        "spec": {
            "failurePolicy": "Ignore",
            "paramKind": { "apiVersion": "rainbow.dev/v1alpha1", "kind": beside },
            "matchConstraints": { "resourceRules": [{
                "apiGroups": ["rainbow.dev"], "apiVersions": ["*"], "resources": ["rainbows"], "operations": ["CREATE", "UPDATE"],
            }] },
            "matchConditions": conditions, "variables": variables, "validations": [validation],
        },
    })
}

/// Returns a policy's binding. Without `namespace`, the objects `beside` that the policy compares with are those of the Rainbow's
/// namespace.
fn binding(policy: &str, beside: Option<Value>) -> Value {
    let mut spec = json!({ "policyName": policy, "validationActions": ["Deny"] });
    if let Some(beside) = beside {
        spec["paramRef"] = beside;
    }
    json!({
        "apiVersion": GROUP, "kind": "ValidatingAdmissionPolicyBinding", "metadata": metadata(policy, None), "spec": spec,
    })
}

/// Returns the policy about the addresses of tiers. Only Rainbow moves such an address: callers may be newer than the callee that another
/// writer chooses.
fn on_tier_addresses() -> Value {
    let is_of_a_tier = format!("object.metadata.labels['{STAGE}'].contains('.')");
    let by_another = format!(
        "!has(request.options) || !has(request.options.fieldManager) || request.options.fieldManager != '{FIELD_MANAGER}'"
    );
    json!({
        "apiVersion": GROUP, "kind": "ValidatingAdmissionPolicy", "metadata": metadata(TIER_ADDRESSES, None),
        "spec": {
            "failurePolicy": "Ignore",
            "matchConstraints": {
                "objectSelector": { "matchExpressions": [{ "key": STAGE, "operator": "Exists" }] },
                "resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "resources": ["services"], "operations": ["UPDATE"],
                }],
            },
            "matchConditions": [
                { "name": "is-of-a-tier", "expression": is_of_a_tier },
                { "name": "by-another-writer", "expression": by_another },
            ],
            "variables": [],
            "validations": [{
                "expression": "has(object.spec.selector) && has(oldObject.spec.selector) && object.spec.selector == oldObject.spec.selector",
                "messageExpression": "'spec.selector: Rainbow moves Service `' + object.metadata.name + '`, so that no pod reaches a tier that is older \
                    than itself: use `rainbow promote` or `rainbow rollback`'",
                "reason": "Invalid",
            }],
        },
    })
}

/// Returns the policy about those who approve: an approval names the user who writes it, so that no user can approve in the name of another.
/// An approval does not change after that, by a rule of its definition. A policy that cannot be evaluated refuses here, since a wrong name
/// would let a release pass.
fn on_approvers() -> Value {
    json!({
        "apiVersion": GROUP, "kind": "ValidatingAdmissionPolicy", "metadata": metadata(APPROVERS, None),
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": { "resourceRules": [{
                "apiGroups": ["rainbow.dev"], "apiVersions": ["*"], "resources": ["approvals"], "operations": ["CREATE"],
            }] },
            "matchConditions": [],
            "variables": [],
            "validations": [{
                "expression": "object.spec.by == request.userInfo.username",
                "messageExpression": "'spec.by: an approval names the user who writes it: write `' + request.userInfo.username + '`'",
                "reason": "Forbidden",
            }],
        },
    })
}

/// Returns the policy about color names: a color never changes its tiers.
fn on_color_names() -> Value {
    let conditions = json!([
        { "name": "names-its-color", "expression": "has(object.metadata.name) && has(object.spec.color)" },
        { "name": "changes-its-version", "expression": "request.operation == 'CREATE' || !has(oldObject.spec.color) \
            || oldObject.spec.color != object.spec.color || oldObject.spec.tiers != object.spec.tiers" },
    ]);
    let validation = json!({
        "expression": "params.spec.rainbow != object.metadata.name || params.spec.color != object.spec.color \
            || has(params.metadata.deletionTimestamp) || size(params.spec.tiers) == size(object.spec.tiers) \
            && object.spec.tiers.all(t, params.spec.tiers.exists(o, o.name == t.name && o.template == t.template))",
        "messageExpression": "'spec.color: color `' + object.spec.color + '` exists with other tiers: give the color a new name'",
        "reason": "Invalid",
    });
    policy(COLOR_NAMES, "Color", &conditions, &json!([]), &validation)
}

/// Returns the policy about object names: two Rainbows of a namespace must not need an object of the same name.
fn on_object_names() -> Value {
    let conditions = json!([{ "name": "has-a-name", "expression": "has(object.metadata.name)" }]);
    let when_updated = |names: String| format!("request.operation != 'UPDATE' ? [] : {names}");
    let variable = |name: &str, expression: String| json!({ "name": name, "expression": expression });
    let variables = json!([
        variable("before", when_updated(services("oldObject"))),
        variable("deploymentsBefore", when_updated(deployments("oldObject"))),
        variable("services", services("object")),
        variable("deployments", deployments("object")),
        variable("theirs", services("params")),
        variable("theirDeployments", deployments("params")),
        // An instance with ports has a Service with the name of its Deployment.
        variable("shared", "variables.services.filter(n, !(n in variables.before) && (n in variables.theirs || n in variables.theirDeployments)) \
            + variables.deployments.filter(n, !(n in variables.deploymentsBefore) && (n in variables.theirs || n in variables.theirDeployments))".to_owned()),
    ]);
    let validation = json!({
        "expression": "params.metadata.name == object.metadata.name || size(variables.shared) == 0",
        "messageExpression": "'needs the names of rainbow `' + params.metadata.name + '` in the same namespace: ' \
            + variables.shared.join(', ') + ': set spec.namePrefix, such as `' + object.metadata.name + '-`, or give the color, the tier or the stage another name'",
        "reason": "Invalid",
    });
    policy(OBJECT_NAMES, "Rainbow", &conditions, &variables, &validation)
}

/// Returns a CEL expression for the names of the Services of a Rainbow's stages. A stage whose tier is not clear has none.
fn services(of: &str) -> String {
    // Tiers that no other needs.
    let entries = format!(
        "{of}.spec.tiers.filter(t, !{of}.spec.tiers.exists(o, o.name != t.name && has(o.needs) && o.needs.exists(n, n.tier == t.name)))"
    );
    let prefix = prefix(of);
    format!(
        "(!has({of}.spec.stages) ? [] : {of}.spec.stages\
         .filter(s, has(s.service) && has(s.service.name) || has(s.tier) || size({entries}) == 1)\
         .map(s, has(s.service) && has(s.service.name) ? s.service.name \
         : {prefix} + (has(s.tier) ? s.tier : {entries}[0].name) + '-' + s.name))"
    )
}

/// Returns a CEL expression for the names of the Deployments of the color that a Rainbow names.
fn deployments(of: &str) -> String {
    let prefix = prefix(of);
    // A tier that calls a tier which may be newer has a Deployment for each stage.
    let shared = format!(
        "{of}.spec.tiers.filter(t, !has(t.needs) || !t.needs.exists(n, has(n.compatible) && n.compatible == 'Backward'))"
    );
    format!("(!has({of}.spec.color) ? [] : {shared}.map(t, {prefix} + t.name + '-' + {of}.spec.color))")
}

fn prefix(of: &str) -> String {
    format!("(has({of}.spec.namePrefix) ? {of}.spec.namePrefix : '')")
}

#[cfg(test)]
mod tests;
