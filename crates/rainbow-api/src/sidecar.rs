//! Settings of the container that counts connections.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::schema::any_object;

/// Settings of the container that Rainbow adds to pods to count connections. A color records them when it is made: a change affects new
/// colors only and restarts no pod.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SidecarSettings {
    /// Requests and limits in place of Rainbow's own, which follow the pod's template and the namespace's limit ranges. `{}`: none.
    /// Default: Rainbow's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub resources: Option<Value>,
    /// Security context in place of Rainbow's own, which meets the Pod Security level `restricted`. `{}`: none. Default: Rainbow's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub security_context: Option<Value>,
    /// Whether the container is a native sidecar, which counts until the application has ended, or a plain container. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<bool>,
}

impl SidecarSettings {
    /// Returns these settings, with those of `defaults` where these are silent.
    #[must_use]
    pub fn or(&self, defaults: &Self) -> Self {
        Self {
            resources: self.resources.clone().or_else(|| defaults.resources.clone()),
            security_context: self.security_context.clone().or_else(|| defaults.security_context.clone()),
            native: self.native.or(defaults.native),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_setting_goes_before_the_default() {
        let read = |value: Value| serde_json::from_value::<SidecarSettings>(value).unwrap();
        let defaults = read(json!({ "resources": { "limits": { "cpu": "1" } }, "native": false }));
        let own = read(json!({ "resources": {}, "securityContext": { "runAsUser": 7 } }));
        let expected = json!({ "resources": {}, "securityContext": { "runAsUser": 7 }, "native": false });
        assert_eq!(json!(own.or(&defaults)), expected);
        assert_eq!(read(json!({ "resources": null })), SidecarSettings::default());
    }
}
