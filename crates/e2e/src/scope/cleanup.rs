//! End of a test: removal of its namespace, and what is printed of a test that failed.

use anyhow::{Result, bail, ensure};
use k8s_openapi::api::core::v1::{Event, Namespace, Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};

use super::Scope;
use crate::eventually;

/// Number of lines of an operator's log that are shown.
const LOG_LINES: usize = 40;
const LOG_WIDTH: usize = 400;

impl Scope {
    /// Removes what a failed test left behind, in any state.
    pub async fn abandon(mut self) -> Result<()> {
        // The test may have killed the operator, which is needed to remove finalizers.
        self.operator.ensure_running()?;
        self.remove().await
    }

    /// Removes the namespace and waits until it is gone.
    pub async fn remove(mut self) -> Result<()> {
        // Rainbows first: they have a finalizer that only a running operator removes.
        let rainbows = self.custom("Rainbow");
        for rainbow in rainbows.list(&ListParams::default()).await? {
            rainbows.delete(&rainbow.name_any(), &DeleteParams::default()).await?;
        }
        eventually("the Rainbows are gone", || async {
            self.force_out_pods().await?;
            let left = rainbows.list(&ListParams::default()).await?.items;
            ensure!(left.is_empty(), "{} left", left.len());
            Ok(())
        })
        .await?;
        self.operator.kill();
        let namespaces = Api::<Namespace>::all(self.client.clone());
        namespaces.delete(&self.namespace, &DeleteParams::default()).await?;
        eventually("the namespace is gone", || async {
            self.force_out_pods().await?;
            match namespaces.get_opt(&self.namespace).await? {
                None => Ok(()),
                Some(namespace) => bail!("it is still there: {:?}", namespace.status),
            }
        })
        .await
    }

    /// Force-deletes the pods that are being deleted, on an external cluster: a kubelet there may take a minute to remove pods that have ended.
    async fn force_out_pods(&self) -> Result<()> {
        if self.embedded {
            return Ok(());
        }
        let pods = self.api::<Pod>();
        for pod in pods.list(&ListParams::default()).await? {
            if pod.metadata.deletion_timestamp.is_some() {
                match pods.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await {
                    Ok(_) => {}
                    Err(kube::Error::Api(status)) if status.code == 404 => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Collects information that helps to understand a failure.
    pub async fn diagnose(&self) -> String {
        let rainbows = self.custom("Rainbow").list(&ListParams::default()).await;
        let status = rainbows
            .map(|list| {
                list.items.iter().map(|item| format!("{:#}", item.data["status"])).collect::<Vec<_>>().join("\n")
            })
            .unwrap_or_else(|error| error.to_string());
        let pods = match self.api::<Pod>().list(&ListParams::default()).await {
            Ok(list) => list
                .items
                .iter()
                .map(|pod| {
                    let phase = pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
                    format!("{} {phase} {:?}", pod.name_any(), pod.labels())
                })
                .collect::<Vec<_>>()
                .join("\n"),
            Err(error) => error.to_string(),
        };
        let events = match self.api::<Event>().list(&ListParams::default()).await {
            Ok(list) => {
                let warnings = list.items.iter().filter(|event| event.type_.as_deref() == Some("Warning"));
                let text = |event: &Event| {
                    let (reason, message) = (event.reason.as_deref(), event.message.as_deref());
                    let about = event.involved_object.name.as_deref();
                    format!("{} {}: {}", about.unwrap_or("-"), reason.unwrap_or("-"), message.unwrap_or("-"))
                };
                warnings.map(text).collect::<Vec<_>>().join("\n")
            }
            Err(error) => error.to_string(),
        };
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let tail: Vec<String> =
            log.lines().rev().take(LOG_LINES).map(|line| line.chars().take(LOG_WIDTH).collect()).collect();
        format!(
            "--- namespace {}\n--- status\n{status}\n--- pods\n{pods}\n--- warnings\n{events}\n--- operator\n{}",
            self.namespace,
            tail.into_iter().rev().collect::<Vec<_>>().join("\n")
        )
    }
}
