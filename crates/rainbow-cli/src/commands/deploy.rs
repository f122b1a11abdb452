//! `rainbow deploy`: releases a new color with new images, in one write.

use std::collections::BTreeMap;

use rainbow_api::{Rainbow, Tier};
use serde_json::{Value, json};

use crate::{
    args::{MessageArgs, WaitArgs},
    cause,
    context::Context,
    error::{Error, Result, hint},
    hold, ownership,
    patch::{self, Change},
    refusal, release, stage, wait,
};

/// Arguments of `rainbow deploy`.
#[derive(Debug, clap::Args)]
#[command(mut_arg("wait", |arg| arg.help("Wait until the new color is ready and the stages that follow it serve it")))]
pub(crate) struct Args {
    /// Name of the Rainbow
    #[arg(value_parser = crate::which::rainbow_name, add = crate::complete::rainbows())]
    name: String,
    /// Name of the new version, such as v2; `git` takes the first six digits of the commit here (default: a hash of the tiers)
    #[arg(long)]
    color: Option<String>,
    /// New image of a tier, in which {color} stands for the color's name; TIER/CONTAINER where the tier has several containers
    #[arg(long = "image", value_name = "TIER=IMAGE", add = crate::complete::tiers("="))]
    images: Vec<Assignment>,
    /// Environment variable for a tier's container; {color} stands for the color's name
    #[arg(long = "env", value_name = "TIER:NAME=VALUE")]
    env: Vec<Assignment>,
    #[command(flatten)]
    message: MessageArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Assignment of an option, `KEY=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Assignment {
    key: String,
    value: String,
}

impl std::str::FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Self { key: key.to_owned(), value: value.to_owned() }),
            _ => Err("write KEY=VALUE".into()),
        }
    }
}

pub(crate) async fn run(context: &Context, mut args: Args) -> Result {
    if args.color.is_none() && args.images.is_empty() && args.env.is_empty() {
        return Err(Error::Usage("nothing to release: give --color, --image or --env".into()));
    }
    if let Some(given) = &args.color {
        args.color = Some(release::color(given).await?);
    }
    for (flag, given) in [("--image", &mut args.images), ("--env", &mut args.env)] {
        for Assignment { key, value } in given {
            *value = release::fill(value, args.color.as_deref())
                .map_err(|error| Error::Usage(format!("{flag} {key}={value}: {error}")))?;
        }
    }
    let cluster = context.cluster().await?;
    let check = async |rainbow: &Rainbow| {
        refusal::check_version(rainbow)?;
        refusal::check(&cluster, rainbow, &[]).await
    };
    let by = hold::author(&cluster).await;
    let make = |rainbow: &Rainbow| {
        let mut change = change(rainbow, &args)?;
        if !change.operations().is_empty() {
            let before = rainbow.metadata.annotations.clone().unwrap_or_default();
            let spec = patch::changed(rainbow, &change)?.spec;
            let told = cause::of_release(&before, &spec, args.message.message.as_deref(), by.as_deref());
            cause::write(&mut change, rainbow, told);
        }
        Ok(change)
    };
    let (rainbow, written) = patch::change_checked(&cluster, &args.name, make, check).await?;
    if written {
        ownership::hand_over(&cluster, &args.name).await;
        let color = rainbow.spec.color.as_ref().map(|color| format!(" as color {color}")).unwrap_or_default();
        context.printer.line(format_args!("rainbow.rainbow.dev/{} released{color}", args.name));
    } else {
        context.printer.line(format_args!("rainbow.rainbow.dev/{} unchanged", args.name));
    }
    stage::warn_of_pinned(context, &rainbow);
    if args.wait.wait {
        wait::ready(context, &cluster, &rainbow, args.wait.limit(&rainbow)).await?;
    }
    Ok(())
}

fn change(rainbow: &Rainbow, args: &Args) -> Result<Change> {
    let mut change = Change::default();
    match (&args.color, &rainbow.spec.color) {
        (Some(new), Some(old)) if new == old => {}
        (Some(new), _) => change.set(&["spec", "color"], new.clone()),
        // Without a name the new tiers get the name of their own hash. The old name is removed, because its color exists with other tiers.
        (None, Some(_)) => change.remove(&["spec", "color"]),
        (None, None) => {}
    }
    for image in &args.images {
        let (tier, container) = image.key.split_once('/').map_or((image.key.as_str(), None), |(t, c)| (t, Some(c)));
        let (at, tier) = find_tier(rainbow, tier)?;
        let (index, container) = find_container(tier, container)?;
        if container.get("image").and_then(Value::as_str) != Some(image.value.as_str()) {
            guard(&mut change, at, tier, index, container);
            change.set(&container_path(at, index, &["image"]), image.value.clone());
        }
    }
    for ((at, index), variables) in variables(rainbow, &args.env)? {
        let Some(tier) = rainbow.spec.tiers.get(at) else { continue };
        let Some(container) = containers(tier).get(index) else { continue };
        let mut list = container.get("env").and_then(Value::as_array).cloned().unwrap_or_default();
        for variable in &variables {
            // A known variable stays at its place, because later ones may refer to it.
            match list.iter_mut().find(|known| known.get("name") == variable.get("name")) {
                Some(known) => known.clone_from(variable),
                None => list.push(variable.clone()),
            }
        }
        let list = Value::Array(list);
        if container.get("env") != Some(&list) {
            guard(&mut change, at, tier, index, container);
            change.set(&container_path(at, index, &["env"]), list);
        }
    }
    Ok(change)
}

/// Collects the given environment variables by the indexes of tier and container.
fn variables(rainbow: &Rainbow, given: &[Assignment]) -> Result<BTreeMap<(usize, usize), Vec<Value>>> {
    let mut all = BTreeMap::<_, Vec<Value>>::new();
    for Assignment { key, value } in given {
        let (tier, name) = key
            .split_once(':')
            .filter(|(tier, name)| !tier.is_empty() && !name.is_empty())
            .ok_or_else(|| Error::Usage(format!("--env {key}={value}: write TIER:NAME=VALUE")))?;
        let (tier, container) = tier.split_once('/').map_or((tier, None), |(tier, container)| (tier, Some(container)));
        let (at, tier) = find_tier(rainbow, tier)?;
        let (index, _) = find_container(tier, container)?;
        all.entry((at, index)).or_default().push(json!({ "name": name, "value": value }));
    }
    Ok(all)
}

/// Adds tests to the patch that fail unless the entries at these indexes still have the names that were read.
fn guard(change: &mut Change, at: usize, tier: &Tier, index: usize, container: &Value) {
    change.test(&["spec", "tiers", &at.to_string(), "name"], tier.name.clone());
    change.test(&container_path(at, index, &["name"]), container.get("name").cloned().unwrap_or_default());
}

fn container_path(tier: usize, container: usize, rest: &[&str]) -> Vec<String> {
    let path = ["spec", "tiers", &tier.to_string(), "template", "spec", "containers", &container.to_string()]
        .map(str::to_owned);
    path.into_iter().chain(rest.iter().map(|part| (*part).to_owned())).collect()
}

fn find_tier<'a>(rainbow: &'a Rainbow, name: &str) -> Result<(usize, &'a Tier)> {
    rainbow.spec.tiers.iter().enumerate().find(|(_, tier)| tier.name == name).ok_or_else(|| {
        let names: Vec<String> = rainbow.spec.tiers.iter().map(|tier| tier.name.clone()).collect();
        let rainbow = rainbow.metadata.name.as_deref().unwrap_or_default();
        Error::NotFound(format!("rainbow `{rainbow}` has no tier `{name}`{}", hint(name, &names)))
    })
}

fn containers(tier: &Tier) -> &[Value] {
    let containers = tier.template.pointer("/spec/containers").and_then(Value::as_array);
    containers.map(Vec::as_slice).unwrap_or_default()
}

fn find_container<'a>(tier: &'a Tier, name: Option<&str>) -> Result<(usize, &'a Value)> {
    let containers = containers(tier);
    let name_of = |container: &Value| container.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let names: Vec<String> = containers.iter().map(name_of).collect();
    match (name, containers) {
        (Some(name), _) => {
            let found = containers.iter().enumerate().find(|(_, container)| name_of(container) == name);
            found.ok_or_else(|| {
                Error::NotFound(format!("tier `{}` has no container `{name}`{}", tier.name, hint(name, &names)))
            })
        }
        (None, [only]) => Ok((0, only)),
        // The container named like its tier is meant, as in most manifests with a sidecar.
        (None, _) => {
            containers.iter().enumerate().find(|(_, container)| name_of(container) == tier.name).ok_or_else(|| {
                Error::Usage(format!(
                    "tier `{}` has several containers: write {}/CONTAINER=… with one of {}",
                    tier.name,
                    tier.name,
                    names.join(", ")
                ))
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rainbow() -> Rainbow {
        serde_json::from_value(json!({
            "apiVersion": "rainbow.dev/v1alpha1", "kind": "Rainbow", "metadata": { "name": "shop" },
            "spec": { "color": "v1", "tiers": [
                { "name": "backend", "template": { "spec": { "containers": [{ "name": "b", "image": "backend:v1" }] } } },
                { "name": "frontend", "template": { "spec": { "containers": [
                    { "name": "proxy", "image": "proxy:1" }, { "name": "app", "image": "frontend:v1", "env": [{ "name": "A", "value": "1" }] },
                ] } } },
            ] },
        }))
        .unwrap()
    }

    fn args(color: Option<&str>, images: &[&str], env: &[&str]) -> Args {
        Args {
            name: "shop".into(),
            color: color.map(str::to_owned),
            images: images.iter().map(|text| text.parse().unwrap()).collect(),
            env: env.iter().map(|text| text.parse().unwrap()).collect(),
            message: MessageArgs::default(),
            wait: WaitArgs::default(),
        }
    }

    #[test]
    fn one_patch_for_all() {
        let args = args(Some("v2"), &["backend=backend:v2", "frontend/app=frontend:v2"], &["frontend/app:A=2"]);
        assert_eq!(
            serde_json::to_value(change(&rainbow(), &args).unwrap().operations()).unwrap(),
            json!([
                { "op": "add", "path": "/spec/color", "value": "v2" },
                { "op": "test", "path": "/spec/tiers/0/name", "value": "backend" },
                { "op": "test", "path": "/spec/tiers/0/template/spec/containers/0/name", "value": "b" },
                { "op": "add", "path": "/spec/tiers/0/template/spec/containers/0/image", "value": "backend:v2" },
                { "op": "test", "path": "/spec/tiers/1/name", "value": "frontend" },
                { "op": "test", "path": "/spec/tiers/1/template/spec/containers/1/name", "value": "app" },
                { "op": "add", "path": "/spec/tiers/1/template/spec/containers/1/image", "value": "frontend:v2" },
                { "op": "test", "path": "/spec/tiers/1/name", "value": "frontend" },
                { "op": "test", "path": "/spec/tiers/1/template/spec/containers/1/name", "value": "app" },
                { "op": "add", "path": "/spec/tiers/1/template/spec/containers/1/env", "value": [{ "name": "A", "value": "2" }] },
            ])
        );
    }

    /// Several variables of one container are one list, and each stays at its place: later ones may refer to it.
    #[test]
    fn several_variables_of_a_container_are_all_written() {
        let mut rainbow = rainbow();
        rainbow.spec.tiers[1].template["spec"]["containers"][1]["env"] =
            json!([{ "name": "A", "value": "1" }, { "name": "URL", "value": "$(A)/x" }]);
        let change = change(&rainbow, &args(None, &[], &["frontend/app:B=3", "frontend/app:A=2"])).unwrap();
        let written = serde_json::to_value(change.operations()).unwrap();
        let lists: Vec<_> =
            written.as_array().unwrap().iter().filter(|it| it["path"].as_str().unwrap().ends_with("/env")).collect();
        assert_eq!(lists.len(), 1, "{written}");
        assert_eq!(
            lists[0]["value"],
            json!([{ "name": "A", "value": "2" }, { "name": "URL", "value": "$(A)/x" }, { "name": "B", "value": "3" }])
        );
    }

    #[test]
    fn what_is_so_already_is_not_written() {
        let same = change(&rainbow(), &args(Some("v1"), &["backend=backend:v1"], &["frontend/app:A=1"])).unwrap();
        assert!(same.operations().is_empty());
    }

    #[test]
    fn says_what_cannot_be() {
        let message = |args: &Args| change(&rainbow(), args).unwrap_err().to_string();
        assert_eq!(
            message(&args(None, &["bakend=x"], &[])),
            "rainbow `shop` has no tier `bakend`; did you mean `backend`?"
        );
        assert_eq!(
            message(&args(None, &["frontend=x"], &[])),
            "tier `frontend` has several containers: write frontend/CONTAINER=… with one of proxy, app"
        );
        for wrong in ["frontend=x", "frontend:=x", ":A=x"] {
            assert_eq!(message(&args(None, &[], &[wrong])), format!("--env {wrong}: write TIER:NAME=VALUE"));
        }
    }
}
