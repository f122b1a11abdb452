//! Security context of the counter where no setting gives one: what the Pod Security level `restricted` requires of a container.

use serde_json::{Value, json};

/// User of the counter's image.
const USER: i64 = 65532;

/// Returns the security context for the pods of a template. The user is that of the template's pod, otherwise that of the image, or on
/// OpenShift one from the namespace's range, since OpenShift refuses a number outside the range. The counter names a user of its own only
/// where the template's pod runs as root, which `runAsNonRoot` excludes.
pub(super) fn of_template(template: &Value) -> Value {
    let mut context = json!({
        "runAsNonRoot": true,
        "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"] }, "seccompProfile": { "type": "RuntimeDefault" },
    });
    if template["spec"]["securityContext"]["runAsUser"].as_i64() == Some(0) {
        context["runAsUser"] = json!(USER);
        context["runAsGroup"] = json!(USER);
    }
    context
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pod_says_who_runs() {
        let user = |pod: Value| {
            let context = of_template(&json!({ "spec": { "securityContext": pod, "containers": [] } }));
            assert_eq!(context["runAsNonRoot"], true);
            context["runAsUser"].as_i64()
        };
        assert_eq!(user(json!(null)), None, "the image's user, or one of the namespace's range");
        assert_eq!(user(json!({ "runAsUser": 1000 })), None, "the pod's user");
        assert_eq!(user(json!({ "runAsNonRoot": false })), None);
        assert_eq!(user(json!({ "runAsUser": 0 })), Some(65532), "else the kubelet would refuse to start it");
    }
}
