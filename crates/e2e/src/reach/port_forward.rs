//! Port forwarding through the API: a port of this machine whose connections go to ready pods of a Service.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result, bail};
use k8s_openapi::{
    api::core::v1::{Pod, Service, ServicePort},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::{Api, Client, ResourceExt, api::ListParams};
use tokio::net::{TcpListener, TcpStream};

/// Listens until the runtime of the test ends. The Service's selector is read again for each connection, since tests change
/// it.
pub(super) async fn open(client: Client, service: &Service, port: &ServicePort) -> Result<SocketAddr> {
    let namespace = service.namespace().context("a Service without a namespace")?;
    let forward = Forward {
        services: Api::namespaced(client.clone(), &namespace),
        pods: Api::namespaced(client, &namespace),
        service: service.name_any(),
        port: port.clone(),
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let forward = forward.clone();
            tokio::spawn(async move {
                // The client sees a closed connection, and reports it.
                if let Err(error) = forward.carry(stream).await {
                    eprintln!("a connection to {} is not carried: {error:#}", forward.service);
                }
            });
        }
    });
    Ok(address)
}

#[derive(Clone)]
struct Forward {
    services: Api<Service>,
    pods: Api<Pod>,
    service: String,
    port: ServicePort,
}

impl Forward {
    async fn carry(&self, mut stream: TcpStream) -> Result<()> {
        let (pod, port) = self.choose().await?;
        let mut forwarder = self.pods.portforward(&pod, &[port]).await?;
        let mut remote = forwarder.take_stream(port).context("no stream for the port")?;
        // Either side may go away in the middle. The test judges that; here it is no failure.
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut remote).await;
        Ok(())
    }

    /// Chooses the ready pods in turn.
    async fn choose(&self) -> Result<(String, u16)> {
        static TURN: AtomicUsize = AtomicUsize::new(0);
        let selector = self.services.get(&self.service).await?.spec.and_then(|spec| spec.selector).unwrap_or_default();
        let labels: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let pods = self.pods.list(&ListParams::default().labels(&labels.join(","))).await?;
        let ready: Vec<&Pod> = pods.items.iter().filter(|pod| is_ready(pod)).collect();
        let turn = TURN.fetch_add(1, Ordering::Relaxed) % ready.len().max(1);
        let pod = ready.get(turn).context("no ready pod")?;
        Ok((pod.name_any(), self.pod_port(pod)?))
    }

    fn pod_port(&self, pod: &Pod) -> Result<u16> {
        let number = match &self.port.target_port {
            None => self.port.port,
            Some(IntOrString::Int(number)) => *number,
            Some(IntOrString::String(name)) => {
                let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
                let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
                match ports.find(|port| port.name.as_deref() == Some(name)) {
                    Some(port) => port.container_port,
                    None => bail!("pod {} has no port {name}", pod.name_any()),
                }
            }
        };
        Ok(u16::try_from(number)?)
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    pod.metadata.deletion_timestamp.is_none()
        && conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
