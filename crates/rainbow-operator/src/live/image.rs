//! Pods that never start because no node can pull the image of Rainbow's own counter.

use rainbow_api::names;

use super::shown::{ContainerStatus, ShownPod};

/// Reasons of a waiting container whose image the node cannot get, in the kubelet's words.
pub(crate) const NOT_PULLED: [&str; 6] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "RegistryUnavailable",
    "ImageInspectError",
];

/// Returns the image of a pod's counter, where the node cannot get it.
pub(super) fn missing_counter(pod: &ShownPod) -> Option<String> {
    let lists = [&pod.status.init_container_statuses, &pod.status.container_statuses];
    let counter = lists.into_iter().flatten().flatten().find(|container| container.name == names::SIDECAR)?;
    let waits = |container: &ContainerStatus| container.state.as_ref()?.waiting.as_ref()?.reason.clone();
    let reason = waits(counter)?;
    if !NOT_PULLED.contains(&reason.as_str()) {
        return None;
    }
    // The image that was asked for. The status may have it in another form.
    let mut containers = [&pod.spec.init_containers, &pod.spec.containers].into_iter().flatten().flatten();
    let asked = containers.find(|container| container.name == names::SIDECAR)?.image.clone();
    asked.or_else(|| counter.image.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[track_caller]
    fn check(list: &str, name: &str, state: Value, expected: Option<&str>) {
        let spec = if list == "initContainerStatuses" { "initContainers" } else { "containers" };
        let mut pod = json!({
            "metadata": { "name": "web-v1-x" },
            "spec": { "containers": [{ "name": "web", "image": "web:1" }] },
            "status": { list: [{
                "name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state,
            }] },
        });
        let counter = json!({ "name": names::SIDECAR, "image": "registry.example/tally:1" });
        pod["spec"][spec] = json!([{ "name": "web", "image": "web:1" }, counter]);
        let found = missing_counter(&serde_json::from_value(pod).unwrap());
        assert_eq!(found.as_deref(), expected, "{list} {name}");
    }

    #[test]
    fn only_the_counter_and_only_its_image() {
        let waits = |reason: &str| json!({ "waiting": { "reason": reason } });
        for list in ["initContainerStatuses", "containerStatuses"] {
            for reason in ["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"] {
                check(list, names::SIDECAR, waits(reason), Some("registry.example/tally:1"));
                check(list, "web", waits(reason), None);
            }
            check(list, names::SIDECAR, waits("PodInitializing"), None);
            check(list, names::SIDECAR, waits("CrashLoopBackOff"), None);
            check(list, names::SIDECAR, json!({ "running": {} }), None);
            check(list, names::SIDECAR, json!({}), None);
        }
    }
}
