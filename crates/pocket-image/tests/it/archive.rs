//! Archives: written by this crate, and as Docker writes them.

use std::io::Write;

use flate2::write::GzEncoder;
use pocket_image::{Digest, Error};
use serde_json::{Value, json};

use super::Bench;

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn config(layer: &[u8]) -> Vec<u8> {
    json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }, "os": "linux",
        "config": { "Cmd": ["/x"], "Entrypoint": null, "Env": null },
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(layer).to_string()] },
        "history": null,
    })
    .to_string()
    .into_bytes()
}

fn manifest_json(config: &str, tags: Value, layers: &[&str]) -> Vec<u8> {
    json!([{ "Config": config, "RepoTags": tags, "Layers": layers }]).to_string().into_bytes()
}

#[test]
fn what_is_saved_can_be_loaded() {
    let bench = Bench::new();
    let one = bench.quick("frontend:v1", "1");
    bench.quick("example.com:5000/team/backend:v1", "2");
    let mut archive = Vec::new();
    bench.store.save(&["frontend:v1", "example.com:5000/team/backend:v1"], &mut archive).unwrap();
    let mut again = Vec::new();
    bench.store.save(&["frontend:v1", "example.com:5000/team/backend:v1"], &mut again).unwrap();
    assert!(archive == again, "the same images give the same bytes");
    for archive in [archive.clone(), gzip(&archive)] {
        let other = Bench::new();
        let names = other.store.load(archive.as_slice()).unwrap();
        assert_eq!(names, ["frontend:v1", "example.com:5000/team/backend:v1"]);
        let loaded = other.store.resolve("frontend:v1").unwrap();
        assert_eq!((&loaded.id, &loaded.manifest, &loaded.config), (&one.id, &one.manifest, &one.config));
        assert_eq!(other.tree(&loaded), ["etc/ 755", "etc/text 644 1"]);
    }
    assert!(matches!(bench.store.save(&["missing"], Vec::new()), Err(Error::NotFound(_))));
}

/// Checks the files that `docker load` and `ctr images import` read.
#[test]
fn an_archive_has_both_indexes() {
    let bench = Bench::new();
    bench.quick("frontend:v1", "1");
    let mut archive = Vec::new();
    bench.store.save(&["frontend:v1"], &mut archive).unwrap();
    let mut documents = std::collections::BTreeMap::new();
    for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        documents.insert(path, bytes);
    }
    let parse = |name: &str| serde_json::from_slice::<Value>(&documents[name]).unwrap();
    let annotations = &parse("index.json")["manifests"][0]["annotations"];
    assert_eq!(annotations["io.containerd.image.name"], "docker.io/library/frontend:v1");
    assert_eq!(annotations["org.opencontainers.image.ref.name"], "v1");
    let docker = parse("manifest.json");
    assert_eq!(docker[0]["RepoTags"], json!(["frontend:v1"]));
    for path in [&docker[0]["Config"], &docker[0]["Layers"][0]] {
        assert!(documents.contains_key(path.as_str().unwrap()));
    }
    assert_eq!(parse("oci-layout")["imageLayoutVersion"], "1.0.0");
}

#[test]
fn old_docker_archives_load() {
    let layer = tar(&[("hello", b"hi")]);
    let config = config(&layer);
    let manifest = manifest_json("abc.json", json!(["hello:v1", "hello:latest"]), &["abc/layer.tar"]);
    let bench = Bench::new();
    // The list comes last, and the layer may be compressed by itself.
    for layer in [layer.clone(), gzip(&layer)] {
        let archive = tar(&[("abc/layer.tar", &layer), ("abc.json", &config), ("manifest.json", &manifest)]);
        assert_eq!(bench.store.load(archive.as_slice()).unwrap(), ["hello:v1", "hello:latest"]);
        let image = bench.store.resolve("hello").unwrap();
        assert_eq!(image.id, Digest::of(&config), "the id is Docker's");
        assert_eq!((image.config.cmd[0].as_str(), image.config.entrypoint.len()), ("/x", 0));
        assert_eq!(bench.tree(&image), ["hello 644 hi"]);
    }
}

#[test]
fn of_several_platforms_the_machines_own_is_taken() {
    let layer = tar(&[("hello", b"hi")]);
    let config = config(&layer);
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
    let manifest = json!({
        "schemaVersion": 2,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": Digest::of(&config).to_string(), "size": config.len() },
        "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": Digest::of(&layer).to_string(), "size": layer.len() }],
    })
    .to_string()
    .into_bytes();
    let archive = |arch: &str| {
        let index = json!({ "schemaVersion": 2, "manifests": [
            { "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": Digest::of(b"absent").to_string(), "size": 1,
              "platform": { "os": "linux", "architecture": "riscv64" } },
            { "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": Digest::of(&manifest).to_string(), "size": manifest.len(),
              "platform": { "os": "linux", "architecture": arch } },
        ]})
        .to_string()
        .into_bytes();
        let top = json!({ "schemaVersion": 2, "manifests": [
            { "mediaType": "application/vnd.oci.image.index.v1+json", "digest": Digest::of(&index).to_string(), "size": index.len(),
              "annotations": { "io.containerd.image.name": "docker.io/library/hello:v1" } },
        ]})
        .to_string()
        .into_bytes();
        tar(&[
            ("index.json", &top),
            (&blob(&index), &index),
            (&blob(&manifest), &manifest),
            (&blob(&config), &config),
            (&blob(&layer), &layer),
        ])
    };
    let bench = Bench::new();
    let own = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    assert_eq!(bench.store.load(archive(own).as_slice()).unwrap(), ["hello:v1"]);
    let error = bench.store.load(archive("s390x").as_slice()).unwrap_err().to_string();
    assert_eq!(error, format!("the archive has no image for linux/{own}, only for linux/riscv64, linux/s390x"));
}

#[test]
fn other_files_are_refused() {
    let bench = Bench::new();
    let layer = tar(&[("hello", b"hi")]);
    let lying = tar(&[
        ("l", &tar(&[("hello", b"ho")])),
        ("c.json", &config(&layer)),
        ("manifest.json", &manifest_json("c.json", json!(["x"]), &["l"])),
    ]);
    let lacking =
        tar(&[("c.json", &config(&layer)), ("manifest.json", &manifest_json("c.json", json!(["x"]), &["l"]))]);
    let nameless = tar(&[
        ("l", &layer),
        ("c.json", &config(&layer)),
        ("manifest.json", &manifest_json("c.json", Value::Null, &["l"])),
    ]);
    let whole = tar(&[("manifest.json", &manifest_json("c.json", json!(["x"]), &["l"]))]);
    for (bytes, expected) in [
        (&b""[..], "not an image archive: it is empty"),
        (b"hello", "not an image archive: it is no tar file; expected"),
        (&[0x1f, 0x8b, 8, 0, 1], "not an image archive: "),
        (&tar(&[("README", b"x")]), "not an image archive: it has neither index.json nor manifest.json"),
        (&whole[..600], "not an image archive: it is broken, or a part of it is missing; expected"),
        (&lying, "corrupt content: expected sha256:"),
        (&lacking, "not an image archive: it names l but does not have it"),
        (&nameless, "not an image archive: no image in it has a name"),
    ] {
        let error = bench.store.load(bytes).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    assert!(bench.store.list().unwrap().is_empty());
}

#[test]
fn an_oci_archive_has_as_many_layers_as_its_configuration() {
    let layer = tar(&[("hello", b"hi")]);
    let config = config(&layer);
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
    let descriptor = |kind: &str, bytes: &[u8]| json!({ "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": Digest::of(bytes).to_string(), "size": bytes.len() });
    let bench = Bench::new();
    bench.quick("frontend:v1", "1");
    for layers in [vec![], vec![descriptor("layer.v1.tar", &layer); 2]] {
        let manifest = json!({ "schemaVersion": 2, "config": descriptor("config.v1+json", &config), "layers": layers })
            .to_string();
        let mut entry = descriptor("manifest.v1+json", manifest.as_bytes());
        entry["annotations"] = json!({ "io.containerd.image.name": "docker.io/library/hello:v1" });
        let index = json!({ "schemaVersion": 2, "manifests": [entry] }).to_string();
        let archive = tar(&[
            ("index.json", index.as_bytes()),
            (&blob(manifest.as_bytes()), manifest.as_bytes()),
            (&blob(&config), &config),
            (&blob(&layer), &layer),
        ]);
        let error = bench.store.load(archive.as_slice()).unwrap_err().to_string();
        assert!(error.ends_with("names another number of layers than the manifest"), "{error}");
        let names: Vec<String> = bench.store.list().unwrap().into_iter().map(|image| image.reference).collect();
        assert_eq!(names, ["frontend:v1"], "the store is as before");
    }
}
