//! Inner tier: answers with its name and version.

use std::process::ExitCode;

use seamless_apps::{
    server::{Reply, serve},
    settings::Settings,
};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("backend: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let settings = Settings::read()?;
    let answer = format!("backend:{}", settings.version);
    serve(settings, move || Reply::ok(answer.clone())).map_err(|error| error.to_string())
}
