//! Shell commands that the user of the suite gives, with placeholders.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Runs a shell command in which each `{name}` stands for a value.
pub(crate) fn run(template: &str, values: &[(&str, &str)]) -> Result<()> {
    let command = fill(template, values);
    let output =
        Command::new("sh").args(["-c", &command]).output().with_context(|| format!("cannot run `{command}`"))?;
    ensure!(
        output.status.success(),
        "`{command}` ended with {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn fill(template: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(template.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), &quote(value)))
}

/// Quotes any value as one word for the shell.
fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_word() {
        assert_eq!(
            fill("load {archive} to {node}", &[("archive", "/a b"), ("node", "it's")]),
            r"load '/a b' to 'it'\''s'"
        );
    }

    #[test]
    fn a_failure_says_what_was_run_and_what_it_said() {
        let error = run("echo {word}; exit 3", &[("word", "no")]).unwrap_err().to_string();
        assert!(
            error.contains("echo 'no'; exit 3") && error.contains("exit status: 3") && error.contains("\nno\n"),
            "{error}"
        );
    }
}
