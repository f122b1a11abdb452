//! Unpacking of layers, both well-formed and malicious.

use pocket_image::{Digest, Error, Image};
use serde_json::json;

use super::Bench;

/// Entry of a layer, as a line of `tar tv`.
enum Line<'a> {
    Dir(&'a str, u32),
    File(&'a str, &'a str),
    Link(&'a str, &'a str),
    Hard(&'a str, &'a str),
}
use Line::{Dir, File, Hard, Link};

fn layer(lines: &[Line<'_>]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for line in lines {
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        let (path, kind, mode, content, link) = match line {
            Dir(path, mode) => (path, tar::EntryType::Directory, *mode, "", ""),
            File(path, content) => (path, tar::EntryType::Regular, 0o644, *content, ""),
            Link(path, target) => (path, tar::EntryType::Symlink, 0o777, "", *target),
            Hard(path, target) => (path, tar::EntryType::Link, 0o644, "", *target),
        };
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        // Written directly into the header, because the library refuses to write paths that must be rejected.
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        tar.append(&header, content.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

fn load(bench: &Bench, layers: &[Vec<u8>]) -> Image {
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }, "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": layers.iter().map(|l| Digest::of(l).to_string()).collect::<Vec<_>>() },
    })
    .to_string();
    let names: Vec<String> = (0..layers.len()).map(|at| format!("{at}.tar")).collect();
    let manifest = json!([{ "Config": "c.json", "RepoTags": ["x:v1"], "Layers": names }]).to_string();
    let mut tar = tar::Builder::new(Vec::new());
    let files = names.iter().map(String::as_str).zip(layers.iter().map(Vec::as_slice));
    for (name, content) in files.chain([("c.json", config.as_bytes()), ("manifest.json", manifest.as_bytes())]) {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content).unwrap();
    }
    bench.store.load(tar.into_inner().unwrap().as_slice()).unwrap();
    bench.store.resolve("x:v1").unwrap()
}

#[track_caller]
fn check(layers: &[&[Line<'_>]], directories: usize, expected: &[&str]) {
    let bench = Bench::new();
    let image = load(&bench, &layers.iter().map(|lines| layer(lines)).collect::<Vec<_>>());
    assert_eq!(bench.tree(&image), expected);
    let first = bench.store.layers(&image).unwrap();
    assert_eq!(first.len(), directories);
    assert_eq!(bench.store.layers(&image).unwrap(), first, "it is unpacked once");
}

#[test]
fn layers_are_stacked() {
    check(
        &[
            &[Dir("bin/", 0o755), File("bin/a", "1"), Link("sh", "bin/a"), Hard("bin/b", "bin/a"), Dir("tmp/", 0o1777)],
            &[File("bin/a", "2"), Dir("ro/", 0o555), File("ro/x", "x"), File("tmp/y", "y")],
        ],
        2,
        &["bin/ 755", "bin/a 644 2", "bin/b 644 1", "ro/ 555", "ro/x 644 x", "sh -> bin/a", "tmp/ 1777", "tmp/y 644 y"],
    );
}

#[test]
fn deletions_make_one_directory() {
    check(
        &[
            &[
                File("keep", "k"),
                File("gone", "g"),
                File("dir/old", "o"),
                File("dir/sub/old", "o"),
                File("whole/x", "x"),
            ],
            &[
                File("dir/new", "n"),
                File("dir/.wh..wh..opq", ""),
                File(".wh.gone", ""),
                File(".wh.whole", ""),
                File("whole", "now a file"),
            ],
        ],
        1,
        &["dir/ 755", "dir/new 644 n", "keep 644 k", "whole 644 now a file"],
    );
    // No layer is below the first one, so nothing can be deleted.
    check(&[&[File(".wh.x", ""), File("y", "")]], 1, &["y 644 "]);
}

#[test]
fn what_does_not_exist_is_not_deleted() {
    // A directory that no layer has is not created.
    check(&[&[File("keep", "k")], &[File("no/such/.wh.x", ""), File("none/.wh..wh..opq", "")]], 1, &["keep 644 k"]);
    // Nothing is below a file, also where the layer makes it a directory.
    check(&[&[File("a", "a")], &[File("a/.wh.x", "")]], 1, &["a 644 a"]);
    check(
        &[&[File("a", "a")], &[File("a/.wh.x", ""), Dir("a/", 0o755), File("a/y", "y")]],
        1,
        &["a/ 755", "a/y 644 y"],
    );
    // A deletion through a link reaches the directory behind it.
    check(
        &[&[File("real/x", "x"), Link("link", "real")], &[File("link/.wh.x", ""), File("link/sub/.wh.y", "")]],
        1,
        &["link -> real", "real/ 755"],
    );
}

#[test]
fn links_of_lower_layers_are_followed() {
    check(
        &[&[Dir("usr/lib/", 0o755), Link("lib", "usr/lib")], &[File("lib/x", "x")]],
        1,
        &["lib -> usr/lib", "usr/ 755", "usr/lib/ 755", "usr/lib/x 644 x"],
    );
    check(&[&[File("a", "a")], &[Hard("b", "a")]], 1, &["a 644 a", "b 644 a"]);
}

#[test]
fn nothing_is_written_outside() {
    let bench = Bench::new();
    let outside = bench.dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let target = outside.to_str().unwrap();
    // Links that point outside are followed inside the image's root.
    let image = load(
        &bench,
        &[layer(&[
            Link("escape", target),
            File("escape/a", "a"),
            Link("up", "../../../../../.."),
            File("up/b", "b"),
            Link("file", "/etc/hostname"),
            File("file", "mine"),
        ])],
    );
    let tree = bench.tree(&image);
    assert!(tree.contains(&"b 644 b".to_owned()) && tree.contains(&"file 644 mine".to_owned()), "{tree:?}");
    assert!(tree.contains(&format!("{}/a 644 a", &target[1..])), "{tree:?}");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);

    for lines in [[File("../x", "x")], [File("a/../../x", "x")], [Hard("x", "../../../etc/passwd")]] {
        let image = load(&bench, &[layer(&lines)]);
        let error = bench.store.layers(&image).unwrap_err();
        assert!(matches!(error, Error::Content { .. } | Error::Io { .. }), "{error}");
    }
    let image = load(&bench, &[layer(&[Link("a", "b"), Link("b", "a"), File("a/x", "")])]);
    assert!(bench.store.layers(&image).unwrap_err().to_string().contains("too many links"));
}

#[test]
fn nothing_half_unpacked_stays() {
    let bench = Bench::new();
    let image = load(&bench, &[layer(&[Dir("ro/", 0o500), File("ro/x", "x"), File("../x", "x")])]);
    assert!(bench.store.layers(&image).is_err());
    assert_eq!(std::fs::read_dir(bench.store.dir().join("unpacked")).unwrap().count(), 0);
}

#[test]
fn an_empty_image_has_an_empty_directory() {
    check(&[], 1, &[]);
}

#[test]
fn deep_stacks_become_one_directory() {
    let layers: Vec<Vec<Line<'_>>> = (0..20).map(|_| vec![File("x", "x")]).collect();
    let layers: Vec<&[Line<'_>]> = layers.iter().map(Vec::as_slice).collect();
    check(&layers, 1, &["x 644 x"]);
}
