//! Counts for each PodDisruptionBudget how many pods may be evicted.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet},
        core::v1::Pod,
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus},
    },
    apimachinery::pkg::{
        apis::meta::v1::{Condition, LabelSelector, Time},
        util::intstr::IntOrString,
    },
};
use kube::ResourceExt;
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    Error, Shared,
    cache::{Cache, Key},
    clock,
    events::Events,
    owner, pods,
    queue::{After, Queue},
};

const COMPONENT: &str = "controllermanager";
const WORKERS: usize = 2;
/// An eviction that led to no deletion in this many seconds is forgotten.
const EVICTION_SECONDS: i64 = 120;
const ALLOWED: &str = "DisruptionAllowed";

/// Starts the controller.
pub(crate) fn start(shared: &Shared, tasks: &mut JoinSet<()>) {
    let queue = Queue::new();
    let context = Arc::new(Context {
        budgets: shared.budgets.clone(),
        pods: shared.pods.clone(),
        sets: shared.replica_sets.clone(),
        deployments: shared.deployments.clone(),
        events: shared.events.clone(),
    });
    let changed = queue.clone();
    context.budgets.on_change(move |_, new| new.into_iter().for_each(|budget| changed.add(Key::of(budget))));
    let (changed, budgets) = (queue.clone(), context.budgets.clone());
    context.pods.on_change(move |old, new| {
        for pod in old.into_iter().chain(new) {
            for budget in budgets.list(&pod.namespace().unwrap_or_default()) {
                if budget.spec.as_ref().is_some_and(|spec| selects(spec, pod)) {
                    changed.add(Key::of(&*budget));
                }
            }
        }
    });
    // A Deployment's own number is what counts, not its ReplicaSets'.
    let (changed, budgets) = (queue.clone(), context.budgets.clone());
    context.deployments.on_change(move |old, new| {
        let replicas = |deployment: Option<&Deployment>| deployment?.spec.as_ref()?.replicas;
        if replicas(old) != replicas(new) {
            let namespace = new.or(old).and_then(ResourceExt::namespace).unwrap_or_default();
            budgets.list(&namespace).iter().for_each(|budget| changed.add(Key::of(&**budget)));
        }
    });
    context.sets.keep();
    tasks.spawn(async move {
        context.budgets.ready().await;
        context.pods.ready().await;
        context.sets.ready().await;
        context.deployments.ready().await;
        queue.work(WORKERS, move |key| context.clone().reconcile(key)).await;
    });
}

/// An empty selector selects all pods of the namespace, none selects none.
fn selects(spec: &PodDisruptionBudgetSpec, pod: &Pod) -> bool {
    spec.selector
        .as_ref()
        .is_some_and(|selector| *selector == LabelSelector::default() || owner::selects(selector, pod.labels()))
}

struct Context {
    budgets: Cache<PodDisruptionBudget>,
    pods: Cache<Pod>,
    sets: Cache<ReplicaSet>,
    deployments: Cache<Deployment>,
    events: Events,
}

/// How many pods there shall be, and how many of them healthy.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    expected: i32,
    healthy: i32,
}

impl Context {
    async fn reconcile(self: Arc<Self>, key: Key) -> Result<After, Error> {
        let Some(budget) = self.budgets.get(&key) else { return Ok(After::Rest) };
        let Some(spec) = budget.spec.as_ref() else { return Ok(After::Rest) };
        let mut mine = self.pods.list(&key.namespace);
        mine.retain(|pod| selects(spec, pod));
        let wanted = wanted(spec, &mine, |pod| self.scale(pod));
        if let Err(why) = &wanted {
            self.events.warning(COMPONENT, &*budget, "CalculateExpectedPodCountFailed", why.clone());
        }
        let (status, after) = status(&budget, &mine, wanted);
        // Zeros are news, too, where nothing was written yet.
        let old = budget.status.as_ref().map_or_else(|| Ok(json!({})), serde_json::to_value)?;
        if let Some(patch) = crate::patch::diff(&old, &serde_json::to_value(&status)?)? {
            self.budgets.patch_status(&budget, patch).await?;
        }
        Ok(after)
    }

    /// Who decides how many pods like this one there are, and how many that are. `None` for a pod without an owner.
    fn scale(&self, pod: &Pod) -> Result<Option<(String, i32)>, String> {
        let Some(controller) = owner::controller(pod) else { return Ok(None) };
        let namespace = pod.namespace().unwrap_or_default();
        let Some(name) = owner::controller_name::<ReplicaSet>(pod) else {
            let kind = &controller.kind;
            return Err(format!("{kind} {} does not implement the scale subresource", controller.name));
        };
        let Some(set) = self.sets.get(&Key::new(namespace.clone(), name)) else { return Ok(None) };
        let deployment = owner::controller_name::<Deployment>(&*set);
        let deployment = deployment.and_then(|name| self.deployments.get(&Key::new(namespace, name)));
        let (uid, replicas) = match deployment {
            Some(deployment) => (deployment.uid(), deployment.spec.as_ref().and_then(|spec| spec.replicas)),
            None => (set.uid(), set.spec.as_ref().and_then(|spec| spec.replicas)),
        };
        Ok(Some((uid.unwrap_or_default(), replicas.unwrap_or(1))))
    }
}

/// What a budget asks for. Percentages are of what the pods' controllers want.
fn wanted(
    spec: &PodDisruptionBudgetSpec,
    mine: &[Arc<Pod>],
    scale: impl Fn(&Pod) -> Result<Option<(String, i32)>, String>,
) -> Result<Wanted, String> {
    let count = |pods: usize| i32::try_from(pods).unwrap_or(i32::MAX);
    let scales = || -> Result<i32, String> {
        let mut seen = HashSet::new();
        let mut sum = 0_i32;
        for pod in mine {
            if let Some((controller, replicas)) = scale(pod)?
                && seen.insert(controller)
            {
                sum = sum.saturating_add(replicas);
            }
        }
        Ok(sum)
    };
    match (&spec.max_unavailable, &spec.min_available) {
        (Some(unavailable), _) => {
            let expected = scales()?;
            Ok(Wanted { expected, healthy: (expected - share(unavailable, expected)?).max(0) })
        }
        (None, Some(IntOrString::Int(healthy))) => Ok(Wanted { expected: count(mine.len()), healthy: *healthy }),
        (None, Some(percent)) => {
            let expected = scales()?;
            Ok(Wanted { expected, healthy: share(percent, expected)? })
        }
        (None, None) => Ok(Wanted { expected: 0, healthy: 0 }),
    }
}

/// A number, or a percentage of one, rounded up.
fn share(value: &IntOrString, of: i32) -> Result<i32, String> {
    match value {
        IntOrString::Int(number) => Ok(*number),
        IntOrString::String(text) => {
            let percent = text.strip_suffix('%').and_then(|number| number.parse::<u32>().ok());
            let percent =
                percent.ok_or_else(|| format!("invalid value for IntOrString: \"{text}\" is no percentage"))?;
            let share = (i64::from(of) * i64::from(percent) + 99) / 100;
            Ok(i32::try_from(share).unwrap_or(i32::MAX))
        }
    }
}

/// The status, and when it will change by time alone.
fn status(
    budget: &PodDisruptionBudget,
    mine: &[Arc<Pod>],
    wanted: Result<Wanted, String>,
) -> (PodDisruptionBudgetStatus, After) {
    let old = budget.status.clone().unwrap_or_default();
    let generation = budget.metadata.generation;
    let Ok(wanted) = wanted else {
        // Fail safe: nothing may be evicted until the count is known.
        let message = wanted.err();
        let conditions = conditions(&old, generation, ("False", "SyncFailed", message.unwrap_or_default()));
        let status = PodDisruptionBudgetStatus { disruptions_allowed: 0, conditions: Some(conditions), ..old };
        return (status, After::Rest);
    };
    // Pods that the API server has let go, as long as their deletion has not been seen.
    let (mut leaving, mut after) = (BTreeMap::new(), After::Rest);
    let mut healthy = 0;
    for pod in mine.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
        let name = pod.name_any();
        let evicted = old.disrupted_pods.as_ref().and_then(|disrupted| disrupted.get(&name));
        match evicted.and_then(|since| Some((since, clock::remaining(since, EVICTION_SECONDS)?))) {
            Some((since, left)) => {
                leaving.insert(name, Time(since.0));
                after = after.or(After::Again(left));
            }
            None => healthy += i32::from(pods::is_ready(pod)),
        }
    }
    let allowed = if wanted.expected > 0 { (healthy - wanted.healthy).max(0) } else { 0 };
    let news = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let status = PodDisruptionBudgetStatus {
        conditions: Some(conditions(&old, generation, (news.0, news.1, String::new()))),
        current_healthy: healthy,
        desired_healthy: wanted.healthy,
        disrupted_pods: (!leaving.is_empty()).then_some(leaving),
        disruptions_allowed: allowed,
        expected_pods: wanted.expected,
        observed_generation: generation,
    };
    (status, after)
}

fn conditions(
    old: &PodDisruptionBudgetStatus,
    generation: Option<i64>,
    (status, reason, message): (&str, &str, String),
) -> Vec<Condition> {
    let mut conditions = old.conditions.clone().unwrap_or_default();
    let former = conditions.iter().find(|condition| condition.type_ == ALLOWED && condition.status == status);
    let since = former.map_or_else(clock::time, |former| former.last_transition_time.clone());
    conditions.retain(|condition| condition.type_ != ALLOWED);
    conditions.push(Condition {
        type_: ALLOWED.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: since,
    });
    conditions
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn pod(name: &str, owner: Option<&str>, ready: bool) -> Arc<Pod> {
        let owners = owner.map(
            |uid| json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": uid, "uid": uid, "controller": true}]),
        );
        let ready = if ready { "True" } else { "False" };
        let pod = json!({"metadata": {"name": name, "ownerReferences": owners},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}});
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn check(spec: Value, expected: Result<(i32, i32), &str>) {
        let spec: PodDisruptionBudgetSpec = serde_json::from_value(spec).unwrap();
        let pods =
            [pod("a", Some("x"), true), pod("b", Some("x"), true), pod("c", Some("y"), true), pod("d", None, true)];
        let scale = |pod: &Pod| {
            Ok(owner::controller(pod).map(|owner| (owner.uid.clone(), if owner.uid == "x" { 4 } else { 3 })))
        };
        let found = wanted(&spec, &pods, scale).map(|wanted| (wanted.expected, wanted.healthy));
        assert_eq!(found, expected.map_err(str::to_owned), "{spec:?}");
    }

    #[test]
    fn what_a_budget_asks_for() {
        check(json!({"minAvailable": 2}), Ok((4, 2)));
        check(json!({"minAvailable": "50%"}), Ok((7, 4)));
        check(json!({"maxUnavailable": 0}), Ok((7, 7)));
        check(json!({"maxUnavailable": 9}), Ok((7, 0)));
        check(json!({"maxUnavailable": "30%"}), Ok((7, 4)));
        check(json!({}), Ok((0, 0)));
        check(json!({"maxUnavailable": "x"}), Err("invalid value for IntOrString: \"x\" is no percentage"));
    }

    #[test]
    fn pods_that_are_let_go_count_no_more() {
        let budget = |disrupted: Value| -> PodDisruptionBudget {
            serde_json::from_value(json!({"metadata": {"name": "b", "generation": 3}, "status": {
                "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0, "disruptedPods": disrupted,
            }}))
            .unwrap()
        };
        let pods = [pod("a", Some("x"), true), pod("b", Some("x"), true), pod("c", Some("x"), false)];
        let count = |disrupted: Value| {
            let (status, _) = status(&budget(disrupted), &pods, Ok(Wanted { expected: 3, healthy: 1 }));
            let reason = status.conditions.unwrap()[0].reason.clone();
            (
                status.current_healthy,
                status.disruptions_allowed,
                status.disrupted_pods.map_or(0, |pods| pods.len()),
                reason,
            )
        };
        assert_eq!(count(json!({})), (2, 1, 0, "SufficientPods".into()));
        assert_eq!(count(json!({"a": clock::time()})), (1, 0, 1, "InsufficientPods".into()));
        assert_eq!(
            count(json!({"a": "2020-01-01T00:00:00Z", "gone": clock::time()})),
            (2, 1, 0, "SufficientPods".into())
        );
        let (failed, _) = status(&budget(json!({})), &pods, Err("why".into()));
        assert_eq!((failed.disruptions_allowed, failed.conditions.unwrap()[0].message.as_str()), (0, "why"));
    }
}
