//! Senders of a Service's clients to pods, as far as they decide how pods can be exchanged.

use rainbow_api::StageService;
use serde_json::Value;

/// Senders of a Service's clients to pods. Later variants need more time to follow a change of endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Senders {
    /// Nodes, each to all pods.
    #[default]
    Nodes,
    /// Nodes, each only to its own pods: a traffic policy is `Local`.
    NodesLocally,
    /// Clients themselves, by the answers of the cluster's DNS: the Service is headless.
    Clients,
    /// Load balancer that addresses pods, which it must register and check first.
    LoadBalancer,
}

/// Annotations whose value `ip` asks for a load balancer that addresses pods, of the AWS Load Balancer Controller: for a Service, and for
/// an Ingress that leads to one.
const TARGET_TYPES: [&str; 3] = [
    "service.beta.kubernetes.io/aws-load-balancer-nlb-target-type",
    "service.beta.kubernetes.io/aws-load-balancer-target-type",
    "alb.ingress.kubernetes.io/target-type",
];
/// Annotation that is the older way to ask for IP targets, with the value `nlb-ip`.
const LOAD_BALANCER_TYPE: &str = "service.beta.kubernetes.io/aws-load-balancer-type";
/// Annotation that asks GKE for network endpoint groups of pods, for an Ingress or for ports.
const ENDPOINT_GROUPS: &str = "cloud.google.com/neg";

impl Senders {
    /// Returns the senders of a Service with these annotations and these fields of its `spec`. The empty text stands for a value that is
    /// not set.
    pub(crate) fn of<'a>(annotation: impl Fn(&str) -> &'a str, field: impl Fn(&str) -> &'a str) -> Self {
        let targets =
            TARGET_TYPES.iter().any(|key| annotation(key) == "ip") || annotation(LOAD_BALANCER_TYPE) == "nlb-ip";
        if targets || has_endpoint_groups(annotation(ENDPOINT_GROUPS)) {
            Self::LoadBalancer
        } else if field("clusterIP") == "None" {
            Self::Clients
        } else if field("externalTrafficPolicy") == "Local" || field("internalTrafficPolicy") == "Local" {
            Self::NodesLocally
        } else {
            Self::Nodes
        }
    }

    /// Returns the senders of a stage's Service when it is as the spec says.
    pub(crate) fn of_stage(service: &StageService) -> Self {
        let annotation = |key: &str| service.annotations.get(key).map(String::as_str).unwrap_or_default();
        let field = |name: &str| match name {
            "clusterIP" => service.cluster_ip.as_deref(),
            "externalTrafficPolicy" => service.external_traffic_policy.as_deref(),
            "internalTrafficPolicy" => service.internal_traffic_policy.as_deref(),
            _ => None,
        };
        Self::of(annotation, |name| field(name).unwrap_or_default())
    }
}

/// Returns whether an annotation such as `{"ingress": true}` or `{"exposed_ports": {"80": {}}}` asks for groups. An annotation that cannot
/// be read may ask for them.
fn has_endpoint_groups(annotation: &str) -> bool {
    if annotation.is_empty() {
        return false;
    }
    let read = serde_json::from_str::<Value>(annotation);
    read.map_or(true, |asked| {
        asked["ingress"] == true || asked["exposed_ports"].as_object().is_some_and(|ports| !ports.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Checks that the senders are the same, whether the Service is read or the spec that it is made of.
    #[track_caller]
    fn check(annotations: Value, spec: Value, expected: Senders) {
        fn text<'a>(of: &'a Value, key: &str) -> &'a str {
            of[key].as_str().unwrap_or_default()
        }
        let live = Senders::of(|key| text(&annotations, key), |field| text(&spec, field));
        let mut service = spec.clone();
        service["annotations"] = annotations.clone();
        let wanted = Senders::of_stage(&serde_json::from_value(service).unwrap());
        assert_eq!((live, wanted), (expected, expected), "{annotations} {spec}");
    }

    #[test]
    fn senders_follow_from_annotations_and_policies() {
        let plain = || json!({ "type": "LoadBalancer", "externalTrafficPolicy": "Cluster" });
        check(json!({}), plain(), Senders::Nodes);
        check(json!({}), json!({ "externalTrafficPolicy": "Local" }), Senders::NodesLocally);
        check(json!({}), json!({ "internalTrafficPolicy": "Local" }), Senders::NodesLocally);
        check(json!({}), json!({ "clusterIP": "None", "internalTrafficPolicy": "Local" }), Senders::Clients);
        // A node falls back to pods other than the preferred ones.
        check(json!({}), json!({ "trafficDistribution": "PreferSameNode" }), Senders::Nodes);
        for key in TARGET_TYPES {
            check(json!({ key: "ip" }), json!({ "externalTrafficPolicy": "Local" }), Senders::LoadBalancer);
            check(json!({ key: "instance" }), plain(), Senders::Nodes);
        }
        check(json!({ LOAD_BALANCER_TYPE: "nlb-ip" }), plain(), Senders::LoadBalancer);
        check(json!({ LOAD_BALANCER_TYPE: "external" }), plain(), Senders::Nodes);
        for (groups, expected) in [
            (r#"{"ingress": true}"#, Senders::LoadBalancer),
            (r#"{"exposed_ports": {"80": {"name": "web"}}}"#, Senders::LoadBalancer),
            (r#"{"ingress": false}"#, Senders::Nodes),
            (r#"{"exposed_ports": {}}"#, Senders::Nodes),
            ("yes", Senders::LoadBalancer),
        ] {
            check(json!({ ENDPOINT_GROUPS: groups }), plain(), expected);
        }
    }
}
