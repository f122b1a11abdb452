//! Conditions of an object's status.

use serde_json::Value;

use crate::json::{list, text};

/// Returns whether a condition of this type and status shows that its pod is ready.
pub fn shows_ready(type_: &str, status: &str) -> bool {
    (type_, status) == ("Ready", "True")
}

/// Returns whether a pod is ready.
pub fn is_ready(pod: &Value) -> bool {
    list(pod, "/status/conditions")
        .iter()
        .any(|condition| shows_ready(text(condition, "/type"), text(condition, "/status")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_true_condition_makes_ready() {
        for (conditions, expected) in [
            (json!([]), false),
            (json!(null), false),
            (json!([{ "type": "Ready", "status": "True" }]), true),
            (json!([{ "type": "Ready", "status": "Unknown" }]), false),
            (json!([{ "type": "ContainersReady", "status": "True" }, { "type": "Ready", "status": "False" }]), false),
        ] {
            let pod = json!({ "status": { "conditions": conditions } });
            assert_eq!(is_ready(&pod), expected, "{pod}");
        }
    }
}
