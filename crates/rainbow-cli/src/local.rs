//! The only place that knows the embedded cluster: how it is started, and that Rainbow's operator runs in its process.

mod tally;

use std::{
    fs, io,
    path::{Path, PathBuf},
    pin::Pin,
    time::Duration,
};

use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    runtime::{conditions, wait::await_condition},
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use rainbow_operator::{
    agent,
    leader::{Contention, Election},
};

use crate::{
    context::AGENT,
    error::{Error, Result},
    printer::Printer,
};

/// How long the embedded cluster's data plane lags behind its endpoints: its proxy follows a watch in the same process.
const PROPAGATION: Duration = Duration::from_millis(50);
/// While this file is in the state directory, the cluster runs without the operator. The daemon is another process, and
/// this is how it learns of it, at a restart after a crash as well.
const NO_OPERATOR: &str = "no-operator";

/// How the cluster shall be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Up {
    /// Port of the API; 0 leaves it to the cluster.
    pub(crate) api_port: u16,
    /// With Rainbow's operator in it.
    pub(crate) operator: bool,
    /// Lag of the Service proxy, as a real cluster has it.
    pub(crate) proxy_delay: Duration,
}

/// Becomes one of the cluster's own processes if this process was started as one; then it does not return.
pub(crate) fn entry() {
    pocket::entry(|cluster| Box::pin(extra(cluster)));
}

/// What runs in the cluster's process: the resource definitions are there before it counts as up, then the operator runs.
async fn extra(cluster: pocket::Context) -> Result<pocket::Running, String> {
    let client = agent::named(cluster.client.clone(), AGENT);
    install(&client).await.map_err(|error| format!("cannot install Rainbow: {error}"))?;
    if cluster.state_dir.join(NO_OPERATOR).exists() {
        return Ok(Box::pin(async {}) as Pin<Box<_>>);
    }
    let shutdown = cluster.shutdown.clone();
    // Without the image, a pod that asked for it would never start.
    let counts = tally::is_there(&pocket::image_store_path(&cluster.state_dir), rainbow_operator::TALLY_IMAGE);
    let options = rainbow_operator::Options {
        tally_image: counts.then(|| rainbow_operator::TALLY_IMAGE.to_owned()),
        propagation: PROPAGATION + cluster.proxy_delay,
        // The next process of the cluster leads again at once. An operator that was installed into the cluster leads instead of it.
        election: Some(Election {
            namespace: "default".to_owned(),
            identity: "rainbow-local".to_owned(),
            scope: None,
            others: Contention::Wait,
        }),
        // The cluster is its user's own.
        config_access: rainbow_operator::ConfigAccess::All,
        shutdown: Box::pin(async move { shutdown.cancelled().await }),
        ..Default::default()
    };
    Ok(Box::pin(async move {
        if let Err(error) = rainbow_operator::run(cluster.client, options).await {
            tracing::error!(%error, "the operator has ended");
        }
    }))
}

async fn install(client: &Client) -> Result<(), kube::Error> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let params = PatchParams { force: true, ..PatchParams::apply(crate::patch::FIELD_MANAGER) };
    for crd in rainbow_api::crds() {
        let name = crd.metadata.name.clone().unwrap_or_default();
        api.patch(&name, &params, &Patch::Apply(&crd)).await?;
        // It ends at once, or the cluster's own time limit ends it.
        let _ = await_condition(api.clone(), &name, conditions::is_crd_established()).await;
    }
    Ok(())
}

fn state_dir() -> Result<PathBuf> {
    pocket::default_state_dir().map_err(|error| failed(&error))
}

fn failed(error: &pocket::Error) -> Error {
    Error::Failed(error.to_string())
}

/// Where its images are.
pub(crate) fn images() -> Result<PathBuf> {
    let dir = state_dir()?;
    private(&dir)?;
    Ok(pocket::image_store_path(&dir))
}

/// Makes the state directory, for its owner's eyes only.
fn private(dir: &Path) -> Result {
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::Failed(format!("no space left on the disk of {}: free some space and try again", dir.display()))
        }
        _ => Error::failed(format_args!("cannot make {}", dir.display()), error),
    })
}

/// Its kubeconfig, if it is up.
pub(crate) fn kubeconfig() -> Option<PathBuf> {
    match status() {
        Ok(pocket::Status::Up(up)) => Some(up.kubeconfig),
        _ => None,
    }
}

/// Whether it is up.
pub(crate) fn status() -> Result<pocket::Status> {
    pocket::status(&state_dir()?).map_err(|error| failed(&error))
}

/// Starts it unless it is up, and waits until it is ready. In the foreground, this process becomes the cluster.
pub(crate) async fn up(options: Up, foreground: bool, printer: Printer) -> Result<pocket::Up> {
    let dir = state_dir()?;
    private(&dir)?;
    if !matches!(status()?, pocket::Status::Up(_)) {
        let marker = dir.join(NO_OPERATOR);
        let marked = match options.operator {
            true => fs::remove_file(&marker).or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            }),
            false => fs::write(&marker, ""),
        };
        marked.map_err(|error| Error::failed(format_args!("cannot change {}", marker.display()), error))?;
        // Without the operator here there may be one elsewhere, which asks for the same image.
        if let Err(why) = tally::provide(&pocket::image_store_path(&dir), rainbow_operator::TALLY_IMAGE) {
            printer.warning(format_args!("{why}: connections are not counted, and drains hold until their deadline"));
        }
    }
    let mut settings = pocket::Options::new(dir);
    settings.api_port = options.api_port;
    settings.proxy_delay = options.proxy_delay;
    settings.foreground = foreground;
    blocking(move || pocket::up(&settings, &mut |step| printer.progress(step))).await
}

/// Ends it; `purge` removes what it kept, too.
pub(crate) async fn down(purge: bool) -> Result<pocket::Down> {
    let dir = state_dir()?;
    if purge {
        // Ours, so ours to remove: the cluster removes only what is its own.
        let _ = fs::remove_file(dir.join(NO_OPERATOR));
    }
    blocking(move || if purge { pocket::purge(&dir) } else { pocket::down(&dir) }).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, pocket::Error> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| Error::failed("the local cluster", error))?;
    done.map_err(|error| failed(&error))
}
