//! Gate to the API server: a TCP proxy that can be closed. While closed it forwards nothing and ends nothing. Bytes sent
//! meanwhile arrive late.

use std::{net::SocketAddr, path::Path};

use anyhow::{Context, Result, ensure};
use kube::config::Kubeconfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// Proxy in this process. Dropping it ends its connections.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    open: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gate {
    /// Opens a gate to the API server that a kubeconfig names, and writes another kubeconfig, which names the gate.
    ///
    /// # Errors
    /// When the kubeconfig names no server, or its address cannot be resolved.
    pub async fn to_server_of(kubeconfig: &Path, written: &Path) -> Result<Self> {
        let mut config = Kubeconfig::read_from(kubeconfig)?;
        let context = config.current_context.clone().context("the kubeconfig has no current context")?;
        let context =
            config.contexts.iter().find(|known| known.name == context).and_then(|known| known.context.clone());
        let name = context.context("the kubeconfig lacks its current context")?.cluster;
        let cluster =
            config.clusters.iter_mut().find(|known| known.name == name).and_then(|known| known.cluster.as_mut());
        let cluster = cluster.context("the kubeconfig lacks its current cluster")?;
        let server: http::Uri = cluster.server.clone().context("the cluster has no server")?.parse()?;
        let host = server.host().context("the server has no host")?.trim_matches(['[', ']']).to_owned();
        ensure!(server.scheme_str() == Some("https"), "the server {server} is none of HTTPS");
        let port = server.port_u16().unwrap_or(443);
        let address = tokio::net::lookup_host((host.as_str(), port)).await?.next();
        let gate = Self::to(address.with_context(|| format!("{host} has no address"))?).await?;
        cluster.tls_server_name.get_or_insert(host);
        cluster.server = Some(format!("https://{}{}", gate.address, server.path().trim_end_matches('/')));
        // JSON is valid YAML.
        std::fs::write(written, serde_json::to_string(&config)?)?;
        Ok(gate)
    }

    async fn to(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (open, opened) = watch::channel(true);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                connections.spawn(connect(client, server, opened.clone()));
            }
        });
        Ok(Self { address, open, task })
    }

    /// Forwards nothing from now on.
    pub fn close(&self) {
        self.open.send_replace(false);
    }

    /// Forwards the bytes that have waited, and everything after them.
    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

/// Serves one connection until both sides have ended it or either is broken.
async fn connect(mut client: TcpStream, server: SocketAddr, mut opened: watch::Receiver<bool>) {
    if opened.wait_for(|open| *open).await.is_err() {
        return;
    }
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
    // A connection that fails at one end is dropped, and so ends at the other.
    let _ = tokio::try_join!(
        forward(from_client, to_server, opened.clone()),
        forward(from_server, to_client, opened.clone())
    );
}

async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut opened: watch::Receiver<bool>,
) -> Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        opened.wait_for(|open| *open).await?;
        match buffer.get(..read).filter(|bytes| !bytes.is_empty()) {
            Some(bytes) => to.write_all(bytes).await?,
            None => return Ok(to.shutdown().await?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts a server that sends back everything it receives.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn what_is_sent_while_it_is_closed_arrives_when_it_is_open() {
        let gate = Gate::to(echo().await).await.unwrap();
        let mut client = TcpStream::connect(gate.address).await.unwrap();
        let mut byte = [0];
        client.write_all(b"a").await.unwrap();
        client.read_exact(&mut byte).await.unwrap();
        assert_eq!(byte, *b"a");
        gate.close();
        client.write_all(b"b").await.unwrap();
        tokio::select! {
            biased;
            read = client.read_exact(&mut byte) => panic!("{read:?}: {byte:?}"),
            () = async { for _ in 0..100 { tokio::task::yield_now().await } } => {}
        }
        gate.open();
        client.read_exact(&mut byte).await.unwrap();
        assert_eq!(byte, *b"b");
        client.shutdown().await.unwrap();
        assert_eq!(client.read(&mut byte).await.unwrap(), 0);
    }
}
