//! Why a pod is not ready, in the words of the kubelet and the scheduler.

use super::shown::{Condition, ContainerState, ContainerStatus, ShownPod};

/// Reasons of a waiting container that are the ordinary course of a start.
const ORDINARY: [&str; 2] = ["ContainerCreating", "PodInitializing"];
/// Longest trouble, in characters: messages of container runtimes quote whole requests.
const LONGEST: usize = 300;

/// Why a pod is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The pod does not become ready by itself.
    Stuck(Box<str>),
    /// The pod may be on its way still.
    NotYet(Box<str>),
}

impl Trouble {
    /// The trouble of a pod. `None`: the pod is ready, is being deleted, or has only just been made.
    pub(super) fn of(pod: &ShownPod) -> Option<Self> {
        let status = &pod.status;
        let conditions = status.conditions.as_deref().unwrap_or_default();
        let is = |type_: &str| conditions.iter().find(|condition| condition.type_ == type_);
        let is_true = |type_: &str| is(type_).is_some_and(|condition| condition.status == "True");
        if is_true("Ready") || pod.metadata.deletion_timestamp.is_some() {
            return None;
        }
        if let Some(says) = is("PodScheduled").and_then(not_scheduled) {
            return Some(Self::Stuck(cut(says)));
        }
        let lists = [&status.init_container_statuses, &status.container_statuses];
        let containers = || lists.into_iter().flatten().flatten();
        if let Some(says) = containers().find_map(does_not_run) {
            return Some(Self::Stuck(cut(says)));
        }
        let gates = pod.spec.readiness_gates.iter().flatten();
        let mut closed = gates.map(|gate| gate.condition_type.as_str()).filter(|gate| !is_true(gate));
        if let Some(gate) = closed.next().filter(|_| is_true("ContainersReady")) {
            return Some(Self::Stuck(cut(format!("readiness gate `{gate}` is not True"))));
        }
        let runs = |container: &&ContainerStatus| {
            !container.ready && container.state.as_ref().is_some_and(|state| state.running.is_some())
        };
        let waits = status.container_statuses.iter().flatten().find(runs)?;
        Some(Self::NotYet(cut(format!("container `{}` does not pass its readiness probe", waits.name))))
    }
}

fn not_scheduled(condition: &Condition) -> Option<String> {
    let says = condition.message.as_deref().filter(|_| condition.status == "False")?;
    Some(format!("not scheduled: {says}"))
}

/// Why a container does not run, where that is not the ordinary course of a start.
fn does_not_run(container: &ContainerStatus) -> Option<String> {
    let name = &container.name;
    let state = container.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().filter(|reason| !ORDINARY.contains(reason))?;
        let says = waiting.message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
        return Some(match container.last_state.as_ref().and_then(ended) {
            Some(ended) => format!("container `{name}` {ended} ({reason})"),
            None => {
                let image = container.image.as_deref().unwrap_or_default();
                format!("container `{name}` of image `{image}`: {reason}{says}")
            }
        });
    }
    let ended = ended(state)?;
    Some(format!("container `{name}` {ended}"))
}

/// The end of a container that should have gone on.
fn ended(state: &ContainerState) -> Option<String> {
    let ended = state.terminated.as_ref().filter(|ended| ended.exit_code != 0)?;
    let reason = ended.reason.as_deref().filter(|reason| *reason != "Error");
    let reason = reason.map(|reason| format!(", {reason}")).unwrap_or_default();
    let says = ended.message.as_deref().map(str::trim).filter(|text| !text.is_empty());
    let last = says.and_then(|text| text.lines().last()).map(|line| format!(": {line}")).unwrap_or_default();
    Some(format!("ended with code {}{reason}{last}", ended.exit_code))
}

fn cut(text: String) -> Box<str> {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[track_caller]
    fn check(status: Value, expected: Option<Trouble>) {
        let pod = json!({
            "metadata": { "name": "web-v1-x" },
            "spec": { "containers": [{ "name": "web" }], "readinessGates": [{ "conditionType": "lb.example/ready" }] },
            "status": status,
        });
        assert_eq!(Trouble::of(&serde_json::from_value(pod).unwrap()), expected);
    }

    fn stuck(text: &str) -> Option<Trouble> {
        Some(Trouble::Stuck(text.into()))
    }

    fn web(state: Value, last: Value) -> Value {
        json!({ "containerStatuses": [{
            "name": "web", "image": "web:v9", "imageID": "", "ready": false, "restartCount": 0, "state": state, "lastState": last,
        }] })
    }

    #[test]
    fn says_what_the_kubelet_says() {
        let pulled = json!({ "waiting": { "reason": "ImagePullBackOff", "message": "Back-off pulling image" } });
        check(
            web(pulled, json!({})),
            stuck("container `web` of image `web:v9`: ImagePullBackOff: Back-off pulling image"),
        );
        let loops = json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 10s" } });
        let ended = json!({ "terminated": { "exitCode": 3, "reason": "Error", "message": "starting\nno database\n" } });
        check(web(loops, ended.clone()), stuck("container `web` ended with code 3: no database (CrashLoopBackOff)"));
        check(web(ended, json!({})), stuck("container `web` ended with code 3: no database"));
        let killed = json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } });
        check(web(killed, json!({})), stuck("container `web` ended with code 137, OOMKilled"));
        check(web(json!({ "waiting": { "reason": "ContainerCreating" } }), json!({})), None);
        let probe = "container `web` does not pass its readiness probe";
        check(web(json!({ "running": {} }), json!({})), Some(Trouble::NotYet(probe.into())));
    }

    #[test]
    fn says_what_the_scheduler_says() {
        let condition = |type_: &str, status: &str| json!({ "type": type_, "status": status, "message": "0/1 nodes" });
        check(json!({ "conditions": [condition("PodScheduled", "False")] }), stuck("not scheduled: 0/1 nodes"));
        check(json!({ "conditions": [condition("Ready", "True"), condition("PodScheduled", "False")] }), None);
        check(
            json!({ "conditions": [condition("ContainersReady", "True")] }),
            stuck("readiness gate `lb.example/ready` is not True"),
        );
        check(json!({ "conditions": [condition("ContainersReady", "False")] }), None);
    }

    #[test]
    fn is_short() {
        let long =
            json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "message": "ä".repeat(1_000) }] });
        let pod = serde_json::from_value(json!({ "metadata": {}, "status": long })).unwrap();
        let Some(Trouble::Stuck(text)) = Trouble::of(&pod) else { panic!() };
        assert_eq!(text.chars().count(), LONGEST + 1);
    }
}
