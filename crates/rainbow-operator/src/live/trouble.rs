//! Reason why a pod is not ready, in the words of the kubelet and the scheduler.

use super::shown::{Condition, ContainerState, ContainerStatus, ShownPod};

/// Reasons of a waiting container that belong to the ordinary course of a start.
const ORDINARY: [&str; 2] = ["ContainerCreating", "PodInitializing"];
/// Reason of a container that waits before it is started again.
const CRASH_LOOP: &str = "CrashLoopBackOff";
/// Longest trouble, in characters. Messages of container runtimes quote whole requests.
const LONGEST: usize = 300;

/// Reason why a pod is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The pod does not become ready by itself.
    Stuck(Box<str>),
    /// A probe of a container that runs has not passed yet.
    Unready(Box<str>),
    /// The node prepares the pod, which is the ordinary course of a start.
    Starting(Box<str>),
}

impl Trouble {
    /// Returns the trouble of a pod. `None`: the pod is ready, is being deleted, or has only just been made.
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
        let init = status.init_container_statuses.iter().flatten();
        let main = status.container_statuses.iter().flatten();
        // An init container may end. One that runs is a native sidecar, or has not ended yet.
        let stuck = init.clone().find_map(|container| does_not_run(container, MayEnd::Yes));
        if let Some(says) = stuck.or_else(|| main.clone().find_map(|container| does_not_run(container, MayEnd::No))) {
            return Some(Self::Stuck(cut(says)));
        }
        let gates = pod.spec.readiness_gates.iter().flatten();
        let mut closed = gates.map(|gate| gate.condition_type.as_str()).filter(|gate| !is_true(gate));
        if let Some(gate) = closed.next().filter(|_| is_true("ContainersReady")) {
            return Some(Self::Stuck(cut(format!("readiness gate `{gate}` is not True"))));
        }
        if let Some(says) = main.clone().find_map(fails_probe) {
            return Some(Self::Unready(cut(says)));
        }
        init.chain(main).find_map(starts).map(|says| Self::Starting(cut(says)))
    }
}

/// Whether a container may end in the ordinary course.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MayEnd {
    Yes,
    No,
}

fn not_scheduled(condition: &Condition) -> Option<String> {
    let says = condition.message.as_deref().filter(|_| condition.status == "False")?;
    Some(format!("not scheduled: {says}"))
}

/// Returns why a container does not run, or does not keep running, where that is not the ordinary course of a start.
fn does_not_run(container: &ContainerStatus, may_end: MayEnd) -> Option<String> {
    let name = &container.name;
    let state = container.state.as_ref()?;
    let before = container.last_state.as_ref();
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().filter(|reason| !ORDINARY.contains(reason))?;
        let says = waiting.message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
        // The last end is evidence of a crash. With another reason, such as a missing Secret, it is past.
        let ended = before.and_then(|before| ended(before, MayEnd::No)).filter(|_| reason == CRASH_LOOP);
        return Some(match ended {
            Some(ended) => format!("container `{name}` {ended} ({reason})"),
            None => {
                let image = container.image.as_deref().unwrap_or_default();
                format!("container `{name}` of image `{image}`: {reason}{says}")
            }
        });
    }
    if state.running.is_some() {
        let ended = before.filter(|_| !container.ready).and_then(|before| ended(before, may_end))?;
        return Some(format!("container `{name}` {ended}, and runs again"));
    }
    Some(format!("container `{name}` {}", ended(state, may_end)?))
}

/// Describes the end of a container.
fn ended(state: &ContainerState, may_end: MayEnd) -> Option<String> {
    let ended = state.terminated.as_ref()?;
    if ended.exit_code == 0 {
        return (may_end == MayEnd::No).then(|| "ended with code 0, although it should keep running".to_owned());
    }
    let reason = ended.reason.as_deref().filter(|reason| *reason != "Error");
    let reason = reason.map(|reason| format!(", {reason}")).unwrap_or_default();
    let says = ended.message.as_deref().map(str::trim).filter(|text| !text.is_empty());
    let last = says.and_then(|text| text.lines().last()).map(|line| format!(": {line}")).unwrap_or_default();
    Some(format!("ended with code {}{reason}{last}", ended.exit_code))
}

/// Describes a container that runs and is not ready.
fn fails_probe(container: &ContainerStatus) -> Option<String> {
    let runs = container.state.as_ref().is_some_and(|state| state.running.is_some());
    let probe = if container.started == Some(false) { "startup" } else { "readiness" };
    (runs && !container.ready).then(|| format!("container `{}` has not passed its {probe} probe", container.name))
}

/// Describes a container that its node prepares.
fn starts(container: &ContainerStatus) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    Some(format!(
        "container `{}` is not created yet ({reason}): a volume or the pod's network may be missing",
        container.name
    ))
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
        let starts =
            "container `web` is not created yet (ContainerCreating): a volume or the pod's network may be missing";
        check(
            web(json!({ "waiting": { "reason": "ContainerCreating" } }), json!({})),
            Some(Trouble::Starting(starts.into())),
        );
        let unready =
            |probe: &str| Some(Trouble::Unready(format!("container `web` has not passed its {probe} probe").into()));
        check(web(json!({ "running": {} }), json!({})), unready("readiness"));
        let mut startup = web(json!({ "running": {} }), json!({}));
        startup["containerStatuses"][0]["started"] = json!(false);
        check(startup, unready("startup"));
    }

    /// Between two crashes a container runs for a while, and a container that ends in success crashes as well.
    #[test]
    fn a_crash_is_told_whatever_the_container_does_now() {
        let ended = json!({ "terminated": { "exitCode": 3, "reason": "Error", "message": "no database\n" } });
        check(
            web(json!({ "running": {} }), ended.clone()),
            stuck("container `web` ended with code 3: no database, and runs again"),
        );
        let done = json!({ "terminated": { "exitCode": 0, "reason": "Completed" } });
        let loops = json!({ "waiting": { "reason": "CrashLoopBackOff" } });
        let says = "container `web` ended with code 0, although it should keep running";
        check(web(done.clone(), json!({})), stuck(says));
        check(web(loops, done.clone()), stuck(&format!("{says} (CrashLoopBackOff)")));
        // The crash before is not what blocks the next start.
        let missing =
            json!({ "waiting": { "reason": "CreateContainerConfigError", "message": "secret \"db\" not found" } });
        check(
            web(missing, ended),
            stuck("container `web` of image `web:v9`: CreateContainerConfigError: secret \"db\" not found"),
        );
        let init = |state: Value| json!({ "initContainerStatuses": [{ "name": "setup", "state": state }] });
        check(init(done), None);
        let failed = json!({ "terminated": { "exitCode": 1, "message": "no schema" } });
        check(init(failed), stuck("container `setup` ended with code 1: no schema"));
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
