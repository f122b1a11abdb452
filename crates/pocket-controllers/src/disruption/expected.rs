//! Number of pods that a budget covers, and number of them that must be healthy.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt::Write as _,
    sync::Arc,
};

use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Pod, policy::v1::PodDisruptionBudgetSpec},
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, OwnerReference},
        util::intstr::IntOrString,
    },
};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
    discovery::pinned_kind,
};

use super::DisruptionReconciler;
use crate::{cache::Key, owner};

/// Demands of a budget.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// Number of pods that must exist.
    pub(super) pods: i32,
    /// Number of pods that must be healthy.
    pub(super) healthy: i32,
    /// Whether pods without a controller are selected; they are counted nowhere.
    pub(super) unmanaged: bool,
}

/// Sum of the sizes of the pods' controllers.
struct Scale {
    pods: i32,
    unmanaged: bool,
}

impl DisruptionReconciler {
    /// Returns the demands. Percentages and `maxUnavailable` refer to the sizes that the pods' controllers want.
    pub(super) async fn expected(&self, spec: &PodDisruptionBudgetSpec, mine: &[Arc<Pod>]) -> Result<Expected, String> {
        match (&spec.max_unavailable, &spec.min_available) {
            (Some(unavailable), _) => {
                let Scale { pods, unmanaged } = self.scale(mine).await?;
                let healthy = pods.saturating_sub(share(unavailable, pods)?).max(0);
                Ok(Expected { pods, healthy, unmanaged })
            }
            (None, Some(IntOrString::Int(healthy))) => {
                let pods = i32::try_from(mine.len()).unwrap_or(i32::MAX);
                Ok(Expected { pods, healthy: *healthy, unmanaged: false })
            }
            (None, Some(percent)) => {
                let Scale { pods, unmanaged } = self.scale(mine).await?;
                Ok(Expected { pods, healthy: share(percent, pods)?, unmanaged })
            }
            (None, None) => Ok(Expected { pods: 0, healthy: 0, unmanaged: false }),
        }
    }

    /// Returns the sum of the sizes of all controllers of these pods, each counted once.
    async fn scale(&self, mine: &[Arc<Pod>]) -> Result<Scale, String> {
        let (mut sizes, mut unmanaged) = (HashMap::new(), false);
        for pod in mine {
            let Some(reference) = owner::controller(&**pod) else {
                unmanaged = true;
                continue;
            };
            if sizes.contains_key(&reference.uid) {
                continue;
            }
            let namespace = pod.namespace().unwrap_or_default();
            let found = match self.cached_size(reference, &namespace) {
                Some(found) => Some(found),
                None => self.scale_of(reference, &namespace).await?,
            };
            let (uid, size) = found.ok_or_else(|| format!("found no controllers for pod \"{}\"", pod.name_any()))?;
            if let Entry::Vacant(entry) = sizes.entry(uid) {
                entry.insert(size);
            }
        }
        let pods = sizes.into_values().fold(0_i32, i32::saturating_add);
        Ok(Scale { pods, unmanaged })
    }

    /// Returns the Deployment of a ReplicaSet with its size; the ReplicaSet itself if it has no Deployment.
    fn cached_size(&self, reference: &OwnerReference, namespace: &str) -> Option<(String, i32)> {
        if !is_kind(reference, "ReplicaSet") {
            return None;
        }
        let set = self.sets.get(&Key::new(namespace, &reference.name))?;
        if set.metadata.uid.as_ref() != Some(&reference.uid) {
            return None;
        }
        let size = |replicas: Option<i32>| replicas.unwrap_or(1);
        match owner::controller(&*set) {
            Some(deployment) if deployment.kind == "Deployment" => {
                let found = self.deployments.get(&Key::new(namespace, &deployment.name))?;
                let same = found.metadata.uid.as_ref() == Some(&deployment.uid) && is_kind(deployment, "Deployment");
                same.then(|| (deployment.uid.clone(), size(replicas_of(&found))))
            }
            _ => Some((reference.uid.clone(), size(set.spec.as_ref().and_then(|spec| spec.replicas)))),
        }
    }

    /// Returns the size of any other kind of controller, through its scale subresource.
    async fn scale_of(&self, reference: &OwnerReference, namespace: &str) -> Result<Option<(String, i32)>, String> {
        let (group, version) = reference.api_version.split_once('/').unwrap_or(("", &reference.api_version));
        let kind = GroupVersionKind::gvk(group, version, &reference.kind);
        let (resource, capabilities) = match pinned_kind(&self.client, &kind).await {
            Ok(found) => found,
            Err(kube::Error::Discovery(_)) => return Err(no_matches(reference)),
            Err(kube::Error::Api(status)) if status.code == 404 => return Err(no_matches(reference)),
            Err(error) => return Err(error.to_string()),
        };
        if !capabilities.subresources.iter().any(|(sub, _)| sub.plural == "scale" && sub.kind == "Scale") {
            return Err(format!("{} does not implement the scale subresource", group_resource(&resource)));
        }
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let scale = match api.get_scale(&reference.name).await {
            Ok(scale) => scale,
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        if scale.metadata.uid.as_ref() != Some(&reference.uid) {
            return Ok(None);
        }
        Ok(Some((reference.uid.clone(), scale.spec.and_then(|spec| spec.replicas).unwrap_or(0))))
    }
}

fn replicas_of(deployment: &Deployment) -> Option<i32> {
    deployment.spec.as_ref()?.replicas
}

/// Returns whether a reference names a kind of the workloads' group, under its present name or its first one.
fn is_kind(reference: &OwnerReference, kind: &str) -> bool {
    let group = reference.api_version.split_once('/').map_or("", |(group, _)| group);
    reference.kind == kind && matches!(group, "apps" | "extensions")
}

fn no_matches(reference: &OwnerReference) -> String {
    format!("no matches for kind \"{}\" in version \"{}\"", reference.kind, reference.api_version)
}

fn group_resource(resource: &ApiResource) -> String {
    match resource.group.as_str() {
        "" => resource.plural.clone(),
        group => format!("{}.{group}", resource.plural),
    }
}

/// Returns a number, or a percentage of `of`, rounded up.
fn share(value: &IntOrString, of: i32) -> Result<i32, String> {
    let text = match value {
        IntOrString::Int(number) => return Ok(*number),
        IntOrString::String(text) => text,
    };
    let invalid = |why: &str| format!("invalid value for IntOrString: {why}");
    let number = text.strip_suffix('%').ok_or_else(|| invalid("invalid type: string is not a percentage"))?;
    let percent: i32 = number
        .parse()
        .map_err(|error| invalid(&format!("invalid value \"{text}\": strconv.Atoi: parsing \"{number}\": {error}")))?;
    let product = i64::from(of) * i64::from(percent);
    let share = product.div_euclid(100) + i64::from(product.rem_euclid(100) > 0);
    Ok(i32::try_from(share).unwrap_or(i32::MAX))
}

/// Returns a selector as Go prints it, which is the form in a real controller's events.
pub(super) fn as_go_prints(selector: Option<&LabelSelector>) -> String {
    let Some(selector) = selector else { return "nil".to_owned() };
    let (mut labels, mut expressions) = (String::new(), String::new());
    for (key, value) in selector.match_labels.iter().flatten() {
        // Writing to a String cannot fail, here and below.
        let _ = write!(labels, "{key}: {value},");
    }
    for expression in selector.match_expressions.iter().flatten() {
        let values = expression.values.as_deref().unwrap_or_default().join(" ");
        let (key, operator) = (&expression.key, &expression.operator);
        let _ = write!(expressions, "LabelSelectorRequirement{{Key:{key},Operator:{operator},Values:[{values}],}},");
    }
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn shares_are_rounded_up() {
        let check = |value: Value, of: i32, expected: Result<i32, &str>| {
            let value: IntOrString = serde_json::from_value(value).unwrap();
            assert_eq!(share(&value, of), expected.map_err(str::to_owned), "{value:?} of {of}");
        };
        check(json!(9), 7, Ok(9));
        check(json!("50%"), 7, Ok(4));
        check(json!("30%"), 7, Ok(3));
        check(json!("0%"), 7, Ok(0));
        check(json!("100%"), 7, Ok(7));
        check(json!("100%"), 0, Ok(0));
        check(json!("x"), 7, Err("invalid value for IntOrString: invalid type: string is not a percentage"));
    }

    #[test]
    fn selectors_as_go_prints_them() {
        let selector: LabelSelector = serde_json::from_value(json!({
            "matchLabels": { "b": "2", "a": "1" },
            "matchExpressions": [{ "key": "c", "operator": "In", "values": ["x", "y"] }],
        }))
        .unwrap();
        let printed = as_go_prints(Some(&selector));
        assert_eq!(
            printed,
            "&LabelSelector{MatchLabels:map[string]string{a: 1,b: 2,},MatchExpressions:[]LabelSelectorRequirement{\
             LabelSelectorRequirement{Key:c,Operator:In,Values:[x y],},},}"
        );
    }
}
