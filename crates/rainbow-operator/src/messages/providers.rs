//! Measurements of gates: what a provider waits for, and what it has found.

use rainbow_api::{FreezeWindow, HumanDuration};
use rainbow_plan::Time;
use std::{fmt::Display, time::Duration};

use super::{plural, to_the_second};

/// Longest text of a container that is quoted, in characters.
const LONGEST: usize = 300;

/// Describes a container that was killed for its memory, as one of `kills`.
pub(crate) fn pod_killed(pod: &str, at: Time, kills: u32, allowed: i32) -> String {
    let killed = format!("pod `{pod}` was killed for its memory (OOMKilled) at {}", to_the_second(at));
    if kills == 1 { killed } else { format!("{killed}, one of {kills}, and {}", are_allowed(allowed)) }
}

/// Describes restarts of a color's containers. `most`: the pod with most of them.
pub(crate) fn pods_restarted(color: &str, restarts: u32, allowed: i32, (_, most): (u32, &str)) -> String {
    let times = plural(restarts.into(), "time");
    format!(
        "containers of color `{color}` have restarted {times}, most of them in pod `{most}`, and {}",
        are_allowed(allowed)
    )
}

fn are_allowed(limit: i32) -> String {
    match limit {
        0 => "none is allowed".to_owned(),
        1 => "1 is allowed".to_owned(),
        _ => format!("{limit} are allowed"),
    }
}

/// Describes a pod that has been not ready for too long.
pub(crate) fn pod_not_ready(pod: &str, since: Time) -> String {
    format!("pod `{pod}` has not been ready since {}", to_the_second(since))
}

/// Message of a manual gate that needs no approval outside of its freeze windows.
pub(crate) const NO_APPROVAL_NEEDED: &str = "no freeze window is open";

/// Describes a manual gate that waits. `message`: sentence of the gate's author.
pub(crate) fn needs_approval(message: Option<&str>, rainbow: &str, stage: &str, gate: &str) -> String {
    let asked = message.map(|message| format!("{message} ")).unwrap_or_default();
    format!("{asked}waits for an approval: `rainbow approve {rainbow} --stage {stage} --gate {gate}`")
}

/// Describes an approval.
pub(crate) fn approved(by: &str, reason: &str) -> String {
    if reason.is_empty() { format!("approved by {by}") } else { format!("approved by {by}: {reason}") }
}

/// Describes a gate that a freeze window closes.
pub(crate) fn frozen(until: Time, window: &FreezeWindow) -> String {
    let frozen = format!("frozen until {} by `{}`", to_the_second(until), window.schedule);
    let texts: Vec<String> = window.except_for.iter().map(|text| format!("`{text}`")).collect();
    match texts[..] {
        [] => frozen,
        _ => format!("{frozen}; an approval passes if its reason begins with {}", texts.join(" or ")),
    }
}

/// Describes an answer without approvals.
pub(crate) fn approvals_not_listed(error: &str) -> String {
    format!("approvals cannot be listed: {error}")
}

/// Error of a Job's template without a pod.
pub(crate) const NO_POD_TEMPLATE: &str = "job.template.spec is missing: write a pod template, with its containers";
/// Error of a container whose variables are no list.
pub(crate) const NO_LIST_OF_VARIABLES: &str = "job.template.spec.containers[].env is no list";

/// Describes a label that a Job's pod must not have.
pub(crate) fn reserved_label(key: &str) -> String {
    format!("job.template.metadata.labels: `{key}` is Rainbow's own: give the label another name")
}

/// Returns what is said of a gate's Job.
pub(crate) fn of_job(name: &str, says: &dyn Display) -> String {
    format!("Job `{name}`: {says}")
}

pub(crate) fn job_runs(name: &str) -> String {
    format!("Job `{name}` runs")
}

pub(crate) fn job_goes(name: &str) -> String {
    format!("an earlier Job `{name}` is being deleted")
}

pub(crate) fn job_complete(name: &str) -> String {
    format!("Job `{name}` is complete")
}

/// Describes a Job whose name is taken.
pub(crate) fn job_of_another(name: &str) -> String {
    format!("Job `{name}` exists and is not Rainbow's: delete it, or give the gate another name")
}

/// Describes a container that does not start.
pub(crate) fn container_waits(name: &str, image: &str, reason: &str, says: Option<&str>) -> String {
    let says = says.map(|says| format!(": {}", cut(says))).unwrap_or_default();
    format!("container `{name}` of image `{image}`: {reason}{says}")
}

/// Describes a pod without a node.
pub(crate) fn not_scheduled(says: &str) -> String {
    format!("not scheduled: {}", cut(says))
}

/// Describes the end of a container that failed, with the last line that it wrote.
pub(crate) fn container_ended(name: &str, code: i32, reason: Option<&str>, says: Option<&str>) -> String {
    let reason = reason.filter(|reason| *reason != "Error").map(|reason| format!(", {reason}")).unwrap_or_default();
    let last = says.and_then(|says| says.lines().rfind(|line| !line.trim().is_empty()));
    let last = last.map(|line| format!(": {}", cut(line.trim()))).unwrap_or_default();
    format!("container `{name}` ended with code {code}{reason}{last}")
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Describes a pattern that cannot be read.
pub(crate) fn no_pattern(pattern: &str, error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => format!("traffic.pattern: `{pattern}` is too large: repeat less"),
        error => {
            let text = error.to_string();
            let last = text.lines().next_back().unwrap_or_default().trim_start_matches("error: ");
            format!("traffic.pattern: `{pattern}` is no regular expression: {last}")
        }
    }
}

pub(crate) fn bad_status(status: u16, body: &str) -> String {
    match body.lines().next().map(str::trim).filter(|line| !line.is_empty()) {
        Some(line) => format!("status {status}: `{}`", cut_reply(line)),
        None => format!("status {status}"),
    }
}

/// Describes a reply that does not match the pattern.
pub(crate) fn unexpected_reply(body: &str) -> String {
    match body.lines().next().map(str::trim).filter(|line| !line.is_empty()) {
        Some(line) => format!("unexpected reply: `{}`", cut_reply(line)),
        None => "the reply is empty".to_owned(),
    }
}

pub(crate) fn mixed_reply(versions: &[&str]) -> String {
    let versions: Vec<String> = versions.iter().map(|version| cut_reply(version)).collect();
    format!("versions are mixed: {}", versions.join(", "))
}

/// Replies are shorter than what containers say: several stand in one sentence.
fn cut_reply(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Describes the replies of a measurement. `seen`: the first failures, and how often each came.
pub(crate) fn traffic(requests: u32, failed: u32, mixed: u32, seen: &[(String, u32)]) -> String {
    let all = plural(requests.into(), "request");
    let was = |count: u32| if count == 1 { "was" } else { "were" };
    let counts = match (failed, mixed) {
        (0, 0) => return all,
        (failed, 0) => format!("{failed} of {all} failed"),
        (0, mixed) => format!("{mixed} of {all} {} mixed", was(mixed)),
        (failed, mixed) => format!("{failed} of {all} failed and {mixed} {} mixed", was(mixed)),
    };
    let one = |(says, count): &(String, u32)| match count {
        1 => says.clone(),
        count => format!("{says} ({count} times)"),
    };
    let named: u32 = seen.iter().map(|(_, count)| count).sum();
    let rest = if named < failed.saturating_add(mixed) { ", …" } else { "" };
    format!("{counts}: {}{rest}", seen.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// Describes a request without a reply in time.
pub(crate) fn no_reply(patience: Duration) -> String {
    format!("no reply within {}", HumanDuration(patience))
}

pub(crate) fn no_ports(tier: &str) -> String {
    format!("tier `{tier}` has no TCP port to send requests to")
}

pub(crate) fn no_such_port(tier: &str, port: &str) -> String {
    format!("traffic.port: tier `{tier}` has no port `{port}`")
}

pub(crate) fn no_address_of(host: &str, error: &dyn Display) -> String {
    format!("`{host}` has no address: {error}")
}

/// Error of a name without an address.
pub(crate) const NO_ANSWER_OF_NAMES: &str = "the name service knows none";
