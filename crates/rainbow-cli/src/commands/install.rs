//! `rainbow install`: installs Rainbow in a cluster.

use std::time::Duration;

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{Namespace, Pod},
        rbac::v1::ClusterRoleBinding,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
    discovery::{self, Scope},
    error::DiscoveryError,
    runtime::{conditions, wait::await_condition},
};
use serde_json::Value;

use rainbow_api::{HumanDuration, labels};
use rainbow_operator::{
    TALLY_IMAGE,
    discover::{self, Support},
    install::{self, Install},
};

use crate::{
    args::{SidecarArgs, WaitArgs},
    commands::operator::{VersionedConfig, Via},
    context::{Cluster, Context},
    error::{Error, Result},
    operators::{self, Operator},
    output, pace,
    patch::FIELD_MANAGER,
    wait,
};

/// Longest time for the API server to serve a resource definition.
const ESTABLISH: Duration = Duration::from_secs(30);
/// API group of the policies that refuse early what the operator refuses anyway.
const ADMISSION: &str = "admissionregistration.k8s.io";
/// Time between two checks of whether the operator runs.
const LOOK: Duration = Duration::from_millis(500);

/// Arguments of `rainbow install`.
#[derive(Debug, clap::Args)]
#[command(mut_arg("wait", |arg| arg.help("Wait until the operator runs")))]
pub(crate) struct Args {
    /// Print the objects instead of applying them; asks no cluster
    #[arg(long)]
    dry_run: bool,
    /// Only the resource definitions: the operator runs elsewhere, as with `rainbow operator`
    #[arg(long)]
    crds_only: bool,
    /// Namespace that the operator runs in; it is made if it is not there
    #[arg(long, value_name = "NAME", default_value = install::NAMESPACE)]
    operator_namespace: String,
    /// Image of the operator, with `rainbow` as its entry point
    #[arg(long, value_name = "IMAGE", default_value = install::IMAGE)]
    image: String,
    /// Image of the counter that the operator puts into pods whose drain asks for one
    #[arg(long, value_name = "IMAGE", default_value = TALLY_IMAGE)]
    tally_image: String,
    #[command(flatten)]
    sidecar: SidecarArgs,
    /// How the operator asks pods for their connections; `api` gives it the right to `pods/proxy`
    #[arg(long, value_enum, value_name = "WAY", default_value = "direct")]
    count_via: Via,
    /// Lets `spec.config: Versioned` copy what templates name: gives the operator the right to read and make objects of these kinds in all
    /// namespaces (default: neither)
    #[arg(long, value_enum, value_name = "KINDS")]
    versioned_config: Option<VersionedConfig>,
    #[command(flatten)]
    wait: WaitArgs,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let namespace = args.operator_namespace.clone();
    let mut objects = match args.crds_only {
        true => install::definitions(),
        false => install::objects(&Install {
            namespace: args.operator_namespace,
            image: args.image,
            tally_image: args.tally_image,
            sidecar: args.sidecar.settings()?,
            count_via: args.count_via.into(),
            config_access: VersionedConfig::access(args.versioned_config),
        }),
    };
    if args.dry_run {
        for object in &objects {
            context.printer.text(format_args!("---\n{}", output::yaml(object)?));
        }
        return Ok(());
    }
    let cluster = context.cluster().await?;
    supported(context, &cluster).await?;
    if !args.crds_only {
        if operators::acting(&cluster).await.iter().any(Operator::is_local) {
            return Err(Error::Refused(
                "this local cluster has Rainbow's operator in its process: there is nothing to install; for one in a pod, start the \
                 cluster with `rainbow local up --no-operator`"
                    .into(),
            ));
        }
        if let Some(other) = installed(&cluster).await?.filter(|other| *other != namespace) {
            return Err(Error::Refused(format!(
                "Rainbow is installed in namespace `{other}` already: give --operator-namespace {other}, \
                 or run `rainbow uninstall` first"
            )));
        }
        if !may_make(&cluster, &namespace).await? {
            context.printer.detail(format_args!("namespace `{namespace}` is there already, and is left as it is"));
            objects.retain(|object| object["kind"] != "Namespace");
        }
    }
    for object in objects {
        match apply(&cluster, object).await? {
            Outcome::Applied(shown) => context.printer.line(format_args!("{shown} applied")),
            Outcome::Unknown(kind) => context.printer.detail(format_args!("this cluster has no {kind}: left out")),
        }
    }
    if args.wait.wait && !args.crds_only {
        let goes_on = format!(
            "the operator starts all the same: `kubectl get pods -n {namespace}` shows it, `rainbow uninstall` takes it out again"
        );
        let limit = args.wait.timeout.unwrap_or_else(pace::usual);
        wait::interruptible(context, &goes_on, runs(context, &cluster, &namespace, limit)).await?;
    }
    Ok(())
}

/// Fails where the cluster's Kubernetes is too old.
async fn supported(context: &Context, cluster: &Cluster) -> Result {
    match discover::support(&cluster.client).await.map_err(|error| cluster.error(&error))? {
        Support::Full => Ok(()),
        Support::Unknown { said } => {
            let oldest = discover::OLDEST;
            context.printer.warning(format_args!(
                "the cluster says `{said}` for its version, which has no number: it is taken for Kubernetes {oldest} or later"
            ));
            Ok(())
        }
        Support::None(error) => Err(Error::Refused(error.to_string())),
    }
}

/// Returns the namespace of the operator that may act in this cluster.
pub(super) async fn installed(cluster: &Cluster) -> Result<Option<String>> {
    let bindings: Api<ClusterRoleBinding> = Api::all(cluster.client.clone());
    let found = bindings.get_opt(install::NAME).await.map_err(|error| cluster.error(&error))?;
    Ok(found.and_then(|binding| binding.subjects?.into_iter().find_map(|subject| subject.namespace)))
}

/// Returns whether this command creates the namespace: a namespace that someone else made is used as it is.
async fn may_make(cluster: &Cluster, namespace: &str) -> Result<bool> {
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let found = namespaces.get_opt(namespace).await.map_err(|error| cluster.error(&error))?;
    Ok(found.is_none_or(|found| is_ours(&found.metadata)))
}

/// Returns whether `rainbow install` made an object.
pub(super) fn is_ours(meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> bool {
    let label = meta.labels.as_ref().and_then(|labels| labels.get("app.kubernetes.io/part-of"));
    label.is_some_and(|part_of| part_of == labels::MANAGER)
}

/// Result of applying an object.
enum Outcome {
    /// The object was applied; its kind and name.
    Applied(String),
    /// The cluster does not serve the object's kind, and Rainbow works without it.
    Unknown(String),
}

async fn apply(cluster: &Cluster, object: Value) -> Result<Outcome> {
    let object: DynamicObject =
        serde_json::from_value(object).map_err(|error| Error::failed("an object is not as it should be", error))?;
    let types = object.types.clone().unwrap_or_default();
    let gvk = GroupVersionKind::try_from(&types).map_err(|error| Error::failed(&types.kind, error))?;
    let (resource, capabilities) = match discovery::pinned_kind(&cluster.client, &gvk).await {
        Ok(found) => found,
        Err(error) if gvk.group == ADMISSION && is_unknown(&error) => return Ok(Outcome::Unknown(gvk.kind)),
        Err(error) => return Err(cluster.error(&error)),
    };
    let api: Api<DynamicObject> = match (capabilities.scope, object.metadata.namespace.as_deref()) {
        (Scope::Namespaced, namespace) => {
            Api::namespaced_with(cluster.client.clone(), namespace.unwrap_or(&cluster.namespace), &resource)
        }
        (Scope::Cluster, _) => Api::all_with(cluster.client.clone(), &resource),
    };
    let name = object.metadata.name.clone().unwrap_or_default();
    let params = PatchParams { force: true, ..PatchParams::apply(FIELD_MANAGER) };
    api.patch(&name, &params, &Patch::Apply(&object)).await.map_err(|error| cluster.error(&error))?;
    if resource.kind == "CustomResourceDefinition" {
        established(cluster, &name).await?;
    }
    Ok(Outcome::Applied(shown(&resource, &name)))
}

/// Returns whether an error says that the cluster does not serve a kind, or nothing of its group.
fn is_unknown(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code == 404,
        kube::Error::Discovery(DiscoveryError::MissingKind(_) | DiscoveryError::MissingApiGroup(_)) => true,
        _ => false,
    }
}

/// Waits until the API server serves a defined kind.
async fn established(cluster: &Cluster, name: &str) -> Result {
    let api: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let condition = await_condition(api, name, conditions::is_crd_established());
    match tokio::time::timeout(ESTABLISH, condition).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Error::failed(format_args!("waiting for {name}"), error)),
        Err(_) => Err(Error::TimedOut(format!("the cluster has not taken up {name} after {ESTABLISH:?}"))),
    }
}

/// Waits until the operator runs as it was just installed.
async fn runs(context: &Context, cluster: &Cluster, namespace: &str, limit: HumanDuration) -> Result {
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), namespace);
    let mut line = wait::Line::new(context.printer);
    let waiting = async {
        loop {
            let deployment = deployments
                .get_opt(install::NAME)
                .await
                .map_err(|error| cluster.error(&error))?
                .ok_or_else(|| Error::NotFound(format!("deployment `{}` was deleted meanwhile", install::NAME)))?;
            if is_rolled_out(&deployment) {
                return Ok(());
            }
            let text = hindrance(cluster, namespace).await?.unwrap_or_else(|| "it starts".into());
            line.show(&format!("{}: {text}", install::NAME), "");
            tokio::time::sleep(LOOK).await;
        }
    };
    wait::limit(limit, waiting)
        .await
        .unwrap_or_else(|| Err(Error::TimedOut(format!("the operator does not run after {limit}: {}", line.last()))))?;
    context.printer.line(format_args!("deployment.apps/{} runs", install::NAME));
    Ok(())
}

/// Returns whether the Deployment is rolled out, by the rules of `kubectl rollout status`.
fn is_rolled_out(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    deployment.status.as_ref().is_some_and(|status| {
        let is = |count: Option<i32>| count.unwrap_or(0) == wanted;
        status.observed_generation >= deployment.metadata.generation
            && is(status.updated_replicas)
            && is(status.available_replicas)
            && is(status.replicas)
    })
}

/// Returns the kubelet's reason why a container of the operator does not run.
async fn hindrance(cluster: &Cluster, namespace: &str) -> Result<Option<String>> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let selected = ListParams::default().labels(&format!("app.kubernetes.io/name={}", install::NAME));
    let pods = pods.list(&selected).await.map_err(|error| cluster.error(&error))?;
    Ok(pods.items.iter().find_map(|pod| {
        let status = pod.status.as_ref()?;
        let waiting = status.container_statuses.iter().flatten().find_map(|container| {
            let waiting = container.state.as_ref()?.waiting.as_ref()?;
            let reason = waiting.reason.as_deref().filter(|reason| *reason != "ContainerCreating")?;
            Some(match &waiting.message {
                Some(message) => format!("{reason}: {message}"),
                None => reason.to_owned(),
            })
        });
        waiting.or_else(|| {
            let unscheduled =
                status.conditions.iter().flatten().find(|c| c.type_ == "PodScheduled" && c.status == "False");
            unscheduled.and_then(|condition| condition.message.clone())
        })
    }))
}

fn shown(resource: &ApiResource, name: &str) -> String {
    let group = if resource.group.is_empty() { String::new() } else { format!(".{}", resource.group) };
    format!("{}{group}/{name}", resource.kind.to_lowercase())
}
