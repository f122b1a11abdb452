//! `Rainbow` resource: what its user writes.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

use crate::{
    Autoscale, Config, Connections, Drain, Evidence, Gate, Hold, HumanDuration, RainbowStatus, Scaling, SkippedGate,
    StageGates, StageService, TierScaling, TierService, schema::any_object,
};

/// One application: its tiers, its stages, its policy.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "rainbow.dev",
    version = "v1alpha1",
    doc = "One application: its tiers, its stages, its policy.",
    kind = "Rainbow",
    plural = "rainbows",
    shortname = "rb",
    category = "all",
    namespaced,
    status = "RainbowStatus",
    printcolumn = r#"{"name":"Color","type":"string","jsonPath":".status.color","description":"The newest color"}"#,
    printcolumn = r#"{"name":"Stages","type":"string","jsonPath":".status.summary","description":"Which color each stage serves"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    validation = Rule::new("size(self.metadata.name) <= 63")
        .message("metadata.name: at most 63 characters, since it is a label of everything that is made")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.tiers.all(t, !has(t.needs) || t.needs.all(n, self.tiers.exists(u, u.name == n.tier)))",
        "message": "tiers[].needs[].tier: names a tier that is not in spec.tiers"
    },
    {
        "rule": "!has(self.stages) || self.stages.all(s, !has(s.tier) || self.tiers.exists(t, t.name == s.tier))",
        "message": "stages[].tier: names a tier that is not in spec.tiers"
    },
    {
        "rule": "!has(self.stages) || self.stages.all(s, has(s.tier)) || self.tiers.filter(t, !self.tiers.exists(u, has(u.needs) && u.needs.exists(n, n.tier == t.name))).size() == 1",
        "message": "stages[].tier: required, because there is not exactly one entry tier (a tier that no other needs)"
    },
    {
        "rule": "!has(self.drain) || has(self.drain.http) || ((!has(self.drain.connections) || self.drain.connections != 'Http') && !self.tiers.exists(t, has(t.connections) && t.connections == 'Http'))",
        "message": "drain.http: required where connections is Http: say which port, path and field answer"
    },
    {
        "rule": "!has(self.drain) || !has(self.drain.http) || (has(self.drain.connections) && self.drain.connections == 'Http') || self.tiers.exists(t, has(t.connections) && t.connections == 'Http')",
        "message": "drain.http: set, but connections is Http nowhere: set drain.connections or a tier's"
    }
]))]
pub struct RainbowSpec {
    /// Name of the version that `tiers` describe: a DNS label such as `v1` or `3c3fdc`. Default: a short hash of the tiers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub color: Option<String>,
    /// Prefix of the name of every object that Rainbow makes, such as `shop-`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), regex(pattern = r"^([a-z]([-a-z0-9]*)?)?$"))]
    pub name_prefix: Option<String>,
    /// Kinds of pods that the application consists of.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]), length(min = 1, max = 64))]
    pub tiers: Vec<Tier>,
    /// Stable addresses through which clients reach a color.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]), length(max = 32))]
    pub stages: Vec<Stage>,
    /// Stages that are held, which takes precedence over `stages`. The commands of `rainbow` write this list. Manifests leave it out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["stage"]), length(max = 32))]
    pub holds: Vec<Hold>,
    /// Tiers after which a stage continues although `shift.tiers.pause` makes it wait. `rainbow resume` and `rainbow promote` write this
    /// list. Manifests leave it out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["stage", "tier"]), length(max = 256))]
    pub passed: Vec<Passed>,
    /// Steps after which a stage continues although the step makes it wait. `rainbow resume` and `rainbow promote` write this list.
    /// Manifests leave it out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["stage", "step"]), length(max = 256))]
    pub passed_steps: Vec<PassedStep>,
    /// Checks of a color, which stages and steps name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]), length(max = 32))]
    pub gates: Vec<Gate>,
    /// Gates that users have skipped for a color. `rainbow promote --skip-gate` writes this list. Manifests leave it out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["stage", "gate"]), length(max = 256))]
    pub skipped_gates: Vec<SkippedGate>,
    /// Drain of colors that no stage points at.
    #[serde(default)]
    pub drain: Drain,
    /// Number of colors that may live, number of colors kept as history, and time that a color stays warm.
    #[serde(default)]
    pub keep: Keep,
    /// Whether colors share instances that are equal all the way down: `Never` (default) or `Unchanged`. Where a tier has a need that is
    /// `compatible: Backward`, colors always share what is unchanged.
    #[serde(default)]
    pub reuse: Reuse,
    /// Whether the content of the ConfigMaps and Secrets that templates name is part of the version: `Shared` (default) or `Versioned`.
    /// `Versioned` requires a right of the operator: `rainbow install --versioned-config`.
    #[serde(default, skip_serializing_if = "Config::is_shared")]
    pub config: Config,
    /// Seconds that a new color may take to become ready before it counts as stalled. Default 600, as for a Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub progress_deadline_seconds: Option<i32>,
}

impl RainbowSpec {
    /// Returns a user's hold of a stage.
    pub fn hold(&self, stage: &str) -> Option<&Hold> {
        self.holds.iter().find(|hold| hold.stage == stage)
    }

    /// Returns the seconds that a color may take to become ready: 600 where the spec is silent, as for a Deployment.
    pub fn progress_deadline(&self) -> i32 {
        self.progress_deadline_seconds.unwrap_or(600).max(1)
    }
}

/// One kind of pod of the application.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.needs) || self.needs.all(n, n.tier != self.name)",
    "message": "needs: a tier cannot need itself"
}, {
    "rule": "!has(self.autoscale) || !has(self.scaling) || self.scaling == 'Rainbow'",
    "message": "autoscale: set, but scaling says that another controller decides: remove one of them"
}]))]
pub struct Tier {
    /// Name of the tier: a DNS label, unique within the Rainbow.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Number of pods at full size. Default 1. Policy, not identity: a change makes no new color. The number sizes the color that the spec
    /// describes. Another color that serves keeps its size until its stage moves.
    #[serde(default = "one")]
    #[schemars(range(min = 0))]
    pub replicas: i32,
    /// Writer that decides how many pods there are: `Rainbow` (default), by `replicas`, or `External`: another controller such as KEDA or
    /// an autoscaler of your own, or a person. Policy, not identity: a change makes no new color.
    #[serde(default, skip_serializing_if = "Scaling::is_rainbow")]
    pub scaling: Scaling,
    /// HorizontalPodAutoscaler for each instance, which decides how many pods there are instead of `replicas`. Policy, not identity: a
    /// change makes no new color. It scales the color that the spec describes. Another color that serves keeps its own autoscaler. Default:
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscale: Option<Autoscale>,
    /// Seconds that a pod must be ready without a break before it takes part in a shift, as the Deployment field of this name. Policy, not
    /// identity: a change makes no new color. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub min_ready_seconds: Option<i32>,
    /// Tiers that this tier calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["tier"]), length(max = 16))]
    pub needs: Vec<Need>,
    /// Ports on which clients and other tiers reach this tier.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]), length(max = 32))]
    pub ports: Vec<TierPort>,
    /// Source of the evidence that this tier's connections have ended, in place of the Rainbow's `drain.connections`. Policy, not identity:
    /// a change makes no new color. Default: `drain.connections`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<Connections>,
    /// Fields of the tier's Service, `<tier>-<color>`. Every color has a Service of its own, so the fields are part of the version: a
    /// change makes a new color.
    #[serde(default, skip_serializing_if = "TierService::is_plain")]
    // An apply that empties the block leaves `null`, which a default replaces.
    #[schemars(extend("default" = {}))]
    pub service: TierService,
    /// A `PodTemplateSpec`, kept as it was written: the operator parses it and reports what is wrong with it.
    #[schemars(schema_with = "any_object")]
    pub template: Value,
}

impl RainbowSpec {
    /// Returns the sources of the evidence for tiers of this spec.
    pub fn evidence<'a>(&self, tiers: impl IntoIterator<Item = &'a Tier>) -> Evidence {
        let own = tiers.into_iter().filter_map(|tier| Some((tier.name.clone(), tier.connections?)));
        Evidence { connections: self.drain.connections, http: self.drain.http.clone(), tiers: own.collect() }
    }
}

impl Tier {
    /// Returns the ports in the pod on which connections can be counted, in ascending order.
    pub fn tcp_ports(&self) -> Vec<i32> {
        let tcp = |port: &&TierPort| port.protocol() == "TCP";
        let all: BTreeSet<i32> = self.ports.iter().filter(tcp).filter_map(|port| self.container_port(port)).collect();
        all.into_iter().collect()
    }

    /// Returns the number of a port in the pod. `None`: the port is targeted by a name that no container of the template declares.
    ///
    /// A name is resolved as Kubernetes does: the first port with the name and the protocol, of containers and then of native sidecars.
    pub fn container_port(&self, port: &TierPort) -> Option<i32> {
        match port.target() {
            IntOrString::Int(number) => Some(number),
            IntOrString::String(name) => declared_port(&self.template, &name, port.protocol()),
        }
    }
}

impl Tier {
    /// Returns the scaling policy, as a color remembers it.
    pub fn scaling_policy(&self) -> TierScaling {
        TierScaling { scaling: self.scaling, autoscale: self.autoscale.clone() }
    }

    /// Returns the port of this tier's Service that a need of another tier names.
    pub fn needed_port(&self, need: &Need) -> Option<&TierPort> {
        self.ports.iter().find(|port| Some(&port.name) == need.port.as_ref())
    }

    /// Returns the needs that only the tier's own color serves.
    pub fn own_needs(&self) -> impl Iterator<Item = &Need> {
        self.needs.iter().filter(|need| need.compatible == Compatible::Same)
    }

    /// Returns the needs that a newer color may serve.
    pub fn compatible_needs(&self) -> impl Iterator<Item = &Need> {
        self.needs.iter().filter(|need| need.compatible == Compatible::Backward)
    }
}

fn one() -> i32 {
    1
}

/// Tier that another tier calls, and the way in which its address is handed over.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Need {
    /// Name of the tier that is called.
    #[schemars(length(min = 1, max = 63))]
    pub tier: String,
    /// Environment variable that receives the name of the called tier's Service. Default: the tier's name in upper case, `-` as `_`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z][-._a-zA-Z0-9]*$"))]
    pub env: Option<String>,
    /// Name of a port of the called tier, whose number the variable then has as well: `backend-v2:80` instead of `backend-v2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15))]
    pub port: Option<String>,
    /// Colors of the called tier that may serve this tier: `Same` (default), its own color alone, or `Backward`, its own and any newer one.
    ///
    /// With `Backward` the address belongs to the stage, `<tier>-<stage>`, and stays the same in all colors. A release moves the address
    /// before the callers follow. A release of the called tier alone leaves the callers' pods as they are. Each stage has callers of its
    /// own.
    #[serde(default, skip_serializing_if = "Compatible::is_same")]
    pub compatible: Compatible,
}

/// Colors of a called tier that may serve a caller.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Compatible {
    /// Only the caller's own color.
    #[default]
    Same,
    /// The caller's own color and any newer one.
    Backward,
}

impl Compatible {
    fn is_same(&self) -> bool {
        *self == Self::Same
    }
}

/// Port of a tier, as in a Service.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TierPort {
    /// Name of the port, unique within the tier.
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Port of the Service.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Number of the port in the pod, or the name of a port that a container of the template declares. Default: `port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_port: Option<IntOrString>,
    /// Protocol: `TCP` (default), `UDP` or `SCTP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["TCP", "UDP", "SCTP"]))]
    pub protocol: Option<String>,
    /// Application protocol as in a Service's port, such as `http` or `kubernetes.io/h2c`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
}

/// Returns the number of the port that a container of a pod template declares under a name.
pub fn declared_port(template: &Value, name: &str, protocol: &str) -> Option<i32> {
    let of = |kind: &str| template["spec"][kind].as_array().into_iter().flatten();
    let sidecars = of("initContainers").filter(|container| container["restartPolicy"] == "Always");
    let ports = of("containers").chain(sidecars).flat_map(|container| container["ports"].as_array()).flatten();
    let mut same =
        ports.filter(|declared| declared["name"] == name && declared["protocol"].as_str().unwrap_or("TCP") == protocol);
    same.next()?["containerPort"].as_i64().and_then(|number| i32::try_from(number).ok())
}

impl TierPort {
    /// Returns the port in the pod, by number or by name.
    pub fn target(&self) -> IntOrString {
        self.target_port.clone().unwrap_or(IntOrString::Int(self.port))
    }

    /// Returns the protocol: `TCP` where the field is unset.
    pub fn protocol(&self) -> &str {
        self.protocol.as_deref().unwrap_or("TCP")
    }
}

/// Stable address through which clients reach one color's entry tier.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.gates) || !has(self.gates.during) || size(self.gates.during) == 0 || (has(self.shift) && (has(self.shift.rolling) || has(self.shift.steps)))",
    "message": "gates.during: a flip has no steps between which a gate could be measured: use before or after, or shift.steps"
}]))]
pub struct Stage {
    /// Name of the stage: a DNS label, unique within the Rainbow.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Tier that clients reach. Required where there are several entry tiers. Default: the only entry tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub tier: Option<String>,
    /// Whether the stage follows the newest ready color (`Auto`), or moves only when `color` is written (`Manual`, the default).
    #[serde(default)]
    pub promote: Promote,
    /// Color that the stage should serve. `rainbow promote` writes this field. Unset: the newest ready color for `Auto`; for `Manual` the
    /// first color that became ready, and no other until the field is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub color: Option<String>,
    /// Number of pods per tier that this stage asks for. Default: each tier's `replicas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub replicas: Option<i32>,
    /// Way in which the stage moves from one color to another. Default: flip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shift: Option<Shift>,
    /// Whether a shift stays where it is. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Checks before, during and after a shift.
    #[serde(default, skip_serializing_if = "StageGates::is_default")]
    pub gates: StageGates,
    /// Reaction when the color that the stage moves to is not ready within `progressDeadlineSeconds`, or when the color that the stage
    /// moves to or has moved to lacks pods repeatedly for as long. `Hold` (default) stops and reports it. `RollBack` stays at the color
    /// that the stage comes from, or returns to it.
    #[serde(default, skip_serializing_if = "OnStalled::is_hold")]
    pub on_stalled: OnStalled,
    /// Service of the stage.
    #[serde(default)]
    pub service: StageService,
}

/// Reaction of a stage when the color that it moves to stays unhealthy.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum OnStalled {
    /// The stage stays where it is, and its user decides.
    #[default]
    Hold,
    /// The stage returns to the color that it comes from, and stays there until the spec names another one.
    RollBack,
}

impl OnStalled {
    fn is_hold(&self) -> bool {
        *self == Self::Hold
    }
}

/// Trigger that moves a stage.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Promote {
    /// The stage follows the newest ready color.
    Auto,
    /// The stage moves when `color` is written.
    #[default]
    Manual,
}

/// Way in which a stage moves. At most one of `flip`, `rolling` and `steps` is set. Default: flip.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "[has(self.flip), has(self.rolling), has(self.steps)].filter(set, set).size() <= 1",
    "message": "shift: set one of flip, rolling and steps"
}]))]
pub struct Shift {
    /// Moves all pods at once: overlap, confirm, narrow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flip: Option<Flip>,
    /// Moves some pods at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolling: Option<Rolling>,
    /// Moves pods, waits and checks in this order. After the last step, all pods move.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"), length(max = 64))]
    pub steps: Vec<ShiftStep>,
    /// Time for which the pods that join and those that leave serve together, such as `90s`. Within this time everything that sends the
    /// stage's clients to pods must follow a change of the Service's endpoints. Default: `3m` where the Service's annotations ask for a
    /// load balancer that addresses pods (AWS target type `ip`, GKE network endpoint groups), and `1m` where the Service is headless; in
    /// both cases at least the operator's `--propagation`. Otherwise it follows what the operator knows of the cluster (`--swap`,
    /// `--propagation`), without `--swap direct` where a traffic policy of the Service is `Local`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<HumanDuration>,
    /// Behavior between one tier and the next, where needs are `compatible: Backward`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiers: Option<ShiftTiers>,
}

/// Behavior of a stage after a tier has moved and before the tiers that call it follow.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShiftTiers {
    /// Pause of the stage. Default: none, the callers follow at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<TierPause>,
    /// Gates that must pass before the callers follow. If one fails, the stage goes back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"), length(max = 16), inner(length(min = 1, max = 63)))]
    pub gates: Vec<String>,
}

/// Pause between two tiers.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TierPause {
    /// Time after which the stage continues by itself, such as `2m`. Default: the stage waits for `rainbow resume` or `rainbow promote`.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub duration: Option<HumanDuration>,
}

/// Step of a shift. Exactly one field is set.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "[has(self.pods), has(self.percent), has(self.pause), has(self.gate)].filter(set, set).size() == 1",
    "message": "shift.steps[]: set exactly one of pods, percent, pause and gate"
}]))]
pub struct ShiftStep {
    /// Number of pods of the new color that serve after the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub pods: Option<i32>,
    /// Percentage of the stage's pods that are of the new color after the step, rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub percent: Option<i32>,
    /// Pause of the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<StepPause>,
    /// Name of a gate that must pass. If it fails, the stage goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub gate: Option<String>,
}

/// Step of a shift, as one choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind<'a> {
    /// This number of new pods serve.
    Pods(i32),
    /// This percentage of the stage's pods are new.
    Percent(i32),
    /// The stage waits: for the time, or for `rainbow resume`.
    Pause(Option<HumanDuration>),
    /// The gate of this name must pass.
    Gate(&'a str),
}

impl ShiftStep {
    /// Returns the choice that the fields make. `None`: none or several are set, which the validation refuses.
    pub fn kind(&self) -> Option<StepKind<'_>> {
        match self {
            Self { pods: Some(pods), percent: None, pause: None, gate: None } => Some(StepKind::Pods(*pods)),
            Self { pods: None, percent: Some(percent), pause: None, gate: None } => Some(StepKind::Percent(*percent)),
            Self { pods: None, percent: None, pause: Some(pause), gate: None } => Some(StepKind::Pause(pause.duration)),
            Self { pods: None, percent: None, pause: None, gate: Some(gate) } => Some(StepKind::Gate(gate)),
            _ => None,
        }
    }
}

/// Pause of a stage at a step.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepPause {
    /// Time after which the stage continues by itself, such as `5m`. Default: the stage waits for `rainbow resume` or `rainbow promote`.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub duration: Option<HumanDuration>,
}

/// Step after which a stage continues.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PassedStep {
    /// Name of the stage.
    #[schemars(length(min = 1, max = 63))]
    pub stage: String,
    /// Number of the step, from 1 on.
    #[schemars(range(min = 1, max = 64))]
    pub step: i32,
    /// Color that the stage moves to.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub color: String,
    /// Time at which the shift began, as the status has it. In another shift the stage waits again.
    #[schemars(length(min = 1, max = 64))]
    pub shift: String,
    /// User who let the stage continue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub by: Option<String>,
    /// Time at which the stage was let continue (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub at: Option<String>,
}

/// Tier after which a stage continues.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Passed {
    /// Name of the stage.
    #[schemars(length(min = 1, max = 63))]
    pub stage: String,
    /// Name of the tier that has moved.
    #[schemars(length(min = 1, max = 63))]
    pub tier: String,
    /// Color that the tier has moved to. For another color the stage waits again.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub color: String,
    /// User who let the stage continue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub by: Option<String>,
    /// Time at which the stage was let continue (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub at: Option<String>,
}

/// Way in which a stage moves, as one choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShiftKind<'a> {
    /// All pods at once.
    Flip,
    /// Some pods at a time.
    Rolling(&'a Rolling),
    /// Step by step.
    Steps(&'a [ShiftStep]),
}

impl Shift {
    /// Returns the choice that the fields make. `None`: several are set, which the validation refuses.
    ///
    /// The pattern names every field, so that a new way to shift does not compile before it has a kind.
    pub fn kind(&self) -> Option<ShiftKind<'_>> {
        let Self { flip, rolling, steps, overlap: _, tiers: _ } = self;
        match (flip, rolling, steps.is_empty()) {
            (None | Some(Flip {}), None, true) => Some(ShiftKind::Flip),
            (None, Some(rolling), true) => Some(ShiftKind::Rolling(rolling)),
            (None, None, false) => Some(ShiftKind::Steps(steps)),
            (Some(Flip {}), Some(_), _) | (Some(Flip {}), None, false) | (None, Some(_), false) => None,
        }
    }
}

impl Stage {
    /// Returns the stage's way to move. A stage without `shift` flips. `None`: several ways are set.
    pub fn shift_kind(&self) -> Option<ShiftKind<'_>> {
        self.shift.as_ref().map_or(Some(ShiftKind::Flip), Shift::kind)
    }
}

/// Flip, which has no settings.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct Flip {}

/// Shift of some pods at a time.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rolling {
    /// Number of pods exchanged per step. Default 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub step: i32,
    /// Time from one step to the next, such as `30s`. Required.
    pub every: HumanDuration,
    /// Pods that may run beside those that the stage has, as a number or as a percentage of the stage's size such as `25%`. The new color
    /// then gets more pods as those of the old color end, in all tiers alike, and a way back in mid-shift has to start pods. No effect
    /// where another stage serves the old color or wants all of the new one. Default: all pods of the new color.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surge: Option<IntOrString>,
}

/// Pods that may run beside those that a stage has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surge {
    /// Number of pods.
    Pods(u32),
    /// Percentage of the stage's size, rounded up.
    Percent(u32),
}

impl Rolling {
    /// Returns the surge, if there is one. `Err`: the field is neither a number of pods from 1 on nor a percentage from `1%` on.
    pub fn surge(&self) -> Result<Option<Surge>, &IntOrString> {
        let Some(surge) = &self.surge else { return Ok(None) };
        let found = match surge {
            IntOrString::Int(pods) => u32::try_from(*pods).ok().filter(|pods| *pods > 0).map(Surge::Pods),
            IntOrString::String(text) => {
                let digits = text.strip_suffix('%').filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
                digits.and_then(|digits| digits.parse().ok()).filter(|percent| *percent > 0).map(Surge::Percent)
            }
        };
        found.map(Some).ok_or(surge)
    }
}

/// Number of colors that are kept.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Keep {
    /// Number of colors that may have pods at one time. Above it, a new color waits. Default 8.
    #[serde(default = "Keep::default_live")]
    #[schemars(range(min = 1))]
    pub live: i32,
    /// Number of retired colors (without pods) that are kept for a quick return. Above it, colors that never served are deleted first, then
    /// the oldest. Default 3.
    #[serde(default = "Keep::default_history")]
    #[schemars(range(min = 0))]
    pub history: i32,
    /// Time that the color that a stage has moved to must be healthy without a break before the previous color may drain, such as `30s`.
    /// Until then the previous color keeps all its pods, so that a rollback starts none. Default 30s.
    #[serde(default = "Keep::default_warm")]
    pub warm: HumanDuration,
}

impl Keep {
    fn default_live() -> i32 {
        8
    }

    fn default_history() -> i32 {
        3
    }

    fn default_warm() -> HumanDuration {
        HumanDuration::from_secs(30)
    }
}

impl Default for Keep {
    fn default() -> Self {
        Self { live: Self::default_live(), history: Self::default_history(), warm: Self::default_warm() }
    }
}

/// Whether colors share equal instances.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Reuse {
    /// Each color has its own instances.
    #[default]
    Never,
    /// A color takes over the instances of older colors that are equal to its own, with everything that they need.
    Unchanged,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(shift: Value, expected: Option<&str>) {
        let stage: Stage = serde_json::from_value(json!({ "name": "active", "shift": shift })).unwrap();
        let kind = stage.shift_kind().map(|kind| match kind {
            ShiftKind::Flip => "flip",
            ShiftKind::Rolling(_) => "rolling",
            ShiftKind::Steps(_) => "steps",
        });
        assert_eq!(kind, expected);
    }

    #[test]
    fn a_shift_is_one_choice() {
        check(Value::Null, Some("flip"));
        check(json!({}), Some("flip"));
        check(json!({ "flip": {} }), Some("flip"));
        check(json!({ "rolling": { "every": "1s" } }), Some("rolling"));
        check(json!({ "flip": {}, "rolling": { "every": "1s" } }), None);
        check(json!({ "steps": [{ "pods": 1 }] }), Some("steps"));
        check(json!({ "steps": [{ "pods": 1 }], "flip": {} }), None);
        check(json!({ "steps": [{ "pods": 1 }], "rolling": { "every": "1s" } }), None);
        check(json!({ "overlap": "90s" }), Some("flip"));
        check(json!({ "rolling": { "every": "1s" }, "overlap": "0s" }), Some("rolling"));
    }

    #[test]
    fn a_default_spec_is_one_that_says_nothing() {
        let read: RainbowSpec = serde_json::from_value(json!({ "tiers": [] })).unwrap();
        assert_eq!(read, RainbowSpec::default());
    }
}
