//! External cluster, which is not the suite's own: the one of the user's kubeconfig. It gets images and Rainbow, and is left as it
//! was found.

use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Node},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Error, ResourceExt,
    api::{DynamicObject, ListParams},
    config::Kubeconfig,
    core::{ApiResource, GroupVersionKind},
};

use crate::{Cli, OperatorPlace, Settings, images, kubeconfig::config, loader};

/// Namespace of the operator that the suite installs. Differs from the usual one, so that the user's own is never touched.
const OPERATOR_NAMESPACE: &str = "rainbow-test-system";

/// Changes that the suite made to a cluster, with the data to undo them.
#[derive(Debug)]
pub(crate) struct ExternalCluster {
    kubeconfig: PathBuf,
    /// Whether Rainbow's resource definitions existed before.
    had_definitions: bool,
    has_autoscalers: bool,
    /// Number of nodes of the cluster.
    nodes: usize,
    operator: OperatorPlace,
    load_command: Option<String>,
    /// Image of this build's counter.
    tally_image: String,
}

/// Facts about a cluster, read before anything is changed.
struct Facts {
    version: String,
    nodes: Vec<Node>,
    had_definitions: bool,
    has_autoscalers: bool,
    /// Namespace of an operator that exists already.
    operator: Option<String>,
}

impl ExternalCluster {
    /// Pins the context, gives the cluster the images, and installs Rainbow.
    pub(crate) fn prepare(cli: &Cli, dir: &Path, settings: &Settings, images: &[String]) -> Result<Self> {
        let (kubeconfig, context) = pin(dir, settings.context.as_deref())?;
        let facts = blocking(read_facts(&kubeconfig)).with_context(|| format!("the cluster of context `{context}`"))?;
        let Facts { version, nodes, had_definitions, has_autoscalers, operator } = facts;
        if let Some(namespace) = operator {
            bail!(
                "Rainbow's operator runs in namespace `{namespace}` of that cluster and would act on the tests' namespaces \
                 beside theirs: take it out for the time of the tests (`rainbow uninstall --keep-rainbows`)"
            );
        }
        eprintln!("the tests run on context `{context}`: Kubernetes {version}, {} nodes", nodes.len());
        let cli = cli.with("KUBECONFIG", &kubeconfig);
        let tally_image = images::build_plain(&cli, dir, &settings.image_prefix, "tally")?;
        let images = [images, std::slice::from_ref(&tally_image)].concat();
        let load_command = loader::command(settings, &context, &nodes);
        match &load_command {
            Some(command) => images::load(&cli, dir, &images, command)?,
            None => {
                ensure!(
                    !settings.image_prefix.is_empty(),
                    "cannot tell how context `{context}` gets images: it is neither kind, minikube nor k3d; \
                     give --load-command or --image-prefix (docs/testing.md says how)"
                );
                eprintln!("the cluster is expected to find {}", images.join(", "));
            }
        }
        match settings.operator {
            OperatorPlace::Outside => cli.ok(&["install", "--crds-only"])?,
            OperatorPlace::Inside => {
                let image = images::build_plain(&cli, dir, &settings.image_prefix, "rainbow")?;
                if let Some(command) = &load_command {
                    images::load(&cli, dir, std::slice::from_ref(&image), command)?;
                }
                let place =
                    ["install", "--operator-namespace", OPERATOR_NAMESPACE, "--versioned-config", "all", "--wait"];
                cli.ok(&[&place[..], &["--image", &image, "--tally-image", &tally_image]].concat())?
            }
        };
        let (nodes, operator) = (nodes.len(), settings.operator);
        Ok(Self { kubeconfig, had_definitions, has_autoscalers, nodes, operator, load_command, tally_image })
    }

    /// Gives the cluster more images, or reports that it has to find them.
    pub(crate) fn load(&self, cli: &Cli, dir: &Path, images: &[String]) -> Result<()> {
        match &self.load_command {
            Some(command) => images::load(cli, dir, images, command),
            None => {
                eprintln!("the cluster is expected to find {}", images.join(", "));
                Ok(())
            }
        }
    }

    /// Returns whether a test may install the operator for all namespaces and remove all of Rainbow again, on two nodes.
    pub(crate) fn may_install(&self) -> bool {
        self.operator == OperatorPlace::Outside && !self.had_definitions && self.nodes > 1
    }

    /// Returns whether the cluster has autoscalers that act, and no server of external metrics for them yet.
    pub(crate) fn has_autoscalers(&self) -> bool {
        self.has_autoscalers
    }

    /// Returns the image of the sidecar that counts connections.
    pub(crate) fn tally_image(&self) -> &str {
        &self.tally_image
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Removes Rainbow again, unless it existed before or a Rainbow exists now.
    pub(crate) fn restore(&self, cli: &Cli) -> Result<()> {
        let in_use = blocking(any_rainbow(&self.kubeconfig))?;
        let keep = self.had_definitions || in_use;
        let how = if keep { "--keep-rainbows" } else { "--purge" };
        match (self.operator, keep) {
            (OperatorPlace::Outside, true) => Ok(()),
            _ => cli.ok(&["uninstall", "--operator-namespace", OPERATOR_NAMESPACE, how]).map(drop),
        }
    }
}

async fn any_rainbow(kubeconfig: &Path) -> Result<bool> {
    let client = Client::try_from(config(kubeconfig).await?)?;
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("rainbow.dev", "v1alpha1", "Rainbow"));
    match Api::<DynamicObject>::all_with(client, &kind).list_metadata(&ListParams::default().limit(1)).await {
        Ok(found) => Ok(!found.items.is_empty()),
        Err(Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Writes a kubeconfig with one context, so that a change of the user's own kubeconfig during the run has no effect here.
fn pin(dir: &Path, context: Option<&str>) -> Result<(PathBuf, String)> {
    let mut kubeconfig = Kubeconfig::read().context("no kubeconfig: set KUBECONFIG, or run on the embedded cluster")?;
    let context = match context {
        Some(context) => context.to_owned(),
        None => kubeconfig.current_context.clone().context("the kubeconfig has no current context: give --context")?,
    };
    let known: Vec<String> = kubeconfig.contexts.iter().map(|known| known.name.clone()).collect();
    ensure!(known.contains(&context), "the kubeconfig has no context `{context}`, only {}", known.join(", "));
    kubeconfig.contexts.retain(|known| known.name == context);
    kubeconfig.current_context = Some(context.clone());
    let path = dir.join("kubeconfig");
    // JSON is valid YAML.
    let text = serde_json::to_string(&kubeconfig)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(text.as_bytes())?;
    Ok((path, context))
}

/// Reads the facts about a cluster.
async fn read_facts(kubeconfig: &Path) -> Result<Facts> {
    let client = Client::try_from(config(kubeconfig).await?)?;
    let version = client.apiserver_version().await.context("it does not answer")?.git_version;
    let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await.context("its nodes")?.items;
    let definitions =
        Api::<CustomResourceDefinition>::all(client.clone()).list_metadata(&ListParams::default()).await?;
    let had_definitions = definitions.items.iter().any(|definition| definition.name_any().ends_with(".rainbow.dev"));
    let groups = client.list_api_groups().await?.groups;
    let serves = |name: &str| groups.iter().any(|group| group.name == name);
    // The API can be extended where there is an aggregation layer, and there the controllers of Kubernetes run, too.
    let has_autoscalers = serves("apiregistration.k8s.io") && !serves("external.metrics.k8s.io");
    let operators = ListParams::default().labels("app.kubernetes.io/name=rainbow-operator");
    let operators = Api::<Deployment>::all(client).list(&operators).await?;
    let operator = operators.items.first().and_then(ResourceExt::namespace);
    Ok(Facts { version, nodes, had_definitions, has_autoscalers, operator })
}

/// Runs a future to its end, for callers inside and outside of tasks.
fn blocking<T: Send>(future: impl Future<Output = Result<T>> + Send) -> Result<T> {
    let run = || tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future);
    thread::scope(|scope| scope.spawn(run).join()).map_err(|_| anyhow!("asking the cluster panicked"))?
}
