//! `rainbow image`: manages the local cluster's images, without Docker.

use std::{
    fs::{File, Permissions},
    io::{self, BufReader, BufWriter, IsTerminal, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use pocket_image::{Builder, Error as ImageError, ImageStore, ImageSummary};
use serde::Serialize;

use crate::{
    context::Context,
    error::{Error, Result, cannot_read, hint, io_cause},
    local::ProfileArgs,
    output::{self, Format},
    printer::table,
    release,
};

/// Arguments of `rainbow image`.
#[derive(Debug, clap::Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(flatten)]
    profile: ProfileArgs,
    #[command(subcommand)]
    command: Command,
}

/// Subcommands of `rainbow image`.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Build an image from a Dockerfile without RUN
    Build(Build),
    /// Load images from an archive that `docker save` or `rainbow image save` wrote
    Load {
        /// The archive; `-` is standard input
        #[arg(value_name = "FILE", required = true, value_hint = clap::ValueHint::FilePath)]
        files: Vec<PathBuf>,
    },
    /// Write images to an archive that Docker, kind, minikube and containerd load
    Save {
        /// Names of images
        #[arg(value_name = "IMAGE", required = true, add = crate::complete::images())]
        images: Vec<String>,
        /// The archive (default: standard output)
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// List images
    #[command(visible_alias = "list")]
    Ls {
        /// Form of the answer
        #[arg(short, long, value_enum)]
        output: Option<Format>,
    },
    /// Remove images
    #[command(visible_alias = "remove")]
    Rm {
        /// Names of images
        #[arg(value_name = "IMAGE", required = true, add = crate::complete::images())]
        images: Vec<String>,
        /// It is fine if there is no such image
        #[arg(long)]
        ignore_not_found: bool,
    },
    /// Give an image one more name
    Tag {
        /// Name of the image
        #[arg(add = crate::complete::images())]
        image: String,
        /// The new name
        name: String,
    },
}

/// Arguments of `rainbow image build`.
#[derive(Debug, clap::Args)]
struct Build {
    /// Directory from which COPY takes files
    #[arg(default_value = ".", value_name = "CONTEXT")]
    dir: PathBuf,
    /// Name of the image, in which {color} stands for the color's name
    #[arg(short, long = "tag", value_name = "IMAGE", required = true)]
    tags: Vec<String>,
    /// The Dockerfile (default: `Dockerfile` in the context)
    #[arg(short, long = "file", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Value for an ARG, in which {color} stands for the color's name; without `=VALUE` that of the environment variable of
    /// this name
    #[arg(long = "build-arg", value_name = "NAME=VALUE")]
    build_args: Vec<String>,
    /// Name of the color that {color} stands for, as in `rainbow deploy`; `git` takes the first six digits of the commit here
    #[arg(long)]
    color: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    reference: String,
    id: String,
    created: Option<Timestamp>,
    size: u64,
    platform: String,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result {
    let store = ImageStore::open(args.profile.home()?.images()?).map_err(|error| wrong(&error))?;
    match args.command {
        Command::Build(args) => build(context, &store, named(args).await?),
        Command::Load { files } => files.iter().try_for_each(|file| load(context, &store, file)),
        Command::Save { images, output } => save(context, &store, &images, output),
        Command::Ls { output } => list(context, &store, output),
        Command::Rm { images, ignore_not_found } => {
            for image in &images {
                match store.remove(image) {
                    Ok(()) => context.printer.line(format_args!("{image} removed")),
                    Err(ImageError::NotFound(_)) if ignore_not_found => {}
                    Err(error) => return Err(missing(&store, error)),
                }
            }
            Ok(())
        }
        Command::Tag { image, name } => {
            store.tag(&image, &name).map_err(|error| missing(&store, error))?;
            context.printer.line(format_args!("{name} is {image}"));
            Ok(())
        }
    }
}

/// Puts the color's name into the arguments.
async fn named(mut args: Build) -> Result<Build> {
    if let Some(given) = &args.color {
        args.color = Some(release::color(given).await?);
    }
    for (flag, texts) in [("--tag", &mut args.tags), ("--build-arg", &mut args.build_args)] {
        for text in texts {
            *text =
                release::fill(text, args.color.as_deref()).map_err(|error| Error::Usage(format!("{flag}: {error}")))?;
        }
    }
    Ok(args)
}

fn build(context: &Context, store: &ImageStore, args: Build) -> Result {
    let mut build_args = Vec::new();
    for argument in args.build_args {
        match argument.split_once('=') {
            Some((name, value)) => build_args.push((name.to_owned(), value.to_owned())),
            // A name alone takes the value of the environment variable, if it is set, as in Docker.
            None => build_args.extend(std::env::var(&argument).ok().map(|value| (argument, value))),
        }
    }
    if !args.dir.is_dir() {
        return Err(Error::Usage(format!(
            "{} is no directory: name the one that COPY takes files from",
            args.dir.display()
        )));
    }
    let tags = args.tags.clone();
    context.printer.doing(format_args!("building {}", tags.join(", ")));
    let builder = Builder { context: args.dir, dockerfile: args.file, build_args, tags };
    let built = builder.build(store).map_err(|error| missing(store, error))?;
    for warning in built.warnings {
        context.printer.warning(warning);
    }
    for tag in args.tags {
        context.printer.line(format_args!("{tag} built ({})", short(&built.image.id.to_string())));
    }
    Ok(())
}

fn load(context: &Context, store: &ImageStore, file: &PathBuf) -> Result {
    context.printer.doing(format_args!("loading {}", file.display()));
    let loaded = if file.as_os_str() == "-" {
        store.load(io::stdin().lock())
    } else {
        let open = File::open(file).map_err(|error| cannot_read(file, &error))?;
        store.load(BufReader::new(open))
    };
    let loaded = loaded.map_err(|error| match error {
        ImageError::NotAnArchive(_) => Error::Usage(format!("{}: {error}", file.display())),
        other => wrong(&other),
    });
    for reference in loaded? {
        context.printer.line(format_args!("{reference} loaded"));
    }
    Ok(())
}

fn save(context: &Context, store: &ImageStore, images: &[String], output: Option<PathBuf>) -> Result {
    context.printer.doing(format_args!("saving {}", images.join(", ")));
    match output {
        Some(path) => {
            write(store, images, &path)?;
            context.printer.progress(format_args!("{} written", path.display()));
            Ok(())
        }
        None if io::stdout().is_terminal() => {
            Err(Error::Usage("an archive is nothing for a terminal: give -o FILE or redirect it".into()))
        }
        None => {
            let mut out = BufWriter::new(io::stdout().lock());
            store.save(images, &mut out).map_err(|error| missing(store, error))?;
            out.flush().map_err(|error| Error::failed("cannot write the archive", error))
        }
    }
}

/// Writes a file as a whole or not at all: half an archive is worse than none, and worse than the previous one.
fn write(store: &ImageStore, images: &[String], path: &Path) -> Result {
    let cannot = |error: io::Error| {
        let text = format!("cannot write {}: {}", path.display(), io_cause(&error));
        if error.kind() == io::ErrorKind::NotFound { Error::Usage(text) } else { Error::Failed(text) }
    };
    // A link stays, and the file that it leads to is replaced.
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    // A pipe, or any other file that is not a plain one, cannot be replaced.
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        let mut file = BufWriter::new(File::create(path).map_err(cannot)?);
        store.save(images, &mut file).map_err(|error| missing(store, error))?;
        return file.flush().map_err(cannot);
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    dir.metadata().map_err(cannot)?;
    // The archive is as readable as any other file, because it is no secret.
    let mut builder = tempfile::Builder::new();
    let file = builder.permissions(Permissions::from_mode(0o666)).tempfile_in(dir).map_err(cannot)?;
    let mut out = BufWriter::new(file);
    store.save(images, &mut out).map_err(|error| missing(store, error))?;
    let file = out.into_inner().map_err(|error| cannot(error.into_error()))?;
    file.persist(path).map(drop).map_err(|error| cannot(error.error))
}

fn list(context: &Context, store: &ImageStore, format: Option<Format>) -> Result {
    let lines: Vec<Line> = store.list().map_err(|error| wrong(&error))?.into_iter().map(line).collect();
    if output::print(context.printer, format, &lines, lines.iter().map(|line| line.reference.clone()))? {
        return Ok(());
    }
    let wide = format == Some(Format::Wide);
    let rows: Vec<Vec<String>> = lines
        .into_iter()
        .map(|line| {
            let id = if wide { line.id } else { short(&line.id) };
            let mut row = vec![line.reference, id, size(line.size), line.platform];
            if wide {
                row.push(line.created.map(|time| time.to_string()).unwrap_or_else(|| "-".into()));
            }
            row
        })
        .collect();
    let mut header = vec!["IMAGE", "ID", "SIZE", "PLATFORM"];
    if wide {
        header.push("CREATED");
    }
    context.printer.text(table(&header, &rows));
    Ok(())
}

fn line(summary: ImageSummary) -> Line {
    Line {
        reference: summary.reference,
        id: summary.id.to_string(),
        created: summary.created,
        size: summary.size,
        platform: summary.platform,
    }
}

/// Returns the first digits of a digest, as Docker shows them.
fn short(id: &str) -> String {
    id.strip_prefix("sha256:").unwrap_or(id).chars().take(12).collect()
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// Converts an error of the store. For an unknown image, the error names one that may have been meant.
fn missing(store: &ImageStore, error: ImageError) -> Error {
    if let ImageError::NotFound(name) = &error {
        let names = store.list().map(|all| all.into_iter().map(|image| image.reference).collect::<Vec<_>>());
        return Error::NotFound(format!("{error}{}", hint(name, &names.unwrap_or_default())));
    }
    wrong(&error)
}

fn wrong(error: &ImageError) -> Error {
    match error {
        ImageError::NotFound(_) => Error::NotFound(error.to_string()),
        ImageError::Reference { .. } | ImageError::Dockerfile { .. } | ImageError::NotAnArchive(_) => {
            Error::Usage(error.to_string())
        }
        ImageError::Io { what, source } if source.kind() == io::ErrorKind::NotFound => {
            Error::Usage(format!("{what}: {}", io_cause(source)))
        }
        _ => Error::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_that_cannot_be_written_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let store = ImageStore::open(dir.path().join("images")).unwrap();
        let (archive, link) = (dir.path().join("a.tar"), dir.path().join("link"));
        std::fs::write(&archive, "before").unwrap();
        std::os::unix::fs::symlink(&archive, &link).unwrap();
        for path in [&archive, &link] {
            let written = write(&store, &["nothing:here".to_owned()], path);
            assert!(matches!(written, Err(Error::NotFound(_))), "{written:?}");
            assert_eq!(std::fs::read_to_string(path).unwrap(), "before");
        }
        assert!(link.is_symlink());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3, "nothing is left behind");
    }

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [(999, "999 B"), (1_234, "1.2 kB"), (14_000_000, "14.0 MB"), (2_500_000_000, "2.5 GB")] {
            assert_eq!(size(bytes), text);
        }
    }
}
