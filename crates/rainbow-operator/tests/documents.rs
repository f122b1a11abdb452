//! Checks that ARCHITECTURE.md and CONTRIBUTING.md say the truth about the code.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use rainbow_api::{Rainbow, Reason, validate};

/// The parts of a turn, in order. Between two of them stands the planner.
const PIPELINE: [&str; 4] = ["observe", "compile", "apply", "report"];
/// Modules that everything else may rely on, and that rely on nothing.
const ROOTS: [&str; 3] = ["kind", "key", "change"];

type Graph = BTreeMap<String, BTreeSet<String>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the operator's modules, each with the modules that it uses.
fn graph() -> Graph {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    list(&source, &mut files);
    let mut graph = Graph::new();
    for file in files {
        let inside = file.strip_prefix(&source).unwrap().with_extension("");
        let module = inside.components().next().unwrap().as_os_str().to_str().unwrap().to_owned();
        if module == "lib" || inside.ends_with("tests") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let used = used(text.split("#[cfg(test)]\nmod tests {").next().unwrap());
        graph.entry(module).or_default().extend(used);
    }
    for (module, used) in &mut graph {
        used.remove(module);
    }
    graph
}

fn list(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            list(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// Returns the modules behind every `crate::`, one of them or several in braces.
fn used(text: &str) -> BTreeSet<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        // `pub(crate)` has no colons, and a longer word is another crate.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(inside) => found.extend(first_words(inside)),
            None => found.extend(word(rest)),
        }
    }
    found
}

/// Returns the first word of each part of a list in braces, whose opening brace has been read.
fn first_words(text: &str) -> Vec<String> {
    let (mut depth, mut begins, mut words) = (1, true, Vec::new());
    for (at, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => begins = true,
            c if begins && !c.is_whitespace() => {
                words.extend(word(&text[at..]));
                begins = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    words
}

fn word(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

#[test]
fn imports_are_understood() {
    let text = "use crate::{\n    clock,\n    count::{Known, Reading},\n};\nuse crate::key::Key;\n// use crate::no;\npub(crate) fn f() { crate::apply::g() }\nother_crate::no();";
    assert_eq!(used(text).into_iter().collect::<Vec<_>>(), ["apply", "clock", "count", "key"]);
}

#[test]
fn no_module_uses_itself_through_others() {
    let graph = graph();
    let mut left = graph.clone();
    // A module that uses nothing that is left can be removed. What remains in the end is a cycle.
    while let Some(free) = left.iter().find(|(_, used)| used.iter().all(|other| !left.contains_key(other))) {
        let free = free.0.clone();
        left.remove(&free);
    }
    assert!(left.is_empty(), "these modules use each other: {left:#?}");
    for (module, used) in &graph {
        for other in used {
            assert!(graph.contains_key(other), "`{module}` uses `crate::{other}`, which is no module: name the module");
        }
    }
}

#[test]
fn the_parts_of_a_turn_know_the_part_before_them() {
    let graph = graph();
    for (at, part) in PIPELINE.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| PIPELINE[before]);
        let others = PIPELINE.iter().filter(|other| graph[*part].contains(**other) && Some(**other) != before);
        assert_eq!(
            others.collect::<Vec<_>>(),
            Vec::<&&str>::new(),
            "`{part}` comes after {before:?} and may use no other"
        );
    }
    for (module, used) in &graph {
        let parts = PIPELINE.iter().any(|part| used.contains(*part));
        let is_part = PIPELINE.contains(&module.as_str()) || module == "reconcile";
        assert!(is_part || !parts, "`{module}` uses a part of a turn: only `reconcile` puts them together");
    }
    for module in ROOTS {
        assert_eq!(graph[module], BTreeSet::new(), "`{module}` uses nothing");
    }
}

/// Rows of the table in ARCHITECTURE.md have the form `| `module` | subject | `used` `used` |`.
#[test]
fn the_picture_of_the_modules_is_true() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, section) = text
        .split_once("## The operator's modules")
        .unwrap_or_else(|| panic!("ARCHITECTURE.md has no section about the modules"));
    let section = section.split("\n## ").next().unwrap();
    let mut drawn = Graph::new();
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
        let [module, _, used] = cells.as_slice() else { panic!("three columns: {line}") };
        drawn.insert(names(module).remove(0), names(used).into_iter().collect());
    }
    let graph = graph();
    let rows: Vec<String> = graph
        .iter()
        .filter(|(module, used)| drawn.get(*module) != Some(*used))
        .map(|(module, used)| {
            let used: Vec<String> = used.iter().map(|other| format!("`{other}`")).collect();
            format!("| `{module}` | … | {} |", used.join(" "))
        })
        .collect();
    assert!(rows.is_empty(), "ARCHITECTURE.md is not true, write:\n{}", rows.join("\n"));
    let gone: Vec<&String> = drawn.keys().filter(|module| !graph.contains_key(*module)).collect();
    assert!(gone.is_empty(), "ARCHITECTURE.md names modules that are gone: {gone:?}");
}

/// Returns everything in backticks.
fn names(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Each file that CONTRIBUTING.md and ARCHITECTURE.md name for a change exists. Paths begin at `crates/`, or at the root.
#[test]
fn the_files_to_change_exist() {
    let mut changes = 0;
    for (document, heading) in
        [("CONTRIBUTING.md", "## Ten everyday changes"), ("ARCHITECTURE.md", "## Where to change what")]
    {
        let text = fs::read_to_string(root().join(document)).unwrap();
        let (_, section) = text.split_once(heading).unwrap_or_else(|| panic!("{document} has no `{heading}`"));
        let section = section.split("\n## ").next().unwrap();
        for line in section.lines().filter(|line| line.starts_with("| ") && line.contains('`')) {
            changes += 1;
            let paths: Vec<String> =
                names(line).into_iter().filter(|name| name.contains('/') && !name.contains(' ')).collect();
            assert!(!paths.is_empty(), "{document} names no file: {line}");
            for path in paths {
                let found = [root().join("crates").join(&path), root().join(&path)].iter().any(|path| path.exists());
                assert!(found, "{document} names `{path}`, which does not exist");
            }
        }
    }
    assert!(changes >= 20, "{changes} changes are described");
}

/// README.md and the pages in docs/, by path.
fn pages() -> BTreeMap<String, String> {
    let mut files = Vec::new();
    list(&root().join("docs"), &mut files);
    let mut names: Vec<String> =
        files.iter().map(|path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()).collect();
    for file in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        names.push(file.to_owned());
    }
    names.retain(|name| name.ends_with(".md"));
    names.into_iter().map(|name| (name.clone(), fs::read_to_string(root().join(&name)).unwrap())).collect()
}

/// Whether a reason says that something is wrong, or that a person is waited for.
fn is_trouble(reason: Reason) -> bool {
    match reason {
        Reason::Degraded
        | Reason::Paused
        | Reason::Checking
        | Reason::RolledBack
        | Reason::InvalidSpec
        | Reason::ConfigMissing
        | Reason::ConfigNotAllowed
        | Reason::ConfigLost
        | Reason::Rejected
        | Reason::Unavailable
        | Reason::ColorInUse
        | Reason::UnknownColor
        | Reason::Conflict
        | Reason::ProgressDeadlineExceeded
        | Reason::InUse
        | Reason::TooManyColors
        | Reason::CounterImageUnavailable
        | Reason::Stalled
        | Reason::NoAnswer
        | Reason::OnePeer => true,
        Reason::Settled
        | Reason::NothingInTheWay
        | Reason::Shifting
        | Reason::Starting
        | Reason::Waiting
        | Reason::Progressing
        | Reason::Ready
        | Reason::Serving
        | Reason::Draining
        | Reason::Retired
        | Reason::Counted => false,
    }
}

/// A reader finds the reason of a condition among the headings of the page about troubles.
#[test]
fn each_trouble_has_a_heading() {
    let text = fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    for reason in Reason::ALL.into_iter().filter(|reason| is_trouble(*reason)) {
        let heading = format!("### {reason}: ");
        assert!(text.lines().any(|line| line.starts_with(&heading)), "docs/troubleshooting.md has no `{heading}…`");
    }
}

/// Blocks of code of a language.
fn code<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let begin = format!("\n```{language}\n");
    text.split(begin.as_str()).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

/// A manifest that a reader copies is accepted.
#[test]
fn manifests_are_valid() {
    let mut checked = BTreeMap::new();
    for (page, text) in pages() {
        for manifest in code(&text, "yaml").into_iter().filter(|manifest| manifest.contains("kind: Rainbow")) {
            // A page about one field shows an application without the rest.
            if !manifest.contains("stages:") {
                continue;
            }
            let rainbow: Rainbow =
                serde_saphyr::from_str(manifest).unwrap_or_else(|error| panic!("{page}: {error}\n{manifest}"));
            let errors: Vec<String> = validate(&rainbow.spec).iter().map(ToString::to_string).collect();
            assert!(errors.is_empty(), "{page}: {}\n{manifest}", errors.join("\n"));
            *checked.entry(page.clone()).or_insert(0) += 1;
        }
    }
    assert_eq!(checked.get("docs/migrate.md"), Some(&3), "{checked:?}");
    assert_eq!(checked.get("README.md"), Some(&1), "{checked:?}");
}

/// As GitHub makes the anchor of a heading.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// Targets of the links in a text, pictures included, but those to other sites.
fn links(text: &str) -> Vec<String> {
    // Code is no link, such as a regular expression in backticks.
    let prose: String = text.split('`').step_by(2).collect();
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://") && !target.contains(' ')).map(str::to_owned).collect()
}

#[test]
fn links_lead_somewhere() {
    let pages = pages();
    for (page, text) in &pages {
        let directory = root().join(page).parent().unwrap().to_owned();
        for link in links(text) {
            let (file, heading) =
                link.split_once('#').map_or((link.as_str(), None), |(file, heading)| (file, Some(heading)));
            let target = if file.is_empty() { root().join(page) } else { directory.join(file) };
            assert!(target.exists(), "{page} links to {link}, which does not exist");
            if let Some(heading) = heading {
                let text = fs::read_to_string(&target).unwrap();
                let found = text.lines().any(|line| line.starts_with('#') && anchor(line) == heading);
                assert!(found, "{page} links to {link}, and there is no such heading");
            }
        }
    }
}

/// A page that no other page names is not found.
#[test]
fn the_readme_leads_to_each_page() {
    let pages = pages();
    let readme: BTreeSet<String> = links(&pages["README.md"]).into_iter().collect();
    let lost: Vec<&String> =
        pages.keys().filter(|page| page.starts_with("docs/") && !readme.contains(page.as_str())).collect();
    assert!(lost.is_empty(), "README.md does not link to {lost:?}");
}

/// An alert that a reader copies is about a metric that the operator has.
#[test]
fn metrics_exist() {
    const PREFIX: &str = "rainbow_operator_";
    let source = fs::read_to_string(root().join("crates/rainbow-operator/src/health.rs")).unwrap();
    let text = fs::read_to_string(root().join("docs/production.md")).unwrap();
    let names: BTreeSet<&str> = text.split(PREFIX).skip(1).filter_map(|rest| word_of(rest)).collect();
    assert!(names.len() >= 2, "{names:?}");
    for name in names {
        assert!(
            source.contains(&format!("(\"{name}\"")),
            "docs/production.md names {PREFIX}{name}, which does not exist"
        );
    }
}

fn word_of(text: &str) -> Option<&str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}
