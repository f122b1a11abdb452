//! Reference of all commands as Markdown, for `docs/cli.md`.

use std::fmt::Write;

use clap::{Arg, Command};

use crate::{error::EXIT_CODES, examples};

/// Returns the whole reference.
pub(crate) fn markdown(mut command: Command) -> String {
    command.build();
    let mut text = String::from("# The `rainbow` command\n\n");
    text.push_str("<!-- Written by `cargo run -p rainbow-cli -- docs`; a test keeps it fresh. -->\n\n");
    let _ = writeln!(
        text,
        "It is also a plugin of kubectl: linked as `kubectl-rainbow` on the `PATH`, it is `kubectl rainbow`. Answers go to standard\n\
         output, everything else to standard error.\n"
    );
    section(&mut text, &command, "rainbow");
    let _ = writeln!(text, "## Environment\n");
    for (name, what) in [
        ("KUBECONFIG", "kubeconfig files, as for kubectl"),
        ("RAINBOW_NAMESPACE", "the namespace where `--namespace` is not given"),
        (
            "RAINBOW_HOME",
            "directory of the local cluster: images, state, kubeconfig (default: `$XDG_STATE_HOME/rainbow`, `~/.local/state/rainbow`)",
        ),
        (
            "RAINBOW_PROFILE",
            "name of the local cluster where `--profile` is not given, also for the kubeconfig that is taken last",
        ),
        ("NO_COLOR", "no colors, as `--ansi never`"),
        (
            "COLORTERM, TERM",
            "how many colors the terminal has: `COLORTERM=truecolor` all, a `TERM` with `256` so many; with fewer, names are bold",
        ),
        (
            "LC_ALL, LC_CTYPE, LANG",
            "the first that is set names the locale: lines and bars are drawn in ASCII where it is not UTF-8",
        ),
        ("RUST_LOG", "what `rainbow operator` logs, such as `debug` (default: `info,kube=warn`)"),
    ] {
        let _ = writeln!(text, "- `{name}`: {what}");
    }
    let _ = writeln!(text, "\n## Exit codes\n\n| code | |\n|---|---|");
    for line in EXIT_CODES.lines().skip(1) {
        if let Some((code, what)) = line.trim().split_once("  ") {
            let _ = writeln!(text, "| {code} | {} |", what.trim());
        }
    }
    text
}

fn section(text: &mut String, command: &Command, path: &str) {
    let children: Vec<&Command> =
        command.get_subcommands().filter(|child| !child.is_hide_set() && child.get_name() != "help").collect();
    let is_root = !path.contains(' ');
    if !is_root {
        let _ = writeln!(text, "### `{path}`\n");
    }
    if let Some(about) = command.get_about() {
        let _ = writeln!(text, "{}.\n", about.to_string().trim_end_matches('.'));
    }
    if children.is_empty() {
        let usage = command.clone().render_usage().to_string();
        let _ = writeln!(text, "```text\n{}\n```\n", usage.trim_start_matches("Usage: ").trim());
    }
    let shown = |argument: &&Arg| {
        let own = is_root || !argument.is_global_set();
        own && !argument.is_hide_set() && !["help", "version"].contains(&argument.get_id().as_str())
    };
    let arguments: Vec<&Arg> = command.get_arguments().filter(shown).collect();
    if is_root {
        let _ = writeln!(text, "## Options of every command\n");
    }
    for argument in &arguments {
        let _ = writeln!(text, "- {}", argument_line(argument));
    }
    if !arguments.is_empty() {
        text.push('\n');
    }
    let examples = examples::of(path.strip_prefix("rainbow ").unwrap_or_default());
    if !examples.is_empty() {
        let lines: Vec<String> = examples.iter().map(|(what, line)| format!("# {what}\n{line}\n")).collect();
        let _ = writeln!(text, "```sh\n{}```\n", lines.concat());
    }
    if is_root {
        let _ = writeln!(text, "## Commands\n");
    }
    for child in children {
        section(text, child, &format!("{path} {}", child.get_name()));
    }
}

fn argument_line(argument: &Arg) -> String {
    let takes_value = argument.get_num_args().is_some_and(|range| range.takes_values());
    let value = argument.get_value_names().and_then(<[_]>::first).map(ToString::to_string).unwrap_or_default();
    let mut names = Vec::new();
    names.extend(argument.get_short().map(|short| format!("-{short}")));
    names.extend(argument.get_long().map(|long| format!("--{long}")));
    let name = match (names.is_empty(), takes_value) {
        (true, _) => value,
        (false, true) => format!("{} {value}", names.join(", ")),
        (false, false) => names.join(", "),
    };
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let values: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set() && takes_value)
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    let values = if values.is_empty() { String::new() } else { format!(": {}", values.join(", ")) };
    let defaults = argument.get_default_values();
    let default = match defaults.first() {
        Some(value) if takes_value => format!(" (default: `{}`)", value.to_string_lossy()),
        _ => String::new(),
    };
    format!("`{name}`: {help}{values}{default}")
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;
    use std::{fs, path::PathBuf};

    use super::*;

    #[test]
    fn the_reference_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == markdown(crate::command()),
            "docs/cli.md is not what the command line says: run `cargo run -p rainbow-cli -- docs > docs/cli.md`"
        );
    }

    /// Finds command lines in a document: in blocks of code, and between backquotes.
    fn commands(text: &str) -> Vec<Vec<String>> {
        let mut in_block = false;
        let mut code = Vec::new();
        for line in text.lines() {
            if line.trim_start().starts_with("```") {
                in_block = !in_block;
            } else if in_block {
                code.push(line);
            } else {
                code.extend(line.split('`').skip(1).step_by(2));
            }
        }
        let ends = |word: &&str| !["|", "||", "&&", ";", ">", "&", "…", "#"].contains(word);
        let words = |line: &str| -> Vec<String> {
            let mut words: Vec<String> = Vec::new();
            let mut is_quoted = false;
            for word in line.split_whitespace().take_while(ends) {
                let plain = word.trim_matches(['\'', '"', ')']);
                match words.last_mut().filter(|_| is_quoted) {
                    Some(last) => last.push_str(plain),
                    None => words.push(plain.to_owned()),
                }
                // A quoted text of several words is one argument.
                is_quoted ^= word.matches('"').count() % 2 == 1;
            }
            words
        };
        let lines = code.into_iter().map(|line| line.trim().trim_start_matches("$ "));
        let lines = lines.filter(|line| line.starts_with("rainbow ")).map(words);
        // Lines with placeholders are no command lines.
        lines
            .filter(|words| words.len() > 1 && words.iter().all(|word| !word.starts_with(['[', '<', '(', '{'])))
            .collect()
    }

    /// Readers type the commands that a document shows, so each must exist.
    #[test]
    fn documents_name_commands_that_exist() {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        let markdown = |dir: PathBuf| {
            let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
            files.filter(|path| path.extension().is_some_and(|end| end == "md"))
        };
        let examples = ["examples/seamless", "examples/colors"].map(|dir| markdown(root.join(dir)));
        let files = markdown(root.clone()).chain(markdown(root.join("docs"))).chain(examples.into_iter().flatten());
        let mut seen = 0;
        for file in files {
            for words in commands(&fs::read_to_string(&file).unwrap()) {
                seen += 1;
                let Err(error) = crate::command().try_get_matches_from(&words) else { continue };
                let is_unknown = matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand);
                assert!(!is_unknown, "{}: {}: {error}", file.display(), words.join(" "));
            }
        }
        assert!(seen > 50, "{seen}");
    }
}
