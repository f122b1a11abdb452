//! Manifest of a stage's Service, its selector, and the membership of pods.

use rainbow_api::{Rainbow, Stage, Tier, labels, service_fields};
use rainbow_plan::{InstanceName, Mark, Place, Selection};
use serde_json::{Map, Value, json};

use super::{Scope, owned, service::moving_ports, serving_labels, with_said};
use crate::{clock, kind::Kind, live::PodLabels};

/// Returns the Service of a stage, without its selector. Its ports are those of `tier`, of the color that it selects.
pub(crate) fn stage(scope: &Scope<'_>, rainbow: &Rainbow, stage: &Stage, name: &str, tier: &Tier) -> Value {
    let labels: Map<String, Value> =
        [(labels::RAINBOW, scope.rainbow), (labels::TIER, tier.name.as_str()), (labels::STAGE, stage.name.as_str())]
            .map(|(key, value)| (key.to_owned(), json!(value)))
            .into_iter()
            .collect();
    let ports = moving_ports(tier, &scope.templates.template(tier)).into_iter().map(|mut value| {
        if let Some(own) = stage.service.ports.iter().find(|own| value["name"] == own.name) {
            // The pod's port stays the same when the Service's differs.
            if let Some(number) = own.port {
                value["port"] = json!(number);
            }
            if let Some(number) = own.node_port {
                value["nodePort"] = json!(number);
            }
        }
        value
    });
    let spec = json!({
        "type": stage.service.type_.as_deref().unwrap_or("ClusterIP"),
        "ports": ports.collect::<Vec<_>>(),
    });
    let mut object = owned(scope, rainbow, Kind::Service, name, labels, spec);
    object["metadata"]["annotations"] = json!({});
    with_said(object, &stage.service.labels, &stage.service.annotations, service_fields(&stage.service))
}

/// Returns the shadow Service of a stage, with its selector. Its ports are those of `tier`, of the color that the stage's own Service
/// selects, so that a pod that cannot be an endpoint of one Service is none of the other. It is headless, since only its endpoints matter.
/// Its address families are those of the stage's own Service, too.
pub(crate) fn shadow(
    scope: &Scope<'_>,
    rainbow: &Rainbow,
    stage: &str,
    name: &str,
    tier: &Tier,
    families: &[Box<str>],
) -> Value {
    let labels: Map<String, Value> = [(labels::RAINBOW, scope.rainbow), (labels::SHADOW, stage)]
        .map(|(key, value)| (key.to_owned(), json!(value)))
        .into_iter()
        .collect();
    let mut spec = json!({
        "clusterIP": "None",
        "selector": members(scope, stage),
        "ports": moving_ports(tier, &scope.templates.template(tier)),
    });
    if !families.is_empty() {
        spec["ipFamilies"] = json!(families);
        spec["ipFamilyPolicy"] = json!(if families.len() > 1 { "PreferDualStack" } else { "SingleStack" });
    }
    owned(scope, rainbow, Kind::Service, name, labels, spec)
}

/// Puts the selector into a stage's Service. `labeled` tells whether an instance's pods carry the serving label. `Other` is never applied:
/// the Service is left without a selector.
pub(crate) fn select(
    scope: &Scope<'_>,
    stage: &str,
    service: &mut Value,
    selection: &Selection,
    labeled: impl Fn(&InstanceName) -> bool,
) {
    let selector = match selection {
        Selection::Instance(instance) => serving_labels(scope, instance, labeled(instance)),
        Selection::Members => members(scope, stage),
        Selection::Other => return,
    };
    service["spec"]["selector"] = Value::Object(selector);
}

/// Writes the color that the stage serves into the stage's Service, beside the selector. Where the status is lost and another writer edits
/// the selector, this annotation is what is left.
pub(crate) fn say(service: &mut Value, serves: Option<&str>) {
    if let Some(color) = serves {
        service["metadata"]["annotations"][labels::SERVES] = json!(color);
    }
}

/// Returns a merge patch that changes a stage's Service from one selector to another. `before` and `after` also tell whether the selector
/// asks for the serving label. `None`: the existing selector is unknown.
pub(crate) fn reselect(
    scope: &Scope<'_>,
    stage: &str,
    before: (&Selection, bool),
    after: (&Selection, bool),
) -> Option<Value> {
    let selector = |(selection, asks): (&Selection, bool)| {
        let mut service = json!({});
        select(scope, stage, &mut service, selection, |_| asks);
        service["spec"]["selector"].as_object().cloned()
    };
    let (before, after) = (selector(before)?, selector(after)?);
    Some(json!({ "spec": { "selector": changes(&before, after) } }))
}

fn members(scope: &Scope<'_>, stage: &str) -> Map<String, Value> {
    [(labels::RAINBOW.to_owned(), json!(scope.rainbow)), (labels::member(stage), json!(labels::MEMBER))]
        .into_iter()
        .collect()
}

/// Returns a merge patch that changes Rainbow's labels and annotations of a pod, and touches nothing that stays. So chains that write to
/// one pod do not undo each other, and a label is removed no matter which field manager has written it.
pub(crate) fn relabel(uid: &str, before: &PodLabels, after: &PodLabels) -> Value {
    let (labels_before, annotations_before) = said(before);
    let (labels, annotations) = said(after);
    json!({ "metadata": {
        "uid": uid,
        "labels": changes(&labels_before, labels),
        "annotations": changes(&annotations_before, annotations),
    } })
}

/// Returns the content of a merge patch: `null` removes a key.
fn changes(before: &Map<String, Value>, mut after: Map<String, Value>) -> Map<String, Value> {
    let gone: Vec<String> = before.keys().filter(|key| !after.contains_key(*key)).cloned().collect();
    after.retain(|key, value| before.get(key) != Some(value));
    after.extend(gone.into_iter().map(|key| (key, Value::Null)));
    after
}

/// Returns the labels and annotations of a pod's state.
fn said(of: &PodLabels) -> (Map<String, Value>, Map<String, Value>) {
    let mut labels: Map<String, Value> =
        of.member.keys().map(|stage| (labels::member(stage), json!(labels::MEMBER))).collect();
    let joined = of.member.iter();
    let mut annotations: Map<String, Value> =
        joined.filter_map(|(stage, time)| Some((labels::joined(stage), json!(clock::write((*time)?))))).collect();
    match of.place {
        Place::In => drop(labels.insert(labels::SERVING.into(), json!(labels::YES))),
        Place::Out { since } => annotations.extend(since.map(|at| (labels::OUT_SINCE.into(), json!(clock::write(at))))),
    }
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
