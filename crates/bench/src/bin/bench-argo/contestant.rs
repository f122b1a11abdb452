//! Contestant: one tool with an application of its own, a namespace, a controller behind a proxy, and the actions that both tools have.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use e2e::{Cluster, Scope, eventually};

use crate::{
    argo, clients,
    manifests::{ACTIVE, Release},
    pods,
    proxy::Proxy,
    rainbow,
};

/// Tool that releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tool {
    /// Argo Rollouts
    Argo,
    /// Rainbow
    Rainbow,
}

impl Tool {
    /// Returns the name in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Argo => "Argo Rollouts",
            Self::Rainbow => "Rainbow",
        }
    }
}

/// Running tool.
pub(crate) struct Contestant {
    pub(crate) tool: Tool,
    pub(crate) scope: Scope,
    pub(crate) proxy: Proxy,
    controller: Option<argo::Controller>,
}

impl Contestant {
    /// Starts the tool's controller in a namespace of its own. Only one runs at a time.
    pub(crate) async fn start(cluster: &Cluster, argo: Option<&Path>, tool: Tool, name: &str) -> Result<Self> {
        let mut scope = Scope::new(cluster, &format!("bench-{name}")).await?;
        let proxy = Proxy::start(scope.config().await?, cluster.dir(), &scope.namespace).await?;
        let controller = match tool {
            Tool::Argo => {
                scope.operator.kill();
                Some(argo::Controller::start(argo.context("no controller")?, &proxy, &scope.namespace)?)
            }
            Tool::Rainbow => {
                scope.operator.restart_with_kubeconfig(proxy.kubeconfig())?;
                None
            }
        };
        Ok(Self { tool, scope, proxy, controller })
    }

    /// Removes everything.
    pub(crate) async fn stop(self) -> Result<()> {
        // Writes of the controller during the deletion of the namespace are of no interest.
        drop(self.controller);
        self.scope.remove().await
    }

    /// Removes everything after an error, and adds information that helps to understand it.
    pub(crate) async fn fail(self, error: anyhow::Error) -> anyhow::Error {
        let more = self.scope.diagnose().await;
        drop(self.controller);
        // The first error says more than a second one would.
        let _ = self.scope.abandon().await;
        error.context(more)
    }

    /// Applies a version.
    pub(crate) async fn apply(&self, release: &Release<'_>) -> Result<()> {
        match self.tool {
            Tool::Argo => argo::apply(&self.scope, release).await,
            Tool::Rainbow => rainbow::apply(&self.scope, release).await,
        }
    }

    /// Starts the first version, and waits until it serves.
    pub(crate) async fn begin(&self, release: &Release<'_>) -> Result<()> {
        self.apply(release).await?;
        self.ready(release).await?;
        self.settled(release).await?;
        let clients = clients::Clients::start(&self.scope, ACTIVE, 20.0).await?;
        clients.only(release.color).await?;
        clients.stop().await;
        Ok(())
    }

    /// Waits until a version can be promoted.
    pub(crate) async fn previewed(&self, release: &Release<'_>) -> Result<()> {
        self.ready(release).await?;
        eventually(&format!("{} waits to be promoted", release.color), || async {
            match self.tool {
                Tool::Argo => argo::waits(&self.scope).await,
                Tool::Rainbow => rainbow::serves(&self.scope, "preview", release.color).await,
            }
        })
        .await
    }

    /// Points users at the version that was applied last.
    pub(crate) async fn promote(&self, release: &Release<'_>) -> Result<()> {
        match self.tool {
            Tool::Argo => argo::promote(&self.scope).await,
            Tool::Rainbow => rainbow::promote(&self.scope, release.color).await,
        }
    }

    /// Takes users back to an earlier version.
    pub(crate) async fn back(&self, release: &Release<'_>) -> Result<()> {
        match self.tool {
            // `kubectl argo rollouts undo` writes the template of the previous version, as this does.
            Tool::Argo => argo::apply(&self.scope, release).await,
            Tool::Rainbow => rainbow::back(&self.scope, release.color).await,
        }
    }

    /// Waits until a replaced version is on its way out, but still has its pods.
    pub(crate) async fn drains(&self, color: &str) -> Result<()> {
        match self.tool {
            // Argo Rollouts has no such phase: the pods have a deadline, which has passed.
            Tool::Argo => Ok(()),
            Tool::Rainbow => eventually(&format!("{color} drains"), || rainbow::drains(&self.scope, color)).await,
        }
    }

    /// Waits until a version serves users and no shift is in progress.
    pub(crate) async fn settled(&self, release: &Release<'_>) -> Result<()> {
        eventually(&format!("{} serves", release.color), || async {
            match self.tool {
                Tool::Argo => argo::settled(&self.scope).await,
                Tool::Rainbow => rainbow::serves(&self.scope, "active", release.color).await,
            }
        })
        .await
    }

    async fn ready(&self, release: &Release<'_>) -> Result<()> {
        let wanted = usize::try_from(release.pods)?;
        eventually(&format!("the pods of {} are ready", release.color), || async {
            let ready = pods::ready(&self.scope, release.color).await?;
            ensure!(ready == wanted, "{ready} of {wanted}");
            Ok(())
        })
        .await
    }
}
