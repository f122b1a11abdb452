//! Generator of the committed files: `cargo xtask gen` writes them, `cargo xtask gen --check` reports those that are stale.
//!
//! | module | subject |
//! |---|---|
//! | `generate` | all generated files |
//! | `pod_types` | the table of a pod template's types |
//! | `reference` | the reference of all names, `docs/reference.md` |

mod generate;
mod pictures;
mod pod_types;
mod reference;

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
    /// Writes the generated files: deploy/ and crates/rainbow-api/src/pod_types.txt
    Gen {
        /// Writes nothing, and fails when a file is not up to date
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
