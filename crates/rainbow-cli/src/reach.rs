//! Ways from this machine to a stage: its load balancer, a node port, or else a tunnel through the API.

use std::{net::SocketAddr, time::Duration};

use k8s_openapi::{
    api::core::v1::{LoadBalancerIngress, Node, Pod, Service, ServicePort},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::{Api, api::ListParams};
use rainbow_api::{HumanDuration, Rainbow, TierStatus, labels, names};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use traffic::Target;

use crate::{
    context::{Cluster, Context},
    error::{Error, Result},
    stage as stages, wait,
};

/// Longest time for an address to answer before the next is tried.
const TRY: Duration = Duration::from_secs(1);

/// Way to a stage. Its tunnel, if there is one, ends when this is dropped.
pub(crate) struct Reached {
    pub(crate) target: Target,
    /// Address as a browser takes it.
    pub(crate) url: String,
    tunnel: Option<Tunnel>,
}

impl Reached {
    /// Returns whether the way is a tunnel through the API, which ends with this program.
    pub(crate) fn is_tunnel(&self) -> bool {
        self.tunnel.is_some()
    }
}

/// Path and port of a request to a stage.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Way {
    /// Path to ask for
    #[arg(long, default_value = "/")]
    pub(crate) path: String,
    /// Port of the stage's Service, by its name or its number (default: the one named `http`, else the first)
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<String>,
}

impl Default for Way {
    fn default() -> Self {
        Self { path: "/".into(), port: None }
    }
}

struct Tunnel(JoinHandle<()>);

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Finds a way to a stage that may not serve anything yet, as right after the first apply.
pub(crate) async fn when_ready(
    context: &Context,
    cluster: &Cluster,
    rainbow: &Rainbow,
    name: &str,
    way: &Way,
    patience: HumanDuration,
) -> Result<Reached> {
    match stage(context, cluster, rainbow, name, way).await {
        Err(Error::Failed(_)) => {}
        other => return other,
    }
    let rainbow_name = rainbow.metadata.name.clone().unwrap_or_default();
    wait::serving(context, cluster, &rainbow_name, name, patience).await?;
    let rainbow = cluster.rainbow(&rainbow_name).await?;
    stage(context, cluster, &rainbow, name, way).await
}

/// Finds a way to a stage of a Rainbow.
pub(crate) async fn stage(
    context: &Context,
    cluster: &Cluster,
    rainbow: &Rainbow,
    name: &str,
    way: &Way,
) -> Result<Reached> {
    if !way.path.starts_with('/') {
        return Err(Error::Usage(format!("--path `{}` does not begin with `/`", way.path)));
    }
    let service = &stages::status(rainbow, name)?.service;
    address(context, cluster, rainbow, name, service, way).await
}

/// Finds a way to the address through which a stage's callers reach a tier.
pub(crate) async fn tier(
    context: &Context,
    cluster: &Cluster,
    rainbow: &Rainbow,
    stage: &str,
    tier: &TierStatus,
) -> Result<Reached> {
    let name = names::inner_address(stage, &tier.tier);
    address(context, cluster, rainbow, &name, &tier.service, &Way::default()).await
}

/// Finds a way to the Service of a stage, or of one of its tiers. `name` is the value of the Service's stage label.
async fn address(
    context: &Context,
    cluster: &Cluster,
    rainbow: &Rainbow,
    name: &str,
    service_name: &str,
    way: &Way,
) -> Result<Reached> {
    let path = &way.path;
    let services = cluster.api::<Service>();
    let service = services.get_opt(service_name).await.map_err(|error| cluster.error(&error))?;
    let service = service.ok_or_else(|| {
        Error::Failed(format!("stage `{name}` has no Service `{service_name}` yet: see `rainbow status`"))
    })?;
    check_owner(&service, service_name, rainbow, name)?;
    let port = match &way.port {
        None => port(&service).ok_or_else(|| Error::Failed(format!("Service `{service_name}` has no TCP port")))?,
        Some(wanted) => port_named(&service, wanted)?,
    };
    let nodes = if port.node_port.is_some() {
        // A user who may not list nodes can still reach a load balancer.
        Api::<Node>::all(cluster.client.clone())
            .list(&ListParams::default())
            .await
            .map(|list| list.items)
            .unwrap_or_default()
    } else {
        Vec::new()
    };
    for (host, port) in addresses(&service, port, &nodes) {
        let url = match host.contains(':') {
            true => format!("http://[{host}]:{port}{path}"),
            false => format!("http://{host}:{port}{path}"),
        };
        let Ok(target) = Target::resolve(&url).await else { continue };
        match tokio::time::timeout(TRY, TcpStream::connect(target.address())).await {
            Ok(Ok(_)) => {
                context.printer.detail(format_args!("stage {name}: {target}"));
                return Ok(Reached { target, url, tunnel: None });
            }
            _ => context.printer.detail(format_args!("stage {name}: {target} does not answer")),
        }
    }
    context.printer.detail(format_args!("stage {name}: through the API"));
    tunnel(cluster, &service, port, path).await
}

/// Fails unless the Service is that of the stage: another object may have its name, and its answers would be taken for the stage's.
fn check_owner(service: &Service, service_name: &str, rainbow: &Rainbow, stage: &str) -> Result {
    let label = |key: &str| service.metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
    let owners = service.metadata.owner_references.iter().flatten();
    let is_owned = owners.clone().any(|owner| Some(&owner.uid) == rainbow.metadata.uid.as_ref());
    if is_owned && label(labels::STAGE) == Some(stage) {
        return Ok(());
    }
    let own = rainbow.metadata.name.as_deref().unwrap_or_default();
    let whose = match (label(labels::STAGE), owners.clone().find(|owner| owner.kind == "Rainbow")) {
        (Some(other), Some(_)) if is_owned => format!("that of stage `{other}`"),
        (_, Some(owner)) if !is_owned => format!("that of rainbow `{}`", owner.name),
        _ => "not Rainbow's".to_owned(),
    };
    Err(Error::Failed(format!(
        "stage `{stage}` of rainbow `{own}` has no Service: `{service_name}`, which it needs, is {whose}: see `rainbow status {own}`"
    )))
}

/// Finds a port of the Service by its name or its number.
fn port_named<'a>(service: &'a Service, wanted: &str) -> Result<&'a ServicePort> {
    let is_it = |port: &&ServicePort| port.name.as_deref() == Some(wanted) || wanted.parse() == Ok(port.port);
    if let Some(found) = tcp_ports(service).find(is_it) {
        return Ok(found);
    }
    let shown = |port: &ServicePort| match &port.name {
        Some(name) => format!("{name} ({})", port.port),
        None => port.port.to_string(),
    };
    let all: Vec<String> = tcp_ports(service).map(shown).collect();
    let name = service.metadata.name.as_deref().unwrap_or_default();
    Err(Error::NotFound(match all.as_slice() {
        [] => format!("Service `{name}` has no TCP port"),
        all => format!("Service `{name}` has no TCP port `{wanted}`: use one of {}", all.join(", ")),
    }))
}

fn tcp_ports(service: &Service) -> impl Iterator<Item = &ServicePort> + Clone {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    ports.iter().filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"))
}

/// Returns the port that clients most likely want: the one named `http`, else the first.
fn port(service: &Service) -> Option<&ServicePort> {
    let mut tcp = tcp_ports(service);
    tcp.clone().find(|port| port.name.as_deref() == Some("http")).or_else(|| tcp.next())
}

/// Returns the addresses to try, best first.
fn addresses(service: &Service, port: &ServicePort, nodes: &[Node]) -> Vec<(String, i32)> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|status| status.ingress.as_deref()).unwrap_or_default();
    // A port that the balancer could not open may belong to another program.
    let refused = |ingress: &&LoadBalancerIngress| {
        let ports = ingress.ports.as_deref().unwrap_or_default();
        ports.iter().any(|status| status.port == port.port && status.error.is_some())
    };
    let opened = ingress.iter().filter(|ingress| !refused(ingress));
    let balancers = opened.filter_map(|ingress| ingress.ip.clone().or_else(|| ingress.hostname.clone()));
    let mut found: Vec<(String, i32)> = balancers.map(|host| (host, port.port)).collect();
    if let Some(node_port) = port.node_port {
        for kind in ["ExternalIP", "InternalIP"] {
            let addresses = nodes.iter().filter_map(|node| node.status.as_ref()?.addresses.as_ref()).flatten();
            found.extend(
                addresses.filter(|address| address.type_ == kind).map(|address| (address.address.clone(), node_port)),
            );
        }
    }
    found
}

/// Listens on this machine and carries each connection through the API to one of the stage's pods.
async fn tunnel(cluster: &Cluster, service: &Service, port: &ServicePort, path: &str) -> Result<Reached> {
    let name = service.metadata.name.clone().unwrap_or_default();
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.clone()).unwrap_or_default();
    let selector: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    // A named port may have another number in each pod.
    let target = port.target_port.clone().unwrap_or(IntOrString::Int(port.port));
    let pods = Api::<Pod>::namespaced(cluster.client.clone(), &cluster.namespace);
    let selector = ListParams::default().labels(&selector.join(","));
    // The first pod is looked up now, so that an empty stage is reported at once.
    ready_pod(&pods, &selector).await.map_err(|error| match error {
        None => Error::Failed(format!("Service `{name}` has no ready pod")),
        Some(error) => cluster.error(&error),
    })?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(|error| Error::failed("cannot listen", error))?;
    let address: SocketAddr = listener.local_addr().map_err(|error| Error::failed("cannot listen", error))?;
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (pods, selector, target) = (pods.clone(), selector.clone(), target.clone());
            tokio::spawn(async move {
                // A connection that cannot be carried is closed, which its client sees.
                let Ok(pod) = ready_pod(&pods, &selector).await else { return };
                let (Some(port), Some(name)) = (pod_port(&pod, &target), &pod.metadata.name) else { return };
                let _ = carry(&pods, name, port, stream).await;
            });
        }
    });
    let url = format!("http://{address}{path}");
    Ok(Reached { target: Target::at(address, &name, path), url, tunnel: Some(Tunnel(task)) })
}

/// Returns a ready pod, another one each time. `Err(None)`: there is none.
async fn ready_pod(pods: &Api<Pod>, selector: &ListParams) -> Result<Pod, Option<kube::Error>> {
    let found = pods.list(selector).await.map_err(Some)?;
    let ready = |pod: &&Pod| {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        pod.metadata.deletion_timestamp.is_none()
            && conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    let ready: Vec<&Pod> = found.items.iter().filter(ready).collect();
    // The clock's last digits are random enough to spread connections.
    let at = usize::try_from(jiff::Timestamp::now().subsec_nanosecond() / 1000).unwrap_or_default();
    ready.get(at % ready.len().max(1)).map(|pod| (*pod).clone()).ok_or(None)
}

/// Returns the number of a Service's target port in a pod. `None`: no container declares a port of the name.
fn pod_port(pod: &Pod, target: &IntOrString) -> Option<u16> {
    let number = match target {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let spec = pod.spec.as_ref()?;
            let ports = spec.containers.iter().filter_map(|container| container.ports.as_ref()).flatten();
            ports.filter(|port| port.name.as_ref() == Some(name)).map(|port| port.container_port).next()?
        }
    };
    u16::try_from(number).ok()
}

async fn carry(
    pods: &Api<Pod>,
    pod: &str,
    port: u16,
    mut stream: TcpStream,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut forwarder = pods.portforward(pod, &[port]).await?;
    if let Some(mut remote) = forwarder.take_stream(port) {
        tokio::io::copy_bidirectional(&mut stream, &mut remote).await?;
        drop(remote);
    }
    forwarder.join().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(service: serde_json::Value, nodes: serde_json::Value) -> Vec<(String, i32)> {
        let service: Service = serde_json::from_value(service).unwrap();
        let nodes: Vec<Node> = serde_json::from_value(nodes).unwrap();
        addresses(&service, port(&service).unwrap(), &nodes)
    }

    #[test]
    fn tries_the_best_address_first() {
        let node = json!({ "status": { "addresses": [
            { "type": "InternalIP", "address": "10.0.0.1" }, { "type": "ExternalIP", "address": "192.0.2.1" },
            { "type": "Hostname", "address": "node" },
        ] } });
        let balanced = json!({
            "spec": { "ports": [{ "port": 9000, "name": "admin" }, { "port": 8080, "name": "http", "nodePort": 30080 }] },
            "status": { "loadBalancer": { "ingress": [{ "ip": "127.0.0.1" }, { "hostname": "lb.example.com" }] } },
        });
        let expected = [("127.0.0.1", 8080), ("lb.example.com", 8080), ("192.0.2.1", 30080), ("10.0.0.1", 30080)];
        assert_eq!(found(balanced, json!([node])), expected.map(|(host, port)| (host.to_owned(), port)));
        let inner = json!({ "spec": { "ports": [{ "port": 80, "protocol": "UDP" }, { "port": 81 }] } });
        assert_eq!(found(inner, json!([])), []);
    }

    #[test]
    fn a_port_is_named_or_numbered() {
        let service: Service = serde_json::from_value(json!({
            "metadata": { "name": "web-live" },
            "spec": { "ports": [{ "port": 80, "name": "http" }, { "port": 9090, "name": "admin" }, { "port": 53, "name": "dns", "protocol": "UDP" }] },
        }))
        .unwrap();
        let found = |wanted| port_named(&service, wanted).map(|port| port.port).map_err(|error| error.to_string());
        assert_eq!((found("admin"), found("80")), (Ok(9090), Ok(80)));
        for wanted in ["dns", "53", "adm"] {
            assert_eq!(
                found(wanted),
                Err(format!("Service `web-live` has no TCP port `{wanted}`: use one of http (80), admin (9090)"))
            );
        }
    }

    #[test]
    fn a_service_of_another_is_not_asked() {
        let rainbow: Rainbow = serde_json::from_value(json!({
            "apiVersion": "rainbow.dev/v1alpha1", "kind": "Rainbow", "metadata": { "name": "solo", "uid": "2" },
            "spec": { "tiers": [] },
        }))
        .unwrap();
        let check = |stage: &str, owner: serde_json::Value| {
            let service = json!({ "metadata": {
                "name": "web-live", "labels": { "rainbow.dev/stage": stage }, "ownerReferences": owner,
            } });
            let service: Service = serde_json::from_value(service).unwrap();
            check_owner(&service, "web-live", &rainbow, "live").map_err(|error| error.to_string())
        };
        let owner = |name: &str, uid: &str| json!([{ "apiVersion": "rainbow.dev/v1alpha1", "kind": "Rainbow", "name": name, "uid": uid, "controller": true }]);
        let refused = |whose: &str| {
            Err(format!(
                "stage `live` of rainbow `solo` has no Service: `web-live`, which it needs, is {whose}: see `rainbow status solo`"
            ))
        };
        assert_eq!(check("live", owner("solo", "2")), Ok(()));
        assert_eq!(check("live", owner("shop", "1")), refused("that of rainbow `shop`"));
        assert_eq!(check("smoke", owner("solo", "2")), refused("that of stage `smoke`"));
        assert_eq!(check("live", json!([])), refused("not Rainbow's"));
    }

    #[test]
    fn a_port_that_the_balancer_could_not_open_is_not_tried() {
        let node = json!({ "status": { "addresses": [{ "type": "InternalIP", "address": "127.0.0.1" }] } });
        let refused = json!({
            "spec": { "ports": [{ "port": 8080, "nodePort": 30080 }] },
            "status": { "loadBalancer": { "ingress": [{
                "ip": "127.0.0.1", "ports": [{ "port": 8080, "protocol": "TCP", "error": "PortInUse" }],
            }] } },
        });
        assert_eq!(found(refused, json!([node])), [("127.0.0.1".to_owned(), 30080)]);
    }
}
