//! `postStart` and `preStop` hooks.

use std::time::Duration;

use k8s_openapi::api::core::v1::LifecycleHandler;
use tokio::time::sleep;

use crate::{probes::Prober, runtime::Container};

/// Runs a hook to its end. The error describes what went wrong.
pub(super) async fn run<C: Container>(handler: &LifecycleHandler, prober: &Prober<'_, C>) -> Result<(), String> {
    if let Some(exec) = &handler.exec {
        prober.exec(exec).await
    } else if let Some(get) = &handler.http_get {
        prober.http(get).await
    } else if let Some(pause) = &handler.sleep {
        sleep(Duration::from_secs(u64::try_from(pause.seconds).unwrap_or(0))).await;
        Ok(())
    } else {
        // tcpSocket was never supported in hooks; the API keeps the field.
        Ok(())
    }
}
