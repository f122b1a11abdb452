//! Notes of events.

use rainbow_api::{Cut, HumanDuration};
use rainbow_plan::InstanceName;

use super::NOTE_BYTES;

pub(crate) fn color_created(color: &str) -> String {
    format!("color {color} is new")
}

pub(crate) fn color_deleted(color: &str) -> String {
    format!("color {color} was deleted")
}

pub(crate) fn color_ready(color: &str) -> String {
    format!("all pods of color {color} are ready")
}

pub(crate) fn color_retired(color: &str) -> String {
    format!("color {color} has no pods any more")
}

/// Returns a message about a color, where the subject is the Rainbow.
pub(crate) fn of_color(color: &str, message: &str) -> String {
    format!("color {color}: {message}")
}

pub(crate) fn shift_started(stage: &str, from: &str, to: &str) -> String {
    format!("stage {stage} moves from {from} to {to}")
}

pub(crate) fn shift_turned(stage: &str, to: &str, instead_of: &str) -> String {
    format!("stage {stage} moves to {to} instead of {instead_of}")
}

pub(crate) fn shift_step(stage: &str, moved: i32, of: i32, to: &str) -> String {
    format!("stage {stage}: {moved} of {of} pods are {to}")
}

pub(crate) fn shift_paused(stage: &str, from: &str, to: &str, moved: i32, of: i32) -> String {
    format!("stage {stage} is paused on the way from {from} to {to}: {moved} of {of} pods")
}

pub(crate) fn shift_finished(stage: &str, color: &str) -> String {
    format!("stage {stage} serves {color}")
}

pub(crate) fn selector_restored(stage: &str, color: Option<&str>) -> String {
    let back = color.map_or_else(String::new, |color| format!(", which serves `{color}`"));
    format!(
        "the selector of the Service of stage `{stage}`{back}, was changed by another writer and is set back: use `rainbow promote`"
    )
}

/// Source of the size of a color's tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SizeOf<'a> {
    /// The spec of the Rainbow, which describes the color.
    Spec { rainbow: &'a str },
    /// The color, which keeps the size that it had when the spec described it.
    Color,
}

/// Describes that another writer has scaled a Deployment from the size that it should have.
pub(crate) fn scale_taken_back(
    deployment: &str,
    manager: &str,
    (scaled, wanted): (u32, u32),
    instance: &InstanceName,
    size: SizeOf<'_>,
) -> String {
    let remedy = match size {
        SizeOf::Spec { rainbow } => format!(
            "change `tiers[{tier}].replicas` of Rainbow `{rainbow}`, or set `tiers[{tier}].autoscale`, or \
             `tiers[{tier}].scaling: External` where another controller decides",
            tier = instance.tier
        ),
        SizeOf::Color => format!("color `{}` keeps its size until the spec describes it", instance.color),
    };
    format!("Deployment `{deployment}` was scaled to {scaled} by `{manager}` and is taken back to {wanted}: {remedy}")
}

pub(crate) fn shift_aborted(stage: &str, color: &str) -> String {
    format!("stage {stage} serves {color} as before")
}

/// Describes the connections that are about to be cut, as many as fit into a note.
pub(crate) fn cuts(color: &str, cut: &[Cut]) -> String {
    let known: i64 = cut.iter().filter_map(|cut| cut.connections).fold(0, i64::saturating_add);
    let of = if cut.iter().all(|cut| cut.connections.is_some()) { "" } else { "at least " };
    let connections = if known == 1 { "connection" } else { "connections" };
    let mut message = format!("color {color} ends with {of}{known} {connections}: ");
    for (index, one) in cut.iter().enumerate() {
        let text = of_cut(one);
        let more = format!(" and {} more", cut.len() - index);
        if message.len() + text.len() + more.len() + 2 > NOTE_BYTES {
            message.push_str(&more);
            break;
        }
        if index > 0 {
            message.push_str("; ");
        }
        message.push_str(&text);
    }
    message
}

/// Describes a cut, such as `pod a-v1-x port 8081: 3, the oldest 12m`.
fn of_cut(cut: &Cut) -> String {
    let port = cut.port.map_or_else(String::new, |port| format!(" port {port}"));
    let number = cut.connections.map_or_else(|| "unknown".to_owned(), |number| number.to_string());
    let seconds = cut.oldest_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let age = seconds.map_or_else(String::new, |age| format!(", the oldest {}", HumanDuration::from_secs(age)));
    format!("pod {}{port}: {number}{age}", cut.pod)
}
