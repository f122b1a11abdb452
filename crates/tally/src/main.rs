//! `tally`: serves the counts of a pod's client connections on port 9798. See [`Settings`] for its environment.

use std::{
    env,
    path::Path,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
};

use signal_hook::consts::{SIGINT, SIGTERM};
use tally::{proc, sampler::Sampler, server, settings::Settings};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tally: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    // As process 1 of its container, `tally` gets only the signals that it has a handler for. It ends at once: a pod must never
    // wait for it.
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register_conditional_shutdown(signal, 0, Arc::new(AtomicBool::new(true)))?;
    }
    let gateways = proc::gateways(Path::new("/proc/self/net"));
    let settings = Settings::read(|name| env::var(name).ok(), gateways)?;
    let listener = server::listen(&settings.listen)?;
    eprintln!("tally: ports {:?}, node {:?}, on {}", settings.rules.ports, settings.rules.node, listener.local_addr()?);
    server::serve(listener, &Arc::new(Sampler::new(settings.rules)))?;
    Ok(())
}
