//! Writes that turn the existing slices into the wanted endpoints. Pure.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::Service,
        discovery::v1::{Endpoint, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::{HEADLESS, MANAGED_BY, ME, SERVICE_NAME, desired, desired::Group};
use crate::owner;

/// Greatest number of endpoints in a slice.
const MAX_ENDPOINTS: usize = 100;

/// Writes of slices.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) change: Vec<(Arc<EndpointSlice>, Value)>,
    pub(super) create: Vec<EndpointSlice>,
    pub(super) delete: Vec<Arc<EndpointSlice>>,
}

/// Plans the writes. Endpoints stay in their slices where possible, so that few slices change.
pub(super) fn plan(service: &Service, groups: Vec<Group>, have: Vec<Arc<EndpointSlice>>) -> Plan {
    let mut plan = Plan::default();
    let labels = labels(service);
    let mut unused = have;
    for group in groups {
        let (fitting, rest): (Vec<_>, Vec<_>) = unused.into_iter().partition(|slice| fits(slice, &group));
        unused = rest;
        let mut wanted: BTreeMap<String, Endpoint> =
            group.endpoints.iter().map(|endpoint| (identity(endpoint), endpoint.clone())).collect();
        // First, endpoints that are in a slice already stay there.
        let mut filled: Vec<(Arc<EndpointSlice>, Vec<Endpoint>)> = Vec::new();
        for slice in fitting {
            let kept = slice.endpoints.iter().filter_map(|endpoint| wanted.remove(&identity(endpoint))).collect();
            filled.push((slice, kept));
        }
        join_small(&mut filled);
        // Then new endpoints fill free room, in the fullest slices first, so that few slices change.
        filled.sort_by_key(|(slice, kept)| (std::cmp::Reverse(kept.len()), slice.name_any()));
        let mut left: Vec<Endpoint> = wanted.into_values().collect();
        for (_, kept) in &mut filled {
            let room = MAX_ENDPOINTS.saturating_sub(kept.len()).min(left.len());
            kept.extend(left.drain(..room));
        }
        let mut remain = filled.iter().filter(|(_, kept)| !kept.is_empty()).count();
        for (slice, kept) in filled {
            // One empty slice stays if there is nothing else.
            if kept.is_empty() && (remain > 0 || !group.endpoints.is_empty()) {
                plan.delete.push(slice);
                continue;
            }
            remain += 1;
            change(&mut plan, slice, kept, &group.ports, &labels);
        }
        while !left.is_empty() || remain == 0 {
            let endpoints: Vec<_> = left.drain(..left.len().min(MAX_ENDPOINTS)).collect();
            plan.create.push(slice(service, &group, endpoints, labels.clone()));
            remain += 1;
        }
    }
    plan.delete.extend(unused);
    plan
}

/// Moves the remaining endpoints of slices that change anyway into fewer of them.
fn join_small(filled: &mut [(Arc<EndpointSlice>, Vec<Endpoint>)]) {
    filled.sort_by_key(|(slice, kept)| (kept.len(), slice.name_any()));
    let changes = |(slice, kept): &(Arc<EndpointSlice>, Vec<Endpoint>)| kept.len() < slice.endpoints.len();
    for at in 0..filled.len() {
        let (before, after) = filled.split_at_mut(at + 1);
        let Some(small) = before.last_mut().filter(|small| changes(small)) else { continue };
        let fits = |large: &&mut (_, Vec<Endpoint>)| large.1.len() + small.1.len() <= MAX_ENDPOINTS;
        if let Some(large) = after.iter_mut().filter(|large| changes(large)).find(fits) {
            large.1.append(&mut small.1);
        }
    }
}

/// Returns whether a slice can hold this group. A slice without endpoints can take any ports.
fn fits(slice: &EndpointSlice, group: &Group) -> bool {
    let same = slice.ports.as_deref().unwrap_or_default() == group.ports.as_slice();
    slice.address_type == group.address_type && (same || slice.endpoints.is_empty() || group.endpoints.is_empty())
}

fn change(
    plan: &mut Plan,
    slice: Arc<EndpointSlice>,
    endpoints: Vec<Endpoint>,
    ports: &[EndpointPort],
    labels: &BTreeMap<String, String>,
) {
    let mut patch = json!({});
    if slice.endpoints != endpoints {
        patch["endpoints"] = json!(endpoints);
    }
    if slice.ports.as_deref().unwrap_or_default() != ports {
        patch["ports"] = json!(ports);
    }
    if slice.labels() != labels {
        let gone = slice.labels().keys().filter(|key| !labels.contains_key(*key)).map(|key| (key.clone(), Value::Null));
        let all: serde_json::Map<String, Value> =
            gone.chain(labels.iter().map(|(k, v)| (k.clone(), json!(v)))).collect();
        patch["metadata"] = json!({ "labels": all });
    }
    if patch != json!({}) {
        plan.change.push((slice, patch));
    }
}

fn slice(
    service: &Service,
    group: &Group,
    endpoints: Vec<Endpoint>,
    labels: BTreeMap<String, String>,
) -> EndpointSlice {
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", service.name_any())),
            namespace: service.namespace(),
            labels: Some(labels),
            owner_references: Some(vec![owner::reference(service)]),
            ..ObjectMeta::default()
        },
        address_type: group.address_type.to_owned(),
        endpoints,
        ports: Some(group.ports.clone()),
    }
}

/// Returns the Service's labels and the labels that name the slice's Service and controller.
fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.labels().clone();
    labels.insert(SERVICE_NAME.to_owned(), service.name_any());
    labels.insert(MANAGED_BY.to_owned(), ME.to_owned());
    if desired::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    } else {
        labels.remove(HEADLESS);
    }
    labels
}

/// Returns the identity of an endpoint, independent of its conditions.
fn identity(endpoint: &Endpoint) -> String {
    let uid = endpoint.target_ref.as_ref().and_then(|target| target.uid.as_deref()).unwrap_or_default();
    format!("{} {uid}", endpoint.addresses.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Service {
        serde_json::from_value(
            json!({ "metadata": { "name": "web", "namespace": "d", "uid": "s", "labels": { "app": "web" } } }),
        )
        .unwrap()
    }

    fn endpoint(number: usize, ready: bool) -> Endpoint {
        serde_json::from_value(json!({
            "addresses": [format!("10.0.{}.{}", number / 250, number % 250)], "conditions": { "ready": ready },
            "targetRef": { "kind": "Pod", "uid": number.to_string() },
        }))
        .unwrap()
    }

    fn port(number: i32) -> EndpointPort {
        EndpointPort { port: Some(number), ..EndpointPort::default() }
    }

    fn group(port_number: i32, endpoints: Vec<Endpoint>) -> Group {
        Group { address_type: "IPv4", ports: vec![port(port_number)], endpoints }
    }

    /// Applies a plan to the slices; returns them and the numbers of created, changed and deleted slices.
    fn step(groups: Vec<Group>, have: Vec<Arc<EndpointSlice>>) -> (Vec<Arc<EndpointSlice>>, [usize; 3]) {
        static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let plan = plan(&service(), groups, have.clone());
        let counts = [plan.create.len(), plan.change.len(), plan.delete.len()];
        let mut now: Vec<Arc<EndpointSlice>> = have
            .into_iter()
            .filter(|slice| !plan.delete.iter().any(|gone| gone.metadata.name == slice.metadata.name))
            .map(|slice| match plan.change.iter().find(|(changed, _)| changed.metadata.name == slice.metadata.name) {
                Some((_, patch)) => {
                    let mut value = serde_json::to_value(&*slice).unwrap();
                    for (key, part) in patch.as_object().unwrap() {
                        value[key] = part.clone();
                    }
                    Arc::new(serde_json::from_value(value).unwrap())
                }
                None => slice,
            })
            .collect();
        for mut slice in plan.create {
            let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            slice.metadata.name = Some(format!("web-{number}"));
            now.push(Arc::new(slice));
        }
        (now, counts)
    }

    fn sizes(slices: &[Arc<EndpointSlice>]) -> Vec<usize> {
        let mut sizes: Vec<_> = slices.iter().map(|slice| slice.endpoints.len()).collect();
        sizes.sort_unstable();
        sizes
    }

    #[test]
    fn few_slices_change() {
        let all = |count: usize| (0..count).map(|n| endpoint(n, true)).collect::<Vec<_>>();
        let (slices, counts) = step(vec![group(80, vec![])], vec![]);
        assert_eq!((counts, sizes(&slices)), ([1, 0, 0], vec![0]), "an empty slice says that there is nothing");
        let (slices, counts) = step(vec![group(80, all(250))], slices);
        assert_eq!((counts, sizes(&slices)), ([2, 1, 0], vec![50, 100, 100]));
        let (slices, counts) = step(vec![group(80, all(250))], slices);
        assert_eq!(counts, [0, 0, 0], "nothing changes in a steady state");
        let mut one = all(250);
        one[7] = endpoint(7, false);
        let (slices, counts) = step(vec![group(80, one)], slices);
        assert_eq!(counts, [0, 1, 0]);
        let (slices, counts) = step(vec![group(80, all(251))], slices);
        assert!(counts[0] == 0 && counts[1] <= 2 && counts[2] == 0, "{counts:?}");
        let (slices, _) = step(vec![group(80, all(3))], slices);
        assert_eq!(sizes(&slices), [3]);
        let (slices, counts) = step(vec![group(80, vec![])], slices);
        assert_eq!((counts, sizes(&slices)), ([0, 1, 0], vec![0]));
    }

    #[test]
    fn pods_with_other_ports_have_other_slices() {
        let (slices, counts) =
            step(vec![group(80, vec![endpoint(1, true)]), group(81, vec![endpoint(2, true)])], vec![]);
        assert_eq!(counts, [2, 0, 0]);
        let (slices, counts) = step(vec![group(81, vec![endpoint(1, true), endpoint(2, true)])], slices);
        assert_eq!((counts, sizes(&slices)), ([0, 1, 1], vec![2]));
        assert_eq!(slices[0].ports.as_deref().unwrap(), [port(81)]);
    }

    #[test]
    fn labels_follow_the_service() {
        let (slices, _) = step(vec![group(80, vec![])], vec![]);
        assert_eq!(slices[0].labels()["app"], "web");
        let mut old = (*slices[0]).clone();
        old.metadata.labels.as_mut().unwrap().insert("stale".into(), "x".into());
        let plan = plan(&service(), vec![group(80, vec![])], vec![Arc::new(old)]);
        assert_eq!(plan.change[0].1["metadata"]["labels"]["stale"], Value::Null);
    }
}
