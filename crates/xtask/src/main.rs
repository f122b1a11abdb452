//! What is generated and committed: `cargo xtask gen` writes it, `cargo xtask gen --check` says what is stale.

mod generate;
mod pictures;
mod pod_types;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Chores of the repository")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes what is generated: deploy/, crates/rainbow-api/src/pod_types.txt and docs/pictures/*.svg
    Gen {
        /// Writes nothing, and fails when a file is not as it would be written
        #[arg(long)]
        check: bool,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Gen { check: false } => generate::write()?,
        Command::Gen { check: true } => {
            let stale = generate::stale()?;
            if !stale.is_empty() {
                eprintln!("not as generated: {}: run `cargo xtask gen`", stale.join(", "));
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
