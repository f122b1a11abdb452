//! The Services of stages and of tiers: the fields that their user sets.
//!
//! A field has the name, the values and the meaning that it has in the `spec` of a Kubernetes Service. The operator copies all fields
//! but `name`, `type`, `ports`, `labels` and `annotations` into the Service as they are (see [`service_fields`]).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What a stage's Service looks like. Policy, not identity: a change of it changes the Service at once, and makes no new color.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = stage_rules()))]
pub struct StageService {
    /// Default: `<tier>-<stage>`, with the prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// `ClusterIP` (default), `NodePort` or `LoadBalancer`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["ClusterIP", "NodePort", "LoadBalancer"]))]
    pub type_: Option<String>,
    /// Overrides for the tier's ports, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]), length(max = 32))]
    pub ports: Vec<StageServicePort>,
    /// Added to the Service. Labels that others put on it are kept.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Added to the Service: cloud load balancers are configured so. Annotations that others put on it are kept.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// `None` makes the Service headless: its name resolves to the pods themselves. Fixed when the Service is made. Default: an address.
    #[serde(default, rename = "clusterIP", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["None"]))]
    pub cluster_ip: Option<String>,
    /// `ClientIP`: connections from one address go to one pod, as long as that is in the stage. Default `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["None", "ClientIP"]))]
    pub session_affinity: Option<String>,
    /// Settings of `sessionAffinity: ClientIP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity_config: Option<SessionAffinityConfig>,
    /// `Local`: a node sends clients from outside to its own pods alone, and keeps their addresses. For `NodePort` and `LoadBalancer`.
    /// Default `Cluster`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Cluster", "Local"]))]
    pub external_traffic_policy: Option<String>,
    /// `Local`: a node sends clients in the cluster to its own pods alone. Default `Cluster`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Cluster", "Local"]))]
    pub internal_traffic_policy: Option<String>,
    /// Pods that are preferred for a client: `PreferClose`, `PreferSameZone` or `PreferSameNode`. Kubernetes has the last two from 1.34 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["PreferClose", "PreferSameZone", "PreferSameNode"]))]
    pub traffic_distribution: Option<String>,
    /// Implementation of the load balancer. For `LoadBalancer`. Fixed when the Service gets that type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 317))]
    pub load_balancer_class: Option<String>,
    /// Addresses of clients that the load balancer lets in, such as `10.0.0.0/8`. For `LoadBalancer`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"), length(max = 1024), inner(length(max = 64)))]
    pub load_balancer_source_ranges: Vec<String>,
    /// `false`: ports get no node ports, since the load balancer needs none. For `LoadBalancer`. Default `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocate_load_balancer_node_ports: Option<bool>,
    /// Port on which a node says whether it has pods of the stage. For `LoadBalancer` with `externalTrafficPolicy: Local`. Fixed when the
    /// Service gets one. Default: Kubernetes chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub health_check_node_port: Option<i32>,
    /// `SingleStack`, `PreferDualStack` or `RequireDualStack`. Default: as the Service has it, `SingleStack` for a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["SingleStack", "PreferDualStack", "RequireDualStack"]))]
    pub ip_family_policy: Option<String>,
    /// `IPv4` and `IPv6`, the main one first, which is fixed when the Service is made. Default: the cluster's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "families")]
    pub ip_families: Vec<String>,
    /// Clients are sent to pods that are not ready, too. Rainbow itself counts on ready pods alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub publish_not_ready_addresses: bool,
}

/// What the Service of a tier looks like, which the tiers that need it call. Each color has its own.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = common_rules()))]
pub struct TierService {
    /// Added to the Service. Labels that others put on it are kept.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Added to the Service. Annotations that others put on it are kept.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// `None` makes the Service headless: its name resolves to the pods themselves. Default: an address.
    #[serde(default, rename = "clusterIP", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["None"]))]
    pub cluster_ip: Option<String>,
    /// `ClientIP`: connections from one address go to one pod. Default `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["None", "ClientIP"]))]
    pub session_affinity: Option<String>,
    /// Settings of `sessionAffinity: ClientIP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity_config: Option<SessionAffinityConfig>,
    /// `Local`: a node sends callers to its own pods alone. Default `Cluster`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Cluster", "Local"]))]
    pub internal_traffic_policy: Option<String>,
    /// Pods that are preferred for a caller: `PreferClose`, `PreferSameZone` or `PreferSameNode`. Kubernetes has the last two from 1.34 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["PreferClose", "PreferSameZone", "PreferSameNode"]))]
    pub traffic_distribution: Option<String>,
    /// `SingleStack`, `PreferDualStack` or `RequireDualStack`. Default `SingleStack`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["SingleStack", "PreferDualStack", "RequireDualStack"]))]
    pub ip_family_policy: Option<String>,
    /// `IPv4` and `IPv6`, the main one first. Default: the cluster's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "families")]
    pub ip_families: Vec<String>,
    /// Callers are sent to pods that are not ready, too. Rainbow itself counts on ready pods alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub publish_not_ready_addresses: bool,
}

/// What the API server checks of each Service.
fn common_rules() -> Vec<Value> {
    vec![
        json!({
            "rule": "!has(self.sessionAffinityConfig) || (has(self.sessionAffinity) && self.sessionAffinity == 'ClientIP')",
            "message": "service.sessionAffinityConfig: only possible with sessionAffinity ClientIP"
        }),
        json!({
            "rule": "!has(self.ipFamilies) || self.ipFamilies.size() < 2 || (has(self.ipFamilyPolicy) && self.ipFamilyPolicy != 'SingleStack')",
            "message": "service.ipFamilies: two families need ipFamilyPolicy PreferDualStack or RequireDualStack"
        }),
    ]
}

/// The same of a stage's Service, which has a type of its own.
fn stage_rules() -> Vec<Value> {
    let own = [
        json!({
            "rule": "!has(self.externalTrafficPolicy) || (has(self.type) && (self.type == 'NodePort' || self.type == 'LoadBalancer'))",
            "message": "service.externalTrafficPolicy: only possible for type NodePort or LoadBalancer"
        }),
        json!({
            "rule": "!(has(self.loadBalancerClass) || has(self.loadBalancerSourceRanges) || has(self.allocateLoadBalancerNodePorts)) || (has(self.type) && self.type == 'LoadBalancer')",
            "message": "service.loadBalancerClass, loadBalancerSourceRanges, allocateLoadBalancerNodePorts: only possible for type LoadBalancer"
        }),
        json!({
            "rule": "!has(self.healthCheckNodePort) || (has(self.type) && self.type == 'LoadBalancer' && has(self.externalTrafficPolicy) && self.externalTrafficPolicy == 'Local')",
            "message": "service.healthCheckNodePort: only possible for type LoadBalancer with externalTrafficPolicy Local"
        }),
        json!({
            "rule": "!has(self.clusterIP) || !has(self.type) || self.type == 'ClusterIP'",
            "message": "service.clusterIP: None is only possible for type ClusterIP"
        }),
    ];
    own.into_iter().chain(common_rules()).collect()
}

fn families(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array", "items": { "type": "string", "enum": ["IPv4", "IPv6"] }, "maxItems": 2, "x-kubernetes-list-type": "atomic",
    })
}

impl StageService {
    /// The Service has no address of its own.
    pub fn is_headless(&self) -> bool {
        self.cluster_ip.is_some()
    }
}

impl TierService {
    /// Nothing is said about the Service.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// The Service has no address of its own.
    pub fn is_headless(&self) -> bool {
        self.cluster_ip.is_some()
    }
}

/// Settings of a session affinity.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionAffinityConfig {
    /// Settings of `ClientIP`.
    #[serde(default, rename = "clientIP", skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<ClientIpConfig>,
}

/// Settings of the session affinity `ClientIP`.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientIpConfig {
    /// Seconds without a connection after which a client is sent to any pod again. Default 10800.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub timeout_seconds: Option<i32>,
}

/// An override for one of the tier's ports in a stage's Service.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageServicePort {
    /// Name of the tier's port.
    #[schemars(length(min = 1, max = 15))]
    pub name: String,
    /// The stage's port, where it differs from the tier's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// A fixed NodePort.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub node_port: Option<i32>,
}

/// Fields of a [`StageService`] or a [`TierService`] that a Service has in its `spec`, as they are there.
pub fn service_fields(service: &impl Serialize) -> Map<String, Value> {
    // Neither has a key that is no text or a number that JSON lacks, which is all that could fail.
    let Ok(Value::Object(mut fields)) = serde_json::to_value(service) else { return Map::new() };
    for other in ["name", "type", "ports", "labels", "annotations"] {
        fields.remove(other);
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ServiceSpec;
    use serde_json::json;

    fn shared() -> Value {
        json!({
            "clusterIP": "None", "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": { "clientIP": { "timeoutSeconds": 60 } }, "internalTrafficPolicy": "Local",
            "trafficDistribution": "PreferClose", "ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv4", "IPv6"],
            "publishNotReadyAddresses": true,
        })
    }

    /// Fields of a Service as Kubernetes reads them.
    #[track_caller]
    fn check(fields: Map<String, Value>, expected: &Value) {
        let fields = Value::Object(fields);
        assert_eq!(fields, *expected);
        let read: ServiceSpec = serde_json::from_value(fields.clone()).unwrap();
        assert_eq!(json!(read), fields, "a field that Kubernetes does not know");
    }

    #[test]
    fn fields_are_those_of_kubernetes() {
        let mut all = shared();
        let others = json!({
            "externalTrafficPolicy": "Local", "loadBalancerClass": "example.com/lb",
            "loadBalancerSourceRanges": ["10.0.0.0/8"], "allocateLoadBalancerNodePorts": false, "healthCheckNodePort": 30500,
        });
        all.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
        let mut written = all.clone();
        for (key, value) in [("labels", json!({ "a": "b" })), ("annotations", json!({ "a": "b" }))] {
            written[key] = value;
        }
        let tier: TierService = serde_json::from_value(shared()).unwrap();
        check(service_fields(&tier), &shared());
        written["name"] = json!("www");
        written["type"] = json!("LoadBalancer");
        written["ports"] = json!([{ "name": "http", "port": 80 }]);
        let stage: StageService = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(json!(stage), written, "every field is in this test");
        check(service_fields(&stage), &all);
    }

    #[test]
    fn a_service_of_which_nothing_is_said_has_no_field() {
        assert!(
            service_fields(&StageService::default()).is_empty() && service_fields(&TierService::default()).is_empty()
        );
        let plain: TierService =
            serde_json::from_value(json!({ "publishNotReadyAddresses": false, "labels": {} })).unwrap();
        assert!(plain.is_plain());
    }
}
