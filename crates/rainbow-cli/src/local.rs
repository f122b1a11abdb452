//! Embedded cluster: the only module that knows how it is started, and that Rainbow's operator runs in its process.

mod home;
mod tally;

use home::ADDRESS;
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

use pocket_image::ImageStore;
use rainbow_operator::{
    agent,
    leader::{Contention, Election},
};

pub(crate) use home::{Home, ProfileArgs};

use crate::{
    context::AGENT,
    error::{Error, Result},
    printer::Printer,
};

/// Time by which the embedded cluster's data plane lags behind its endpoints: its proxy follows a watch in the same process.
const PROPAGATION: Duration = Duration::from_millis(50);
/// Name of the operator in the cluster's process.
pub(crate) const OPERATOR: &str = "rainbow-local";
/// File in the state directory that makes the cluster run without the operator. The daemon is another process, and reads this file at a restart
/// after a crash as well.
const NO_OPERATOR: &str = "no-operator";

/// Options of a start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Up {
    /// Port of the API; 0 leaves it to the cluster.
    pub(crate) api_port: u16,
    /// Whether Rainbow's operator runs in the cluster's process.
    pub(crate) operator: bool,
    /// Lag of the Service proxy, as a real cluster has one.
    pub(crate) proxy_delay: Duration,
}

/// Becomes one of the cluster's own processes, and does not return, if this process was started as one.
pub(crate) fn entry() {
    pocket::entry(|cluster| Box::pin(extra(cluster)));
}

/// Installs the resource definitions before the cluster counts as up, and returns the operator, which then runs in the cluster's process.
async fn extra(cluster: pocket::Context) -> Result<pocket::Running, String> {
    let client = agent::named(cluster.client.clone(), AGENT);
    install(&client).await.map_err(|error| format!("cannot install Rainbow: {error}"))?;
    if cluster.state_dir.join(NO_OPERATOR).exists() {
        return Ok(Box::pin(async {}) as Pin<Box<_>>);
    }
    let shutdown = cluster.shutdown.clone();
    // Without the image, a pod that asks for the counter would never start.
    let counts = tally::is_there(&pocket::image_store_path(&cluster.state_dir), rainbow_operator::TALLY_IMAGE);
    let options = rainbow_operator::Options {
        tally_image: counts.then(|| rainbow_operator::TALLY_IMAGE.to_owned()),
        propagation: PROPAGATION + cluster.proxy_delay,
        // The next process of the cluster leads again at once. An operator that is installed in the cluster leads instead of this one.
        election: Some(Election {
            namespace: "default".to_owned(),
            identity: OPERATOR.to_owned(),
            scope: None,
            others: Contention::Wait,
        }),
        // The cluster belongs to its user alone, so configuration may be copied.
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
        // The wait ends at once, or by the cluster's own time limit.
        let _ = await_condition(api.clone(), &name, conditions::is_crd_established()).await;
    }
    Ok(())
}

fn failed(error: &pocket::Error) -> Error {
    Error::Failed(error.to_string())
}

/// Creates a state directory that only its owner may read.
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

impl Home {
    /// Returns the directory of the cluster's images, and creates the state directory if it does not exist.
    pub(crate) fn images(&self) -> Result<PathBuf> {
        private(&self.dir)?;
        Ok(self.image_store())
    }

    /// Returns the directory of the cluster's images, which need not exist.
    pub(crate) fn image_store(&self) -> PathBuf {
        pocket::image_store_path(&self.dir)
    }

    /// Returns the names of the images in the store, and none where there is no store: a query does not create it.
    pub(crate) fn image_names(&self) -> Vec<String> {
        let directory = self.image_store();
        let store = directory.exists().then(|| ImageStore::open(directory).ok()).flatten();
        let images = store.and_then(|store| store.list().ok()).unwrap_or_default();
        images.into_iter().map(|image| image.reference).collect()
    }

    /// Returns the path of the cluster's kubeconfig, even where the cluster is not up.
    pub(crate) fn kubeconfig_file(&self) -> PathBuf {
        pocket::kubeconfig_path(&self.dir)
    }

    /// Returns the path of the cluster's kubeconfig, if the cluster is up.
    pub(crate) fn kubeconfig(&self) -> Option<PathBuf> {
        match self.status() {
            Ok(pocket::Status::Up(up)) => Some(up.kubeconfig),
            _ => None,
        }
    }

    /// Returns whether the cluster is up.
    pub(crate) fn status(&self) -> Result<pocket::Status> {
        pocket::status(&self.dir).map_err(|error| failed(&error))
    }

    /// Returns the command that starts the cluster.
    pub(crate) fn start_command(&self) -> String {
        let verb = if matches!(self.status(), Ok(pocket::Status::Stopped)) { "start" } else { "up" };
        format!("rainbow local {verb}{}", self.option())
    }

    /// Returns whether Rainbow's operator runs in the cluster's process when the cluster runs.
    pub(crate) fn has_operator(&self) -> bool {
        !self.dir.join(NO_OPERATOR).exists()
    }

    /// Starts the cluster unless it is up, and waits until it is ready. In the foreground, this process becomes the cluster.
    pub(crate) async fn up(&self, options: Up, foreground: bool, printer: Printer) -> Result<pocket::Up> {
        private(&self.dir)?;
        if !matches!(self.status()?, pocket::Status::Up(_)) {
            self.set_operator(options.operator)?;
            // Without the operator here, one elsewhere may ask for the same image.
            if let Err(why) = tally::provide(&self.image_store(), rainbow_operator::TALLY_IMAGE) {
                printer
                    .warning(format_args!("{why}: connections are not counted, and drains hold until their deadline"));
            }
        }
        let mut settings = pocket::Options::new(self.dir.clone());
        settings.name = self.context_name();
        settings.address = self.address()?;
        settings.api_port = options.api_port;
        settings.proxy_delay = options.proxy_delay;
        settings.foreground = foreground;
        blocking(move || pocket::up(&settings, &mut |step| printer.progress(step))).await
    }

    fn set_operator(&self, wanted: bool) -> Result {
        let marker = self.dir.join(NO_OPERATOR);
        let marked = match wanted {
            true => fs::remove_file(&marker).or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            }),
            false => fs::write(&marker, ""),
        };
        marked.map_err(|error| Error::failed(format_args!("cannot change {}", marker.display()), error))
    }

    /// Ends the cluster, and keeps its content.
    pub(crate) async fn stop(&self) -> Result<pocket::Down> {
        let dir = self.dir.clone();
        blocking(move || pocket::stop(&dir)).await
    }

    /// Ends the cluster; `purge` removes its kept files, too.
    pub(crate) async fn down(&self, purge: bool) -> Result<pocket::Down> {
        let dir = self.dir.clone();
        if purge {
            // The cluster removes only its own files, and these two are this program's.
            for file in [NO_OPERATOR, ADDRESS] {
                let _ = fs::remove_file(dir.join(file));
            }
        }
        let found = blocking(move || if purge { pocket::purge(&dir) } else { pocket::down(&dir) }).await?;
        if purge && let Some(profiles) = self.dir.parent().filter(|_| self.profile.is_some()) {
            // The removal fails while there is another profile.
            let _ = fs::remove_dir(profiles);
        }
        Ok(found)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, pocket::Error> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| Error::failed("the local cluster", error))?;
    done.map_err(|error| failed(&error))
}
