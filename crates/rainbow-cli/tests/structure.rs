//! Tests of the claims in ARCHITECTURE.md about the crates that know the embedded cluster.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    path::{Path, PathBuf},
};

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn few_modules_know_pocket() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let knows = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        text.contains("pocket::") || text.contains("pocket_image::")
    };
    let names: Vec<String> = files
        .iter()
        .filter(|path| knows(path))
        .map(|path| path.strip_prefix(&root).unwrap().to_string_lossy().into_owned())
        .collect();
    assert!(!names.is_empty());
    for name in names {
        let is_allowed = ["local.rs", "commands/local.rs", "commands/image.rs"].contains(&name.as_str())
            || name.starts_with("local/")
            || name.starts_with("commands/local/");
        assert!(
            is_allowed,
            "src/{name} uses pocket: only local.rs, its folder and the commands `local` and `image` do"
        );
    }
}

#[test]
fn pocket_depends_on_no_crate_of_rainbow() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut seen = 0;
    for entry in fs::read_dir(crates).unwrap() {
        let entry = entry.unwrap();
        if !entry.file_name().to_string_lossy().starts_with("pocket") {
            continue;
        }
        seen += 1;
        let manifest = fs::read_to_string(entry.path().join("Cargo.toml")).unwrap();
        assert!(!manifest.contains("rainbow-"), "{} depends on a crate of Rainbow", entry.path().display());
    }
    assert!(seen >= 6, "{seen}");
}
