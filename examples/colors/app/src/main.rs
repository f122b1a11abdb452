//! Server of the colors example.

use std::{env, net::Ipv4Addr, process::ExitCode};

use colors::{end::End, http, lines, settings::Settings};
use tokio::net::TcpListener;

// One thread is enough, and keeps the program small: many of its pods run at once.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("colors: {message}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), String> {
    let settings = Settings::read(|name| env::var(name).ok())?;
    let bind = async |port: u16| {
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await.map_err(|error| format!("port {port}: {error}"))
    };
    let (pages, streams) = (bind(settings.http_port).await?, bind(settings.tcp_port).await?);
    let end = End::default();
    let router = http::router(&settings, end.clone());
    let closing = end.clone();
    end.spawn(async move {
        let served = axum::serve(pages, router).with_graceful_shutdown(async move { closing.closing().await });
        if let Err(error) = served.await {
            eprintln!("colors: {error}");
        }
    });
    end.spawn(lines::serve(streams, settings.color.clone(), settings.interval, end.clone()));
    eprintln!(
        "the color is {}; pages on port {}, lines on port {}",
        settings.color, settings.http_port, settings.tcp_port
    );
    end.wait(&settings).await.map_err(|error| error.to_string())
}
