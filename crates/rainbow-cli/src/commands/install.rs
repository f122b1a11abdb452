//! `rainbow install`: puts Rainbow into a cluster.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
    discovery::{self, Scope},
    runtime::{conditions, wait::await_condition},
};

use rainbow_operator::install::{self, Install};

use crate::{
    context::{Cluster, Context},
    error::{Error, Result},
    output,
    patch::FIELD_MANAGER,
};

/// Longest time for the API server to take up a resource definition.
const ESTABLISH: Duration = Duration::from_secs(30);

/// Arguments of `rainbow install`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print the objects instead of applying them; asks no cluster
    #[arg(long)]
    dry_run: bool,
    /// Only the resource definitions: the operator runs elsewhere, as with `rainbow operator`
    #[arg(long)]
    crds_only: bool,
    /// Namespace that the operator runs in
    #[arg(long, value_name = "NAME", default_value = install::NAMESPACE)]
    operator_namespace: String,
    /// Image of the operator, with `rainbow` as its entry point
    #[arg(long, value_name = "IMAGE", default_value = install::IMAGE)]
    image: String,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let objects = match args.crds_only {
        true => install::definitions(),
        false => install::objects(&Install { namespace: args.operator_namespace, image: args.image }),
    };
    if args.dry_run {
        for object in &objects {
            context.printer.text(format_args!("---\n{}", output::yaml(object)?));
        }
        return Ok(());
    }
    let cluster = context.cluster().await?;
    for object in objects {
        let object: DynamicObject =
            serde_json::from_value(object).map_err(|error| Error::failed("an object is not as it should be", error))?;
        let shown = apply(&cluster, object).await?;
        context.printer.line(format_args!("{shown} applied"));
    }
    Ok(())
}

async fn apply(cluster: &Cluster, object: DynamicObject) -> Result<String> {
    let types = object.types.clone().unwrap_or_default();
    let gvk = GroupVersionKind::try_from(&types).map_err(|error| Error::failed(&types.kind, error))?;
    let (resource, capabilities) =
        discovery::pinned_kind(&cluster.client, &gvk).await.map_err(|error| cluster.error(&error))?;
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
    Ok(shown(&resource, &name))
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

fn shown(resource: &ApiResource, name: &str) -> String {
    let group = if resource.group.is_empty() { String::new() } else { format!(".{}", resource.group) };
    format!("{}{group}/{name}", resource.kind.to_lowercase())
}
