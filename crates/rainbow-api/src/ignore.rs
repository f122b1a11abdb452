//! Peers whose connections hold no pod.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Peer whose connections hold no pod, with the fields of a `NetworkPolicyPeer`: a range of addresses, or pods.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.ipBlock) != (has(self.podSelector) || has(self.namespaceSelector))",
    "message": "drain.ignore: each entry has either ipBlock, or podSelector, namespaceSelector or both"
}]))]
pub struct IgnoredPeer {
    /// Addresses of the peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_block: Option<IpBlock>,
    /// Pods of the Rainbow's namespace, or of the namespaces that `namespaceSelector` selects. Pods in the host's network are left out,
    /// since their address is that of their node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<Selector>,
    /// Namespaces of the pods: all their pods, or those that `podSelector` selects. Unset: the Rainbow's own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<Selector>,
}

/// Range of addresses.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IpBlock {
    /// Range, such as `10.0.0.0/8`, or `10.1.2.3/32` for one address.
    #[schemars(length(min = 1, max = 64))]
    pub cidr: String,
    /// Ranges within `cidr` that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"), inner(length(min = 1, max = 64)))]
    pub except: Vec<String>,
}

/// Selector of labels. An empty selector selects everything.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    /// Labels with the values that an object must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements. An object must meet all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub match_expressions: Vec<Requirement>,
}

/// Requirement of a selector.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Requirement {
    /// Key of the label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// Relation of the label to the values.
    pub operator: Operator,
    /// Values, for `In` and `NotIn`. Empty for `Exists` and `DoesNotExist`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"), inner(length(max = 63)))]
    pub values: Vec<String>,
}

/// Relation of a label to values.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum Operator {
    /// The label has one of the values.
    In,
    /// The label has none of the values, or does not exist.
    NotIn,
    /// The label exists.
    Exists,
    /// The label does not exist.
    DoesNotExist,
}

impl Selector {
    /// Returns whether the selector selects everything.
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    /// Returns the selector as the parameter `labelSelector` of a request.
    pub fn query(&self) -> String {
        let labels = self.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
        let more = self.match_expressions.iter().map(|Requirement { key, operator, values }| match operator {
            Operator::In => format!("{key} in ({})", values.join(",")),
            Operator::NotIn => format!("{key} notin ({})", values.join(",")),
            Operator::Exists => key.clone(),
            Operator::DoesNotExist => format!("!{key}"),
        });
        labels.chain(more).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_selector_is_a_parameter() {
        let selector: Selector = serde_json::from_value(json!({
            "matchLabels": { "app": "prometheus", "a/b": "" },
            "matchExpressions": [
                { "key": "tier", "operator": "In", "values": ["x", "y"] }, { "key": "old", "operator": "NotIn", "values": ["z"] },
                { "key": "k", "operator": "Exists" }, { "key": "n", "operator": "DoesNotExist" },
            ],
        }))
        .unwrap();
        assert_eq!(selector.query(), "a/b=,app=prometheus,tier in (x,y),old notin (z),k,!n");
        assert!(Selector::default().is_empty() && Selector::default().query().is_empty());
    }
}
