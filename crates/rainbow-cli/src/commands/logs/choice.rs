//! Choice of the containers whose logs are read.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use rainbow_api::{Color, labels, names};

use crate::{
    error::{Error, Result, hint},
    stage,
    view::{self, View, World},
    which,
};

/// Selection that the user asks for.
#[derive(Debug, Default)]
pub(super) struct Choice {
    pub(super) stage: Option<String>,
    pub(super) color: Option<String>,
    pub(super) tier: Option<String>,
    pub(super) container: Option<String>,
}

/// Container whose log is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) pod: String,
    pub(super) container: String,
    /// Color that introduced the pod's instance.
    pub(super) color: String,
    uid: String,
    restarts: i32,
    /// Reason why the container has not run yet.
    waits: Option<String>,
}

impl Source {
    /// Returns a key that differs between a container and the one before its restart.
    pub(super) fn key(&self) -> (String, String, i32) {
        (self.uid.clone(), self.container.clone(), self.restarts)
    }

    pub(super) fn named(&self) -> String {
        format!("pod {}, container {}", self.pod, self.container)
    }

    /// Returns the reason why there is no log. `previous`: of the container before the last restart.
    pub(super) fn has_no_log(&self, previous: bool) -> Option<String> {
        match previous {
            true => (self.restarts == 0).then(|| "it was not restarted".to_owned()),
            false => self.waits.clone(),
        }
    }
}

impl Choice {
    /// Fails where the application has no stage, color, tier or container of a chosen name.
    pub(super) fn check(&self, world: &World) -> Result {
        let rainbow = &world.rainbow;
        let name = rainbow.metadata.name.as_deref().unwrap_or_default();
        if let Some(wanted) = &self.stage {
            stage::choose(rainbow, Some(wanted))?;
        }
        if let Some(color) = &self.color {
            which::pick(name, &world.colors, color)?;
        }
        let missing = |what: &str, wanted: &Option<String>, known: BTreeSet<String>| match wanted {
            Some(wanted) if !known.contains(wanted) => {
                let known: Vec<String> = known.into_iter().collect();
                let hint = hint(wanted, &known);
                Err(Error::NotFound(format!("rainbow `{name}` has no {what} `{wanted}`{hint}")))
            }
            Some(_) | None => Ok(()),
        };
        let tiers = world.colors.iter().flat_map(|color| &color.spec.tiers).chain(&rainbow.spec.tiers);
        missing("tier", &self.tier, tiers.map(|tier| tier.name.clone()).collect())?;
        let pods = world.pods.iter().filter(|pod| self.has(pod, world));
        let containers: BTreeSet<String> = pods.flat_map(names_of).map(str::to_owned).collect();
        match containers.is_empty() {
            true => Ok(()),
            false => missing("container", &self.container, containers),
        }
    }

    /// Describes the selection in words.
    pub(super) fn said(&self) -> String {
        let of = |what: &str, name: &Option<String>| name.as_ref().map(|name| format!(" of {what} `{name}`"));
        [of("stage", &self.stage), of("color", &self.color), of("tier", &self.tier)].into_iter().flatten().collect()
    }

    /// Returns the chosen containers, sorted by pod.
    pub(super) fn sources(&self, world: &World) -> Vec<Source> {
        let mut pods: Vec<&Pod> = world.pods.iter().filter(|pod| self.has(pod, world)).collect();
        pods.sort_by_key(|pod| pod.metadata.name.as_deref());
        pods.into_iter().flat_map(|pod| self.containers(pod)).collect()
    }

    fn has(&self, pod: &Pod, world: &World) -> bool {
        let label = |key: &str| view::label(&pod.metadata, key);
        let is_tier = self.tier.as_deref().is_none_or(|tier| label(labels::TIER) == Some(tier));
        let is_of_stage = |stage: &str| label(labels::BELONGS_TO).is_none_or(|own| own == stage);
        if !is_tier || !self.stage.as_deref().is_none_or(is_of_stage) {
            return false;
        }
        let is_instance = |color: &Color| {
            let mut instances = color.spec.instances.iter();
            instances.any(|it| label(labels::TIER) == Some(&it.tier) && label(labels::COLOR) == Some(&it.color))
        };
        match self.colors(world) {
            None => true,
            Some(colors) => {
                let colors = world.colors.iter().filter(|color| colors.contains(&color.spec.color));
                colors.into_iter().any(is_instance)
            }
        }
    }

    /// Returns the chosen colors. `None`: all.
    fn colors(&self, world: &World) -> Option<BTreeSet<String>> {
        if let Some(color) = &self.color {
            return Some([color.clone()].into());
        }
        let stage = self.stage.as_ref()?;
        let view = View::new(world);
        let seen = view.stages.iter().find(|seen| seen.name == *stage);
        let shares = seen.into_iter().flat_map(|seen| &seen.shares).map(|share| share.color.clone());
        let tiers = seen.into_iter().flat_map(|seen| &seen.tiers).flat_map(|tier| [&tier.color, &tier.target]);
        Some(shares.chain(tiers.flatten().cloned()).collect())
    }

    fn containers(&self, pod: &Pod) -> Vec<Source> {
        let is_chosen = |name: &&str| match &self.container {
            Some(wanted) => wanted == name,
            None => *name != names::SIDECAR && is_main(pod, name),
        };
        let status = |name: &str| {
            let status = pod.status.as_ref()?;
            let all = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
            all.into_iter().find(|status| status.name == name)
        };
        let source = |name: &str| Source {
            pod: pod.metadata.name.clone().unwrap_or_default(),
            container: name.to_owned(),
            color: view::label(&pod.metadata, labels::COLOR).unwrap_or_default().to_owned(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            restarts: status(name).map(|status| status.restart_count).unwrap_or_default(),
            waits: waits(status(name)),
        };
        names_of(pod).into_iter().filter(is_chosen).map(source).collect()
    }
}

/// Returns the names of all containers of a pod.
fn names_of(pod: &Pod) -> Vec<&str> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let init = spec.init_containers.iter().flatten();
    spec.containers.iter().chain(init).map(|container| container.name.as_str()).collect()
}

fn is_main(pod: &Pod, name: &str) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.containers.iter().any(|container| container.name == name))
}

/// Returns why a container has never run. `None`: the container has run.
fn waits(status: Option<&ContainerStatus>) -> Option<String> {
    let Some(status) = status else { return Some("it has not been made yet".to_owned()) };
    let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref())?;
    // A container that is restarted has a log until it runs again.
    let has_run = status.last_state.as_ref().is_some_and(|last| last.terminated.is_some());
    (!has_run).then(|| match (&waiting.reason, &waiting.message) {
        (Some(reason), Some(message)) => format!("{reason}: {message}"),
        (Some(reason), None) => reason.clone(),
        (None, _) => "it waits".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn world() -> World {
        let mut world = crate::tree::tests::world(json!({
            "from": "v1", "to": "v2", "phase": "Shifting", "moved": 1, "of": 2, "startedAt": "",
        }));
        world.rainbow.spec.stages = serde_json::from_value(json!([{ "name": "smoke" }, { "name": "active" }])).unwrap();
        for pod in &mut world.pods {
            let containers = json!([{ "name": "app" }, { "name": "rainbow-tally" }]);
            let spec = pod.spec.as_mut().unwrap();
            spec.containers = serde_json::from_value(containers).unwrap();
            spec.init_containers = serde_json::from_value(json!([{ "name": "setup" }])).unwrap();
            let running = json!([{ "name": "app", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": { "running": {} } }]);
            pod.status.as_mut().unwrap().container_statuses = serde_json::from_value(running).unwrap();
        }
        world
    }

    fn chosen(choice: &Choice, world: &World) -> Vec<String> {
        choice.sources(world).iter().map(|source| format!("{}/{}", source.pod, source.container)).collect()
    }

    #[test]
    fn the_counter_is_left_out_unless_it_is_named() {
        let world = world();
        let all = chosen(&Choice::default(), &world);
        assert_eq!((all.len(), all[0].as_str()), (8, "backend-v1-1/app"));
        let counter = Choice { container: Some("rainbow-tally".into()), ..Choice::default() };
        assert_eq!(chosen(&counter, &world)[0], "backend-v1-1/rainbow-tally");
        let setup = Choice { container: Some("setup".into()), tier: Some("backend".into()), ..Choice::default() };
        assert_eq!(chosen(&setup, &world).len(), 4);
    }

    #[test]
    fn a_stage_in_mid_shift_has_pods_of_two_colors() {
        let world = world();
        let of = |stage: &str| {
            let choice = Choice { stage: Some(stage.into()), tier: Some("frontend".into()), ..Choice::default() };
            chosen(&choice, &world)
        };
        assert_eq!(of("smoke"), ["frontend-v2-7/app", "frontend-v2-8/app"]);
        assert_eq!(of("active").len(), 4);
        let color = Choice { color: Some("v1".into()), ..Choice::default() };
        assert_eq!(chosen(&color, &world).len(), 4);
    }

    #[test]
    fn names_that_are_not_there_are_told() {
        let world = world();
        let said = |choice: Choice| choice.check(&world).unwrap_err().to_string();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            said(Choice { tier: some("frontnd"), ..Choice::default() }),
            "rainbow `shop` has no tier `frontnd`; did you mean `frontend`?"
        );
        assert_eq!(
            said(Choice { container: some("web"), ..Choice::default() }),
            "rainbow `shop` has no container `web`; there is: app, rainbow-tally, setup"
        );
        assert!(
            said(Choice { color: some("v9"), ..Choice::default() }).starts_with("rainbow `shop` has no color `v9`")
        );
        assert!(said(Choice { stage: some("x"), ..Choice::default() }).starts_with("rainbow `shop` has no stage `x`"));
        assert_eq!(
            Choice { tier: some("frontend"), container: some("app"), ..Choice::default() }.check(&world),
            Ok(())
        );
    }

    #[test]
    fn a_container_that_never_ran_has_no_log() {
        let status = |value| waits(Some(&serde_json::from_value(value).unwrap()));
        let of = |state: serde_json::Value, last: serde_json::Value| {
            status(
                json!({ "name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state, "lastState": last }),
            )
        };
        let waiting = json!({ "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } });
        assert_eq!(of(waiting.clone(), json!({})).unwrap(), "ImagePullBackOff: no such image");
        assert_eq!(of(waiting, json!({ "terminated": { "exitCode": 1 } })), None);
        assert_eq!(of(json!({ "running": {} }), json!({})), None);
        assert_eq!(waits(None).unwrap(), "it has not been made yet");
    }
}
