//! Manifests of the released application: one tier of one program, as a Rollout and as a Rainbow.

use std::time::Duration;

use serde_json::{Value, json};

/// Name of the application, with either tool.
pub(crate) const NAME: &str = "colors";
/// Service of the application's users.
pub(crate) const ACTIVE: &str = "colors-active";
/// Service for trials of the next version.
pub(crate) const PREVIEW: &str = "colors-preview";
/// Label of pods that names their version, with either tool.
pub(crate) const VERSION: &str = "version";
/// Numbers of a careful release: seconds that a pod has to be ready, and seconds until a release without progress is taken back.
const CARE: (u32, u32) = (10, 30);

/// Strategy of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// All of the new version beside the old one, then one change of the Service. The old version stays for `keep`.
    Flip { keep: Keep },
    /// Pod by pod, with a surge of one pod.
    Rolling(Care),
}

/// Time for which the previous version stays after it has been replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Default of the tool: 30 s with both.
    Default,
    /// Given time.
    For(Duration),
}

/// Care of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Care {
    /// Pod that is ready counts as good.
    None,
    /// Pod has to be ready for a while, and a release that makes no progress is taken back.
    MinReady,
}

/// Behaviour of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// Serves.
    Steady,
    /// Becomes ready at once, and dies about three seconds after each start.
    Crashing,
}

/// Version of the application, and the way to release it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Release<'a> {
    pub(crate) color: &'a str,
    pub(crate) pods: u32,
    pub(crate) strategy: Strategy,
    pub(crate) health: Health,
    /// Whether the new version serves users as soon as it is ready.
    pub(crate) promotes_itself: bool,
}

impl Release<'_> {
    fn template(&self, prefix: &str) -> Value {
        let mut container = json!({
            "name": NAME,
            "image": format!("{prefix}colors:v1"),
            "imagePullPolicy": "IfNotPresent",
            "env": [
                { "name": "COLOR", "value": self.color },
                { "name": "INTERVAL_MS", "value": "500" },
                { "name": "GRACE_MS", "value": "0" },
                { "name": "ON_SIGTERM", "value": "die" },
            ],
            "readinessProbe": { "httpGet": { "path": "/ready", "port": 8080 }, "periodSeconds": 1 },
        });
        if self.health == Health::Crashing {
            // No program listens there, so the kubelet ends the container at the first probe.
            container["livenessProbe"] = json!({
                "httpGet": { "path": "/live", "port": 9 },
                "initialDelaySeconds": 3, "periodSeconds": 1, "failureThreshold": 1,
            });
        }
        json!({
            "metadata": { "labels": { "app": NAME, VERSION: self.color } },
            "spec": { "terminationGracePeriodSeconds": 5, "containers": [container] },
        })
    }

    /// Builds a Rollout of Argo Rollouts.
    pub(crate) fn rollout(&self, prefix: &str) -> Value {
        let strategy = match self.strategy {
            Strategy::Flip { keep } => {
                let mut strategy = json!({
                    "activeService": ACTIVE, "previewService": PREVIEW, "autoPromotionEnabled": self.promotes_itself,
                });
                if let Keep::For(keep) = keep {
                    strategy["scaleDownDelaySeconds"] = json!(keep.as_secs());
                }
                json!({ "blueGreen": strategy })
            }
            Strategy::Rolling(_) => json!({ "canary": { "maxSurge": 1, "maxUnavailable": 0 } }),
        };
        let mut rollout = json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Rollout",
            "metadata": { "name": NAME },
            "spec": {
                "replicas": self.pods,
                "selector": { "matchLabels": { "app": NAME } },
                "template": self.template(prefix),
                "strategy": strategy,
            },
        });
        if self.strategy == Strategy::Rolling(Care::MinReady) {
            rollout["spec"]["minReadySeconds"] = json!(CARE.0);
            rollout["spec"]["progressDeadlineSeconds"] = json!(CARE.1);
            rollout["spec"]["progressDeadlineAbort"] = json!(true);
        }
        rollout
    }

    /// Builds the Services that a Rollout needs. Rainbow makes its own.
    pub(crate) fn services(&self) -> Vec<Value> {
        let names: &[&str] = match self.strategy {
            Strategy::Flip { .. } => &[ACTIVE, PREVIEW],
            Strategy::Rolling(_) => &[ACTIVE],
        };
        let service = |name: &&str| {
            json!({
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": { "name": name },
                "spec": { "type": "NodePort", "selector": { "app": NAME }, "ports": ports() },
            })
        };
        names.iter().map(service).collect()
    }

    /// Builds a Rainbow.
    pub(crate) fn rainbow(&self, prefix: &str) -> Value {
        let promote = if self.promotes_itself { "Auto" } else { "Manual" };
        let service = json!({ "type": "NodePort" });
        let stages = match self.strategy {
            Strategy::Flip { .. } => json!([
                { "name": "preview", "promote": "Auto", "service": service },
                { "name": "active", "promote": promote, "shift": { "flip": {} }, "service": service },
            ]),
            Strategy::Rolling(care) => json!([{
                "name": "active", "promote": promote, "service": service,
                "shift": { "rolling": { "step": 1, "every": "0s", "surge": 1 } },
                "onStalled": if care == Care::MinReady { "RollBack" } else { "Hold" },
            }]),
        };
        let mut rainbow = json!({
            "apiVersion": "rainbow.dev/v1alpha1",
            "kind": "Rainbow",
            "metadata": { "name": NAME },
            "spec": {
                "color": self.color,
                "tiers": [{
                    "name": NAME, "replicas": self.pods, "ports": ports(), "template": self.template(prefix),
                }],
                "stages": stages,
            },
        });
        match self.strategy {
            Strategy::Flip { keep: Keep::For(keep) } => {
                rainbow["spec"]["keep"] = json!({ "warm": format!("{}s", keep.as_secs()) });
            }
            Strategy::Rolling(Care::MinReady) => {
                rainbow["spec"]["tiers"][0]["minReadySeconds"] = json!(CARE.0);
                rainbow["spec"]["progressDeadlineSeconds"] = json!(CARE.1);
            }
            Strategy::Flip { keep: Keep::Default } | Strategy::Rolling(Care::None) => {}
        }
        rainbow
    }
}

fn ports() -> Value {
    json!([{ "name": "http", "port": 8080 }, { "name": "lines", "port": 8081 }])
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASE: Release<'_> = Release {
        color: "c1",
        pods: 5,
        strategy: Strategy::Rolling(Care::MinReady),
        health: Health::Crashing,
        promotes_itself: true,
    };

    #[test]
    fn both_tools_release_the_same_pods() {
        let (rollout, rainbow) = (RELEASE.rollout("x/"), RELEASE.rainbow("x/"));
        assert_eq!(rollout["spec"]["template"], rainbow["spec"]["tiers"][0]["template"]);
        assert_eq!(rollout["spec"]["template"]["spec"]["containers"][0]["image"], "x/colors:v1");
        assert_eq!(rollout["spec"]["replicas"], rainbow["spec"]["tiers"][0]["replicas"]);
    }

    #[test]
    fn both_tools_are_equally_careful_and_keep_for_as_long() {
        let (rollout, rainbow) = (RELEASE.rollout(""), RELEASE.rainbow(""));
        assert_eq!(rollout["spec"]["minReadySeconds"], rainbow["spec"]["tiers"][0]["minReadySeconds"]);
        assert_eq!(rollout["spec"]["progressDeadlineSeconds"], rainbow["spec"]["progressDeadlineSeconds"]);
        let keep = Keep::For(Duration::from_secs(7));
        let flip = Release { strategy: Strategy::Flip { keep }, ..RELEASE };
        assert_eq!(flip.rollout("")["spec"]["strategy"]["blueGreen"]["scaleDownDelaySeconds"], 7);
        assert_eq!(flip.rainbow("")["spec"]["keep"]["warm"], "7s");
        assert_eq!(flip.services().len(), 2);
    }
}
