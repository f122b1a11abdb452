//! `COPY` and `ADD`.

use std::{fs, os::unix::fs::PermissionsExt};

use super::{Build, InstructionError, ONE_STAGE, parents};
use crate::{
    Error, Result,
    build::{
        context::{ContextEntry, join},
        dockerfile::{Instruction, json_form, words},
        layer::{LayerBuilder, Owner},
        tree::Node,
    },
};

impl Build<'_> {
    /// Adds the sources of an instruction in one layer.
    pub(super) fn copy(&mut self, step: &Instruction, escape: char) -> Result<(), InstructionError> {
        let (mut owner, mut mode) = (Owner::default(), None);
        for (flag, value) in &step.flags {
            let value = self.word(value, escape)?;
            match flag.as_str() {
                "chown" => owner = parse_owner(&value)?,
                "chmod" => mode = Some(parse_mode(&value)?),
                "from" => return Err(format!("COPY --from is not supported: {ONE_STAGE}").into()),
                // Every COPY is a layer of its own here anyway.
                "link" => {}
                other => {
                    return Err(format!("{} has no flag --{other}; there are --chown and --chmod", step.name).into());
                }
            }
        }
        let words = json_form(&step.rest).map_or_else(|| words(&step.rest, escape), Ok)?;
        let words: Vec<String> = words.iter().map(|word| self.word(word, escape)).collect::<Result<_, _>>()?;
        let Some((target, patterns)) = words.split_last().filter(|(_, sources)| !sources.is_empty()) else {
            return Err(format!("{} needs at least one source and a destination", step.name).into());
        };
        let mut sources = Vec::new();
        for pattern in patterns {
            if step.name == "ADD" && (pattern.contains("://") || pattern.starts_with("git@")) {
                return Err(
                    "ADD of a URL is not supported, because nothing is downloaded: download it first and COPY it"
                        .into(),
                );
            }
            sources.extend(self.context.sources(pattern)?);
        }
        let path = self.target(target)?;
        let named_directory = target.ends_with('/') || target.ends_with("/.") || target == ".";
        if sources.len() > 1 && !named_directory {
            return Err(format!("with several sources the destination must be a directory: write `{target}/`").into());
        }
        let into = named_directory || self.tree.is_directory(&path);
        let mut layer = LayerBuilder::default();
        for source in &sources {
            let found = self.context.walk(source)?;
            self.add(step, &mut layer, source, &found, &path, into, owner, mode)?;
        }
        self.push(&layer)?;
        Ok(())
    }

    /// Adds one source to a layer. A directory's content goes into the destination; a file becomes the destination, or goes into it.
    #[allow(clippy::too_many_arguments, reason = "one step of `copy`, cut off for reading")]
    fn add(
        &mut self,
        step: &Instruction,
        layer: &mut LayerBuilder,
        source: &str,
        found: &[ContextEntry],
        target: &str,
        into: bool,
        owner: Owner,
        mode: Option<u32>,
    ) -> Result<(), InstructionError> {
        let single = found.first().is_some_and(|root| !root.metadata.is_dir());
        let base = match source.rsplit('/').next() {
            Some(name) if single && into => join(target, name),
            _ => target.to_owned(),
        };
        for file in found {
            let path = self.tree.follow(&join(&base, &file.below));
            let kind = file.metadata.file_type();
            if path.is_empty() {
                continue;
            }
            parents(layer, &mut self.tree, &path, owner);
            if kind.is_dir() {
                if !self.tree.is_directory(&path) {
                    layer.directory(&path, mode.unwrap_or(0o755), owner);
                    self.tree.add(&path, Node::Directory);
                }
            } else if kind.is_symlink() {
                let target = fs::read_link(&file.path).map_err(Error::io("read", &file.path))?;
                let target = target.to_string_lossy().into_owned();
                self.tree.add(&path, Node::Link(target.clone()));
                layer.link(&path, target, owner);
            } else if kind.is_file() {
                if step.name == "ADD" && single && is_archive(&file.path)? {
                    return Err(format!(
                        "ADD does not unpack archives here: unpack {source} first and COPY the directory"
                    )
                    .into());
                }
                if self.tree.is_directory(&path) {
                    return Err(format!("cannot copy the file {source} over the directory /{path}").into());
                }
                let executable = file.metadata.permissions().mode() & 0o111 != 0;
                let mode = mode.unwrap_or(if executable { 0o755 } else { 0o644 });
                layer.file(&path, file.path.clone(), file.metadata.len(), mode, owner);
                self.tree.add(&path, Node::Other);
            } else {
                return Err(format!(
                    "{} is neither file, directory nor link: leave it out by .dockerignore",
                    file.path.display()
                )
                .into());
            }
        }
        Ok(())
    }
}

fn is_archive(path: &std::path::Path) -> Result<bool, Error> {
    use std::io::Read;
    let mut head = Vec::new();
    let file = fs::File::open(path).map_err(Error::io("read", path))?;
    file.take(262).read_to_end(&mut head).map_err(Error::io("read", path))?;
    let magic: [&[u8]; 4] = [&[0x1f, 0x8b], b"BZh", &[0xfd, b'7', b'z', b'X', b'Z'], &[0x28, 0xb5, 0x2f, 0xfd]];
    Ok(magic.iter().any(|magic| head.starts_with(magic)) || head.get(257..262) == Some(b"ustar"))
}

fn parse_owner(text: &str) -> Result<Owner, String> {
    let id = |id: &str| match id {
        "root" | "" => Ok(0),
        id => id.parse().map_err(|_| {
            format!("--chown needs numbers, as 1000:1000, not `{text}`: no program runs that knows names")
        }),
    };
    let (user, group) = text.split_once(':').unwrap_or((text, text));
    Ok(Owner { uid: id(user)?, gid: id(group)? })
}

fn parse_mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o7777 => Ok(mode),
        _ => Err(format!("--chmod needs an octal mode, as 755, not `{text}`")),
    }
}
