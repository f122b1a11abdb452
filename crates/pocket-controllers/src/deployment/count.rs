//! Numbers of pods that may, must and should exist. Pure arithmetic.

use k8s_openapi::{
    api::apps::v1::{DeploymentSpec, ReplicaSet},
    apimachinery::pkg::util::intstr::IntOrString,
};

pub(super) fn is_rolling(spec: &DeploymentSpec) -> bool {
    spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()).unwrap_or("RollingUpdate") == "RollingUpdate"
}

/// Returns the number of pods that a ReplicaSet should have.
pub(super) fn spec_replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// Returns the number of pods that a ReplicaSet has.
pub(super) fn status_replicas(set: &ReplicaSet) -> i32 {
    set.status.as_ref().map_or(0, |status| status.replicas)
}

/// Returns the number of a ReplicaSet's pods that have been ready for long enough.
pub(super) fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

/// Returns the number of pods that may exist beyond the wanted ones during a rolling update.
pub(super) fn max_surge(spec: &DeploymentSpec) -> i32 {
    if is_rolling(spec) { limits(spec).0 } else { 0 }
}

/// Returns the number of wanted pods that may be unavailable during a rolling update.
pub(super) fn max_unavailable(spec: &DeploymentSpec) -> i32 {
    let replicas = spec.replicas.unwrap_or(1);
    if is_rolling(spec) && replicas > 0 { limits(spec).1.min(replicas) } else { 0 }
}

/// Returns surge and unavailability. Surge is rounded up, unavailability down. If both are 0, one pod may be missing, or nothing could move.
fn limits(spec: &DeploymentSpec) -> (i32, i32) {
    let replicas = spec.replicas.unwrap_or(1);
    let rolling = spec.strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
    let surge = resolve(rolling.and_then(|rolling| rolling.max_surge.as_ref()), replicas, true);
    let unavailable = resolve(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), replicas, false);
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

fn resolve(value: Option<&IntOrString>, of: i32, up: bool) -> i32 {
    let percent = match value {
        Some(IntOrString::Int(number)) => return (*number).max(0),
        Some(IntOrString::String(text)) => text.strip_suffix('%').and_then(|number| number.parse().ok()).unwrap_or(0),
        None => 25_i64,
    };
    let product = percent.saturating_mul(i64::from(of)).max(0);
    let rounded = if up { product.saturating_add(99) / 100 } else { product / 100 };
    i32::try_from(rounded).unwrap_or(i32::MAX)
}

/// Returns the size to which the new ReplicaSet may grow now.
pub(super) fn new_size(spec: &DeploymentSpec, total: i32, new: i32) -> i32 {
    let replicas = spec.replicas.unwrap_or(1);
    if !is_rolling(spec) {
        return replicas;
    }
    let room = replicas.saturating_add(max_surge(spec)).saturating_sub(total);
    if room <= 0 { new } else { new + room.min(replicas - new) }
}

/// Spreads a change of `to_add` pods over ReplicaSets in the middle of a rollout: in proportion to their sizes; the first one
/// takes the rounding difference. `sets` are sizes, each with the total it was measured against; the result is in their order.
pub(super) fn spread(sets: &[(i32, i32)], replicas: i32, max: i32, to_add: i32) -> Vec<i32> {
    let mut added = 0;
    let mut sizes: Vec<i32> = Vec::new();
    for &(size, before) in sets {
        let part = if size == 0 || to_add == added {
            0
        } else if replicas == 0 {
            -size
        } else {
            let exact = f64::from(size) * f64::from(max) / f64::from(before.max(1));
            #[allow(
                clippy::cast_possible_truncation,
                reason = "a float is cut to the bounds of an i32, which is meant"
            )]
            let fraction = exact.round() as i32 - size;
            if to_add > 0 { fraction.clamp(0, to_add - added) } else { fraction.clamp(to_add - added, 0) }
        };
        added += part;
        sizes.push(size + part);
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    sizes
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(replicas: i32, surge: &Value, unavailable: &Value) -> DeploymentSpec {
        serde_json::from_value(json!({
            "replicas": replicas, "selector": {}, "template": {},
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": surge, "maxUnavailable": unavailable } },
        }))
        .unwrap()
    }

    #[track_caller]
    fn check(replicas: i32, surge: Value, unavailable: Value, expected: (i32, i32)) {
        let spec = spec(replicas, &surge, &unavailable);
        assert_eq!((max_surge(&spec), max_unavailable(&spec)), expected);
    }

    #[test]
    fn limits_are_rounded_as_kubernetes_does() {
        check(10, json!("25%"), json!("25%"), (3, 2));
        check(5, json!("25%"), json!("25%"), (2, 1));
        check(1, json!("25%"), json!("25%"), (1, 0));
        check(3, json!(0), json!("25%"), (0, 1));
        check(10, json!(0), json!(0), (0, 1));
        check(2, json!(1), json!(5), (1, 2));
        check(0, json!("100%"), json!("100%"), (0, 0));
        check(10, Value::Null, Value::Null, (3, 2));
        check(10, json!("x"), json!("-5%"), (0, 1));
    }

    #[test]
    fn the_new_one_grows_into_the_room() {
        let spec = spec(10, &json!(3), &json!(0));
        assert_eq!(new_size(&spec, 10, 0), 3);
        assert_eq!(new_size(&spec, 13, 3), 3);
        assert_eq!(new_size(&spec, 12, 8), 9);
        assert_eq!(new_size(&spec, 10, 9), 10);
    }

    #[test]
    fn a_change_is_spread_in_proportion() {
        // Example of Kubernetes itself: 10 replicas, surge 3, sizes 8 and 5, scaled to 15.
        assert_eq!(spread(&[(8, 13), (5, 13)], 15, 18, 5), [11, 7]);
        assert_eq!(spread(&[(5, 10), (5, 10)], 5, 5, -5), [2, 3]);
        assert_eq!(spread(&[(8, 13), (5, 13)], 0, 0, -13), [0, 0]);
        assert_eq!(spread(&[(1, 1)], 3, 3, 2), [3]);
        for replicas in 0..40 {
            let max = if replicas == 0 { 0 } else { replicas + 3 };
            let sizes = spread(&[(7, 13), (4, 13), (2, 13)], replicas, max, max - 13);
            assert_eq!(sizes.iter().sum::<i32>(), max, "{replicas} {sizes:?}");
        }
    }
}
