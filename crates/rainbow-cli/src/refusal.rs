//! Refusals of a release, found before anything of it is written: by the spec's own rules, by the existing colors and other Rainbows, and by the
//! cluster, which checks the Deployments in a dry run.

use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api,
    api::{DynamicObject, ListParams, PostParams},
    core::{ApiResource, Status},
};
use rainbow_api::{
    Color, Config, ObjectName, Rainbow, SpecPart, Tier, Version, labels, names, object_names, object_names_of_colors,
    validate,
};
use serde_json::{Value, json};

use crate::{
    context::Cluster,
    error::{Error, Result},
    patch::FIELD_MANAGER,
};

/// Number of objects of the other Rainbow that a message names.
const SHOWN: usize = 3;

/// Fails with the errors in the version that a Rainbow describes. Asks no cluster.
pub(crate) fn check_version(rainbow: &Rainbow) -> Result {
    let errors = validate(&rainbow.spec);
    let errors: Vec<String> =
        errors.iter().filter(|error| error.part == SpecPart::Version).map(ToString::to_string).collect();
    if errors.is_empty() { Ok(()) } else { Err(Error::Usage(errors.join("\n"))) }
}

/// Fails with the reason for which the cluster or the operator would refuse the Rainbow as it would be stored. `beside`: Rainbows of the
/// namespace that the same command writes.
pub(crate) async fn check(cluster: &Cluster, rainbow: &Rainbow, beside: &[&Rainbow]) -> Result {
    check_color(cluster, rainbow).await?;
    check_siblings(cluster, rainbow, beside).await?;
    for tier in &rainbow.spec.tiers {
        check_deployment(cluster, rainbow, tier).await?;
    }
    Ok(())
}

fn name(rainbow: &Rainbow) -> &str {
    rainbow.metadata.name.as_deref().unwrap_or_default()
}

/// Fails where the color exists with other tiers: a color never changes its tiers.
async fn check_color(cluster: &Cluster, rainbow: &Rainbow) -> Result {
    // A version without a given name is named after the content of its configuration, which only the operator reads.
    let Some(color) = name_of_version(rainbow) else { return Ok(()) };
    let colors = cluster.colors(name(rainbow)).await?;
    let used = colors.iter().find(|known| known.spec.color == color);
    let is_of =
        |used: &Color| Version::beside(&rainbow.spec, &used.spec).is_none_or(|version| version.is_of(&used.spec));
    match used.filter(|used| !is_of(used)) {
        None => Ok(()),
        Some(_) => Err(Error::Usage(format!(
            "rainbow `{}`: spec.color: color `{}` exists with other tiers: give the color a new name",
            name(rainbow),
            color
        ))),
    }
}

/// Returns the name of the version. `None`: the spec alone does not give it.
fn name_of_version(rainbow: &Rainbow) -> Option<String> {
    match rainbow.spec.config {
        Config::Shared => Some(Version::of(&rainbow.spec).color),
        Config::Versioned => rainbow.spec.color.clone(),
    }
}

/// Fails where another Rainbow of the namespace needs an object of the same name.
async fn check_siblings(cluster: &Cluster, rainbow: &Rainbow, beside: &[&Rainbow]) -> Result {
    let all = cluster.api::<Rainbow>().list(&ListParams::default()).await.map_err(|error| cluster.error(&error))?;
    let stays = |known: &&Rainbow| beside.iter().all(|new| name(new) != name(known));
    let siblings = all.items.iter().filter(stays).chain(beside.iter().copied());
    let siblings: Vec<&Rainbow> = siblings.filter(|other| name(other) != name(rainbow)).collect();
    if siblings.is_empty() {
        return Ok(());
    }
    let colors = cluster.all_colors().await?;
    let own = object_names(name(rainbow), &rainbow.spec);
    for other in siblings {
        let prefix = other.spec.name_prefix.as_deref();
        let of_other = colors.iter().filter(|color| color.spec.rainbow == name(other));
        let mut taken = object_names_of_colors(name(other), prefix, of_other);
        taken.extend(object_names(name(other), &other.spec));
        let shared: Vec<&ObjectName> = own.intersection(&taken).collect();
        if !shared.is_empty() {
            let is_new = colors.iter().all(|color| color.spec.rainbow != name(rainbow));
            return Err(Error::Usage(clash(name(rainbow), name(other), &shared, is_new)));
        }
    }
    Ok(())
}

pub(crate) fn clash(rainbow: &str, other: &str, shared: &[&ObjectName], is_new: bool) -> String {
    let shown: Vec<String> =
        shared.iter().take(SHOWN).map(|object| format!("{} `{}`", object.kind, object.name)).collect();
    let more = match shared.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    // The prefix of an existing Rainbow's names cannot change.
    let remedy = match is_new {
        true => format!("set spec.namePrefix, such as `{rainbow}-`"),
        false => "give the color, the tier or the stage another name".to_owned(),
    };
    format!(
        "rainbow `{rainbow}` needs the names of rainbow `{other}` in the same namespace: {}{more}: {remedy}",
        shown.join(", ")
    )
}

/// Asks the cluster whether it would accept the Deployment of a tier. Only errors in the pod template count: another answer, such as that of a
/// policy or a missing right, may not hold for the operator's own request.
async fn check_deployment(cluster: &Cluster, rainbow: &Rainbow, tier: &Tier) -> Result {
    let resource = ApiResource::erase::<Deployment>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource);
    let params = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.into()) };
    let Ok(deployment) = serde_json::from_value(deployment(rainbow, tier)) else { return Ok(()) };
    match api.create(&params, &deployment).await {
        Err(kube::Error::Api(status)) => match of_template(&status, &tier.name) {
            Some(message) => Err(Error::Usage(format!("rainbow `{}`: the cluster refused: {message}", name(rainbow)))),
            None => Ok(()),
        },
        Ok(_) => Ok(()),
        Err(error) => Err(cluster.error(&error)),
    }
}

fn deployment(rainbow: &Rainbow, tier: &Tier) -> Value {
    let selector = json!({ labels::RAINBOW: name(rainbow), labels::TIER: tier.name });
    let mut template = tier.template.clone();
    if !template["metadata"]["labels"].is_object() {
        template["metadata"]["labels"] = json!({});
    }
    for key in [labels::RAINBOW, labels::TIER] {
        template["metadata"]["labels"][key] = selector[key].clone();
    }
    let color = Version::of(&rainbow.spec).color;
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        // The name is generated, because the instance itself may have the instance's name already.
        "metadata": { "generateName": format!("{}-", names::instance(None, &tier.name, &color)) },
        "spec": { "replicas": 0, "selector": { "matchLabels": selector }, "template": template },
    })
}

/// Returns the errors in the pod template, by the fields of the tier. `None`: the answer has none.
fn of_template(status: &Status, tier: &str) -> Option<String> {
    let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    let place = |field: &str| {
        let rest = field.strip_prefix("spec.template")?;
        Some(format!("spec.tiers[{tier}].template{rest}"))
    };
    let told = causes.iter().filter_map(|cause| Some(format!("{}: {}", place(&cause.field)?, cause.message)));
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| told.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_shared_are_named() {
        let of = |kind, name: &str| ObjectName { kind, name: name.into() };
        let all = [of("Deployment", "web-v1"), of("Service", "web-v1"), of("Service", "web-live"), of("Service", "x")];
        let shared: Vec<&ObjectName> = all.iter().collect();
        assert_eq!(
            clash("solo", "shop", &shared, true),
            "rainbow `solo` needs the names of rainbow `shop` in the same namespace: Deployment `web-v1`, Service `web-v1`, \
             Service `web-live` and 1 more: set spec.namePrefix, such as `solo-`"
        );
        assert_eq!(
            clash("solo", "shop", &shared[..1], false),
            "rainbow `solo` needs the names of rainbow `shop` in the same namespace: Deployment `web-v1`: give the color, the \
             tier or the stage another name"
        );
    }

    #[test]
    fn only_what_is_said_of_the_template_counts() {
        let status = |causes: Value| -> Status {
            serde_json::from_value(json!({
                "status": "Failure", "message": "no", "reason": "Invalid", "code": 422, "details": { "causes": causes },
            }))
            .unwrap()
        };
        let cause =
            |field: &str| json!({ "reason": "FieldValueNotFound", "field": field, "message": "Not found: \"data\"" });
        let mount = "spec.template.spec.containers[0].volumeMounts[0].name";
        assert_eq!(
            of_template(&status(json!([cause("metadata.labels"), cause(mount)])), "web").as_deref(),
            Some("spec.tiers[web].template.spec.containers[0].volumeMounts[0].name: Not found: \"data\"")
        );
        assert_eq!(of_template(&status(json!([cause("metadata.labels")])), "web"), None);
        assert_eq!(of_template(&status(json!([])), "web"), None);
    }
}
