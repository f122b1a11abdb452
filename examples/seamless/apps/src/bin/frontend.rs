//! The entry tier: calls the backend and answers with both versions.

use std::process::ExitCode;

use seamless_apps::{
    client::{Client, Connections},
    server::{Reply, serve},
    settings::{Settings, variable},
};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("frontend: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let settings = Settings::read()?;
    let backend = variable("BACKEND", String::from("backend"))?;
    let backend = Client::new(&backend, variable("BACKEND_CONNECTIONS", Connections::New)?);
    let name = format!("frontend:{}", settings.version);
    serve(settings, move || match backend.get() {
        Ok(body) => Reply::ok(format!("{name} - {body}")),
        Err(error) => Reply { status: 502, body: format!("{name} - {error}") },
    })
    .map_err(|error| error.to_string())
}
