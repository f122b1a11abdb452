//! Shell blocks of the documents, as a script that checks what the documents say about them.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

/// Beginning of the comment above a block that no test runs; the reason follows.
const NOT_RUN: &str = "<!-- not run: ";

/// A block of shell commands in a document.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// Line of the document on which the block begins, from 1 on.
    pub line: usize,
    /// Why no test runs the block, if none does.
    pub not_run: Option<String>,
    /// The commands, one a line.
    pub commands: Vec<Command>,
}

/// A command of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The command as a reader pastes it.
    pub text: String,
    /// Exit code that the comment beside the command tells: 0 where it tells none.
    pub code: i32,
    /// Line that the output has, as the comment beside the command tells.
    pub says: Option<String>,
    /// The command goes on while its reader does something else: `leave it open` in the comment.
    pub stays: bool,
}

/// The shell blocks of a document, below a root directory.
///
/// # Errors
/// When the document cannot be read.
pub fn blocks(root: &Path, document: &str) -> Result<Vec<Block>> {
    let path = root.join(document);
    Ok(parse(&fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?))
}

fn parse(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut above = "";
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        if line.trim_start() == "```sh" {
            let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim_start() != "```");
            let commands = joined(inside).iter().filter_map(|line| command(line)).collect();
            let not_run = above.strip_prefix(NOT_RUN).and_then(|rest| rest.strip_suffix(" -->"));
            blocks.push(Block { line: at + 1, not_run: not_run.map(str::to_owned), commands });
        }
        if !line.trim().is_empty() {
            above = line.trim();
        }
    }
    blocks
}

/// Lines, of which one that ends in a backslash continues on the next.
fn joined<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    let mut continues = false;
    for line in lines {
        let (text, next) = line.strip_suffix('\\').map_or((line, false), |text| (text, true));
        match joined.last_mut().filter(|_| continues) {
            Some(last) => last.push_str(text),
            None => joined.push(text.to_owned()),
        }
        continues = next;
    }
    joined
}

fn command(line: &str) -> Option<Command> {
    let (text, comment) = line.split_once(" # ").unwrap_or((line, ""));
    let (text, comment) = (text.trim(), comment.trim());
    if text.is_empty() || text.starts_with('#') {
        return None;
    }
    let code = comment
        .split_once("exit code ")
        .and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
    Some(Command {
        text: text.to_owned(),
        code: code.unwrap_or(0),
        says: says(comment),
        stays: comment.contains("leave it open"),
    })
}

/// A reply that a comment begins with: `frontend:v1 - backend:v2`, or the name of a color after `#`.
fn says(comment: &str) -> Option<String> {
    let reply = comment.split_once(": ").map_or(comment, |(reply, _)| reply).trim_end_matches([',', '.']);
    let is_pair = reply.starts_with("frontend:") && reply.split(' ').count() == 3;
    let is_color = reply.starts_with('#') && !reply.contains(' ');
    (is_pair || is_color).then(|| reply.to_owned())
}

/// A script for bash that runs the commands one after the other in one shell, and ends with the first that is not as the document says. The
/// function `refresh`, which the shell must have, may change a line before it is run; what stays writes to the file `$STAYS`.
pub fn script<'a>(commands: impl IntoIterator<Item = &'a Command>) -> Result<String> {
    let mut script = String::from("check=$(mktemp)\n");
    for Command { text, code, says, stays } in commands {
        if text.contains("<<") {
            bail!("a here-document is more than one line: `{text}`");
        }
        let line = quote(text);
        script.push_str(&format!("line={line}; refresh; printf '$ %s\\n' \"$line\"\n"));
        if *stays {
            // The background process is the command itself, so that it ends when it is killed.
            script.push_str("eval \"exec $line\" >\"$STAYS\" 2>&1 &\n");
            continue;
        }
        script.push_str("eval \"$line\" >\"$check\" 2>&1; code=$?; cat \"$check\"\n");
        script.push_str(&format!("[ $code = {code} ] || {{ echo \"ended with $code, not with {code}\"; exit 90; }}\n"));
        if let Some(says) = says {
            let says = quote(says);
            script.push_str(&format!(
                "line={says}; refresh; grep -qxF \"$line\" \"$check\" || {{ echo \"does not say: $line\"; exit 91; }}\n"
            ));
        }
    }
    Ok(script)
}

/// One word for the shell.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_read_with_what_its_comments_tell() {
        let text = "# Title\n\n```sh\nrainbow query a      # frontend:v1 - backend:v2: tested\nrainbow diff a b   # exit code 1: they differ\n\
                    a \\\n  b   # leave it open\n```\n\n<!-- not run: needs kind -->\n```sh\nkind\n```\n\n```text\nno\n```\n";
        let blocks = parse(text);
        assert_eq!(blocks.len(), 2);
        let [query, diff, both] = blocks[0].commands.as_slice() else { panic!("{blocks:?}") };
        assert_eq!((query.text.as_str(), query.code), ("rainbow query a", 0));
        assert_eq!(query.says.as_deref(), Some("frontend:v1 - backend:v2"));
        assert_eq!((diff.code, diff.says.as_deref()), (1, None));
        assert_eq!((both.text.as_str(), both.stays), ("a   b", true));
        assert_eq!((blocks[0].not_run.as_deref(), blocks[1].not_run.as_deref()), (None, Some("needs kind")));
        assert_eq!(command("curl x   # #3c3fdc").unwrap().says.as_deref(), Some("#3c3fdc"));
        assert_eq!(command("# only a comment"), None);
    }

    /// A document whose blocks no test runs says so above each of them.
    #[test]
    fn each_block_is_run_or_marked() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut documents = vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned()];
        for entry in fs::read_dir(root.join("docs")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            // The reference of commands is generated, and a test of the command line parses its examples.
            let is_page = name.ends_with(".md") && name != "cli.md";
            documents.extend(is_page.then(|| format!("docs/{name}")));
        }
        let mut open = Vec::new();
        for document in documents.iter().filter(|document| !crate::RUN_DOCUMENTS.contains(&document.as_str())) {
            let blocks = blocks(&root, document).unwrap();
            let unmarked = blocks.iter().filter(|block| block.not_run.is_none());
            open.extend(unmarked.map(|block| format!("{document}:{}", block.line)));
        }
        assert!(open.is_empty(), "no test runs these, mark them with `{NOT_RUN}… -->`: {}", open.join(", "));
        for document in crate::RUN_DOCUMENTS {
            let runs = blocks(&root, document).unwrap().iter().any(|block| block.not_run.is_none());
            assert!(runs, "{document} has no block that runs: take it off the list");
        }
    }
}
