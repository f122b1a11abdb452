//! Services of stages and of tiers: the fields that their user sets.
//!
//! A field has the name, the values and the meaning that it has in the `spec` of a Kubernetes Service. The operator copies all fields but
//! `name`, `type`, `ports`, `labels` and `annotations` into the Service as they are (see [`service_fields`]).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Service of a stage. Policy, not identity: a change is applied to the Service at once and makes no new color.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = stage_rules()))]
pub struct StageService {
    /// Name of the Service. Default: `<tier>-<stage>`, with the prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// Type of the Service: `ClusterIP` (default), `NodePort` or `LoadBalancer`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["ClusterIP", "NodePort", "LoadBalancer"]))]
    pub type_: Option<String>,
    /// Overrides for the tier's ports, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]), length(max = 32))]
    pub ports: Vec<StageServicePort>,
    /// Labels added to the Service. Labels that others put on it are kept.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations added to the Service, such as those that configure cloud load balancers. Annotations that others put on it are kept.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Address of the Service. `None` makes the Service headless: its name resolves to the pods themselves. Fixed when the Service is made.
    /// Default: Kubernetes assigns an address.
    #[serde(default, rename = "clusterIP", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["None"]))]
    pub cluster_ip: Option<String>,
    /// Session affinity. `ClientIP`: connections from one address go to one pod, as long as that pod is in the stage. Default `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["None", "ClientIP"]))]
    pub session_affinity: Option<String>,
    /// Settings of `sessionAffinity: ClientIP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity_config: Option<SessionAffinityConfig>,
    /// Traffic policy for clients from outside. `Local`: a node sends them only to its own pods and keeps their addresses. For `NodePort`
    /// and `LoadBalancer`. Default `Cluster`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Cluster", "Local"]))]
    pub external_traffic_policy: Option<String>,
    /// Traffic policy for clients in the cluster. `Local`: a node sends them only to its own pods. Default `Cluster`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Cluster", "Local"]))]
    pub internal_traffic_policy: Option<String>,
    /// Preference for pods near a client: `PreferClose`, `PreferSameZone` or `PreferSameNode`. Kubernetes has the last two from 1.34 on.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["PreferClose", "PreferSameZone", "PreferSameNode"]))]
    pub traffic_distribution: Option<String>,
    /// Implementation of the load balancer. For `LoadBalancer`. Fixed when the Service gets that type. Default: the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 317))]
    pub load_balancer_class: Option<String>,
    /// Ranges of client addresses that the load balancer accepts, such as `10.0.0.0/8`. For `LoadBalancer`. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"), length(max = 1024), inner(length(max = 64)))]
    pub load_balancer_source_ranges: Vec<String>,
    /// Whether ports get node ports. `false` suits a load balancer that needs none. For `LoadBalancer`. Default `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocate_load_balancer_node_ports: Option<bool>,
    /// Port on which a node says whether it has pods of the stage. For `LoadBalancer` with `externalTrafficPolicy: Local`. Fixed when the
    /// Service gets one. Default: Kubernetes chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub health_check_node_port: Option<i32>,
    /// IP families of the Service: `SingleStack`, `PreferDualStack` or `RequireDualStack`. Default: what the Service has, `SingleStack` for
    /// a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["SingleStack", "PreferDualStack", "RequireDualStack"]))]
    pub ip_family_policy: Option<String>,
    /// `IPv4` and `IPv6`, the main family first, which is fixed when the Service is made. Default: the cluster's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "families")]
    pub ip_families: Vec<String>,
    /// Whether clients are also sent to pods that are not ready. Rainbow itself relies on ready pods only. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub publish_not_ready_addresses: bool,
}

/// Service of a tier, which the tiers that need it call. Each color has its own.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = common_rules()))]
pub struct TierService {
    /// Labels added to the Service. Labels that others put on it are kept.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations added to the Service. Annotations that others put on it are kept.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Address of the Service. `None` makes the Service headless: its name resolves to the pods themselves. Default: Kubernetes assigns an
    /// address.
    #[serde(default, rename = "clusterIP", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["None"]))]
    pub cluster_ip: Option<String>,
    /// Session affinity. `ClientIP`: connections from one address go to one pod. Default `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["None", "ClientIP"]))]
    pub session_affinity: Option<String>,
    /// Settings of `sessionAffinity: ClientIP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity_config: Option<SessionAffinityConfig>,
    /// Traffic policy. `Local`: a node sends callers only to its own pods. Default `Cluster`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Cluster", "Local"]))]
    pub internal_traffic_policy: Option<String>,
    /// Preference for pods near a caller: `PreferClose`, `PreferSameZone` or `PreferSameNode`. Kubernetes has the last two from 1.34 on.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["PreferClose", "PreferSameZone", "PreferSameNode"]))]
    pub traffic_distribution: Option<String>,
    /// IP families of the Service: `SingleStack`, `PreferDualStack` or `RequireDualStack`. Default `SingleStack`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["SingleStack", "PreferDualStack", "RequireDualStack"]))]
    pub ip_family_policy: Option<String>,
    /// `IPv4` and `IPv6`, the main family first. Default: the cluster's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "families")]
    pub ip_families: Vec<String>,
    /// Whether callers are also sent to pods that are not ready. Rainbow itself relies on ready pods only. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub publish_not_ready_addresses: bool,
}

/// Returns the rules by which the API server checks each Service.
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

/// Returns the rules for a stage's Service, which has a type of its own.
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
    /// Returns whether the Service is headless: it has no address of its own.
    pub fn is_headless(&self) -> bool {
        self.cluster_ip.is_some()
    }
}

impl TierService {
    /// Returns whether the spec says nothing about the Service.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether the Service is headless: it has no address of its own.
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

/// Override for one of the tier's ports in a stage's Service.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageServicePort {
    /// Name of the tier's port.
    #[schemars(length(min = 1, max = 15))]
    pub name: String,
    /// Port of the stage's Service. Default: the tier's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// Fixed node port. Default: Kubernetes chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub node_port: Option<i32>,
}

/// Returns the fields of a [`StageService`] or a [`TierService`] that belong in the `spec` of a Service, unchanged.
pub fn service_fields(service: &impl Serialize) -> Map<String, Value> {
    // Serialization fails only on a key that is no text or a number that JSON lacks. Neither type has one.
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

    /// Checks the fields of a Service as Kubernetes reads them.
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
