//! `rainbow uninstall`: removes Rainbow from a cluster.

use std::{cell::Cell, fmt::Debug, time::Duration};

use k8s_openapi::{
    api::{
        admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
        apps::v1::Deployment,
        coordination::v1::Lease,
        core::v1::{Namespace, ServiceAccount},
        policy::v1::PodDisruptionBudget,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
        scheduling::v1::PriorityClass,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    core::PartialObjectMeta,
};
use rainbow_api::{Color, HumanDuration, Rainbow, crds, labels};
use rainbow_operator::install;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::{
    commands::install::{installed, is_ours},
    context::{Cluster, Context},
    error::{Error, Result},
    patch::FIELD_MANAGER,
};

/// Time between two checks of whether something has gone.
const LOOK: Duration = Duration::from_millis(500);
/// Number of Rainbows that a message names before it only counts the rest.
const NAMED: usize = 5;

/// Arguments of `rainbow uninstall`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Delete all Rainbows, too, with everything that was made for them, and the resource definitions
    #[arg(long)]
    purge: bool,
    /// Take the operator away although there are Rainbows: they go on serving, nothing moves them, and one that is deleted goes at once
    #[arg(long, conflicts_with = "purge")]
    keep_rainbows: bool,
    /// Namespace that the operator runs in (default: where it is installed)
    #[arg(long, value_name = "NAME")]
    operator_namespace: Option<String>,
    /// With --purge: how long the operator may take to delete Rainbows in order, before they are deleted at once
    #[arg(long, value_name = "TIME", default_value = "2m", requires = "purge")]
    patience: HumanDuration,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let cluster = context.cluster().await?;
    let task = Task { context, cluster: &cluster, deleted: Cell::new(0) };
    let installed = installed(&cluster).await?;
    let namespace = match (installed, args.operator_namespace) {
        (Some(found), Some(given)) if found != given => {
            return Err(Error::Usage(format!(
                "Rainbow is installed in namespace `{found}`, not in `{given}`: leave --operator-namespace out"
            )));
        }
        (Some(found), _) => found,
        (None, Some(given)) => given,
        (None, None) => install::NAMESPACE.to_owned(),
    };
    let rainbows = task.rainbows().await?;
    match (rainbows.is_empty(), args.purge || args.keep_rainbows) {
        (false, false) => return Err(Error::Failed(refusal(rainbows.iter().map(full_name).collect()))),
        (false, true) if args.purge => task.delete_rainbows(rainbows, args.patience).await?,
        _ => {}
    }
    // The operator is deleted first, because it would wait for its definitions to come back.
    let client = || cluster.client.clone();
    task.delete::<Deployment>(&Api::namespaced(client(), &namespace), install::NAME).await?;
    if args.keep_rainbows {
        // Without an operator, the finalizer would keep Rainbows and colors, and their namespaces, indefinitely.
        task.let_all_go().await?;
    }
    if args.purge {
        for definition in crds() {
            task.delete::<CustomResourceDefinition>(&Api::all(client()), &definition.name_any()).await?;
        }
    }
    for policy in [install::COLOR_NAMES, install::OBJECT_NAMES, install::TIER_ADDRESSES, install::APPROVERS] {
        task.delete::<ValidatingAdmissionPolicyBinding>(&Api::all(client()), policy).await?;
        task.delete::<ValidatingAdmissionPolicy>(&Api::all(client()), policy).await?;
    }
    task.delete::<PodDisruptionBudget>(&Api::namespaced(client(), &namespace), install::NAME).await?;
    task.delete::<PriorityClass>(&Api::all(client()), install::NAME).await?;
    task.delete::<ClusterRoleBinding>(&Api::all(client()), install::NAME).await?;
    for role in [install::NAME, install::APPROVER] {
        task.delete::<ClusterRole>(&Api::all(client()), role).await?;
    }
    task.delete::<RoleBinding>(&Api::namespaced(client(), &namespace), install::NAME).await?;
    task.delete::<Role>(&Api::namespaced(client(), &namespace), install::NAME).await?;
    task.delete::<ServiceAccount>(&Api::namespaced(client(), &namespace), install::NAME).await?;
    // The operator made the lease, without a label.
    task.delete_any::<Lease>(&Api::namespaced(client(), &namespace), install::NAME).await?;
    task.delete::<Namespace>(&Api::all(client()), &namespace).await?;
    if task.deleted.get() == 0 {
        context.printer.line(format_args!("there is nothing of `rainbow install` in this cluster"));
    }
    Ok(())
}

/// Returns the message that says why Rainbow stays.
fn refusal(mut rainbows: Vec<String>) -> String {
    let more = rainbows.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    rainbows.truncate(NAMED);
    format!(
        "there are Rainbows: {}{more}; delete them first, or give --purge to delete them with everything that was made for \
         them, or --keep-rainbows to leave them as they are without an operator",
        rainbows.join(", ")
    )
}

fn full_name(rainbow: &Rainbow) -> String {
    format!("{}/{}", rainbow.namespace().unwrap_or_default(), rainbow.name_any())
}

struct Task<'a> {
    context: &'a Context,
    cluster: &'a Cluster,
    /// Number of objects that were deleted until now.
    deleted: Cell<usize>,
}

impl Task<'_> {
    fn error(&self, error: &kube::Error) -> Error {
        self.cluster.error(error)
    }

    /// Returns all Rainbows of the cluster; none where the kind is not known.
    async fn rainbows(&self) -> Result<Vec<Rainbow>> {
        match Api::<Rainbow>::all(self.cluster.client.clone()).list(&ListParams::default()).await {
            Ok(all) => Ok(all.items),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
            Err(error) => Err(self.error(&error)),
        }
    }

    /// Deletes the Rainbows and waits: the operator takes entry tiers down first. Where the Rainbows are not gone in time, their finalizers are
    /// removed, and everything goes with its owners.
    async fn delete_rainbows(&self, rainbows: Vec<Rainbow>, patience: HumanDuration) -> Result {
        for rainbow in &rainbows {
            self.context.printer.progress(format_args!("rainbow.rainbow.dev/{} is being deleted", full_name(rainbow)));
            let api: Api<Rainbow> =
                Api::namespaced(self.cluster.client.clone(), &rainbow.namespace().unwrap_or_default());
            absent_is_fine(api.delete(&rainbow.name_any(), &DeleteParams::default()).await)
                .map_err(|error| self.error(&error))?;
        }
        let gone = async {
            loop {
                if self.rainbows().await?.is_empty() {
                    return Ok(());
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        // A patience of 0 means no wait here, and not a wait without limit.
        let in_time = tokio::time::timeout(patience.0, gone).await;
        if let Ok(done) = in_time {
            return done;
        }
        self.context.printer.warning(format_args!(
            "Rainbows are still there after {patience}, perhaps as no operator runs: they are deleted at once"
        ));
        self.let_all_go().await
    }

    /// Removes Rainbow's finalizer from all Rainbows and colors.
    async fn let_all_go(&self) -> Result {
        self.let_all_of_kind_go::<Color>().await?;
        self.let_all_of_kind_go::<Rainbow>().await
    }

    async fn let_all_of_kind_go<K>(&self) -> Result
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        // An object may be unreadable while its metadata can be read.
        let all = match Api::<K>::all(self.cluster.client.clone()).list_metadata(&ListParams::default()).await {
            Ok(all) => all.items,
            Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
            Err(error) => return Err(self.error(&error)),
        };
        for object in all.iter().filter(|object| object.finalizers().iter().any(|held| held == labels::FINALIZER)) {
            self.let_go(object).await?;
        }
        Ok(())
    }

    /// Removes Rainbow's finalizer from one object.
    async fn let_go<K>(&self, object: &PartialObjectMeta<K>) -> Result
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let finalizers: Vec<&String> = object.finalizers().iter().filter(|held| *held != labels::FINALIZER).collect();
        let api: Api<K> = Api::namespaced(self.cluster.client.clone(), &object.namespace().unwrap_or_default());
        let patch = Patch::Merge(json!({ "metadata": { "finalizers": finalizers } }));
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        absent_is_fine(api.patch_metadata(&object.name_any(), &parameters, &patch).await)
            .map_err(|error| self.error(&error))
    }

    /// Deletes an object of `rainbow install`, and waits until it has gone. An object that others made stays.
    async fn delete<K>(&self, api: &Api<K>, name: &str) -> Result
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        match api.get_metadata_opt(name).await.map_err(|error| self.error(&error))? {
            // The definitions carry no label; their names show that they are Rainbow's.
            Some(found) if is_ours(&found.metadata) || K::kind(&()) == "CustomResourceDefinition" => {
                self.delete_any(api, name).await
            }
            _ => Ok(()),
        }
    }

    async fn delete_any<K>(&self, api: &Api<K>, name: &str) -> Result
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        match api.delete(name, &DeleteParams::foreground()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(error) => return Err(self.error(&error)),
        }
        while api.get_metadata_opt(name).await.map_err(|error| self.error(&error))?.is_some() {
            tokio::time::sleep(LOOK).await;
        }
        let (group, kind) = (K::group(&()), K::kind(&()).to_lowercase());
        let group = if group.is_empty() { String::new() } else { format!(".{group}") };
        self.context.printer.line(format_args!("{kind}{group}/{name} deleted"));
        self.deleted.set(self.deleted.get() + 1);
        Ok(())
    }
}

fn absent_is_fine<T>(result: kube::Result<T>) -> kube::Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_some() {
        let names = |count: usize| (0..count).map(|number| format!("shop/app-{number}")).collect();
        let text = refusal(names(1));
        assert!(text.starts_with("there are Rainbows: shop/app-0; delete them first"), "{text}");
        let text = refusal(names(8));
        assert!(text.contains("shop/app-4 and 3 more; "), "{text}");
    }
}
