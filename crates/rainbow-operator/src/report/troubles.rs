//! Reasons why colors lack pods, in the words of nodes, the scheduler and the ReplicaSet controller.

use rainbow_plan::{ColorReport, Report, Waiting};

use crate::{
    cache::App,
    domain::{PodTrouble, PodTroubles, Urgency},
    live::{Deployment, Pod, Trouble},
};

/// Returns one trouble for each tier of each color that waits for pods.
pub(crate) fn troubles(app: &App, report: &Report) -> PodTroubles {
    let lacks = |color: &&ColorReport| matches!(color.waiting, Some(Waiting::ForPods { .. }));
    let mut troubles = PodTroubles::new();
    for color in report.colors.iter().filter(lacks) {
        let Some((_, found)) = app.color(&color.name) else { continue };
        for instance in &found.spec.instances {
            if let Some(trouble) = of_instance(app, &instance.tier, &instance.color) {
                troubles.insert((color.name.clone(), instance.tier.clone()), trouble);
            }
        }
    }
    troubles
}

/// Returns the trouble of an instance that says most: pods that cannot be made come first, then pods that are stuck.
fn of_instance(app: &App, tier: &str, color: &str) -> Option<PodTrouble> {
    let is_deployment = |found: &Deployment| *found.tier == *tier && *found.color == *color;
    let failed = app.deployments.iter().filter(|(_, found)| is_deployment(found));
    let failed = failed.filter_map(|(name, found)| Some((name, found.failure.as_deref()?)));
    let failed = failed.map(|(name, says)| PodTrouble {
        object: name.to_string(),
        says: says.to_owned(),
        urgency: Urgency::Stuck,
    });
    let is_pod = |found: &Pod| *found.tier == *tier && *found.color == *color;
    let pods = app.pods.iter().filter(|(_, found)| is_pod(found));
    let pods = pods.filter_map(|(name, found)| Some((name, found.trouble.as_ref()?)));
    let of_pod = pods.map(|(name, trouble)| {
        let (says, urgency) = match trouble {
            Trouble::Stuck(says) => (says, Urgency::Stuck),
            Trouble::Unready(says) => (says, Urgency::Unready),
            Trouble::Starting(says) => (says, Urgency::Starting),
        };
        PodTrouble { object: name.to_string(), says: says.to_string(), urgency }
    });
    failed.chain(of_pod).min_by_key(|trouble| trouble.urgency)
}
