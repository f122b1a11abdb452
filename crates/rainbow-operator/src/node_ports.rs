//! Fixed node ports that move between the Services of an application.
//!
//! The API server refuses a Service a node port that another Service has, and keeps a node port that is no longer asked for. So a stage
//! whose Service gets another name has no port until the former Service is gone, and of stages that swap their ports each first gives up
//! its own. Clients of the port itself are without it for a moment. All others notice nothing.

use rainbow_api::{Rainbow, Stage};
use std::{borrow::Cow, collections::BTreeMap};

use crate::cache::App;

/// Node ports of an application.
#[derive(Debug, Default)]
pub(crate) struct NodePorts {
    /// Name of the Service that has each port.
    held: BTreeMap<i32, Box<str>>,
    /// Name of the stage that should have each port.
    wanted: BTreeMap<i32, String>,
}

impl NodePorts {
    pub(crate) fn of(app: &App, rainbow: &Rainbow) -> Self {
        let mut ports = Self::default();
        for stage in &rainbow.spec.stages {
            let fixed = stage.service.ports.iter().filter_map(|port| port.node_port);
            ports.wanted.extend(fixed.map(|number| (number, stage.name.clone())));
        }
        // Most applications have no fixed node ports.
        if !ports.wanted.is_empty() {
            for (name, service) in app.services.iter() {
                ports.held.extend(service.node_ports.iter().map(|number| (*number, Box::from(&**name))));
            }
        }
        ports
    }

    /// Returns the stage as its Service can be now: without node ports that another Service has, and without any while its own port belongs
    /// to another stage.
    pub(crate) fn possible<'a>(&self, stage: &'a Stage, service: &str) -> Cow<'a, Stage> {
        let is_others = |number: i32| self.held.get(&number).is_some_and(|holder| **holder != *service);
        let wanted_by_another = |number: &i32| self.wanted.get(number).is_some_and(|wanted| *wanted != stage.name);
        let mut own = self.held.iter().filter(|(_, holder)| ***holder == *service).map(|(number, _)| number);
        // Giving up a port makes the Service a `ClusterIP` for a moment. For a `LoadBalancer` that would delete the load balancer.
        let gives_up = own.any(wanted_by_another) && stage.service.type_.as_deref() == Some("NodePort");
        if !gives_up && !stage.service.ports.iter().filter_map(|port| port.node_port).any(is_others) {
            return Cow::Borrowed(stage);
        }
        let mut possible = stage.clone();
        for port in &mut possible.service.ports {
            port.node_port = port.node_port.filter(|number| !gives_up && !is_others(*number));
        }
        if gives_up {
            possible.service.type_ = None;
            // A Service of that type has no such policy.
            possible.service.external_traffic_policy = None;
        }
        Cow::Owned(possible)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stage(name: &str, number: i32) -> Stage {
        serde_json::from_value(json!({
            "name": name, "service": { "type": "NodePort", "ports": [{ "name": "http", "nodePort": number }] },
        }))
        .unwrap()
    }

    fn ports(held: &[(i32, &str)], stages: &[&Stage]) -> NodePorts {
        let wanted = |stage: &&Stage| (stage.service.ports[0].node_port.unwrap(), stage.name.clone());
        NodePorts {
            held: held.iter().map(|(number, service)| (*number, Box::from(*service))).collect(),
            wanted: stages.iter().map(wanted).collect(),
        }
    }

    /// Returns the type of the Service and its node port.
    fn possible(ports: &NodePorts, stage: &Stage, service: &str) -> (Option<String>, Option<i32>) {
        let possible = ports.possible(stage, service);
        (possible.service.type_.clone(), possible.service.ports[0].node_port)
    }

    #[test]
    fn a_service_of_another_name_waits_for_the_port() {
        let active = stage("active", 31480);
        let of = |held| possible(&ports(held, &[&active]), &active, "web-active");
        assert_eq!(of(&[(31480, "web-preview")]), (Some("NodePort".into()), None));
        assert_eq!(of(&[]), (Some("NodePort".into()), Some(31480)));
        assert_eq!(of(&[(31480, "web-active")]), (Some("NodePort".into()), Some(31480)));
    }

    #[test]
    fn ports_that_are_swapped_are_given_up_first() {
        let (mut active, smoke) = (stage("active", 1), stage("smoke", 2));
        let before = ports(&[(2, "web-active"), (1, "web-smoke")], &[&active, &smoke]);
        assert_eq!(possible(&before, &active, "web-active"), (None, None));
        assert_eq!(possible(&before, &smoke, "web-smoke"), (None, None));
        active.service.external_traffic_policy = Some("Local".into());
        let given_up = before.possible(&active, "web-active");
        assert_eq!(given_up.service.external_traffic_policy, None, "a Service of type ClusterIP has none");
        let after = ports(&[], &[&active, &smoke]);
        assert_eq!(possible(&after, &active, "web-active"), (Some("NodePort".into()), Some(1)));
    }

    #[test]
    fn a_load_balancer_stays_one() {
        let (mut active, smoke) = (stage("active", 1), stage("smoke", 2));
        active.service.type_ = Some("LoadBalancer".into());
        let before = ports(&[(2, "web-active")], &[&active, &smoke]);
        assert_eq!(possible(&before, &active, "web-active"), (Some("LoadBalancer".into()), Some(1)));
    }
}
