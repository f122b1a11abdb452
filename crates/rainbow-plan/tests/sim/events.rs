//! Events that can happen, and their text.

use std::{fmt, str::FromStr};

/// Number of an event, as a word.
trait Word: Sized {
    fn word(&self) -> String;
    fn read(word: Option<&str>) -> Result<Self, String>;
}

macro_rules! words {
    ($($type:ty)*) => { $(
        impl Word for $type {
            fn word(&self) -> String {
                self.to_string()
            }
            fn read(word: Option<&str>) -> Result<Self, String> {
                word.ok_or("a word is missing")?.parse().map_err(|error| format!("{error}"))
            }
        }
    )* };
}
words!(usize u32 i64);

impl Word for Option<u32> {
    fn word(&self) -> String {
        self.map_or_else(|| "none".into(), |number| number.to_string())
    }
    fn read(word: Option<&str>) -> Result<Self, String> {
        if word == Some("none") { Ok(None) } else { u32::read(word).map(Some) }
    }
}

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident $word:literal $(($($field:ident: $type:ty),+))?;)+) => {
        /// Event that happens. Numbers choose among the objects that exist at that moment, so that a history stays valid while it
        /// is made shorter.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Event {
            $($(#[$doc])* $name $(($($type),+))?,)+
        }

        impl fmt::Display for Event {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name $(($($field),+))? => {
                        f.write_str($word)?;
                        $($(write!(f, " {}", $field.word())?;)+)?
                        Ok(())
                    })+
                }
            }
        }

        impl FromStr for Event {
            type Err = String;

            fn from_str(line: &str) -> Result<Self, String> {
                let mut words = line.split_whitespace();
                let event = match words.next().unwrap_or_default() {
                    $($word => Self::$name $(($(<$type as Word>::read(words.next())?),+))?,)+
                    _ => return Err("no such event".into()),
                };
                words.next().map_or(Ok(event), |word| Err(format!("a word too many: {word}")))
            }
        }
    };
}

events! {
    // The operator.
    Reconcile "look";
    /// The operator dies after this many writes.
    Crash "crash" (writes: usize);
    /// The operator asks the pods that it should ask.
    Ask "ask";

    // Time and the cluster's controllers.
    Tick "tick" (milliseconds: i64);
    Calm "calm";
    /// Seconds pass with everything at work.
    Pass "pass" (seconds: i64);
    Deployment "deployment" (deployment: usize, pick: usize);
    Ready "ready" (pod: usize);
    Unready "unready" (pod: usize);
    End "end" (pod: usize);
    SeePod "see-pod" (pod: usize);
    SeeStage "see-stage" (stage: usize);
    Kill "kill" (pod: usize);
    /// A pod can no longer be asked, or can again.
    Dumb "dumb" (pod: usize);

    // Clients.
    /// Clients open this many more connections to a pod that can be reached.
    Connect "connect" (pod: usize, count: u32);
    Disconnect "disconnect" (pod: usize);

    // Users and their releases.
    /// A new version; the number tells which of its tiers never comes up, if any.
    NewColor "new-color" (broken: usize);
    BackToColor "back-to-color" (color: usize);
    Promote "promote-to" (stage: usize, color: usize);
    Unpin "unpin-stage" (stage: usize);
    Pause "pause-or-resume" (stage: usize);
    /// The stage may go on to a color after each of its tiers.
    GoOn "go-on" (stage: usize, color: usize);
    /// A gate says from now on: passed (0), failed (1), inconclusive (2), no data (3), nothing (4).
    Judge "judge" (gate: usize, says: usize);
    /// A user skips a gate for a color.
    SkipGate "skip-gate" (stage: usize, gate: usize, color: usize);
    /// A user lets a stage pass the step at which it waits.
    PassStep "pass-step" (stage: usize);
    Retire "retire-color" (color: usize);
    Drain "drain-color" (color: usize, deadline: usize);
    DeleteRainbow "delete-rainbow";
    /// Pods that never came up become ready.
    Mend "mend-all";

    // Users who do what they should not.
    SameNameOtherTiers "same-name-other-tiers";
    PromoteUnknown "promote-to-unknown" (stage: usize);
    Replicas "replicas-of" (tier: usize, replicas: u32);
    StageReplicas "stage-replicas" (stage: usize, replicas: Option<u32>);
    DeleteColor "delete-color" (color: usize);
    ForceDeleteColor "force-delete-color" (color: usize);
    AddStage "add-stage";
    RemoveStage "remove-stage" (stage: usize);
    EditSelector "edit-selector" (stage: usize);
    DeleteStageService "delete-stage-service" (stage: usize);
    ScaleByHand "scale-by-hand" (deployment: usize, replicas: u32);
    Drift "drift" (deployment: usize);
    LoseStatus "lose-status";
    ForeignAhead "foreign-ahead" (tier: usize);

    // The API server.
    /// Writes to an object are refused for good (0), for a while (1), time out after they took effect (2), have no effect (3), or
    /// are rewritten by a webhook (4).
    Refuse "refuse" (object: usize, way: usize);
    /// No write is refused any more.
    Allow "allow-all";
    /// A cache lags by this time: Rainbow, colors, Deployments, Services, pods, slices, budgets.
    Lag "lag" (kind: usize, milliseconds: i64);
    Refresh "refresh" (kind: usize);
    /// The endpoint controller may see membership labels of pods this late.
    SlowLabels "slow-labels" (milliseconds: i64);
    /// An operator loses its lease after this many writes, and the next one leads.
    TakeOver "take-over" (writes: usize);
    /// The clock of the operator that does not lead is ahead by this many seconds.
    OtherClock "other-clock" (seconds: i64);
    /// The last write that the previous operator had sent is carried out.
    LateWrite "late-write";

    // Versions that differ in more than their pods.
    /// A new version that listens on another port.
    NewPort "new-color-with-port" (port: u32);
    /// A new version with another size.
    NewSize "new-color-with-size" (tier: usize, replicas: u32);
    /// A new version that has a tier before the entry, or no longer has it.
    NewGate "new-color-with-gate";
    /// A new version in which one edge changes its kind: its callee may be newer, or no longer.
    NewEdge "new-color-with-edge" (edge: usize);
    /// A new version in which a tier calls a tier that did not exist before, or in which that tier is gone.
    NewCallee "new-color-with-callee" (tier: usize);
    /// A new version without an inner tier.
    NoTier "new-color-without-tier" (tier: usize);
    /// The spec's version becomes invalid.
    Invalid "invalid";
    /// The spec of a stage becomes invalid.
    InvalidStage "invalid-stage" (stage: usize);
    /// All of the spec is valid again.
    Valid "valid";
    /// An old manifest is applied: no pins, nothing paused.
    Apply "apply-manifest";
    /// A stage whose name is that of a color, on an inner tier.
    AddStageLikeColor "add-stage-like-color" (color: usize, tier: usize);

    // Services.
    NodePort "node-port" (stage: usize, port: u32);
    SwapNodePorts "swap-node-ports" (stage: usize, other: usize);
    /// Another Service has the node port, or no longer.
    TakeNodePort "take-node-port" (port: u32);
    RenameService "rename-service" (stage: usize);
    /// Services end slowly from now on, or at once.
    SlowDeletes "slow-deletes";
    FinishDeletes "finish-deletes";

    // Other writers.
    SelectByHand "select-by-hand" (stage: usize, instance: usize);
    /// The annotation with the color that a stage serves is changed or removed.
    SayByHand "say-by-hand" (stage: usize, color: usize);
    LabelByHand "label-by-hand" (pod: usize, stage: usize);
    UnlabelByHand "unlabel-by-hand" (pod: usize);
    /// The label that Services ask for is taken off a pod, or put on again.
    ServingByHand "serving-by-hand" (pod: usize);
    /// The time a pod joined cannot be read.
    BlurJoined "blur-joined" (pod: usize);
    MarkByHand "mark-by-hand" (pod: usize, mark: usize);
    EditPort "edit-port" (stage: usize, port: u32);
    Disown "disown-deployment" (deployment: usize);
    Own "own-deployments";
    DeleteDeployment "delete-deployment" (deployment: usize);
    /// `kubectl delete deployment --cascade=orphan`.
    OrphanDeployment "orphan-deployment" (deployment: usize);
    /// `kubectl rollout restart`, or a reloader: every pod of a Deployment is replaced.
    RestartDeployment "restart-deployment" (deployment: usize);
    DeleteService "delete-service" (service: usize);
    DeleteGuardByHand "delete-guard";
    /// The EndpointSlices of a stage are deleted. The endpoint controller makes them again.
    DeleteSlices "delete-slices" (stage: usize);
    Autoscale "autoscale" (deployment: usize, replicas: u32);
    NoAutoscale "no-autoscale";
    /// Writer that scales a tier: Rainbow (0), another controller (1), an autoscaler of one pod at least (2), of two (3).
    SayScaling "scaling-of" (tier: usize, way: usize);
    /// Another owner makes an autoscaler of a Deployment, of this many pods at most.
    ForeignScaler "foreign-autoscaler" (deployment: usize, most: u32);
    /// The autoscalers of other owners are deleted.
    NoForeignScaler "no-foreign-autoscaler";

    // Pods and nodes.
    Evict "evict" (pod: usize);
    /// The pod's container is started again: it is not ready, and its connections are gone.
    Restart "restart" (pod: usize);
    /// Every third pod is gone.
    NodeGone "node-gone" (node: usize);
    Flap "flap" (pod: usize);
    ReadyThenCrash "ready-then-crash" (pod: usize);
    /// The pods of the newest color wait for a readiness gate.
    GateNewest "gate-newest";
    OpenGates "open-gates";
}
