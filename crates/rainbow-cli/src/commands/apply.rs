//! `rainbow apply`: applies manifests as `kubectl apply --server-side` does, but all or nothing as far as a dry run can tell.

mod answer;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams, ValidationDirective},
    core::{ApiResource, DynamicObject, GroupVersionKind},
    discovery::{self, Scope},
};
use rainbow_api::{Rainbow, labels};

use crate::{
    args::{MessageArgs, WaitArgs},
    cause,
    context::{Cluster, Context, not_installed},
    error::{Error, Result, nearest},
    hold,
    manifest::{self, Document, InputArgs},
    ownership,
    patch::FIELD_MANAGER,
    refusal, release, stage, wait,
};

/// Arguments of `rainbow apply`.
#[derive(Debug, clap::Args)]
#[command(mut_arg("wait", |arg| arg.help("Wait until the Rainbows in it are as their specs say: pods ready, stages moved")))]
pub(crate) struct Args {
    #[command(flatten)]
    input: InputArgs,
    /// Release the Rainbows in it as this color; {color} in their images and environment variables stands for its name, `git`
    /// takes the first six digits of the commit here
    #[arg(long)]
    color: Option<String>,
    /// Write nothing: `client` checks the input without a cluster, `server` (as without a value) lets the cluster check it, too
    #[arg(long, value_enum, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "server", conflicts_with = "wait")]
    dry_run: Option<DryRun>,
    #[command(flatten)]
    message: MessageArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Where a dry run is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum DryRun {
    /// Nowhere: everything is written
    None,
    /// Here, without a cluster
    Client,
    /// In the cluster
    Server,
}

/// Object of the input, and the API that stores it.
struct Target {
    document: Document,
    api: Api<DynamicObject>,
    /// Name as kubectl prints it, such as `deployment.apps/frontend-v1`.
    shown: String,
    is_rainbow: bool,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let color = match &args.color {
        Some(given) => Some(release::color(given).await?),
        None => None,
    };
    let documents = manifest::read(&args.input, color.as_deref())?;
    if args.dry_run == Some(DryRun::Client) {
        for document in &documents {
            context.printer.line(format_args!("{} is valid (dry run)", shown(&document.object)));
        }
        return Ok(());
    }
    let cluster = context.cluster().await?;
    let mut targets = targets(&cluster, documents).await?;
    tell(&cluster, &mut targets, args.message.message.as_deref()).await?;
    // Every object that can be checked yet is applied as a dry run first, so that nothing is written when a later object would be refused.
    let mut rainbows: Vec<(&Target, Rainbow)> = Vec::new();
    let mut rehearsed = BTreeMap::new();
    for target in targets.iter().filter(|target| can_rehearse(target, &targets)) {
        let stored = match to_take_over(&cluster, target).await? {
            // An apply would fail, or give another result, before the ownership of fields has changed.
            Some((found, _)) => rehearse_replacing(&cluster, target, found).await?,
            None => write(&cluster, target, true).await?,
        };
        if target.is_rainbow
            && let Ok(rainbow) = stored.clone().try_parse()
        {
            rainbows.push((target, rainbow));
        }
        rehearsed.insert(&target.document.at, stored);
    }
    check_rainbows(&cluster, &rainbows).await?;
    if args.dry_run == Some(DryRun::Server) {
        for target in &targets {
            let name = target.document.object.metadata.name.as_deref().unwrap_or_default();
            let before = target.api.get_opt(name).await.map_err(|error| cluster.error(&error))?;
            let what = outcome(before.as_ref(), rehearsed.get(&target.document.at));
            context.printer.line(format_args!("{} {what} (server dry run)", target.shown));
        }
        return Ok(());
    }
    for target in &targets {
        let name = target.document.object.metadata.name.as_deref().unwrap_or_default();
        if let Some((found, entries)) = to_take_over(&cluster, target).await? {
            ownership::write(&target.api, &found.metadata, &entries)
                .await
                .map_err(|error| at(target, cluster.error(&error)))?;
        }
        let before = target.api.get_metadata_opt(name).await.map_err(|error| cluster.error(&error))?;
        let after = write(&cluster, target, false).await?;
        let what = match before {
            None => "created",
            Some(before) if before.metadata.resource_version == after.metadata.resource_version => "unchanged",
            Some(_) => "configured",
        };
        context.printer.line(format_args!("{} {what}", target.shown));
    }
    let mut applied: Vec<(Cluster, Rainbow)> = Vec::new();
    for target in targets.iter().filter(|target| target.is_rainbow) {
        let metadata = &target.document.object.metadata;
        let there = namespace(&cluster, target);
        let rainbow = there.rainbow(metadata.name.as_deref().unwrap_or_default()).await?;
        stage::warn_of_pinned(context, &rainbow);
        applied.push((there, rainbow));
    }
    for (there, rainbow) in applied.iter().filter(|_| args.wait.wait) {
        wait::ready(context, there, rainbow, args.wait.limit(rainbow)).await?;
    }
    Ok(())
}

/// Adds to the Rainbows the reason of the release and its user. An annotation that the manifest sets itself stays.
async fn tell(cluster: &Cluster, targets: &mut [Target], message: Option<&str>) -> Result {
    let rainbows: Vec<&mut Target> = targets.iter_mut().filter(|target| target.is_rainbow).collect();
    if rainbows.is_empty() {
        return Ok(());
    }
    let by = hold::author(cluster).await;
    for target in rainbows {
        let Ok(spec) = serde_json::from_value(target.document.object.data["spec"].clone()) else { continue };
        let name = target.document.object.metadata.name.clone().unwrap_or_default();
        let found = target.api.get_metadata_opt(&name).await.map_err(|error| cluster.error(&error))?;
        let before = found.and_then(|found| found.metadata.annotations).unwrap_or_default();
        let annotations = target.document.object.metadata.annotations.get_or_insert_default();
        let own = annotations.get(labels::CHANGE_CAUSE).filter(|_| message.is_none()).cloned();
        let told = cause::of_release(&before, &spec, message.or(own.as_deref()), by.as_deref());
        annotations.extend(told.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    }
    Ok(())
}

/// Says what a dry run would have done. The answer of a dry run has the resource version of the stored object, so the contents are compared.
fn outcome(before: Option<&DynamicObject>, after: Option<&DynamicObject>) -> &'static str {
    let content = |object: &DynamicObject| {
        let mut object = object.clone();
        object.metadata.managed_fields = None;
        object.metadata.resource_version = None;
        object
    };
    match (before, after) {
        (None, _) => "created",
        (Some(before), Some(after)) if content(before) == content(after) => "unchanged",
        (Some(_), _) => "configured",
    }
}

/// Names an object as kubectl does, from its manifest: `deployment.apps/frontend-v1`.
fn shown(object: &DynamicObject) -> String {
    let types = object.types.clone().unwrap_or_default();
    let group = types.api_version.rsplit_once('/').map(|(group, _)| format!(".{group}")).unwrap_or_default();
    format!("{}{group}/{}", types.kind.to_lowercase(), object.metadata.name.as_deref().unwrap_or_default())
}

/// Returns the cluster, at the namespace of an object.
fn namespace(cluster: &Cluster, target: &Target) -> Cluster {
    let namespace = target.document.object.metadata.namespace.as_ref().unwrap_or(&cluster.namespace).clone();
    Cluster { namespace, ..cluster.clone() }
}

/// Checks the Rainbows of the input, as they would be stored, for errors that the API server does not refuse.
async fn check_rainbows(cluster: &Cluster, rainbows: &[(&Target, Rainbow)]) -> Result {
    for (target, rainbow) in rainbows {
        let there = namespace(cluster, target);
        let is_beside = |other: &&(&Target, Rainbow)| namespace(cluster, other.0).namespace == there.namespace;
        let beside: Vec<&Rainbow> = rainbows.iter().filter(is_beside).map(|(_, rainbow)| rainbow).collect();
        refusal::check(&there, rainbow, &beside).await.map_err(|error| at(target, error))?;
    }
    Ok(())
}

async fn targets(cluster: &Cluster, documents: Vec<Document>) -> Result<Vec<Target>> {
    let mut kinds: BTreeMap<(String, String), (ApiResource, bool)> = BTreeMap::new();
    let mut targets = Vec::new();
    for document in documents {
        let types = document.object.types.clone().unwrap_or_default();
        let key = (types.api_version.clone(), types.kind.clone());
        let (resource, namespaced) = match kinds.get(&key) {
            Some(known) => known.clone(),
            None => kinds.entry(key).or_insert(kind(cluster, &document).await?).clone(),
        };
        let api = if namespaced {
            let namespace = document.object.metadata.namespace.as_deref().unwrap_or(&cluster.namespace);
            Api::namespaced_with(cluster.client.clone(), namespace, &resource)
        } else {
            Api::all_with(cluster.client.clone(), &resource)
        };
        let group = if resource.group.is_empty() { String::new() } else { format!(".{}", resource.group) };
        let name = document.object.metadata.name.as_deref().unwrap_or_default();
        let shown = format!("{}{group}/{name}", resource.kind.to_lowercase());
        let is_rainbow = resource.group == rainbow_api::GROUP && resource.kind == "Rainbow";
        targets.push(Target { document, api, shown, is_rainbow });
    }
    Ok(targets)
}

/// Finds the API resource of a document's kind, and whether the kind is namespaced.
async fn kind(cluster: &Cluster, document: &Document) -> Result<(ApiResource, bool)> {
    let types = document.object.types.clone().unwrap_or_default();
    let (kind, version, at) = (&types.kind, &types.api_version, &document.at);
    let unknown =
        || Error::Usage(format!("{at}: apiVersion: `{version}` is no version: write GROUP/VERSION, such as apps/v1"));
    let gvk = GroupVersionKind::try_from(&types).map_err(|_| unknown())?;
    match discovery::pinned_kind(&cluster.client, &gvk).await {
        Ok((resource, capabilities)) => Ok((resource, capabilities.scope == Scope::Namespaced)),
        Err(kube::Error::Api(status)) if status.code == 404 && gvk.group == rainbow_api::GROUP => Err(not_installed()),
        Err(error) => match error {
            kube::Error::Api(status) if status.code != 404 => Err(cluster.error(&kube::Error::Api(status))),
            kube::Error::Api(_) | kube::Error::Discovery(_) => {
                let remedy = other_version(cluster, &gvk).await;
                Err(Error::Usage(format!("{at}: the cluster knows no kind `{kind}` in `{version}`: {remedy}")))
            }
            error => Err(cluster.error(&error)),
        },
    }
}

/// Returns a remedy for a kind that the cluster does not know.
async fn other_version(cluster: &Cluster, gvk: &GroupVersionKind) -> String {
    let general = "check the spelling, or install the definition of the kind";
    let Ok(group) = discovery::group(&cluster.client, &gvk.group).await else { return general.to_owned() };
    let kinds: Vec<(ApiResource, _)> =
        group.versions().flat_map(|version| group.versioned_resources(version)).collect();
    let versions: BTreeSet<&str> =
        kinds.iter().filter(|(known, _)| known.kind == gvk.kind).map(|(known, _)| known.api_version.as_str()).collect();
    if let Some(version) = versions.last() {
        return format!("write apiVersion: {version}");
    }
    match nearest(&gvk.kind, kinds.iter().map(|(known, _)| known.kind.as_str())) {
        Some(kind) => format!("did you mean `{kind}`?"),
        None => general.to_owned(),
    }
}

/// Returns whether a dry run of the object can work now. An object in a namespace that the same input creates can be checked only when the
/// namespace exists.
fn can_rehearse(target: &Target, all: &[Target]) -> bool {
    let Some(namespace) = target.document.object.metadata.namespace.as_deref() else { return true };
    !all.iter().any(|other| {
        let types = other.document.object.types.as_ref();
        types.is_some_and(|types| types.kind == "Namespace" && types.api_version == "v1")
            && other.document.object.metadata.name.as_deref() == Some(namespace)
    })
}

/// Returns the stored Rainbow and the managed fields that the apply needs (see [`ownership`]). `None`: they need no change.
async fn to_take_over(cluster: &Cluster, target: &Target) -> Result<Option<(DynamicObject, Vec<ManagedFieldsEntry>)>> {
    if !target.is_rainbow {
        return Ok(None);
    }
    let object = &target.document.object;
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let Some(found) = target.api.get_opt(name).await.map_err(|error| cluster.error(&error))? else { return Ok(None) };
    let tiers = object.data["spec"]["tiers"].as_array().into_iter().flatten();
    let tiers = tiers.filter_map(|tier| tier["name"].as_str().map(str::to_owned)).collect();
    let version = object.types.as_ref().map(|types| types.api_version.as_str()).unwrap_or_default();
    Ok(ownership::taken_over(&found.metadata, version, &tiers).map(|entries| (found, entries)))
}

/// Lets the cluster check the version of a manifest in place of the stored one.
async fn rehearse_replacing(cluster: &Cluster, target: &Target, mut found: DynamicObject) -> Result<DynamicObject> {
    let new = &target.document.object.data["spec"];
    if let Some(spec) = found.data["spec"].as_object_mut() {
        spec.remove("color");
        spec.extend(new.as_object().into_iter().flatten().map(|(field, value)| (field.clone(), value.clone())));
    }
    found.metadata.managed_fields = None;
    let params = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.into()) };
    let name = found.metadata.name.clone().unwrap_or_default();
    target.api.replace(&name, &params, &found).await.map_err(|error| refused(cluster, target, &error))
}

async fn write(cluster: &Cluster, target: &Target, dry_run: bool) -> Result<DynamicObject> {
    let mut object = target.document.object.clone();
    // Fields that only the API server writes are removed: manifests that were read from a cluster have them.
    object.metadata.managed_fields = None;
    object.metadata.resource_version = None;
    object.metadata.uid = None;
    object.metadata.creation_timestamp = None;
    object.metadata.generation = None;
    if let Some(fields) = object.data.as_object_mut().filter(|_| target.is_rainbow) {
        fields.remove("status");
    }
    let params = PatchParams {
        dry_run,
        // Conflicts are forced, as `kubectl apply` does: the manifest decides, no matter which manager wrote the field before.
        force: true,
        field_manager: Some(FIELD_MANAGER.into()),
        field_validation: Some(ValidationDirective::Strict),
    };
    let name = object.metadata.name.clone().unwrap_or_default();
    target.api.patch(&name, &params, &Patch::Apply(&object)).await.map_err(|error| refused(cluster, target, &error))
}

/// Turns an answer of the API server into an error with the places of the fields that it names.
fn refused(cluster: &Cluster, target: &Target, error: &kube::Error) -> Error {
    let placed = match error {
        kube::Error::Api(status) => answer::placed(&target.document, status),
        _ => None,
    };
    placed.unwrap_or_else(|| at(target, cluster.error(error)))
}

/// Adds the place of the object in the input to an error.
fn at(target: &Target, error: Error) -> Error {
    let at = &target.document.at;
    match error {
        Error::Usage(message) => Error::Usage(format!("{at}: {message}")),
        Error::Refused(message) => Error::Refused(format!("{at}: {message}")),
        Error::NotFound(message) => Error::NotFound(format!("{at}: {message}")),
        other => other,
    }
}
