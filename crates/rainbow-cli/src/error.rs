//! Errors of commands, and the exit codes that report them to scripts.

use std::{fmt, io, path::Path};

/// Exit codes, as `rainbow help exit-codes` prints them.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    it worked
  1    it did not: the message says why (no cluster among others); of `diff`: the colors differ
  2    wrong usage or bad input: an unknown flag, a manifest that is not valid, a file that is not there; of `diff`: it did not work
  3    what was named does not exist
  4    --timeout has passed
  5    the cluster refused: forbidden, or in conflict with another change; or its Kubernetes is too old
  6    --wait: a stage does not move, because it is paused or was moved elsewhere by hand
  7    --wait: it has failed: pods are not ready in time, the stage was taken back, or something has to be fixed first
  130  ended by Ctrl-C";

/// Reason why a command failed. Each message is one sentence that says what is wrong, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// The command failed.
    #[error("{0}")]
    Failed(String),
    /// Wrong usage or bad input.
    #[error("{0}")]
    Usage(String),
    /// A named object does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The time limit has passed.
    #[error("{0}")]
    TimedOut(String),
    /// No cluster can be reached.
    #[error("{0}")]
    NoCluster(String),
    /// The cluster refused the request, or the cluster itself is refused.
    #[error("{0}")]
    Refused(String),
    /// A user holds the stage that the command waits for.
    #[error("{0}")]
    Held(String),
    /// The awaited state does not come before something is fixed.
    #[error("{0}")]
    Stalled(String),
    /// The user pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// The command failed, where exit code 1 is an answer.
    #[error("{0}")]
    Trouble(String),
    /// The input is not valid, and the command has printed the findings itself.
    #[error("")]
    Found,
    /// The command failed, and has reported the failure itself.
    #[error("")]
    Reported,
}

pub(crate) type Result<T = (), E = Error> = std::result::Result<T, E>;

impl Error {
    /// Returns the exit code: see [`EXIT_CODES`].
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Failed(_) | Self::NoCluster(_) | Self::Reported => 1,
            Self::Usage(_) | Self::Trouble(_) | Self::Found => 2,
            Self::NotFound(_) => 3,
            Self::TimedOut(_) => 4,
            Self::Refused(_) => 5,
            Self::Held(_) => 6,
            Self::Stalled(_) => 7,
            Self::Interrupted => 130,
        }
    }

    /// Makes an error of a failure outside the cluster.
    pub(crate) fn failed(what: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self::Failed(format!("{what}: {cause}"))
    }
}

/// Makes an error of a file that cannot be read: wrong usage, because the user gave its name.
pub(crate) fn cannot_read(path: &Path, error: &io::Error) -> Error {
    Error::Usage(format!("cannot read {}: {}", path.display(), io_cause(error)))
}

/// Returns the cause of a failure of the system, without its number.
pub(crate) fn io_cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => {
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or(&text).to_owned()
        }
    }
}

/// Returns the whole chain of causes in one line, without repetitions.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Returns the name that is most like the typed one, if any is like it.
pub(crate) fn nearest<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let similarity = |name: &str| strsim::jaro_winkler(typed, name);
    let best = names.into_iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b)))?;
    (similarity(best) > 0.75).then_some(best)
}

/// Returns `; did you mean …?`, or the existing names, or nothing.
pub(crate) fn hint(typed: &str, names: &[String]) -> String {
    match nearest(typed, names.iter().map(String::as_str)) {
        Some(name) => format!("; did you mean `{name}`?"),
        None if names.is_empty() => String::new(),
        None => format!("; there is: {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints() {
        let names = ["seamless".to_owned(), "shop".to_owned()];
        assert_eq!(hint("semless", &names), "; did you mean `seamless`?");
        assert_eq!(hint("xyz", &names), "; there is: seamless, shop");
        assert_eq!(hint("xyz", &[]), "");
    }

    #[test]
    fn every_code_is_in_the_table() {
        for error in [
            Error::Failed(String::new()),
            Error::Usage(String::new()),
            Error::NotFound(String::new()),
            Error::TimedOut(String::new()),
            Error::NoCluster(String::new()),
            Error::Refused(String::new()),
            Error::Held(String::new()),
            Error::Stalled(String::new()),
            Error::Interrupted,
            Error::Trouble(String::new()),
            Error::Found,
            Error::Reported,
        ] {
            assert!(EXIT_CODES.contains(&format!("\n  {:<4} ", error.code())), "{}", error.code());
        }
    }
}
