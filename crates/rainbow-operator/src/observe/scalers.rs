//! State of the autoscalers of instances.

use rainbow_api::{Autoscale, Rainbow};
use rainbow_plan::{InstanceName, Scaler};

use super::Foreign;
use crate::{
    cache::{App, ForeignScalers},
    kind::Kind,
    manifests::{self, Scope},
};

/// Returns the autoscaler of an instance: an object that scales its Deployment, or that has the name of its own one. `policy` is the policy
/// of its own one.
pub(super) fn scaler(
    app: &mut App,
    scope: &Scope<'_>,
    rainbow: &Rainbow,
    (instance, name): (&InstanceName, &str),
    policy: Option<&Autoscale>,
    others: &ForeignScalers,
    foreign: &Foreign,
) -> Scaler {
    let scales = others.iter().find(|(_, other)| other.deployment.as_deref() == Some(name));
    if let Some((other, found)) = scales {
        return Scaler::Foreign { name: other.to_string(), most: found.most };
    }
    let App { scalers, answers, epoch, .. } = app;
    let own = scalers.get_mut(name);
    match own.filter(|own| own.instance() == *instance) {
        Some(own) if own.meta.deleting => Scaler::Deleting,
        Some(own) => {
            let least = own.least;
            let desired = |policy: &Autoscale| manifests::scaler(scope, rainbow, instance, policy, least);
            let current =
                policy.is_some_and(|policy| own.content.is_current(&own.meta.uid, *epoch, answers, || desired(policy)));
            Scaler::Ours { current, least }
        }
        None if others.contains_key(name) || foreign.contains(&(Kind::HorizontalPodAutoscaler, name.to_owned())) => {
            Scaler::Taken
        }
        None => Scaler::Absent,
    }
}
