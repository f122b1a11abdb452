//! The labels and annotations Rainbow puts on what it makes.

/// On everything Rainbow makes: the name of the Rainbow.
pub const RAINBOW: &str = "rainbow.dev/rainbow";
/// On everything made for a tier: the tier's name.
pub const TIER: &str = "rainbow.dev/tier";
/// On instances and their pods: the color that introduced the instance.
pub const COLOR: &str = "rainbow.dev/color";
/// On a stage's Service: the stage's name.
pub const STAGE: &str = "rainbow.dev/stage";
/// On instances that each stage has for itself, and on their pods: the stage's name. Their callees may be newer than they are.
pub const BELONGS_TO: &str = "rainbow.dev/belongs-to";
/// On a stage's shadow Service: the stage's name. No client uses that Service.
pub const SHADOW: &str = "rainbow.dev/shadow";
/// On pods, followed by a stage's name: the pod is in that stage while it shifts. The value is [`MEMBER`].
pub const MEMBER_PREFIX: &str = "member.rainbow.dev/";
/// Value of a membership label.
pub const MEMBER: &str = "yes";
/// On pods, followed by a stage's name: when the pod joined the stage (RFC 3339 with milliseconds). Written in the
/// same request as the label, so the time of the last step survives a crash.
pub const JOINED_PREFIX: &str = "joined.rainbow.dev/";
/// On the pods of an instance; Services that select the instance ask for it. A pod without it keeps its place in its ReplicaSet
/// and gets no new connections. The value is [`YES`].
pub const SERVING: &str = "rainbow.dev/serving";
/// Annotation of a stage's Service: the color that the stage serves, written with the selector.
pub const SERVES: &str = "rainbow.dev/serves";
/// Annotation on a pod whose [`SERVING`] label was taken off: since when (RFC 3339 with milliseconds). Written in the same request,
/// so the pod's deadline survives a crash.
pub const OUT_SINCE: &str = "rainbow.dev/out-since";
/// Hash of what was applied, so that an unchanged object costs no write.
pub const APPLIED: &str = "rainbow.dev/applied";
/// The annotation that changes an object of a color that is taken back, so that a late write to it is refused: when that was (RFC 3339).
pub const TAKEN_BACK: &str = "rainbow.dev/taken-back";
/// On Deployments: identity of the instance.
pub const IDENTITY: &str = "rainbow.dev/identity";
/// Annotation of a copy of a ConfigMap or a Secret: name of the object that was copied.
pub const COPY_OF: &str = "rainbow.dev/copy-of";
/// On a `Rainbow` and a `Color`: keeps them until what they made has gone in order.
pub const FINALIZER: &str = "rainbow.dev/teardown";
/// On pods that hold connections while their color drains. The value is [`YES`]. The drain's PodDisruptionBudget selects it.
pub const HOLDING: &str = "rainbow.dev/holding";
/// Value of [`HOLDING`] and [`SERVING`].
pub const YES: &str = "yes";
/// Annotation that tells the ReplicaSet controller which pods to end first: those with the lowest number.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// Its value on a pod that may go: lower than what people write.
pub const LEAVING_COST: &str = "-1000";
/// Annotation that keeps cluster-autoscaler from emptying a pod's node.
pub const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";
/// Annotation that keeps Karpenter from emptying a pod's node.
pub const DO_NOT_DISRUPT: &str = "karpenter.sh/do-not-disrupt";
/// The standard label that says who manages an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Its value.
pub const MANAGER: &str = "rainbow";

/// The key is Rainbow's own, of a label or an annotation: no user sets it.
pub fn is_reserved(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    key == MANAGED_BY
        || domain == crate::GROUP
        || domain.strip_suffix(crate::GROUP).is_some_and(|rest| rest.ends_with('.'))
}

/// The membership label of a stage.
pub fn member(stage: &str) -> String {
    format!("{MEMBER_PREFIX}{stage}")
}

/// Annotation of a Rainbow that says why its version is released, as `kubectl rollout history` knows it. A color keeps what it was when the
/// color was made.
pub const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
/// Annotation of a Rainbow: a color and the user who released it, such as `v2 ann`. The color of this name keeps the user.
pub const RELEASED_BY: &str = "rainbow.dev/released-by";
/// Annotation of a color, followed by a stage's name: who moved the stage to the color last, when and why, as JSON.
pub const MOVED_PREFIX: &str = "moved.rainbow.dev/";

/// The annotation that says when a pod joined a stage.
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
