//! Checks that the modules of a crate do not use each other in circles. `rainbow-operator` has a stricter test of its own
//! (`documents.rs`).

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Source directories, each with the module whose children are checked; an empty path checks the top-level modules.
const CHECKED: [(&str, &[&str]); 12] = [
    ("pocket", &[]),
    ("pocket-api", &[]),
    ("pocket-controllers", &[]),
    ("pocket-image", &[]),
    ("pocket-node", &[]),
    ("pocket-node", &["kubelet"]),
    ("pocket-object", &[]),
    ("rainbow-api", &[]),
    ("tally", &[]),
    ("traffic", &[]),
    ("e2e", &[]),
    ("xtask", &[]),
];

/// Modules, each with the modules that it uses.
type Graph = BTreeMap<String, BTreeSet<String>>;

#[test]
fn no_module_uses_itself_through_others() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut circles = Vec::new();
    for (name, parent) in CHECKED {
        let graph = graph(&read(&crates.join(name).join("src")), parent);
        assert!(graph.len() > 1, "{name} {parent:?} has modules");
        if let Some(circle) = circle(&graph) {
            let parent: String = parent.iter().map(|part| format!("::{part}")).collect();
            circles.push(format!("{name}{parent}: {}", circle.join(" -> ")));
        }
    }
    assert!(circles.is_empty(), "modules use each other in circles:\n{}", circles.join("\n"));
}

#[test]
fn circles_are_found() {
    let check = |files: &[(&str, &str)], parent: &[&str], expected: Option<&str>| {
        let files: Vec<_> = files.iter().map(|(path, text)| (module(Path::new(path)), (*text).to_owned())).collect();
        assert_eq!(circle(&graph(&files, parent)).map(|circle| circle.join(" -> ")).as_deref(), expected);
    };
    check(&[("a.rs", "use crate::b::B;"), ("b.rs", "")], &[], None);
    check(
        &[("a.rs", "use crate::b::B;"), ("b.rs", "use crate::{c, d::{E, F}};"), ("d.rs", "fn f() { super::a::g() }")],
        &[],
        Some("a -> b -> d -> a"),
    );
    check(&[("a.rs", "use crate::b::B;"), ("b/x.rs", "use super::super::a;")], &[], Some("a -> b -> a"));
    // Tests, comments and texts are no use.
    check(
        &[
            ("a.rs", "use crate::b;"),
            ("b.rs", "// crate::a\nconst X: &str = \"see crate::a\";\n#[cfg(test)]\nmod tests { use crate::a; }"),
        ],
        &[],
        None,
    );
    check(&[("a.rs", "use crate::b;"), ("b/tests.rs", "use crate::a;"), ("b.rs", "")], &[], None);
    check(&[("a.rs", "use crate::b;"), ("b.rs", "#[serde(default = \"crate::a::f\")]")], &[], Some("a -> b -> a"));
    // A name that the root exports leads to its module.
    check(
        &[("lib.rs", "pub use self::a::{A as Other, C};"), ("a.rs", "use crate::b;"), ("b.rs", "use crate::Other;")],
        &[],
        Some("a -> b -> a"),
    );
    check(&[("lib.rs", "pub use a::A;"), ("a.rs", "use crate::b;"), ("b.rs", "use crate::Root;")], &[], None);
    // Children of a module.
    check(
        &[("k.rs", "use self::x::X;"), ("k/x.rs", "use super::{y, Root};"), ("k/y.rs", "use crate::k::x;")],
        &["k"],
        Some("x -> y -> x"),
    );
}

/// Returns a circle, beginning and ending with the same module.
fn circle(graph: &Graph) -> Option<Vec<String>> {
    let mut left = graph.clone();
    // A module that uses nothing that is left is in no circle. Each module that remains leads to a circle.
    while let Some(free) = left.iter().find(|(_, used)| used.iter().all(|other| !left.contains_key(other))) {
        let free = free.0.clone();
        left.remove(&free);
    }
    let mut path = vec![left.keys().next()?.clone()];
    loop {
        let next = left[path.last()?].iter().find(|other| left.contains_key(*other))?.clone();
        if let Some(start) = path.iter().position(|module| *module == next) {
            path.push(next);
            return Some(path.split_off(start));
        }
        path.push(next);
    }
}

/// Returns the files of a source directory that are compiled without tests, with their modules.
fn read(source: &Path) -> Vec<(Vec<String>, String)> {
    let mut paths = Vec::new();
    list(source, &mut paths);
    let texts = paths.into_iter().map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        (module(path.strip_prefix(source).unwrap()), text)
    });
    // A program beside the library is a crate of its own.
    texts.filter(|(module, _)| module.first().is_none_or(|first| first != "bin")).collect()
}

fn list(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            list(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Returns the module that a file holds; empty for the root.
fn module(path: &Path) -> Vec<String> {
    let path = path.with_extension("");
    let mut parts: Vec<String> = path.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if parts.last().is_some_and(|last| matches!(last.as_str(), "lib" | "main" | "mod")) {
        parts.pop();
    }
    parts
}

/// Returns the modules below `parent`, each with those that it uses.
fn graph(files: &[(Vec<String>, String)], parent: &[&str]) -> Graph {
    let child = |path: &[String]| {
        let inside = path.len() > parent.len() && path.iter().zip(parent).all(|(part, parent)| part == parent);
        inside.then(|| path[parent.len()].clone())
    };
    let files = files.iter().filter(|(module, _)| !module.iter().any(|part| part == "tests"));
    let files: Vec<_> = files.map(|(module, text)| (module, code(text))).collect();
    let mut graph: Graph =
        files.iter().filter_map(|(module, _)| child(module)).map(|name| (name, BTreeSet::new())).collect();
    let mut exports: BTreeMap<String, String> = BTreeMap::new();
    for (_, text) in files.iter().filter(|(module, _)| module.iter().eq(parent)) {
        for used in text.split("use ").skip(1) {
            for (path, name) in tree(used) {
                let path: Vec<String> = path.into_iter().skip_while(|part| part == "self").collect();
                if let Some(from) = path.first().filter(|first| path.len() > 1 && graph.contains_key(*first)) {
                    exports.insert(name, from.clone());
                }
            }
        }
    }
    for (module, text) in &files {
        let Some(from) = child(module) else { continue };
        for path in uses(text, module) {
            let Some(to) = child(&path) else { continue };
            let to = if graph.contains_key(&to) { Some(&to) } else { exports.get(&to) };
            if let Some(to) = to.filter(|to| **to != from) {
                graph.entry(from.clone()).or_default().insert(to.clone());
            }
        }
    }
    graph
}

/// Returns the paths that begin with `crate` or `super`, from the root of the crate.
fn uses(code: &str, module: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            if code[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '$')) {
                continue;
            }
            for (path, _) in tree(&code[at..]) {
                let supers = path.iter().take_while(|part| *part == "super").count();
                let base = if supers == 0 { &[][..] } else { &module[..module.len().saturating_sub(supers)] };
                found.push(base.iter().cloned().chain(path.into_iter().skip(supers.max(1))).collect());
            }
        }
    }
    found
}

/// Returns the paths at the beginning of a text, each with the name under which it is used: `a::{b, c::D as E}` has two.
fn tree(text: &str) -> Vec<(Vec<String>, String)> {
    let mut found = Vec::new();
    branch(text, &mut Vec::new(), &mut found);
    found
}

/// Reads one path, and returns what follows it.
fn branch<'a>(text: &'a str, prefix: &mut Vec<String>, found: &mut Vec<(Vec<String>, String)>) -> &'a str {
    let depth = prefix.len();
    let mut rest = text.trim_start();
    loop {
        if let Some(mut inside) = rest.strip_prefix('{') {
            loop {
                inside = branch(inside, prefix, found).trim_start();
                if let Some(more) = inside.strip_prefix(',') {
                    inside = more.trim_start();
                }
                match inside.strip_prefix('}') {
                    Some(after) => {
                        prefix.truncate(depth);
                        return after;
                    }
                    None if inside.is_empty() || !inside.starts_with(is_word) => {
                        prefix.truncate(depth);
                        return inside;
                    }
                    None => {}
                }
            }
        }
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if end == 0 {
            break;
        }
        prefix.push(rest[..end].to_owned());
        rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(after) if after.starts_with(|c| is_word(c) || c == '{') => rest = after,
            _ => break,
        }
    }
    let mut name = prefix.last().cloned().unwrap_or_default();
    if let Some(renamed) = rest.trim_start().strip_prefix("as ") {
        let renamed = renamed.trim_start();
        let end = renamed.find(|c| !is_word(c)).unwrap_or(renamed.len());
        name = renamed[..end].to_owned();
        rest = &renamed[end..];
    }
    if prefix.len() > depth {
        found.push((prefix.clone(), name));
    }
    prefix.truncate(depth);
    rest
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns a text without comments, the content of literals, and modules and imports that only tests have.
fn code(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("r#") || rest.starts_with("r\"") {
            let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
            let end = format!("\"{}", "#".repeat(hashes));
            match rest[1 + hashes..].strip_prefix('"') {
                Some(content) if !plain.ends_with(is_word) => {
                    2 + hashes + content.find(&end).map_or(content.len(), |at| at + end.len())
                }
                _ => 0,
            }
        } else if c == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            // Attributes name functions by their paths in texts.
            if rest[1..].starts_with("crate::") { 0 } else { end.map_or(rest.len(), |end| end + 2) }
        } else if c == '\'' {
            // A lifetime has no second quote.
            match rest[1..].chars().next() {
                Some('\\') => rest[3..].find('\'').map_or(0, |end| end + 4),
                Some(inner) if rest[1 + inner.len_utf8()..].starts_with('\'') => inner.len_utf8() + 2,
                _ => 0,
            }
        } else {
            0
        };
        if skipped == 0 {
            plain.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            plain.push(' ');
            rest = &rest[skipped..];
        }
    }
    without_tests(&plain)
}

fn without_tests(code: &str) -> String {
    let mut parts = code.split("#[cfg(test)]");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // The attribute belongs to one item, which ends with its block or with a semicolon.
        let end = part.find(['{', ';']).unwrap_or(part.len());
        let is_use = part.trim_start().starts_with("use ") || part.trim_start().starts_with("pub(crate) use ");
        if is_use || part[end..].starts_with(';') {
            kept.push_str(&part[part.find(';').map_or(part.len(), |end| end + 1)..]);
            continue;
        }
        let mut depth = 0;
        let block = part[end..].find(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth == 0
        });
        kept.push_str(&part[block.map_or(part.len(), |length| end + length + 1)..]);
    }
    kept
}
