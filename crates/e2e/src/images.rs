//! Images that tests use: built from this build's programs, and loaded into the cluster.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{Cli, programs, shell};

/// Image of a program. Its versions differ in their environment alone.
pub(crate) struct Image<'a> {
    name: &'a str,
    program: &'a str,
    /// Port on which the program listens, if not its usual one.
    port: Option<u16>,
    versions: &'a [&'a str],
}

impl<'a> Image<'a> {
    /// Returns the image that is named after its program.
    pub(crate) const fn of(program: &'a str, versions: &'a [&'a str]) -> Self {
        Self { name: program, program, port: None, versions }
    }
}

const IMAGES: &[Image] = &[
    Image::of("frontend", &["v1", "v2", "v3"]),
    Image::of("backend", &["v1", "v2", "v3"]),
    Image::of("colors", &["v1"]),
    // Program of Jobs that test a color.
    Image::of("traffic", &["v1"]),
    // In the counter's place this image returns a reply that is no count.
    Image { name: "liar", program: "backend", port: Some(9798), versions: &["v1"] },
];

/// Builds all images into the store of the local cluster, with contexts below `dir`.
pub(crate) fn build_all(cli: &Cli, dir: &Path, prefix: &str) -> Result<Vec<String>> {
    let mut images = Vec::new();
    for image in IMAGES {
        images.extend(build(cli, dir, prefix, image)?);
    }
    Ok(images)
}

/// Builds all versions of an image.
pub(crate) fn build(cli: &Cli, dir: &Path, prefix: &str, image: &Image<'_>) -> Result<Vec<String>> {
    let file = programs()?.join(image.program);
    ensure!(file.exists(), "{} is missing: run `make test`, which builds it", file.display());
    build_from(cli, dir, prefix, image, &file)
}

/// Builds all versions of an image whose program is not among this build's programs.
pub(crate) fn build_from(cli: &Cli, dir: &Path, prefix: &str, image: &Image<'_>, file: &Path) -> Result<Vec<String>> {
    let Image { name, program, port, versions } = image;
    let context = dir.join(format!("image-{name}"));
    std::fs::create_dir_all(&context)?;
    std::fs::copy(file, context.join(program))?;
    let port = port.map(|port| format!("ENV PORT={port}\n")).unwrap_or_default();
    let dockerfile = format!(
        "FROM scratch\nARG VERSION\nENV VERSION=$VERSION\n{port}COPY {program} /{program}\nUSER 65532:65532\nENTRYPOINT [\"/{program}\"]\n"
    );
    std::fs::write(context.join("Dockerfile"), dockerfile)?;
    let build = |version: &&str| {
        let (image, argument) = (format!("{prefix}{name}:{version}"), format!("VERSION={version}"));
        cli.ok(&["image", "build", "-t", &image, "--build-arg", &argument, &context.to_string_lossy()])?;
        Ok(image)
    };
    versions.iter().map(build).collect()
}

/// Builds the image of one of Rainbow's own programs, the operator or the counter. The program must be static.
pub(crate) fn build_plain(cli: &Cli, dir: &Path, prefix: &str, program: &str) -> Result<String> {
    let file = programs()?.join(program);
    ensure!(file.exists(), "{} is missing: `make build` builds it", file.display());
    let context = dir.join(format!("image-{program}"));
    std::fs::create_dir_all(&context)?;
    std::fs::copy(file, context.join(program))?;
    let dockerfile =
        format!("FROM scratch\nCOPY {program} /{program}\nUSER 65532:65532\nENTRYPOINT [\"/{program}\"]\n");
    std::fs::write(context.join("Dockerfile"), dockerfile)?;
    let image = format!("{prefix}{program}:e2e");
    cli.ok(&["image", "build", "-t", &image, &context.to_string_lossy()])?;
    Ok(image)
}

/// Loads images into a cluster that does not share the local store.
pub(crate) fn load(cli: &Cli, dir: &Path, images: &[String], command: &str) -> Result<()> {
    let one_by_one = command.contains("{image}");
    let groups: Vec<&[String]> = if one_by_one { images.chunks(1).collect() } else { vec![images] };
    let archive = dir.join("images.tar");
    for group in groups {
        let path = archive.to_string_lossy().into_owned();
        let mut args = vec!["image", "save", "-o", &path];
        args.extend(group.iter().map(String::as_str));
        cli.ok(&args)?;
        let first = group.first().map(String::as_str).unwrap_or_default();
        shell::run(command, &[("archive", &path), ("image", first)]).context("the cluster did not take the images")?;
    }
    std::fs::remove_file(archive).context("the image archive")
}

/// Adds the prefix to the names of the suite's own images, wherever a manifest has one.
pub(crate) fn prefix_all(manifest: &mut Value, prefix: &str) {
    match manifest {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(image) if name == "image" && is_own(image) => *image = format!("{prefix}{image}"),
                    value => prefix_all(value, prefix),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| prefix_all(item, prefix)),
        _ => {}
    }
}

fn is_own(image: &str) -> bool {
    IMAGES.iter().any(|own| image.split_once(':').is_some_and(|(name, _)| name == own.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_own_images_get_the_prefix() {
        let mut manifest = json!({ "spec": { "containers": [
            { "name": "a", "image": "backend:v1" }, { "name": "b", "image": "missing:v2" }, { "name": "image" },
        ] } });
        prefix_all(&mut manifest, "registry.example/x/");
        assert_eq!(manifest["spec"]["containers"][0]["image"], "registry.example/x/backend:v1");
        assert_eq!(manifest["spec"]["containers"][1]["image"], "missing:v2");
    }
}
