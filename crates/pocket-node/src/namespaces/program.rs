//! Execution of a container's program: finds it, and reports precisely why it cannot be run.

use std::{
    fs, io,
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt, process::CommandExt},
    },
    path::Path,
    process::{Command, Stdio},
};

use super::protocol::{Failure, Program};

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(crate) struct Streams {
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// Changes to the working directory. A missing one is created, as Docker does.
pub(crate) fn enter_directory(path: &str) -> Result<(), Failure> {
    let path = if path.is_empty() { "/" } else { path };
    match std::env::set_current_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = fs::create_dir_all(path).and_then(|()| std::env::set_current_dir(path));
            made.map_err(|error| Failure::Container(format!("working directory {path:?}: {}", say(&error))))
        }
        other => other.map_err(|error| Failure::Container(format!("working directory {path:?}: {}", say(&error)))),
    }
}

/// Replaces the process by the program. Returns only when that fails.
pub(crate) fn execute(program: &Program, streams: Streams) -> Failure {
    let Some((name, arguments)) = program.argv.split_first() else {
        return Failure::Container("no command was given, and the image has none".to_owned());
    };
    let Some(path) = find(name, program.env.get("PATH").map_or(DEFAULT_PATH, String::as_str)) else {
        return Failure::Container(format!("exec {name:?}: executable file not found in $PATH"));
    };
    let error = Command::new(&path)
        .arg0(name)
        .args(arguments)
        .env_clear()
        .envs(&program.env)
        .stdin(streams.stdin.map_or_else(Stdio::null, Stdio::from))
        .stdout(streams.stdout)
        .stderr(streams.stderr)
        .exec();
    let why = match fs::symlink_metadata(&path) {
        Ok(_) if error.kind() == io::ErrorKind::NotFound => {
            "it exists, but its interpreter or dynamic loader is missing in the image".to_owned()
        }
        Ok(meta) if meta.is_dir() => "is a directory".to_owned(),
        Ok(meta) if error.kind() == io::ErrorKind::PermissionDenied && meta.permissions().mode() & 0o111 == 0 => {
            "permission denied (the file is not executable)".to_owned()
        }
        _ => say(&error),
    };
    Failure::Container(format!("exec {name:?}: {why}"))
}

/// Finds a program: a name with a slash is a path; any other is searched for.
fn find(name: &str, path: &str) -> Option<String> {
    if name.contains('/') {
        return Some(name.to_owned());
    }
    let candidates = path.split(':').filter(|dir| !dir.is_empty()).map(|dir| format!("{dir}/{name}"));
    candidates.into_iter().find(|candidate| {
        fs::metadata(Path::new(candidate)).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    })
}

/// Formats an error in the words of C programs: `no such file or directory`.
fn say(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_programs() {
        assert_eq!(find("/a/b", "/bin"), Some("/a/b".to_owned()));
        assert!(find("sh", "/nowhere::/bin").is_some_and(|path| path == "/bin/sh"));
        assert_eq!(find("no-such-program", DEFAULT_PATH), None);
    }

    #[test]
    fn says_errors_as_others_do() {
        assert_eq!(say(&io::Error::from_raw_os_error(2)), "no such file or directory");
        assert_eq!(say(&io::Error::other("Öl")), "öl");
    }
}
