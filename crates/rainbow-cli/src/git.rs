//! Color names from the git commit that is released, as in the proof of concept.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Command;

use crate::error::{Error, Result};

/// Value of `--color` that takes the name from git.
pub(crate) const WORD: &str = "git";
/// Number of digits of the commit.
const COMMIT_DIGITS: usize = 6;
/// Number of digits of the content, where the content is not the commit's.
const CONTENT_DIGITS: usize = 6;

/// Returns the first six digits of the commit of `dir`. Where the working tree differs from the commit, digits of its content follow, so that
/// two different contents never have one name: `3c3fdc-91ab20`.
pub(crate) async fn color(dir: &Path) -> Result<String> {
    let git = Git::find(dir).await?;
    let commit = git.commit().await?;
    let committed = git.run(&["rev-parse", "HEAD^{tree}"]).await?;
    let content = git.content().await?;
    let name = digits(&commit, COMMIT_DIGITS)?;
    if content == committed { Ok(name) } else { Ok(format!("{name}-{}", digits(&content, CONTENT_DIGITS)?)) }
}

fn digits(hash: &str, count: usize) -> Result<String> {
    match hash.get(..count) {
        Some(start) if start.bytes().all(|byte| byte.is_ascii_hexdigit()) => Ok(start.to_owned()),
        _ => Err(Error::Failed(format!("git said `{hash}` where a hash was asked for"))),
    }
}

/// Working tree.
struct Git {
    /// Top directory of the tree.
    top: PathBuf,
}

impl Git {
    /// Finds the working tree that a directory is in.
    async fn find(dir: &Path) -> Result<Self> {
        let top = run(dir, &["rev-parse", "--show-toplevel"], &[]).await.map_err(|failure| match failure {
            Failure::Missing => Failure::Missing.into(),
            Failure::Said(message) if message.contains("not a git repository") => Error::Usage(format!(
                "--color git: {} is in no git repository: go into one, or name the color",
                dir.display()
            )),
            Failure::Said(message) if message.contains("must be run in a work tree") => Error::Usage(format!(
                "--color git: {} is in a repository without a working tree: name the color",
                dir.display()
            )),
            Failure::Said(message) => Error::Failed(format!("--color git: {message}")),
        })?;
        Ok(Self { top: top.into() })
    }

    async fn run(&self, args: &[&str]) -> Result<String> {
        Ok(run(&self.top, args, &[]).await?)
    }

    async fn commit(&self) -> Result<String> {
        match run(&self.top, &["rev-parse", "--verify", "--quiet", "HEAD^{commit}"], &[]).await {
            Err(Failure::Said(message)) if message.is_empty() => Err(Error::Usage(format!(
                "--color git: the repository {} has no commit yet: commit first, or name the color",
                self.top.display()
            ))),
            other => Ok(other?),
        }
    }

    /// Returns the hash of the working tree's content as a commit of all of it would have it: with changed and new files, without ignored and
    /// deleted ones. The repository does not change: the index and the written objects are temporary.
    async fn content(&self) -> Result<String> {
        let cannot = |error: io::Error| Error::failed("--color git: cannot look at the working tree", error);
        let scratch = tempfile::tempdir().map_err(cannot)?;
        let index = scratch.path().join("index");
        let path = |name: &'static str| async move { self.run(&["rev-parse", "--git-path", name]).await };
        let own_index = self.top.join(path("index").await?);
        // The copy has git's facts about unchanged files, so that git does not read all of them.
        match copy(&own_index, &index) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot(error)),
            _ => {}
        }
        let objects = self.top.join(path("objects").await?);
        let env = [
            ("GIT_INDEX_FILE", index.as_os_str()),
            ("GIT_OBJECT_DIRECTORY", scratch.path().as_os_str()),
            ("GIT_ALTERNATE_OBJECT_DIRECTORIES", objects.as_os_str()),
        ];
        run(&self.top, &["add", "--all", "."], &env).await?;
        Ok(run(&self.top, &["write-tree", "--missing-ok"], &env).await?)
    }
}

/// Copies an index with its time of change. A file that was changed in the second in which the index was written looks unchanged, and git reads
/// the file only because of that time (gitformat-index, `racy-git`).
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let changed = fs::metadata(from)?.modified()?;
    fs::copy(from, to)?;
    fs::File::options().write(true).open(to)?.set_modified(changed)
}

/// Reason why git gave no answer.
enum Failure {
    /// git is not installed.
    Missing,
    /// First line of git's message.
    Said(String),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Missing => Self::Failed("--color git: git is not installed: install it, or name the color".into()),
            Failure::Said(message) => Self::Failed(format!("--color git: git said: {message}")),
        }
    }
}

async fn run(dir: &Path, args: &[&str], env: &[(&str, &OsStr)]) -> Result<String, Failure> {
    let output = Command::new("git")
        .args(args)
        .current_dir(dir)
        .envs(env.iter().copied())
        // The locale is fixed because the code compares messages.
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound if dir.is_dir() => Failure::Missing,
            _ => Failure::Said(error.to_string()),
        })?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        let line = message.lines().find(|line| !line.trim().is_empty() && !line.starts_with("warning:"));
        let line = line.unwrap_or_default().trim();
        return Err(Failure::Said(line.strip_prefix("fatal: ").unwrap_or(line).to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Repository(tempfile::TempDir);

    impl Repository {
        async fn new() -> Self {
            let repository = Self(tempfile::tempdir().unwrap());
            repository.git(&["init", "-q"]).await;
            repository
        }

        async fn git(&self, args: &[&str]) -> String {
            let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"];
            match run(self.0.path(), &[&identity, args].concat(), &[]).await {
                Ok(said) => said,
                Err(failure) => panic!("git {args:?}: {}", Error::from(failure)),
            }
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.0.path().join(name), text).unwrap();
        }

        async fn commit(&self) -> String {
            self.git(&["add", "-A"]).await;
            self.git(&["commit", "-q", "-m", "x"]).await;
            self.git(&["rev-parse", "HEAD"]).await
        }

        async fn color(&self) -> String {
            color(self.0.path()).await.unwrap()
        }
    }

    #[tokio::test]
    async fn a_clean_tree_has_the_name_of_its_commit() {
        let repository = Repository::new().await;
        repository.write("a", "1");
        repository.write(".gitignore", "target\n");
        let commit = repository.commit().await;
        repository.write("target", "ignored");
        assert_eq!(repository.color().await, commit[..6]);
        fs::create_dir(repository.0.path().join("sub")).unwrap();
        assert_eq!(color(&repository.0.path().join("sub")).await.unwrap(), commit[..6], "from below");
    }

    /// git compares whole seconds, so the file looks as it was when it was added.
    #[tokio::test]
    async fn a_change_in_the_second_of_the_commit_is_seen() {
        let repository = Repository::new().await;
        repository.git(&["config", "core.trustctime", "false"]).await;
        let at = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        let touch = |name: &str| {
            let path = repository.0.path().join(name);
            fs::File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
        };
        repository.write("a", "1");
        touch("a");
        let commit = repository.commit().await;
        touch(".git/index");
        repository.write("a", "2");
        touch("a");
        assert!(repository.color().await.starts_with(&format!("{}-", &commit[..6])));
    }

    #[tokio::test]
    async fn every_other_content_has_a_name_of_its_own() {
        let repository = Repository::new().await;
        repository.write("a", "1");
        let commit = repository.commit().await;
        let mut seen = vec![commit[..6].to_owned()];
        repository.write("a", "2");
        seen.push(repository.color().await);
        repository.write("a", "3");
        seen.push(repository.color().await);
        repository.write("new", "file");
        seen.push(repository.color().await);
        fs::remove_file(repository.0.path().join("a")).unwrap();
        seen.push(repository.color().await);
        for name in &seen[1..] {
            assert!(name.starts_with(&format!("{}-", &commit[..6])), "{name}");
            assert!(rainbow_api::names::is_dns_label(name), "{name}");
        }
        let mut different = seen.clone();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), seen.len(), "{seen:?}");
        // The same content has the same name again, and the check does not change the repository.
        assert_eq!(repository.color().await, *seen.last().unwrap());
        assert_eq!(repository.git(&["diff", "--cached", "--name-only"]).await, "");
        repository.write("a", "1");
        fs::remove_file(repository.0.path().join("new")).unwrap();
        assert_eq!(repository.color().await, commit[..6]);
    }

    #[tokio::test]
    async fn says_why_there_is_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let shown = dir.path().display();
        assert_eq!(
            color(dir.path()).await.unwrap_err(),
            Error::Usage(format!("--color git: {shown} is in no git repository: go into one, or name the color"))
        );
        let repository = Repository::new().await;
        let error = color(repository.0.path()).await.unwrap_err().to_string();
        assert!(error.contains("has no commit yet: commit first"), "{error}");
    }
}
