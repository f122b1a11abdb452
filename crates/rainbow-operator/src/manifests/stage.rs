//! A stage's Service, what it selects, and the membership of pods.

use rainbow_api::{Rainbow, Stage, labels, stage_tier};
use rainbow_plan::{InstanceName, Mark, Selection};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

use super::{Scope, instance_labels, managed, owner, service::port};
use crate::{clock, domain, kind::Kind, live::PodLabels};

/// The Service of a stage, without its selector. `None` where it is unclear which tier the stage leads to.
pub(crate) fn stage(scope: &Scope<'_>, rainbow: &Rainbow, stage: &Stage) -> Option<Value> {
    let tier_name = stage_tier(&rainbow.spec, stage)?;
    let tier = rainbow.spec.tiers.iter().find(|tier| tier.name == tier_name)?;
    let labels: Map<String, Value> =
        [(labels::RAINBOW, scope.rainbow), (labels::TIER, tier_name), (labels::STAGE, stage.name.as_str())]
            .map(|(key, value)| (key.to_owned(), json!(value)))
            .into_iter()
            .collect();
    let ports = tier.ports.iter().map(|of_tier| {
        let mut value = port(of_tier);
        if let Some(own) = stage.service.ports.iter().find(|own| own.name == of_tier.name) {
            // The pod's port stays what it is when the Service's differs.
            if let Some(number) = own.port {
                value["port"] = json!(number);
            }
            if let Some(number) = own.node_port {
                value["nodePort"] = json!(number);
            }
        }
        value
    });
    Some(json!({
        "apiVersion": Kind::Service.api_version(),
        "kind": Kind::Service.name(),
        "metadata": {
            "name": domain::stage_service(&rainbow.spec, stage)?,
            "namespace": scope.namespace,
            "labels": managed(labels),
            "annotations": stage.service.annotations,
            "ownerReferences": owner(scope, rainbow),
        },
        "spec": {
            "type": stage.service.type_.as_deref().unwrap_or("ClusterIP"),
            "ports": ports.collect::<Vec<_>>(),
        },
    }))
}

/// Puts the selector into a stage's Service. `Other` is nothing that is ever applied: the Service is left without one.
pub(crate) fn select(scope: &Scope<'_>, stage: &str, service: &mut Value, selection: &Selection) {
    let selector = match selection {
        Selection::Instance(instance) => instance_labels(scope, &instance.tier, &instance.color),
        Selection::Members => members(scope, stage),
        Selection::Other => return,
    };
    service["spec"]["selector"] = Value::Object(selector);
}

fn members(scope: &Scope<'_>, stage: &str) -> Map<String, Value> {
    [(labels::RAINBOW.to_owned(), json!(scope.rainbow)), (labels::member(stage), json!(labels::MEMBER))]
        .into_iter()
        .collect()
}

/// What a stage's Service selects, read back from its selector.
pub(crate) fn selection(rainbow: &str, stage: &str, selector: &BTreeMap<String, String>) -> Selection {
    let get = |key: &str| selector.get(key).map(String::as_str);
    if get(labels::RAINBOW) != Some(rainbow) {
        return Selection::Other;
    }
    match (selector.len(), get(labels::TIER), get(labels::COLOR)) {
        (3, Some(tier), Some(color)) => {
            Selection::Instance(InstanceName { tier: tier.to_owned(), color: color.to_owned() })
        }
        (2, None, None) if get(&labels::member(stage)) == Some(labels::MEMBER) => Selection::Members,
        _ => Selection::Other,
    }
}

/// A merge patch that makes of what Rainbow says of a pod something else, and touches nothing that stays. So chains that write
/// about one pod do not undo each other, and a label goes whatever field manager has put it on the pod.
pub(crate) fn relabel(uid: &str, before: &PodLabels, after: &PodLabels) -> Value {
    let (labels_before, annotations_before) = said(before);
    let (labels, annotations) = said(after);
    json!({ "metadata": {
        "uid": uid,
        "labels": changes(&labels_before, labels),
        "annotations": changes(&annotations_before, annotations),
    } })
}

/// What a merge patch says: `null` takes a key away.
fn changes(before: &Map<String, Value>, mut after: Map<String, Value>) -> Map<String, Value> {
    let gone: Vec<String> = before.keys().filter(|key| !after.contains_key(*key)).cloned().collect();
    after.retain(|key, value| before.get(key) != Some(value));
    after.extend(gone.into_iter().map(|key| (key, Value::Null)));
    after
}

/// Labels and annotations.
fn said(of: &PodLabels) -> (Map<String, Value>, Map<String, Value>) {
    let mut labels: Map<String, Value> =
        of.member.keys().map(|stage| (labels::member(stage), json!(labels::MEMBER))).collect();
    let joined = of.member.iter();
    let mut annotations: Map<String, Value> =
        joined.filter_map(|(stage, time)| Some((labels::joined(stage), json!(clock::write((*time)?))))).collect();
    match of.mark {
        Mark::None => {}
        Mark::Held => {
            labels.insert(labels::HOLDING.into(), json!(labels::YES));
            annotations.insert(labels::SAFE_TO_EVICT.into(), json!("false"));
            annotations.insert(labels::DO_NOT_DISRUPT.into(), json!("true"));
        }
        Mark::Leaving => {
            annotations.insert(labels::DELETION_COST.into(), json!(labels::LEAVING_COST));
        }
    }
    (labels, annotations)
}
