//! `rainbow completion`: prints a script that a shell sources.

use clap_complete::env::Shells;

use crate::{
    complete,
    context::Context,
    error::{Error, Result},
};

/// Arguments of `rainbow completion`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Bash: source <(rainbow completion bash)
Zsh:  source <(rainbow completion zsh)
Fish: rainbow completion fish | source
In the file that the shell reads at its start, so that script and program are of one version.

For `kubectl rainbow`, link the program a second time on the PATH: ln -s rainbow kubectl_complete-rainbow")]
pub(crate) struct Args {
    /// Which shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

pub(crate) fn run(context: &Context, args: &Args) -> Result {
    let shells = Shells::builtins();
    let name = args.shell.to_string();
    let shell = shells.completer(&name).ok_or_else(|| Error::Usage(format!("there is no completion for {name}")))?;
    let mut script = Vec::new();
    shell
        .write_registration(complete::VARIABLE, "rainbow", "rainbow", "rainbow", &mut script)
        .map_err(|error| Error::failed("cannot write the script", error))?;
    context.printer.text(String::from_utf8_lossy(&script));
    Ok(())
}
