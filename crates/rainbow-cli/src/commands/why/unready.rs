//! Reasons why pods of a color are not ready: the operator's message, and the newest warning about each such pod.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::ListParams;
use rainbow_api::{Color, ColorPhase, ConditionType, labels};

use crate::{context::Cluster, error::Result};

/// Number of pods whose warnings are shown. Pods of one tier usually have the same cause.
const SHOWN: usize = 3;
/// Longest warning, in characters.
const LONGEST: usize = 300;

/// Returns the reasons why pods are not ready, in sentences. Empty where all are ready, or where the color drains or is deleted.
pub(super) async fn explain(cluster: &Cluster, color: &Color) -> Result<Vec<String>> {
    let Some(says) = condition(color) else { return Ok(Vec::new()) };
    let selector = ListParams::default().labels(&format!("{}={}", labels::RAINBOW, color.spec.rainbow));
    let pods = cluster.api::<Pod>().list(&selector).await.map_err(|error| cluster.error(&error))?.items;
    let events = events(cluster).await;
    let mut sentences = vec![says];
    sentences.extend(warnings(&unready(&pods, color), events));
    Ok(sentences)
}

/// Lists warnings about pods. Without the right to list events, the list is empty and only statuses are shown.
pub(super) async fn events(cluster: &Cluster) -> Vec<Event> {
    let fields = ListParams::default().fields("involvedObject.kind=Pod,type=Warning");
    cluster.api::<Event>().list(&fields).await.map(|list| list.items).unwrap_or_default()
}

/// Returns the operator's message about the color, where it lacks pods.
fn condition(color: &Color) -> Option<String> {
    let status = color.status.as_ref()?;
    if color.metadata.deletion_timestamp.is_some()
        || matches!(status.phase, Some(ColorPhase::Draining | ColorPhase::Retired))
    {
        return None;
    }
    let of = |type_: ConditionType, value: &str| {
        let condition = type_.find(&status.conditions)?;
        (condition.status == value && !condition.message.is_empty()).then(|| condition.message.clone())
    };
    of(ConditionType::Stalled, "True").or_else(|| of(ConditionType::Ready, "False"))
}

/// Returns the pods of a color that are not ready: name by UID.
fn unready(pods: &[Pod], color: &Color) -> BTreeMap<String, String> {
    let label = |pod: &Pod, key: &str| pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)).cloned();
    let is_of_color = |pod: &&Pod| {
        let (tier, of) = (label(pod, labels::TIER), label(pod, labels::COLOR));
        let is_it = |instance: &rainbow_api::ColorInstance| {
            tier.as_deref() == Some(&instance.tier) && of.as_deref() == Some(&instance.color)
        };
        color.spec.instances.iter().any(is_it)
    };
    let is_ready = |pod: &&Pod| {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    let unready = pods.iter().filter(is_of_color).filter(|pod| !is_ready(pod));
    unready.filter_map(|pod| Some((pod.metadata.uid.clone()?, pod.metadata.name.clone()?))).collect()
}

/// Returns the newest warning about each of the pods, by pod. `pods` has their names by UID.
pub(super) fn newest(pods: &BTreeMap<String, String>, events: Vec<Event>) -> BTreeMap<&str, (Timestamp, String)> {
    let mut newest: BTreeMap<&str, (Timestamp, String)> = BTreeMap::new();
    for event in events {
        let uid = event.involved_object.uid.as_deref().unwrap_or_default();
        let Some((_, pod)) = pods.get_key_value(uid) else { continue };
        let (Some(at), Some(message)) = (time(&event), event.message) else { continue };
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        let message: String = message.chars().take(LONGEST).collect();
        let text = format!("{}: {message}", event.reason.unwrap_or_default());
        let known = newest.entry(pod).or_insert((at, text.clone()));
        if known.0 < at {
            *known = (at, text);
        }
    }
    newest
}

/// Returns the newest warnings, the newest first. A warning that several pods have is given once.
fn warnings(pods: &BTreeMap<String, String>, events: Vec<Event>) -> Vec<String> {
    let newest = newest(pods, events);
    let mut all: Vec<(&str, Timestamp, String)> = newest.into_iter().map(|(pod, (at, text))| (pod, at, text)).collect();
    all.sort_by_key(|(_, at, _)| std::cmp::Reverse(*at));
    let mut shown: Vec<(&str, String)> = Vec::new();
    for (pod, _, text) in all {
        if shown.iter().all(|(_, known)| *known != text) {
            shown.push((pod, text));
        }
    }
    shown.into_iter().take(SHOWN).map(|(pod, text)| format!("{pod}: {text}")).collect()
}

/// Returns the time at which an event was last seen.
fn time(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    let first = event.event_time.as_ref().map(|time| time.0);
    series.or(last).or(first).or_else(|| event.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn event(uid: &str, second: u32, reason: &str, message: &str) -> Event {
        serde_json::from_value(json!({
            "metadata": {}, "involvedObject": { "kind": "Pod", "uid": uid }, "type": "Warning", "reason": reason,
            "message": message, "lastTimestamp": format!("2026-01-01T00:00:{second:02}Z"),
        }))
        .unwrap()
    }

    fn color(phase: &str, conditions: Value) -> Color {
        serde_json::from_value(json!({
            "metadata": { "name": "shop-v2" },
            "spec": { "rainbow": "shop", "color": "v2", "revision": 1, "tiers": [],
                      "instances": [{ "tier": "web", "color": "v2", "identity": "x" }] },
            "status": { "phase": phase, "conditions": conditions },
        }))
        .unwrap()
    }

    #[test]
    fn the_newest_warning_of_each_pod_is_told_once() {
        let pods = BTreeMap::from([("1".to_owned(), "web-a".to_owned()), ("2".to_owned(), "web-b".to_owned())]);
        let events = vec![
            event("1", 3, "Unhealthy", "Readiness probe failed:\n503"),
            event("1", 1, "FailedMount", "no secret"),
            event("2", 2, "Unhealthy", "Readiness probe failed: 503"),
            event("3", 9, "Failed", "another application's"),
        ];
        assert_eq!(warnings(&pods, events), ["web-a: Unhealthy: Readiness probe failed: 503"]);
        let events = vec![event("1", 1, "FailedMount", "no secret"), event("2", 2, "Failed", "no image")];
        assert_eq!(warnings(&pods, events), ["web-b: Failed: no image", "web-a: FailedMount: no secret"]);
    }

    #[test]
    fn only_pods_of_the_color_that_are_not_ready_count() {
        let pod = |name: &str, tier: &str, ready: &str| -> Pod {
            serde_json::from_value(json!({
                "metadata": { "name": name, "uid": name, "labels": { "rainbow.dev/tier": tier, "rainbow.dev/color": "v2" } },
                "status": { "conditions": [{ "type": "Ready", "status": ready }] },
            }))
            .unwrap()
        };
        let pods = [pod("a", "web", "False"), pod("b", "web", "True"), pod("c", "db", "False")];
        let found = unready(&pods, &color("Starting", json!([])));
        assert_eq!(found.keys().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn a_color_that_goes_or_is_ready_lacks_nothing() {
        let condition = |type_: &str, status: &str| {
            json!([{ "type": type_, "status": status, "reason": "Starting", "message": "web 0/1 ready",
                     "lastTransitionTime": "2026-01-01T00:00:00Z" }])
        };
        let says = |phase: &str, conditions: Value| super::condition(&color(phase, conditions));
        assert_eq!(says("Starting", condition("Ready", "False")).as_deref(), Some("web 0/1 ready"));
        assert_eq!(says("Stalled", condition("Stalled", "True")).as_deref(), Some("web 0/1 ready"));
        assert_eq!(says("Serving", condition("Ready", "True")), None);
        assert_eq!(says("Draining", condition("Ready", "False")), None);
    }
}
