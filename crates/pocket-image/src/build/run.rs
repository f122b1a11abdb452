//! Execution of the instructions of a Dockerfile.

mod copy;

use std::{collections::BTreeMap, fs};

use serde_json::json;

use super::{
    Builder, Built,
    context::{BuildContext, clean},
    dockerfile::{Dockerfile, Instruction, json_form, words},
    expand::expand,
    layer::{LayerBuilder, Owner},
    tree::{Node, Tree},
};
use crate::{
    Error, Image, ImageStore, Layer, Reference, Result, RunConfig,
    spec::{Descriptor, History, ImageConfig, Platform, RootFs},
    store::to_json,
};

/// Messages for instructions that a build without a shell cannot support.
const NO_RUN: &str = "RUN is not supported, because images are put together here without running anything: \
    do the step before the build and COPY its result";
const ONE_STAGE: &str = "only one FROM is supported, because nothing is compiled here: build the program first, \
    then COPY it";

pub(super) fn build(builder: &Builder, store: &ImageStore) -> Result<Built> {
    let path = builder.dockerfile.clone().unwrap_or_else(|| builder.context.join("Dockerfile"));
    let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let file = Dockerfile::parse(&name, &text)?;
    if builder.tags.is_empty() {
        return Err(Error::content("the build", "has no name for the image: give one with `-t NAME`"));
    }
    let context = BuildContext::open(&builder.context, &path)?;
    let _guard = store.guard()?;
    let mut build = Build::new(builder, store, context);
    for instruction in &file.instructions {
        build.step(&file, instruction).map_err(|error| match error {
            InstructionError::Message(message) => file.error(instruction.line, message),
            InstructionError::Other(error) => error,
        })?;
    }
    if !build.from {
        return Err(file.error(1, "the file has no FROM: it starts with `FROM scratch`, for example"));
    }
    let unused = builder.build_args.iter().filter(|(name, _)| !build.declared.contains(name));
    let mut warnings = build.warnings;
    warnings.extend(unused.map(|(name, _)| format!("{}: build argument {name} has no ARG", file.name)));
    let image = finish(store, build.layers, build.config, build.history, &builder.tags)?;
    Ok(Built { image, warnings })
}

/// Writes configuration and manifest, and names the image.
pub(super) fn finish(
    store: &ImageStore,
    layers: Vec<(Descriptor, Layer)>,
    config: RunConfig,
    history: Vec<History>,
    tags: &[String],
) -> Result<Image> {
    let tags: Vec<Reference> = tags.iter().map(|tag| tag.parse()).collect::<Result<_>>()?;
    let platform = Platform::host();
    let (descriptors, layers): (Vec<_>, Vec<_>) = layers.into_iter().unzip();
    let document = ImageConfig {
        // No time, because the same input must give the same image. The store's index has the time of the build.
        created: None,
        architecture: platform.architecture,
        os: platform.os,
        config,
        rootfs: RootFs { kind: "layers".to_owned(), diff_ids: layers.into_iter().map(|layer| layer.diff_id).collect() },
        history,
    };
    let descriptor = store.put_image(&to_json(&document)?, descriptors)?;
    let names: Vec<_> = tags.iter().map(|tag| (tag.clone(), descriptor.clone())).collect();
    store.name(&names)?;
    let (mut image, _) = store.read(&descriptor)?;
    image.reference = tags.into_iter().next();
    Ok(image)
}

/// Adds the parent directories of a path that the image does not have yet.
pub(super) fn parents(layer: &mut LayerBuilder, tree: &mut Tree, path: &str, owner: Owner) {
    for (at, _) in path.match_indices('/') {
        if !tree.is_directory(&path[..at]) {
            layer.directory(&path[..at], 0o755, owner);
            tree.add(&path[..at], Node::Directory);
        }
    }
}

/// Error of an instruction: a message that needs the line's number, or an error that is complete.
enum InstructionError {
    Message(String),
    Other(Error),
}

impl From<String> for InstructionError {
    fn from(message: String) -> Self {
        Self::Message(message)
    }
}

impl From<&str> for InstructionError {
    fn from(message: &str) -> Self {
        Self::Message(message.to_owned())
    }
}

impl From<Error> for InstructionError {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound(_) | Error::Reference { .. } => Self::Message(error.to_string()),
            other => Self::Other(other),
        }
    }
}

/// State of the build.
struct Build<'a> {
    store: &'a ImageStore,
    context: BuildContext,
    given: BTreeMap<String, String>,
    /// Arguments in scope, with their values.
    args: BTreeMap<String, String>,
    /// Names of all declared arguments.
    declared: Vec<String>,
    from: bool,
    /// Whether this Dockerfile has set `CMD`, so that `ENTRYPOINT` keeps it.
    cmd: bool,
    shell: Vec<String>,
    config: RunConfig,
    history: Vec<History>,
    layers: Vec<(Descriptor, Layer)>,
    tree: Tree,
    warnings: Vec<String>,
}

impl<'a> Build<'a> {
    fn new(builder: &Builder, store: &'a ImageStore, context: BuildContext) -> Self {
        Self {
            store,
            context,
            given: builder.build_args.iter().cloned().collect(),
            args: BTreeMap::new(),
            declared: Vec::new(),
            from: false,
            cmd: false,
            shell: vec!["/bin/sh".to_owned(), "-c".to_owned()],
            config: RunConfig::default(),
            history: Vec::new(),
            layers: Vec::new(),
            tree: Tree::default(),
            warnings: Vec::new(),
        }
    }

    fn step(&mut self, file: &Dockerfile, step: &Instruction) -> Result<(), InstructionError> {
        let escape = file.escape;
        let name = step.name.as_str();
        if !self.from && !matches!(name, "ARG" | "FROM") {
            return Err(format!("{name} before FROM: the file starts with `FROM scratch`, for example").into());
        }
        if !matches!(name, "COPY" | "ADD" | "FROM" | "RUN" | "HEALTHCHECK")
            && let Some((flag, _)) = step.flags.first()
        {
            return Err(format!("{name} has no flag --{flag}").into());
        }
        let before = self.layers.len();
        match name {
            "FROM" => return self.from(step, escape),
            "ARG" => return self.arg(step, escape),
            "RUN" => return Err(NO_RUN.into()),
            "ONBUILD" => {
                return Err(
                    "ONBUILD is not supported: write the instruction into the Dockerfile that uses the image".into()
                );
            }
            "HEALTHCHECK" => {
                let warning = "HEALTHCHECK is ignored, as Kubernetes ignores it: use a livenessProbe in the pod";
                self.warnings.push(format!("{}:{}: {warning}", file.name, step.line));
                return Ok(());
            }
            "MAINTAINER" => {
                let warning = "MAINTAINER is ignored: use LABEL org.opencontainers.image.authors";
                self.warnings.push(format!("{}:{}: {warning}", file.name, step.line));
                return Ok(());
            }
            "ENV" => {
                for (key, value) in self.pairs(step, escape)? {
                    self.config.set_env(&key, &value);
                }
            }
            "LABEL" => {
                let pairs = self.pairs(step, escape)?;
                self.config.labels.extend(pairs);
            }
            "COPY" | "ADD" => self.copy(step, escape)?,
            "WORKDIR" => self.workdir(step, escape)?,
            "USER" => self.config.user = self.word(&step.rest, escape)?,
            "STOPSIGNAL" => self.config.stop_signal = self.word(&step.rest, escape)?,
            "EXPOSE" => {
                for word in words(&step.rest, escape)? {
                    let port = exposed(&self.word(&word, escape)?)?;
                    self.config.exposed_ports.insert(port, json!({}));
                }
            }
            "VOLUME" => {
                for word in json_form(&step.rest).map_or_else(|| words(&step.rest, escape), Ok)? {
                    let path = self.word(&word, escape)?;
                    self.config.volumes.insert(path, json!({}));
                }
            }
            "SHELL" => match json_form(&step.rest) {
                Some(shell) if !shell.is_empty() => self.shell = shell,
                _ => return Err("SHELL needs the form [\"program\", \"argument\"]".into()),
            },
            "CMD" => {
                self.config.cmd = self.command(&step.rest);
                self.cmd = true;
            }
            "ENTRYPOINT" => {
                self.config.entrypoint = self.command(&step.rest);
                if !self.cmd {
                    // A command of the base image is meant for the base image's entry point.
                    self.config.cmd.clear();
                }
            }
            other => {
                return Err(format!(
                    "unknown instruction {other}; there are FROM, ARG, ENV, COPY, ADD, WORKDIR, USER, ENTRYPOINT, CMD, \
                     SHELL, EXPOSE, VOLUME, LABEL and STOPSIGNAL"
                )
                .into());
            }
        }
        self.history.push(History {
            created_by: Some(format!("{name} {}", step.rest)),
            empty_layer: (self.layers.len() == before).then_some(true),
            ..History::default()
        });
        Ok(())
    }

    fn from(&mut self, step: &Instruction, escape: char) -> Result<(), InstructionError> {
        if self.from {
            return Err(ONE_STAGE.into());
        }
        if let Some((flag, _)) = step.flags.iter().find(|(flag, _)| flag != "platform") {
            return Err(format!("FROM has no flag --{flag}").into());
        }
        let words = words(&step.rest, escape)?;
        let base = match words.as_slice() {
            [base] => base,
            [base, r#as, _] if r#as.eq_ignore_ascii_case("as") => base,
            _ => return Err("FROM needs one image: `FROM scratch` or `FROM name:tag`".into()),
        };
        let base = self.word(base, escape)?;
        self.from = true;
        // Arguments before `FROM` are for `FROM` alone, unless they are declared again.
        let global = std::mem::take(&mut self.args);
        self.given = global.into_iter().chain(std::mem::take(&mut self.given)).collect();
        if base == "scratch" {
            self.config.set_env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
            return Ok(());
        }
        let image = self.store.resolve(&base).map_err(|error| match error {
            Error::NotFound(_) => InstructionError::Message(format!(
                "image `{base}` is not in the local store, and nothing is downloaded: load it first (`rainbow image load FILE`)"
            )),
            other => other.into(),
        })?;
        self.tree = Tree::of(self.store, &image.layers)?;
        self.history = self.store.json::<ImageConfig>(&image.id)?.history;
        self.config = image.config;
        self.layers = image
            .layers
            .into_iter()
            .map(|layer| (Descriptor::new(&layer.media_type, layer.digest.clone(), layer.size), layer))
            .collect();
        Ok(())
    }

    fn arg(&mut self, step: &Instruction, escape: char) -> Result<(), InstructionError> {
        for word in words(&step.rest, escape)? {
            let (name, default) = match word.split_once('=') {
                Some((name, default)) => (name.to_owned(), Some(self.word(default, escape)?)),
                None => (word, None),
            };
            if !is_name(&name) {
                return Err(format!("ARG needs NAME or NAME=default, not `{name}`").into());
            }
            if let Some(value) = self.given.get(&name).cloned().or(default) {
                self.args.insert(name.clone(), value);
            }
            self.declared.push(name);
        }
        Ok(())
    }

    /// Expands a word. Variables of the environment take precedence over arguments.
    fn word(&self, word: &str, escape: char) -> Result<String, String> {
        expand(word, escape, &|name| {
            let env = self.config.env.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='));
            env.or_else(|| self.args.get(name).map(String::as_str)).map(str::to_owned)
        })
    }

    /// Parses `key=value key2=value2`, or the old form `key the rest`.
    fn pairs(&self, step: &Instruction, escape: char) -> Result<Vec<(String, String)>, String> {
        let words = words(&step.rest, escape)?;
        let old = words.first().is_none_or(|first| !first.contains('='));
        let pairs: Vec<(String, String)> = if old {
            let (key, value) = step.rest.split_once(char::is_whitespace).unwrap_or((&step.rest, ""));
            if value.is_empty() {
                return Err(format!("{} needs NAME=value", step.name));
            }
            vec![(key.to_owned(), self.word(value.trim(), escape)?)]
        } else {
            let pair = |word: &String| match word.split_once('=') {
                Some((key, value)) => Ok((self.word(key, escape)?, self.word(value, escape)?)),
                None => Err(format!("{} needs NAME=value, not `{word}`", step.name)),
            };
            words.iter().map(pair).collect::<Result<_, _>>()?
        };
        match pairs.iter().find(|(key, _)| key.is_empty() || key.contains('=')) {
            Some((key, _)) => Err(format!("{} needs NAME=value; `{key}` is no name", step.name)),
            None => Ok(pairs),
        }
    }

    fn command(&self, rest: &str) -> Vec<String> {
        json_form(rest).unwrap_or_else(|| self.shell.iter().cloned().chain([rest.to_owned()]).collect())
    }

    /// Returns an absolute path in the image, without a slash at the start.
    fn target(&self, path: &str) -> Result<String, String> {
        let whole = if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", self.config.working_dir) };
        let path = clean(&whole).ok_or_else(|| format!("`{path}` is above the root of the image"))?;
        Ok(self.tree.follow(&path))
    }

    fn workdir(&mut self, step: &Instruction, escape: char) -> Result<(), InstructionError> {
        let path = self.word(&step.rest, escape)?;
        let whole = if path.starts_with('/') { path } else { format!("{}/{path}", self.config.working_dir) };
        let clean = clean(&whole).ok_or_else(|| format!("`{whole}` is above the root of the image"))?;
        self.config.working_dir = format!("/{clean}");
        let path = self.tree.follow(&clean);
        if !self.tree.is_directory(&path) {
            let mut layer = LayerBuilder::default();
            parents(&mut layer, &mut self.tree, &path, Owner::default());
            layer.directory(&path, 0o755, Owner::default());
            self.tree.add(&path, Node::Directory);
            self.push(&layer)?;
        }
        Ok(())
    }

    fn push(&mut self, layer: &LayerBuilder) -> Result<()> {
        if !layer.is_empty() {
            self.layers.push(layer.write(self.store)?);
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric())
}

fn exposed(port: &str) -> Result<String, String> {
    let (numbers, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    let right = numbers.split('-').all(|number| number.parse::<u16>().is_ok_and(|number| number > 0));
    if right && matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        Ok(format!("{numbers}/{protocol}"))
    } else {
        Err(format!("EXPOSE needs a port from 1 to 65535, as `80` or `53/udp`, not `{port}`"))
    }
}
