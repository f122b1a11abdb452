//! Sources of manifests: files, directories, standard input, and kustomizations.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    process::Command,
};

use crate::error::{Error, Result, cannot_read, io_cause};

/// Largest input that is read, in bytes.
const LIMIT: u64 = 16 << 20;
/// Name of standard input in messages.
const STDIN: &str = "<stdin>";
/// Extensions of the files in a directory that are read.
const ENDS: [&str; 3] = ["yaml", "yml", "json"];

/// Options that name the manifests to read.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(skip)]
pub(crate) struct InputArgs {
    /// Files or directories, several of them also with commas between; `-` is standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE", num_args = 1.., value_delimiter = ',', value_hint = clap::ValueHint::AnyPath)]
    pub(crate) files: Vec<PathBuf>,
    /// Read the directories below a directory, too
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    /// Directory with a kustomization; `kubectl` or `kustomize` on the PATH builds it
    #[arg(short = 'k', long, value_name = "DIR", conflicts_with = "files", value_hint = clap::ValueHint::DirPath)]
    pub(crate) kustomize: Option<PathBuf>,
}

/// Text, and the name that messages give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) name: String,
    pub(crate) content: String,
}

impl InputArgs {
    /// Reads all inputs.
    pub(crate) fn texts(&self) -> Result<Vec<Text>> {
        if let Some(dir) = &self.kustomize {
            return Ok(vec![kustomize(dir)?]);
        }
        if self.files.is_empty() {
            return Err(Error::Usage("nothing to read: give -f FILE, -f DIR, -f - or -k DIR".into()));
        }
        let mut texts = Vec::new();
        for file in &self.files {
            texts.extend(self.read(file)?);
        }
        Ok(texts)
    }

    /// Returns the names of the inputs, for a message about all of them.
    pub(crate) fn names(&self) -> String {
        let all = self.kustomize.iter().chain(&self.files);
        let name = |path: &PathBuf| if is_stdin(path) { STDIN.to_owned() } else { path.display().to_string() };
        all.map(name).collect::<Vec<_>>().join(", ")
    }

    fn read(&self, file: &Path) -> Result<Vec<Text>> {
        if is_stdin(file) {
            return Ok(vec![Text { name: STDIN.into(), content: limited(io::stdin().lock(), STDIN)? }]);
        }
        let shown = file.to_str().unwrap_or_default();
        if ["http://", "https://"].iter().any(|scheme| shown.starts_with(scheme)) {
            return Err(Error::Usage(format!(
                "{shown} is a URL, which is not fetched: pipe it in\nhint: curl -fsSL {shown} | rainbow apply -f -"
            )));
        }
        if file.as_os_str().is_empty() {
            return Err(Error::Usage("-f names no file: there is a comma too many".into()));
        }
        if !file.is_dir() {
            return Ok(vec![read_file(file)?]);
        }
        let mut paths = Vec::new();
        let has_directories = files_in(file, self.recursive, &mut paths)?;
        if paths.is_empty() {
            let hint = if has_directories && !self.recursive { ": give -R for the directories in it" } else { "" };
            return Err(Error::Usage(format!("directory {shown} has no .yaml, .yml or .json file{hint}")));
        }
        paths.iter().map(|path| read_file(path)).collect()
    }
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// Finds the manifests of a directory, sorted by name. Returns whether the directory has subdirectories.
fn files_in(dir: &Path, recursive: bool, found: &mut Vec<PathBuf>) -> Result<bool> {
    let entries = fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut paths: Vec<PathBuf> =
        entries.map_err(|error| cannot_read(dir, &error))?.iter().map(fs::DirEntry::path).collect();
    paths.sort();
    let mut has_directories = false;
    for path in paths {
        if path.is_dir() {
            has_directories = true;
            // A link to a directory may lead back up.
            if recursive && !path.is_symlink() {
                files_in(&path, recursive, found)?;
            }
        } else if path.extension().is_some_and(|end| ENDS.iter().any(|known| end == *known)) {
            found.push(path);
        }
    }
    Ok(has_directories)
}

fn read_file(path: &Path) -> Result<Text> {
    let name = path.display().to_string();
    let file = fs::File::open(path).map_err(|error| cannot_read(path, &error))?;
    let content = limited(file, &name)?;
    Ok(Text { name, content })
}

/// Reads all of an input. Fails where the input is too long, so that a part is never taken for the whole.
fn limited(input: impl Read, name: &str) -> Result<String> {
    let mut bytes = Vec::new();
    input.take(LIMIT + 1).read_to_end(&mut bytes).map_err(|error| cannot_read(Path::new(name), &error))?;
    if bytes.len() as u64 > LIMIT {
        return Err(Error::Usage(format!("{name} has more than {} MiB: apply it in parts", LIMIT >> 20)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let whole = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = whole.iter().filter(|byte| **byte == b'\n').count() + 1;
        Error::Usage(format!("{name}:{line}: this is no text in UTF-8: save the file in that encoding"))
    })
}

/// Builds a kustomization with the first program that is installed.
fn kustomize(dir: &Path) -> Result<Text> {
    let shown = dir.display();
    if !dir.is_dir() {
        return Err(Error::Usage(format!("-k {shown}: there is no such directory")));
    }
    for (program, arguments) in [("kubectl", &["kustomize"][..]), ("kustomize", &["build"])] {
        let output = match Command::new(program).args(arguments).arg(dir).output() {
            Ok(output) => output,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::Usage(format!("-k {shown}: cannot run {program}: {}", io_cause(&error)))),
        };
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it says nothing");
            let said = said.strip_prefix("error: ").or_else(|| said.strip_prefix("Error: ")).unwrap_or(said);
            return Err(Error::Usage(format!("-k {shown}: {program} failed: {said}")));
        }
        let content = limited(output.stdout.as_slice(), &shown.to_string())?;
        return Ok(Text { name: format!("{shown} (built)"), content });
    }
    Err(Error::Usage(format!(
        "-k {shown}: neither kubectl nor kustomize is on the PATH: install one of them, or give the files with -f"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_refused_and_not_cut() {
        assert_eq!(limited("a: 1".as_bytes(), "f").unwrap(), "a: 1");
        let error = limited(io::repeat(b'#'), "f").unwrap_err();
        assert_eq!(error.to_string(), "f has more than 16 MiB: apply it in parts");
        let error = limited(&b"a: 1\nb: \xff\n"[..], "f").unwrap_err();
        assert_eq!(error.to_string(), "f:2: this is no text in UTF-8: save the file in that encoding");
    }

    #[test]
    fn directories_are_read_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir_all(path("deep/er")).unwrap();
        let input = |recursive| InputArgs { files: vec![dir.path().into()], recursive, kustomize: None };
        let shown = dir.path().display();
        assert_eq!(
            input(false).texts().unwrap_err().to_string(),
            format!("directory {shown} has no .yaml, .yml or .json file: give -R for the directories in it")
        );
        assert_eq!(
            input(true).texts().unwrap_err().to_string(),
            format!("directory {shown} has no .yaml, .yml or .json file")
        );
        for name in ["b.yaml", "a.json", "c.txt", "deep/d.yml", "deep/er/e.yaml"] {
            fs::write(path(name), name).unwrap();
        }
        std::os::unix::fs::symlink(dir.path(), path("deep/again")).unwrap();
        let names =
            |recursive| input(recursive).texts().unwrap().into_iter().map(|text| text.content).collect::<Vec<_>>();
        assert_eq!(names(false), ["a.json", "b.yaml"]);
        assert_eq!(names(true), ["a.json", "b.yaml", "deep/d.yml", "deep/er/e.yaml"]);
    }
}
