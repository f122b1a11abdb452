//! Images as the runtime needs them: their defaults, and users by name.

use std::{fs, path::PathBuf};

use pocket_image::{Error, Image, ImageStore};

use crate::runtime::{ImageDefaults, RuntimeError};

/// Image that can be run.
pub(crate) struct PreparedImage {
    pub(crate) defaults: ImageDefaults,
    /// Directories of the layers, topmost first.
    pub(crate) layers: Vec<PathBuf>,
}

/// Finds an image and unpacks it if that has not been done. Blocks.
pub(crate) fn prepare(store: &ImageStore, reference: &str) -> Result<PreparedImage, RuntimeError> {
    let failed = |error: Error| match error {
        Error::NotFound(_) => RuntimeError::ImageNotFound(reference.to_owned()),
        other => RuntimeError::CannotRun(format!("image `{reference}`: {other}")),
    };
    let image = store.resolve(reference).map_err(failed)?;
    let layers = store.layers(&image).map_err(failed)?;
    Ok(PreparedImage { defaults: defaults(image, &layers), layers })
}

fn defaults(image: Image, layers: &[PathBuf]) -> ImageDefaults {
    let user = numeric_user(&image.config.user, |file| read(layers, file));
    ImageDefaults {
        id: image.id.to_string(),
        entrypoint: image.config.entrypoint,
        cmd: image.config.cmd,
        env: image.config.env,
        working_dir: image.config.working_dir,
        user,
    }
}

/// Reads a file of the image, from the topmost layer that has it.
fn read(layers: &[PathBuf], file: &str) -> String {
    layers.iter().find_map(|layer| fs::read_to_string(layer.join(file)).ok()).unwrap_or_default()
}

/// Turns the names of `user[:group]` into numbers, according to the image's own files. Unknown names stay as they are: the
/// start of the container then reports them.
fn numeric_user(user: &str, read: impl Fn(&str) -> String) -> String {
    if user.is_empty() {
        return String::new();
    }
    let (name, group) = user.split_once(':').map_or((user, None), |(name, group)| (name, Some(group)));
    let field = |file: &str, matches: &dyn Fn(&[&str]) -> bool, index: usize| {
        read(file).lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            if matches(&fields) { fields.get(index).map(|text| (*text).to_owned()) } else { None }
        })
    };
    let named = |fields: &[&str]| fields.first() == Some(&name);
    let uid = if is_number(name) {
        name.to_owned()
    } else {
        field("etc/passwd", &named, 2).unwrap_or_else(|| name.to_owned())
    };
    let gid = match group {
        Some(group) if is_number(group) => Some(group.to_owned()),
        Some(group) => {
            let named = |fields: &[&str]| fields.first() == Some(&group);
            Some(field("etc/group", &named, 2).unwrap_or_else(|| group.to_owned()))
        }
        None => field("etc/passwd", &|fields| fields.get(2) == Some(&uid.as_str()), 3),
    };
    match gid {
        Some(gid) => format!("{uid}:{gid}"),
        None => uid,
    }
}

fn is_number(text: &str) -> bool {
    text.parse::<u32>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_by_name() {
        let files = |file: &str| match file {
            "etc/passwd" => "root:x:0:0::/:/bin/sh\nweb:x:101:102::/:/bin/false\nbroken\n".to_owned(),
            "etc/group" => "root:x:0:\nwheel:x:10:web\n".to_owned(),
            other => panic!("{other} was read"),
        };
        for (user, expected) in [
            ("", ""),
            ("0", "0:0"),
            ("web", "101:102"),
            ("web:wheel", "101:10"),
            ("web:7", "101:7"),
            ("65532", "65532"),
            ("65532:65532", "65532:65532"),
            ("nobody-knows", "nobody-knows"),
        ] {
            assert_eq!(numeric_user(user, files), expected, "{user:?}");
        }
    }
}
