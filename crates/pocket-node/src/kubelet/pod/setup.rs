//! Sandbox, volumes, files and host ports of a pod: what exists before its containers, and until they have ended.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Pod;

use crate::{
    hosts,
    kubelet::{pod_context::PodContext, token},
    proxy::host_port::{Host, HostPorts},
    runtime::{Runtime, Sandbox, SandboxSpec},
    scheduler,
    sync::lock,
    volumes,
};

/// Closes the host ports and removes the sandbox.
pub(super) async fn tear_down<R: Runtime>(context: &PodContext<R>, sandbox: Option<R::Sandbox>) {
    let ports = lock(&context.host_ports).take();
    if let Some(ports) = ports {
        ports.close().await;
    }
    if let Some(sandbox) = sandbox {
        context.node.runtime.remove(sandbox).await;
    }
    context.tracker.update(|view| {
        view.sandbox = false;
        view.over = true;
    });
}

/// Reason and message of a failed step, as its event has them.
type SetupError = (&'static str, String);

/// Sets up volumes, the network and its files, and keeps what exists already. Returns when tokens must be renewed.
pub(super) async fn set_up<R: Runtime>(
    context: &Arc<PodContext<R>>,
    sandbox: &mut Option<R::Sandbox>,
) -> Result<Option<Duration>, SetupError> {
    let node = &context.node;
    let pod = token::with_token(&node.client, &context.pod()).await.map_err(|error| ("FailedMount", error))?;
    let pod = Arc::new(pod);
    *lock(&context.effective) = pod.clone();
    let facts = context.facts();
    let dir = context.dir().join("volumes");
    let volumes = volumes::set_up(&node.client, &pod, &facts, &dir);
    let (volumes, made) = match sandbox {
        Some(_) => (volumes.await, None),
        None => {
            let spec =
                SandboxSpec { uid: context.uid.clone(), pod: context.key.to_string(), hostname: context.hostname() };
            let (volumes, made) = tokio::join!(volumes, node.runtime.sandbox(spec));
            (volumes, Some(made))
        }
    };
    match made {
        Some(Ok(made)) => {
            let ip = made.ip();
            *sandbox = Some(made);
            write_files(context, &pod, ip).map_err(|error| {
                ("FailedCreatePodSandBox", format!("Failed to write the pod's network files: {error}"))
            })?;
            context.tracker.update(|view| {
                view.ip = Some(ip);
                view.sandbox = true;
            });
        }
        Some(Err(error)) => return Err(("FailedCreatePodSandBox", format!("Failed to create pod sandbox: {error}"))),
        None => {}
    }
    if let Some(sandbox) = sandbox {
        open_host_ports(context, sandbox.ip())
            .await
            .map_err(|why| ("FailedCreatePodSandBox", format!("Failed to create pod sandbox: {why}")))?;
    }
    let volumes = volumes.map_err(|(name, error)| {
        ("FailedMount", format!("MountVolume.SetUp failed for volume \"{name}\" : {error}"))
    })?;
    *lock(&context.volumes) = volumes.paths;
    Ok(volumes.renew)
}

/// Opens the pod's host ports unless they are open already.
async fn open_host_ports<R: Runtime>(context: &PodContext<R>, ip: Ipv4Addr) -> Result<(), String> {
    let wanted = context.pod().spec.as_ref().map(scheduler::host_ports).unwrap_or_default();
    if wanted.is_empty() || lock(&context.host_ports).is_some() {
        return Ok(());
    }
    let host = Host { net: &context.node.net, ip: context.node.config.host_ip };
    let opened = HostPorts::open(&host, ip, &wanted).await?;
    *lock(&context.host_ports) = Some(opened);
    Ok(())
}

fn write_files<R: Runtime>(context: &PodContext<R>, pod: &Pod, ip: Ipv4Addr) -> std::io::Result<()> {
    let config = &context.node.config;
    let dir = context.dir();
    std::fs::create_dir_all(&dir)?;
    let spec = pod.spec.clone().unwrap_or_default();
    let namespace = &context.key.namespace;
    let hostname = context.hostname();
    let hosts = hosts::hosts(&spec, ip, &hostname, namespace, &config.cluster_domain);
    let resolv =
        hosts::resolv_conf(&spec, namespace, &config.cluster_domain, config.cluster_dns, &config.host_resolv_conf);
    std::fs::write(dir.join("hosts"), hosts)?;
    std::fs::write(dir.join("hostname"), format!("{hostname}\n"))?;
    std::fs::write(dir.join("resolv.conf"), resolv)
}
