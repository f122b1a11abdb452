//! `rainbow scale`: changes how many pods tiers have, in one write.

use std::collections::BTreeMap;

use k8s_openapi::api::{apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler};
use kube::api::ListParams;
use rainbow_api::{Rainbow, Scaling, labels};

use crate::{
    args::WaitArgs,
    context::{Cluster, Context},
    error::{Error, Result, hint},
    ownership,
    patch::{self, Change},
    refusal, wait,
};

/// Arguments of `rainbow scale`.
#[derive(Debug, clap::Args)]
#[command(mut_arg("wait", |arg| arg.help("Wait until the pods are there and ready, or have ended")))]
pub(crate) struct Args {
    /// Name of the Rainbow
    #[arg(add = crate::complete::rainbows())]
    name: String,
    /// Tier and its number of pods
    #[arg(value_name = "TIER=N", required_unless_present = "tier", add = crate::complete::tiers("="))]
    sizes: Vec<Size>,
    /// Tier that --replicas is about
    #[arg(long, value_name = "TIER", requires = "replicas", conflicts_with = "sizes", add = crate::complete::tiers(""))]
    tier: Option<String>,
    /// Number of pods of the tier
    #[arg(long, value_name = "N", requires = "tier", value_parser = clap::value_parser!(i32).range(0..))]
    replicas: Option<i32>,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Size of a tier, `TIER=N`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Size {
    tier: String,
    replicas: i32,
}

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (tier, number) =
            text.split_once('=').filter(|(tier, _)| !tier.is_empty()).ok_or("write TIER=N, such as web=5")?;
        let replicas = number.parse().ok().filter(|number| *number >= 0);
        let replicas =
            replicas.ok_or_else(|| format!("`{number}` is no number of pods: write 0 or more, such as {tier}=5"))?;
        Ok(Self { tier: tier.to_owned(), replicas })
    }
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let named = args.tier.zip(args.replicas).map(|(tier, replicas)| Size { tier, replicas });
    let mut sizes = BTreeMap::new();
    for Size { tier, replicas } in args.sizes.into_iter().chain(named) {
        if sizes.insert(tier.clone(), replicas).is_some_and(|before| before != replicas) {
            return Err(Error::Usage(format!("tier `{tier}` is there twice with two sizes: keep one of them")));
        }
    }
    let cluster = context.cluster().await?;
    let (mut told, mut forgets) = (Vec::new(), Vec::new());
    let check = async |rainbow: &Rainbow| {
        refuse_scaled(&cluster, rainbow, &sizes).await?;
        refusal::check_version(rainbow)
    };
    let make = |rainbow: &Rainbow| {
        told.clear();
        // Where the manifest gives no size, its next apply removes the size that is written here.
        let of_manifest = ownership::forgets_sizes(&rainbow.metadata, sizes.keys().map(String::as_str));
        forgets = of_manifest.into_iter().map(str::to_owned).collect();
        change(rainbow, &sizes, &mut told)
    };
    let (rainbow, written) = patch::change_checked(&cluster, &args.name, make, check).await?;
    let shown = format!("rainbow.rainbow.dev/{}", args.name);
    if written {
        ownership::hand_over(&cluster, &args.name).await;
        context.printer.line(format_args!("{shown} scaled: {}", told.join(", ")));
        if !forgets.is_empty() {
            context.printer.warning(format_args!(
                "the manifest that was applied gives no `replicas` for {}: its next apply sets the default of 1; write the number there",
                forgets.join(", ")
            ));
        }
    } else {
        context.printer.line(format_args!("{shown} unchanged"));
    }
    others_keep(context, &rainbow);
    if args.wait.wait {
        wait::ready(context, &cluster, &rainbow, args.wait.limit(&rainbow)).await?;
    }
    Ok(())
}

fn change(rainbow: &Rainbow, sizes: &BTreeMap<String, i32>, told: &mut Vec<String>) -> Result<Change> {
    let mut change = Change::default();
    for (name, size) in sizes {
        let Some((at, tier)) = rainbow.spec.tiers.iter().enumerate().find(|(_, tier)| tier.name == *name) else {
            let names: Vec<String> = rainbow.spec.tiers.iter().map(|tier| tier.name.clone()).collect();
            let rainbow = rainbow.metadata.name.as_deref().unwrap_or_default();
            return Err(Error::NotFound(format!("rainbow `{rainbow}` has no tier `{name}`{}", hint(name, &names))));
        };
        if tier.autoscale.is_some() {
            return Err(Error::Usage(format!(
                "tier `{name}` is scaled by its autoscaler: change spec.tiers[{name}].autoscale, or remove it first"
            )));
        }
        if tier.scaling == Scaling::External {
            return Err(Error::Usage(format!(
                "tier `{name}` is scaled by another controller, since spec.tiers[{name}].scaling is External: scale there, or remove the field first"
            )));
        }
        if tier.replicas == *size {
            continue;
        }
        let index = at.to_string();
        // The entry that the patch names by index must be the one that was read.
        change.test(&["spec", "tiers", &index, "name"], tier.name.clone());
        change.set(&["spec", "tiers", &index, "replicas"], *size);
        told.push(format!("{name} {} → {size}", tier.replicas));
    }
    Ok(change)
}

/// Fails where an autoscaler of another owner decides the size. Where the user may not list autoscalers, the operator finds it.
async fn refuse_scaled(cluster: &Cluster, rainbow: &Rainbow, sizes: &BTreeMap<String, i32>) -> Result {
    let Ok(scalers) = cluster.api::<HorizontalPodAutoscaler>().list(&ListParams::default()).await else {
        return Ok(());
    };
    if scalers.items.is_empty() {
        return Ok(());
    }
    let name = rainbow.metadata.name.as_deref().unwrap_or_default();
    let of_rainbow = ListParams::default().labels(&format!("{}={name}", labels::RAINBOW));
    let deployments = cluster.api::<Deployment>().list(&of_rainbow).await.map_err(|error| cluster.error(&error))?;
    for scaler in &scalers.items {
        let target = scaler.spec.as_ref().map(|spec| &spec.scale_target_ref);
        let Some(target) = target.filter(|target| target.kind == "Deployment") else { continue };
        let deployment = deployments.items.iter().find(|known| known.metadata.name.as_ref() == Some(&target.name));
        let tier = deployment.and_then(|found| found.metadata.labels.as_ref()?.get(labels::TIER));
        if let Some(tier) = tier.filter(|tier| sizes.contains_key(*tier)) {
            return Err(Error::Refused(format!(
                "tier `{tier}` is scaled by HorizontalPodAutoscaler `{}`: change that one, or delete it first",
                scaler.metadata.name.as_deref().unwrap_or_default()
            )));
        }
    }
    Ok(())
}

/// Tells the user which stages serve colors that keep their size, because a size belongs to the color that the spec describes.
fn others_keep(context: &Context, rainbow: &Rainbow) {
    let Some(status) = &rainbow.status else { return };
    let Some(newest) = rainbow.spec.color.as_ref().or(status.color.as_ref()) else { return };
    for stage in &status.stages {
        if let Some(color) = stage.color.as_ref().filter(|color| *color != newest) {
            context.printer.progress(format_args!(
                "stage {} serves {color}, which keeps its size: the new one is that of {newest}",
                stage.name
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn scaled(sizes: &[(&str, i32)]) -> Result<serde_json::Value> {
        let rainbow: Rainbow = serde_json::from_value(json!({
            "apiVersion": "rainbow.dev/v1alpha1", "kind": "Rainbow", "metadata": { "name": "shop" },
            "spec": { "tiers": [
                { "name": "api", "template": {} }, { "name": "web", "replicas": 3, "template": {} },
                { "name": "auto", "autoscale": { "maxReplicas": 3 }, "template": {} },
                { "name": "keda", "scaling": "External", "template": {} },
            ] },
        }))
        .unwrap();
        let sizes = sizes.iter().map(|(tier, size)| ((*tier).to_owned(), *size)).collect();
        change(&rainbow, &sizes, &mut Vec::new()).map(|change| json!(change.operations()))
    }

    #[test]
    fn only_sizes_that_change_are_written() {
        assert_eq!(
            scaled(&[("web", 5), ("api", 1)]).unwrap(),
            json!([
                { "op": "test", "path": "/spec/tiers/1/name", "value": "web" },
                { "op": "add", "path": "/spec/tiers/1/replicas", "value": 5 },
            ])
        );
    }

    #[test]
    fn what_another_writer_decides_is_refused() {
        for (tier, message) in [
            ("auto", "tier `auto` is scaled by its autoscaler: change spec.tiers[auto].autoscale, or remove it first"),
            (
                "keda",
                "tier `keda` is scaled by another controller, since spec.tiers[keda].scaling is External: scale there, or remove the field first",
            ),
            ("wep", "rainbow `shop` has no tier `wep`; did you mean `web`?"),
        ] {
            assert_eq!(scaled(&[(tier, 2)]).unwrap_err().to_string(), message);
        }
        for wrong in ["web", "=3", "web=-1", "web=many", "web=3000000000"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
        assert_eq!("web=0".parse(), Ok(Size { tier: "web".into(), replicas: 0 }));
    }
}
