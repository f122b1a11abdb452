//! API server alone, without TLS, on a free port of the loopback: for trying clients manually.
//!
//! `cargo run -p pocket-api --example plain [DIRECTORY]`, then `kubectl --server http://127.0.0.1:PORT get all`.

use anyhow::Context;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = pocket_api::Options { persistence: std::env::args().nth(1).map(Into::into), ..Default::default() };
    let api = pocket_api::Api::new(options)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("cannot listen on 127.0.0.1")?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, api.router()).await.context("the server failed")
}
