//! Tests with real pods in real namespaces. This binary has a `main` of its own, since the daemon's first steps need a process
//! with one thread. Each scenario runs as a daemon of its own, which this binary starts by executing itself; the same binary is
//! also the program in the pods.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("app") => support::app::main(&arguments[1..]),
        Some("daemon") => support::daemon::main(&arguments[1]),
        _ => support::harness::main(&arguments),
    }
}
