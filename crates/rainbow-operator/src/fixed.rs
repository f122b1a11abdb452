//! Fields of a Service that an API server does not let change once they are set.
//!
//! A stage's Service keeps these fields, so that no apply of it is refused because of them and the selector is written with everything
//! else. Differences from the spec are reported. The Service of an instance needs no such care, since another version has another Service.

use rainbow_api::Stage;
use serde_json::Value;
use std::borrow::Cow;

/// Value that a Service keeps although the spec has another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeptValue {
    /// Whether the Service is headless.
    Headless(bool),
    /// Main family of the Service's addresses.
    Family(String),
    /// Class of the Service's load balancer. `None`: the cluster's.
    LoadBalancerClass(Option<String>),
    /// Port on which nodes say whether they have pods of the stage.
    HealthCheckNodePort(i32),
}

/// Fixed fields, as a Service has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fixed {
    headless: bool,
    families: Box<[Box<str>]>,
    /// `None`: the Service is not of type LoadBalancer, and may get any values when it becomes one.
    load_balancer: Option<LoadBalancer>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct LoadBalancer {
    class: Option<Box<str>>,
    /// `None`: the Service has no such port, and may get any.
    health_check_node_port: Option<i32>,
}

impl Fixed {
    /// Reads the spec of a Service.
    pub(crate) fn of(spec: &Value) -> Self {
        let families = spec["ipFamilies"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let load_balancer = || LoadBalancer {
            class: spec["loadBalancerClass"].as_str().map(Box::from),
            health_check_node_port: spec["healthCheckNodePort"]
                .as_i64()
                .and_then(|port| i32::try_from(port).ok())
                .filter(|port| *port != 0),
        };
        Self {
            headless: spec["clusterIP"] == "None",
            families: families.map(Box::from).collect(),
            load_balancer: (spec["type"] == "LoadBalancer").then(load_balancer),
        }
    }

    /// Returns the families of the Service's addresses, the main one first.
    pub(crate) fn families(&self) -> &[Box<str>] {
        &self.families
    }

    /// Adds the family that Kubernetes has added to the Service of an instance. The API server refuses a list that lacks it, unless the
    /// policy says that one family is enough.
    pub(crate) fn keep_added_family(&self, service: &mut Value) {
        let spec = &mut service["spec"];
        let wanted = spec["ipFamilies"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_part = wanted.iter().zip(&self.families).all(|(wanted, family)| *wanted == **family);
        let lacks = !wanted.is_empty() && wanted.len() < self.families.len();
        if is_part && lacks && spec["ipFamilyPolicy"] != "SingleStack" {
            spec["ipFamilies"] = self.families.iter().map(|family| Value::from(&**family)).collect();
        }
    }

    /// Returns the stage as its Service can be without being created again, and what the Service keeps although the spec has other values.
    pub(crate) fn possible<'a>(&self, stage: Cow<'a, Stage>) -> (Cow<'a, Stage>, Vec<KeptValue>) {
        let mut possible = stage.clone().into_owned();
        let mut kept = Vec::new();
        self.keep_address(&mut possible, &mut kept);
        self.keep_families(&mut possible, &mut kept);
        self.keep_load_balancer(&mut possible, &mut kept);
        if possible == *stage { (stage, kept) } else { (Cow::Owned(possible), kept) }
    }

    fn keep_address(&self, stage: &mut Stage, kept: &mut Vec<KeptValue>) {
        let service = &mut stage.service;
        if service.is_headless() == self.headless {
            return;
        }
        kept.push(KeptValue::Headless(self.headless));
        service.cluster_ip = self.headless.then(|| "None".to_owned());
        if self.headless {
            // No other type can be headless, and no field of another type is possible.
            service.type_ = None;
            service.external_traffic_policy = None;
            service.load_balancer_class = None;
            service.load_balancer_source_ranges = Vec::new();
            service.allocate_load_balancer_node_ports = None;
            service.health_check_node_port = None;
            service.ports.iter_mut().for_each(|port| port.node_port = None);
        }
    }

    fn keep_families(&self, stage: &mut Stage, kept: &mut Vec<KeptValue>) {
        let service = &mut stage.service;
        let (Some(wanted), Some(main)) = (service.ip_families.first(), self.families.first()) else { return };
        let has_all =
            || self.families.iter().map(|family| &**family).eq(service.ip_families.iter().map(String::as_str));
        // The API server refuses a list that lacks the family that Kubernetes has added, unless the policy says that one is enough.
        let adds = self.families.len() > service.ip_families.len()
            && service.ip_family_policy.as_deref() != Some("SingleStack");
        let other = **main != **wanted;
        if other {
            kept.push(KeptValue::Family(main.to_string()));
        }
        if (other || adds) && !has_all() {
            service.ip_families = self.families.iter().map(ToString::to_string).collect();
        }
        // A single family that stays leaves no place for a second one.
        if other && service.ip_families.len() > 1 && service.ip_family_policy.as_deref() == Some("SingleStack") {
            service.ip_families.truncate(1);
        }
    }

    fn keep_load_balancer(&self, stage: &mut Stage, kept: &mut Vec<KeptValue>) {
        let service = &mut stage.service;
        let is_one = service.type_.as_deref() == Some("LoadBalancer");
        let Some(own) = self.load_balancer.as_ref().filter(|_| is_one) else { return };
        if service.load_balancer_class.as_deref() != own.class.as_deref() {
            // Where the spec is silent, something else in the cluster may have set the class.
            if service.load_balancer_class.is_some() {
                kept.push(KeptValue::LoadBalancerClass(own.class.as_deref().map(str::to_owned)));
            }
            service.load_balancer_class = own.class.as_deref().map(str::to_owned);
        }
        if let (Some(wanted), Some(port)) = (service.health_check_node_port, own.health_check_node_port)
            && wanted != port
        {
            kept.push(KeptValue::HealthCheckNodePort(port));
            service.health_check_node_port = Some(port);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rainbow_api::service_fields;
    use serde_json::json;

    /// Checks that a Service that is `live`, of a stage that asks for `wanted`, gets `expected`, and that its user is informed of what it
    /// keeps.
    #[track_caller]
    fn check(live: Value, wanted: Value, expected: Value, kept: &[KeptValue]) {
        let stage: Stage = serde_json::from_value(json!({ "name": "active", "service": wanted })).unwrap();
        let (possible, found) = Fixed::of(&live).possible(Cow::Borrowed(&stage));
        let mut fields = Value::Object(service_fields(&possible.service));
        if let Some(kind) = &possible.service.type_ {
            fields["type"] = json!(kind);
        }
        assert_eq!((fields, found.as_slice()), (expected, kept), "{live} {}", json!(stage.service));
        assert!(matches!(possible, Cow::Borrowed(_)) == (*possible == stage));
    }

    #[test]
    fn an_address_is_for_life() {
        let live = || json!({ "type": "ClusterIP", "clusterIP": "10.0.0.1", "ipFamilies": ["IPv4"] });
        check(live(), json!({}), json!({}), &[]);
        check(live(), json!({ "clusterIP": "None" }), json!({}), &[KeptValue::Headless(false)]);
        let headless = || json!({ "type": "ClusterIP", "clusterIP": "None", "ipFamilies": ["IPv4"] });
        check(headless(), json!({ "clusterIP": "None" }), json!({ "clusterIP": "None" }), &[]);
        check(headless(), json!({}), json!({ "clusterIP": "None" }), &[KeptValue::Headless(true)]);
        let outside = json!({
            "type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30500, "loadBalancerClass": "a",
            "loadBalancerSourceRanges": ["10.0.0.0/8"], "allocateLoadBalancerNodePorts": false, "sessionAffinity": "ClientIP",
        });
        let expected = json!({ "clusterIP": "None", "sessionAffinity": "ClientIP" });
        check(headless(), outside, expected, &[KeptValue::Headless(true)]);
    }

    #[test]
    fn the_main_family_is_for_life() {
        let four = || json!({ "ipFamilies": ["IPv4"] });
        let both = || json!({ "ipFamilies": ["IPv4", "IPv6"] });
        let six = || json!({ "ipFamilies": ["IPv6"] });
        let kept = [KeptValue::Family("IPv4".into())];
        check(four(), four(), four(), &[]);
        check(four(), six(), four(), &kept);
        check(both(), json!({}), json!({}), &[]);
        // Kubernetes has added the second family: a list without it is refused.
        let prefer = |families: Value| json!({ "ipFamilyPolicy": "PreferDualStack", "ipFamilies": families });
        check(both(), prefer(json!(["IPv4"])), prefer(json!(["IPv4", "IPv6"])), &[]);
        check(both(), prefer(json!(["IPv6", "IPv4"])), prefer(json!(["IPv4", "IPv6"])), &kept);
        let single = |families: Value| json!({ "ipFamilyPolicy": "SingleStack", "ipFamilies": families });
        check(both(), single(json!(["IPv4"])), single(json!(["IPv4"])), &[]);
        check(both(), single(json!(["IPv6"])), single(json!(["IPv4"])), &kept);
        check(four(), prefer(json!(["IPv4", "IPv6"])), prefer(json!(["IPv4", "IPv6"])), &[]);
    }

    #[test]
    fn a_family_that_was_added_stays() {
        let both = Fixed::of(&json!({ "ipFamilies": ["IPv4", "IPv6"] }));
        let families = |spec: Value| {
            let mut service = json!({ "spec": spec });
            both.keep_added_family(&mut service);
            service["spec"]["ipFamilies"].clone()
        };
        let with = |policy: &str, families: Value| json!({ "ipFamilyPolicy": policy, "ipFamilies": families });
        assert_eq!(families(with("PreferDualStack", json!(["IPv4"]))), json!(["IPv4", "IPv6"]));
        assert_eq!(families(with("SingleStack", json!(["IPv4"]))), json!(["IPv4"]));
        assert_eq!(families(with("PreferDualStack", json!(["IPv6"]))), json!(["IPv6"]), "another version");
        assert_eq!(families(json!({})), Value::Null);
    }

    #[test]
    fn a_load_balancer_keeps_its_class_and_its_port() {
        let kind = |fields: Value| {
            let mut all = json!({ "type": "LoadBalancer" });
            all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            all
        };
        let class = |class: &str| kind(json!({ "loadBalancerClass": class }));
        check(class("a"), class("a"), class("a"), &[]);
        check(class("a"), class("b"), class("a"), &[KeptValue::LoadBalancerClass(Some("a".into()))]);
        check(class("a"), kind(json!({})), class("a"), &[]);
        check(kind(json!({})), class("b"), kind(json!({})), &[KeptValue::LoadBalancerClass(None)]);
        check(json!({ "type": "NodePort" }), class("b"), class("b"), &[]);
        check(class("a"), json!({ "type": "NodePort" }), json!({ "type": "NodePort" }), &[]);
        let local = |port: i32| kind(json!({ "externalTrafficPolicy": "Local", "healthCheckNodePort": port }));
        check(local(1), local(1), local(1), &[]);
        check(local(1), local(2), local(1), &[KeptValue::HealthCheckNodePort(1)]);
        check(kind(json!({})), local(2), local(2), &[]);
    }
}
