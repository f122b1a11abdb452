//! A cluster that is not the suite's own: the one of the user's kubeconfig. It gets images and Rainbow, and is left as it
//! was found.

use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context, Result, anyhow, ensure};
use k8s_openapi::{
    api::core::v1::Node, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, Client, ResourceExt, api::ListParams, config::Kubeconfig};

use crate::{Cli, OperatorPlace, Settings, cluster::config, images, loader};

/// Namespace of the operator that the suite installs. Not the usual one, so that the user's own is never touched.
const OPERATOR_NAMESPACE: &str = "rainbow-test-system";

/// What the suite did to a cluster, and how to undo it.
#[derive(Debug)]
pub(crate) struct Given {
    kubeconfig: PathBuf,
    /// Rainbow's resource definitions were there before.
    had_definitions: bool,
    operator: OperatorPlace,
    load_command: Option<String>,
}

/// What is asked of a cluster before anything is done to it.
struct Found {
    version: String,
    nodes: Vec<Node>,
    had_definitions: bool,
}

impl Given {
    /// Pins the context, gives the cluster the images, and puts Rainbow into it.
    pub(crate) fn prepare(cli: &Cli, dir: &Path, settings: &Settings, images: &[String]) -> Result<Self> {
        let (kubeconfig, context) = pin(dir, settings.context.as_deref())?;
        let found = blocking(ask(&kubeconfig)).with_context(|| format!("the cluster of context `{context}`"))?;
        let Found { version, nodes, had_definitions } = found;
        eprintln!("the tests run on context `{context}`: Kubernetes {version}, {} nodes", nodes.len());
        let cli = cli.with("KUBECONFIG", &kubeconfig);
        let load_command = loader::command(settings, &context, &nodes);
        match &load_command {
            Some(command) => images::load(&cli, dir, images, command)?,
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
            OperatorPlace::Inside => install(&cli, dir, settings, load_command.as_deref())?,
        };
        Ok(Self { kubeconfig, had_definitions, operator: settings.operator, load_command })
    }

    /// How it gets images, if that is ours to do.
    pub(crate) fn load_command(&self) -> Option<&str> {
        self.load_command.as_deref()
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Takes Rainbow out again, unless it was there before.
    pub(crate) fn leave(&self, cli: &Cli) -> Result<()> {
        let mut args = vec!["uninstall", "--operator-namespace", OPERATOR_NAMESPACE];
        match (self.operator, self.had_definitions) {
            (OperatorPlace::Outside, true) => return Ok(()),
            (OperatorPlace::Inside, true) => {}
            (_, false) => args.push("--purge"),
        }
        cli.ok(&args).map(drop)
    }
}

/// Builds the operator's image of this build, gives it to the cluster, and installs it.
fn install(cli: &Cli, dir: &Path, settings: &Settings, load_command: Option<&str>) -> Result<String> {
    let image = images::build_operator(cli, dir, &settings.image_prefix)?;
    if let Some(command) = load_command {
        images::load(cli, dir, std::slice::from_ref(&image), command)?;
    }
    cli.ok(&["install", "--operator-namespace", OPERATOR_NAMESPACE, "--image", &image, "--wait"])
}

/// Writes a kubeconfig of one context, so that a change of the user's own in the middle changes nothing here.
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
    // JSON is YAML.
    let text = serde_json::to_string(&kubeconfig)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(text.as_bytes())?;
    Ok((path, context))
}

async fn ask(kubeconfig: &Path) -> Result<Found> {
    let client = Client::try_from(config(kubeconfig).await?)?;
    let version = client.apiserver_version().await.context("it does not answer")?.git_version;
    let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await.context("its nodes")?.items;
    let definitions = Api::<CustomResourceDefinition>::all(client).list_metadata(&ListParams::default()).await?;
    let had_definitions = definitions.items.iter().any(|definition| definition.name_any().ends_with(".rainbow.dev"));
    Ok(Found { version, nodes, had_definitions })
}

/// Runs a future to its end from a caller that may or may not be a task itself.
fn blocking<T: Send>(future: impl Future<Output = Result<T>> + Send) -> Result<T> {
    let run = || tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future);
    thread::scope(|scope| scope.spawn(run).join()).map_err(|_| anyhow!("asking the cluster panicked"))?
}
