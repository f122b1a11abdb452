//! Names of images, normalised as Docker does.

use std::{fmt, str::FromStr};

use crate::{Digest, Error};

/// Name of an image in its full form: `frontend:v1` is `docker.io/library/frontend:v1`.
///
/// `Display` shows the familiar form, as `docker images` does; [`Reference::canonical`] returns the full form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

const DOCKER: &str = "docker.io";

impl Reference {
    /// Returns the full form, with the registry's host name.
    pub fn canonical(&self) -> String {
        format!("{}/{}{}", self.domain, self.path, self.suffix())
    }

    /// Returns the tag; `latest` if neither tag nor digest was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest of the manifest, if given.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns whether both name the same repository, independent of their tags.
    pub(crate) fn same_repository(&self, other: &Self) -> bool {
        self.domain == other.domain && self.path == other.path
    }

    fn suffix(&self) -> String {
        let tag = self.tag.iter().map(|tag| format!(":{tag}"));
        tag.chain(self.digest.iter().map(|digest| format!("@{digest}"))).collect()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.domain.as_str(), self.path.strip_prefix("library/")) {
            (DOCKER, Some(short)) if !short.contains('/') => f.write_str(short)?,
            (DOCKER, _) => f.write_str(&self.path)?,
            (domain, _) => write!(f, "{domain}/{}", self.path)?,
        }
        f.write_str(&self.suffix())
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |why| Error::Reference { reference: text.to_owned(), why };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (
                rest,
                Some(digest.parse::<Digest>().map_err(|_| bad("its digest is not `sha256:` and 64 hex digits"))?),
            ),
            None => (text, None),
        };
        // A colon after the last slash starts a tag; a colon before it belongs to the registry's port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if name.is_empty() {
            return Err(bad("it has no name"));
        }
        let (domain, path) = match name.split_once('/') {
            Some((first, path)) if is_domain(first) => (first, path),
            _ => (DOCKER, name),
        };
        let domain = if domain == "index.docker.io" { DOCKER } else { domain };
        let starts = domain.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[');
        if !starts
            || !domain.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'))
        {
            return Err(bad("the registry's host name has characters that host names do not have"));
        }
        if path.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(bad("a repository's name must be lower case"));
        }
        if !path.split('/').all(is_component) {
            return Err(bad(
                "a name consists of letters, digits, and `.`, `_`, `-` between them, in parts joined by `/`",
            ));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(bad("a tag has 1 to 128 letters, digits, `_`, `.`, `-`, and starts with none of the last two"));
        }
        let path = if domain == DOCKER && !path.contains('/') { format!("library/{path}") } else { path.to_owned() };
        let tag = tag.or_else(|| digest.is_none().then_some("latest")).map(str::to_owned);
        Ok(Self { domain: domain.to_owned(), path, tag, digest })
    }
}

/// Returns whether a part is a domain by Docker's rule: it has a dot, a port or capitals, or is `localhost`.
fn is_domain(part: &str) -> bool {
    part == "localhost" || part.contains(['.', ':']) || part.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_component(part: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    bytes.first().is_some_and(|&b| word(b))
        && bytes.last().is_some_and(|&b| word(b))
        && bytes.iter().all(|&b| word(b) || matches!(b, b'.' | b'_' | b'-'))
        && !part.contains("..")
}

fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, canonical: &str, familiar: &str) {
        let reference: Reference = text.parse().unwrap();
        assert_eq!((reference.canonical().as_str(), reference.to_string().as_str()), (canonical, familiar));
        assert_eq!(reference, canonical.parse().unwrap());
    }

    #[test]
    fn names_are_normalised() {
        check("frontend:v1", "docker.io/library/frontend:v1", "frontend:v1");
        check("frontend", "docker.io/library/frontend:latest", "frontend:latest");
        check("docker.io/frontend", "docker.io/library/frontend:latest", "frontend:latest");
        check("index.docker.io/library/frontend:v1", "docker.io/library/frontend:v1", "frontend:v1");
        check("team/frontend:v1", "docker.io/team/frontend:v1", "team/frontend:v1");
        check("localhost/frontend:v1", "localhost/frontend:v1", "localhost/frontend:v1");
        check("localhost:5000/a/b:v1", "localhost:5000/a/b:v1", "localhost:5000/a/b:v1");
        check("registry.example.com/x", "registry.example.com/x:latest", "registry.example.com/x:latest");
        let digest = format!("sha256:{}", "a".repeat(64));
        check(&format!("x@{digest}"), &format!("docker.io/library/x@{digest}"), &format!("x@{digest}"));
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in [
            "",
            ":v1",
            "Frontend",
            "a//b",
            "a/",
            "-a",
            "a:",
            "a:-b",
            "a b",
            "a@sha256:1",
            "../a",
            "a/../b",
            "a:v\u{e9}",
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }
}
