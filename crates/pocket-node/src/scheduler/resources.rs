//! Resource requests: the amounts that a pod asks for, and whether a node has them left (`noderesources/fit.go`).

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, PodSpec, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};
use pocket_object::quantity;

use super::{filter::Obstacle, node::NodeView, pod::PodView};

/// Amounts by the name of the resource, in billionths.
pub(crate) type Amounts = BTreeMap<String, i128>;

/// One unit, in billionths.
const ONE: i128 = 1_000_000_000;

/// Reads a list of resources. An invalid quantity counts as nothing; the API accepts none.
pub(crate) fn amounts(list: &BTreeMap<String, Quantity>) -> Amounts {
    list.iter()
        .filter_map(|(name, Quantity(text))| Some((name.clone(), quantity::Quantity::parse(text)?.nanos())))
        .collect()
}

/// Sums up a pod's requests: its containers and sidecars together, or the peak of its init containers if that is more, and
/// its overhead. Requests of the pod as a whole replace the sum (`component-helpers/resource`).
pub(crate) fn requests(spec: &PodSpec) -> Amounts {
    let mut total = Amounts::new();
    for container in &spec.containers {
        add(&mut total, &of_container(container));
    }
    let mut sidecars = Amounts::new();
    let mut most = Amounts::new();
    for container in spec.init_containers.iter().flatten() {
        let mut needed = of_container(container);
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut total, &needed);
            add(&mut sidecars, &needed);
            needed.clone_from(&sidecars);
        } else {
            add(&mut needed, &sidecars);
        }
        raise(&mut most, &needed);
    }
    raise(&mut total, &most);
    total.extend(spec.resources.as_ref().map(of_requirements).unwrap_or_default());
    add(&mut total, &spec.overhead.as_ref().map(amounts).unwrap_or_default());
    total
}

fn of_container(container: &Container) -> Amounts {
    container.resources.as_ref().map(of_requirements).unwrap_or_default()
}

/// Returns the requests of a container; a limit without a request is the request.
fn of_requirements(resources: &ResourceRequirements) -> Amounts {
    let mut requests = resources.limits.as_ref().map(amounts).unwrap_or_default();
    requests.extend(resources.requests.as_ref().map(amounts).unwrap_or_default());
    requests
}

fn add(total: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = total.entry(name.clone()).or_default();
        *sum = sum.saturating_add(*amount);
    }
}

fn raise(total: &mut Amounts, least: &Amounts) {
    for (name, amount) in least {
        let amount = *amount;
        total.entry(name.clone()).and_modify(|sum| *sum = amount.max(*sum)).or_insert(amount);
    }
}

/// Checks that a node with these pods has enough resources left. The obstacle names the scarce ones.
pub(crate) fn check<'a>(
    pod: &PodView,
    node: &NodeView,
    others: impl Iterator<Item = &'a PodView>,
) -> Result<(), Obstacle> {
    let mut used = Amounts::new();
    let mut count = 0;
    for other in others {
        add(&mut used, &other.requests);
        count += ONE;
    }
    let allocatable = |name: &str| node.allocatable.get(name).copied().unwrap_or(0);
    let mut reasons = Vec::new();
    let mut resolvable = true;
    if count + ONE > allocatable("pods") {
        reasons.push("Too many pods".to_owned());
    }
    for (name, amount) in pod.requests.iter().filter(|(_, amount)| **amount > 0) {
        let left = allocatable(name) - used.get(name).copied().unwrap_or(0);
        if *amount > left {
            reasons.push(format!("Insufficient {name}"));
            resolvable &= *amount <= allocatable(name);
        }
    }
    if reasons.is_empty() { Ok(()) } else { Err(Obstacle { reasons, resolvable }) }
}
