//! Labels and annotations that Rainbow puts on objects.

use crate::documented::documented_keys;

documented_keys! {
    /// Keys that Rainbow writes, with their meanings.
    pub KEYS;
    /// Label on every object that Rainbow makes: name of the Rainbow.
    RAINBOW = "rainbow.dev/rainbow";
    /// Label on every object made for a tier: name of the tier.
    TIER = "rainbow.dev/tier";
    /// Label on instances and their pods: color that introduced the instance.
    COLOR = "rainbow.dev/color";
    /// Label on a stage's Service: name of the stage.
    STAGE = "rainbow.dev/stage";
    /// Label on instances that each stage has for itself, and on their pods: name of the stage. The callees of such an instance may be newer
    /// than it is.
    BELONGS_TO = "rainbow.dev/belongs-to";
    /// Label on a stage's shadow Service: name of the stage. No client uses that Service.
    SHADOW = "rainbow.dev/shadow";
    /// Prefix of a label on pods, followed by a stage's name: the pod is in that stage while the stage shifts. The value is `yes`.
    MEMBER_PREFIX = "member.rainbow.dev/";
    /// Prefix of an annotation on pods, followed by a stage's name: time at which the pod joined the stage (RFC 3339 with milliseconds).
    /// Written in the same request as the label, so the time of the last step survives a crash.
    JOINED_PREFIX = "joined.rainbow.dev/";
    /// Label on the pods of an instance. Services that select the instance ask for it. A pod without the label keeps its place in its
    /// ReplicaSet and gets no new connections. The value is `yes`.
    SERVING = "rainbow.dev/serving";
    /// Annotation of a stage's Service: color that the stage serves, written with the selector.
    SERVES = "rainbow.dev/serves";
    /// Annotation on a pod whose label `rainbow.dev/serving` was removed: time of the removal (RFC 3339 with milliseconds). Written in the same request,
    /// so the pod's deadline survives a crash.
    OUT_SINCE = "rainbow.dev/out-since";
    /// Annotation with a hash of what was applied, so that an unchanged object costs no write.
    APPLIED = "rainbow.dev/applied";
    /// Annotation with the time at which a color was taken back (RFC 3339). Writing it changes the color's objects, so that the API server
    /// refuses a late write to them.
    TAKEN_BACK = "rainbow.dev/taken-back";
    /// Annotation on Deployments: identity of the instance.
    IDENTITY = "rainbow.dev/identity";
    /// Annotation on the Job of a gate's measurement: time since which the gate's measurements count (RFC 3339 with milliseconds). The result
    /// of a Job with an earlier time belongs to an earlier release of the color.
    MEASURES_SINCE = "rainbow.dev/measures-since";
    /// Annotation of a copy of a ConfigMap or a Secret: name of the object that was copied.
    COPY_OF = "rainbow.dev/copy-of";
    /// Finalizer of a `Rainbow` and a `Color`: keeps them until the objects that they made are deleted in order.
    FINALIZER = "rainbow.dev/teardown";
    /// Label on pods that hold connections while their color drains. The drain's PodDisruptionBudget selects it. The value is `yes`.
    HOLDING = "rainbow.dev/holding";
    /// Annotation of a Rainbow that says why its version is released, as `kubectl rollout history` knows it. A color keeps the text that was
    /// there when the color was made.
    CHANGE_CAUSE = "kubernetes.io/change-cause";
    /// Annotation of a Rainbow: a color and the user who released it, such as `v2 ann`. The color of this name keeps the user.
    RELEASED_BY = "rainbow.dev/released-by";
    /// Prefix of an annotation of a color, followed by a stage's name: user who last moved the stage to the color, with the time and the
    /// reason, as JSON.
    MOVED_PREFIX = "moved.rainbow.dev/";
    /// Annotation that tells the ReplicaSet controller which pods to delete first: those with the lowest number.
    DELETION_COST = "controller.kubernetes.io/pod-deletion-cost";
    /// Annotation that keeps cluster-autoscaler from emptying a pod's node.
    SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict";
    /// Annotation that keeps Karpenter from emptying a pod's node.
    DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt";
    /// Standard label that says what manages an object.
    MANAGED_BY = "app.kubernetes.io/managed-by";
}

/// Value of a membership label.
pub const MEMBER: &str = "yes";
/// Value of [`HOLDING`] and [`SERVING`].
pub const YES: &str = "yes";
/// Value of [`DELETION_COST`] on a pod that may end: lower than what people write.
pub const LEAVING_COST: &str = "-1000";
/// Value of [`MANAGED_BY`].
pub const MANAGER: &str = "rainbow";

/// Returns whether the key of a label or an annotation is Rainbow's own. No user may set such a key.
pub fn is_reserved(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    key == MANAGED_BY
        || domain == crate::GROUP
        || domain.strip_suffix(crate::GROUP).is_some_and(|rest| rest.ends_with('.'))
}

/// Returns the key of a stage's membership label.
pub fn member(stage: &str) -> String {
    format!("{MEMBER_PREFIX}{stage}")
}

/// Returns the key of the annotation that says when a pod joined a stage.
pub fn joined(stage: &str) -> String {
    format!("{JOINED_PREFIX}{stage}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_rainbow_are_reserved() {
        for own in [RAINBOW, SERVES, APPLIED, MANAGED_BY, &member("active"), &joined("active"), "rainbow.dev/new"] {
            assert!(is_reserved(own), "{own}");
        }
        for other in ["app", "rainbow.dev", "example.com/rainbow.dev", "myrainbow.dev/x", "app.kubernetes.io/name"] {
            assert!(!is_reserved(other), "{other}");
        }
    }
}
