//! Reasons of releases, and users who moved stages: annotations, which `rainbow history` shows.

use std::collections::BTreeMap;

use kube::api::{Patch, PatchParams};
use rainbow_api::{Color, Config, Rainbow, RainbowSpec, Version, labels, names};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    context::{Cluster, Context},
    patch::{Change, FIELD_MANAGER},
};

/// Longest message, in characters.
const LONGEST: usize = 1024;

/// Move of a stage to a color, as an annotation of the color stores it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moved {
    /// Kind of the move, such as `rolled back`.
    pub(crate) what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    /// Time of the move (RFC 3339).
    pub(crate) at: String,
    pub(crate) message: String,
}

/// Reads a message of the command line as one line. Fails where the message is empty or too long.
pub(crate) fn message(text: &str) -> Result<String, String> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.chars().count() {
        0 => Err("it says nothing: write why, or leave --message out".into()),
        length if length > LONGEST => Err(format!("it has {length} characters: {LONGEST} are the most")),
        _ => Ok(text),
    }
}

/// Returns the color that a spec describes. `None`: the name depends on the content of versioned configuration, which the spec does not have.
fn color_of(spec: &RainbowSpec) -> Option<String> {
    match (&spec.color, spec.config) {
        (Some(color), _) => Some(color.clone()),
        (None, Config::Shared) => Some(Version::of(spec).color),
        (None, Config::Versioned) => None,
    }
}

/// Returns the annotations of a Rainbow after a release: `None` removes one. Annotations of the same color stay, so that a repeated release
/// changes nothing; those of an earlier color go.
pub(crate) fn of_release(
    before: &BTreeMap<String, String>,
    spec: &RainbowSpec,
    message: Option<&str>,
    by: Option<&str>,
) -> BTreeMap<&'static str, Option<String>> {
    let color = color_of(spec);
    let known = before.get(labels::RELEASED_BY);
    let is_same = color.as_ref().zip(known).is_some_and(|(color, known)| known.split(' ').next() == Some(color));
    let released = color.zip(by).map(|(color, by)| format!("{color} {by}"));
    let (cause, released) = match is_same {
        true => (message.or(before.get(labels::CHANGE_CAUSE).map(String::as_str)), known.cloned()),
        false => (message, released),
    };
    [(labels::CHANGE_CAUSE, cause.map(str::to_owned)), (labels::RELEASED_BY, released)].into()
}

/// Adds these annotations to a change of a Rainbow.
pub(crate) fn write(change: &mut Change, rainbow: &Rainbow, annotations: BTreeMap<&'static str, Option<String>>) {
    let before = rainbow.metadata.annotations.clone().unwrap_or_default();
    if before.is_empty() {
        let new: BTreeMap<&str, String> =
            annotations.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        if !new.is_empty() {
            change.set(&["metadata", "annotations"], json!(new));
        }
        return;
    }
    for (key, value) in annotations {
        match value {
            Some(value) if before.get(key) != Some(&value) => change.set(&["metadata", "annotations", key], value),
            None if before.contains_key(key) => change.remove(&["metadata", "annotations", key]),
            Some(_) | None => {}
        }
    }
}

/// Writes to a color why a stage was moved to it. A failure is only a warning, because the stage has been moved by then.
pub(crate) async fn record(
    context: &Context,
    cluster: &Cluster,
    rainbow: &str,
    color: &str,
    stage: &str,
    moved: &Moved,
) {
    let key = format!("{}{stage}", labels::MOVED_PREFIX);
    let patch = json!({ "metadata": { "annotations": { key: json!(moved).to_string() } } });
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let written =
        cluster.api::<Color>().patch(&names::color_object(rainbow, color), &params, &Patch::Merge(patch)).await;
    if let Err(error) = written {
        let error = cluster.error(&error);
        context.printer.warning(format_args!("the message could not be written to color {color}: {error}"));
    }
}

/// Returns the moves that a color records, by stage.
pub(crate) fn moves(color: &Color) -> BTreeMap<String, Moved> {
    let annotations = color.metadata.annotations.iter().flatten();
    let moves = annotations.filter_map(|(key, value)| Some((key.strip_prefix(labels::MOVED_PREFIX)?, value)));
    moves.filter_map(|(stage, value)| Some((stage.to_owned(), serde_json::from_str(value).ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(color: &str) -> RainbowSpec {
        serde_json::from_value(json!({ "color": color, "tiers": [] })).unwrap()
    }

    fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_message_is_one_line_that_says_something() {
        assert_eq!(message(" new\n prices ").unwrap(), "new prices");
        assert_eq!(message("\n").unwrap_err(), "it says nothing: write why, or leave --message out");
        assert!(message(&"x".repeat(1025)).is_err());
    }

    #[test]
    fn what_was_said_of_another_color_goes() {
        let before = annotations(&[(labels::CHANGE_CAUSE, "old"), (labels::RELEASED_BY, "v1 ann")]);
        let of = |color: &str, message, by| {
            let written = of_release(&before, &spec(color), message, by);
            (written[labels::CHANGE_CAUSE].clone(), written[labels::RELEASED_BY].clone())
        };
        assert_eq!(of("v2", Some("new"), Some("bob")), (Some("new".into()), Some("v2 bob".into())));
        assert_eq!(of("v2", None, None), (None, None), "neither is known of v2");
        assert_eq!(of("v1", None, Some("bob")), (Some("old".into()), Some("v1 ann".into())), "ann has released it");
        assert_eq!(of("v1", Some("new"), Some("bob")), (Some("new".into()), Some("v1 ann".into())));
        // The name of a color without a given name is a hash of its tiers.
        let hashed: RainbowSpec = serde_json::from_value(json!({ "tiers": [] })).unwrap();
        let written = of_release(&BTreeMap::new(), &hashed, None, Some("ann"));
        assert_eq!(written[labels::RELEASED_BY], Some(format!("{} ann", Version::of(&hashed).color)));
    }

    #[test]
    fn only_what_differs_is_written() {
        let rainbow = |annotations: serde_json::Value| -> Rainbow {
            serde_json::from_value(
                json!({ "metadata": { "name": "shop", "annotations": annotations }, "spec": { "tiers": [] } }),
            )
            .unwrap()
        };
        let written = |rainbow: &Rainbow, cause: Option<&str>| {
            let mut change = Change::default();
            write(&mut change, rainbow, [(labels::CHANGE_CAUSE, cause.map(str::to_owned))].into());
            serde_json::to_value(change.operations()).unwrap()
        };
        let path = "/metadata/annotations/kubernetes.io~1change-cause";
        assert_eq!(
            written(&rainbow(json!(null)), Some("a")),
            json!([{ "op": "add", "path": "/metadata/annotations", "value": { "kubernetes.io/change-cause": "a" } }])
        );
        assert_eq!(
            written(&rainbow(json!({ "x": "y" })), Some("a")),
            json!([{ "op": "add", "path": path, "value": "a" }])
        );
        let said = rainbow(json!({ "kubernetes.io/change-cause": "a" }));
        assert_eq!(written(&said, None), json!([{ "op": "remove", "path": path }]));
        assert_eq!(written(&said, Some("a")), json!([]));
        assert_eq!(written(&rainbow(json!(null)), None), json!([]));
    }

    #[test]
    fn moves_are_read_back() {
        let moved =
            Moved { what: "promoted".into(), by: Some("ann".into()), at: "then".into(), message: "tested".into() };
        let color: Color = serde_json::from_value(json!({
            "metadata": { "name": "shop-v1", "annotations": {
                "moved.rainbow.dev/active": json!(moved).to_string(), "moved.rainbow.dev/x": "no JSON", "other": "{}",
            } },
            "spec": { "rainbow": "shop", "color": "v1", "revision": 1, "tiers": [], "instances": [] },
        }))
        .unwrap();
        assert_eq!(moves(&color), [("active".to_owned(), moved)].into());
    }
}
