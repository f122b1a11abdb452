//! Entry tier, or one in the middle: calls its backends and answers with its own version and theirs.

use std::{env, process::ExitCode, time::Duration};

use seamless_apps::{
    client::{Client, Connections},
    server::{Reply, serve},
    settings::{Settings, variable},
};

/// Number of backends that one frontend may have: `BACKEND`, `BACKEND_2` and so on.
const MOST: u32 = 9;

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
    let connections = variable("BACKEND_CONNECTIONS", Connections::New)?;
    let timeout: u32 = variable("BACKEND_TIMEOUT_MS", 5000)?;
    if timeout == 0 {
        return Err("BACKEND_TIMEOUT_MS: a backend needs more than 0 ms to answer".into());
    }
    let client = |host: &str| Client::new(host, connections, Duration::from_millis(timeout.into()));
    let mut backends = vec![client(&variable("BACKEND", String::from("backend"))?)];
    let more = (2..=MOST).filter_map(|number| env::var(format!("BACKEND_{number}")).ok());
    backends.extend(more.map(|host| client(&host)));
    let name = format!("frontend:{}", settings.version);
    serve(settings, move || {
        let mut body = name.clone();
        for backend in &backends {
            match backend.get() {
                Ok(answer) => body = format!("{body} - {answer}"),
                Err(error) => return Reply { status: 502, body: format!("{body} - {error}") },
            }
        }
        Reply::ok(body)
    })
    .map_err(|error| error.to_string())
}
