//! `rainbow completion`: a script that a shell sources.

use clap::CommandFactory;

use crate::{args::Cli, context::Context, error::Result};

/// Arguments of `rainbow completion`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Bash: source <(rainbow completion bash)\nZsh:  rainbow completion zsh > \"${fpath[1]}/_rainbow\"\nFish: rainbow completion fish > ~/.config/fish/completions/rainbow.fish"
)]
pub(crate) struct Args {
    /// Which shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

pub(crate) fn run(context: &Context, args: &Args) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "rainbow", &mut script);
    context.printer.text(String::from_utf8_lossy(&script));
    Ok(())
}
