//! Manifests: read, split, and checked before anything is sent.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use kube::core::DynamicObject;
use rainbow_api::Rainbow;
use serde_json::Value;

use crate::{
    error::{Error, Result},
    release,
};

/// Largest input that is read.
const LIMIT: u64 = 16 << 20;

/// One object of the input.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// `file:line` where it begins.
    pub(crate) at: String,
    pub(crate) object: DynamicObject,
}

/// Reads files, directories (their `.yaml`, `.yml` and `.json` files) and `-` (standard input).
///
/// All that is wrong with any document is told at once. Rainbows become releases of the color, if one is given.
pub(crate) fn read(files: &[PathBuf], color: Option<&str>) -> Result<Vec<Document>> {
    let mut documents = Vec::new();
    let mut errors = Vec::new();
    for file in files {
        for (name, text) in texts(file)? {
            parse(&name, &text, color, &mut documents, &mut errors);
        }
    }
    match (errors.as_slice(), documents.is_empty()) {
        ([], false) => Ok(documents),
        ([], true) => Err(Error::Usage("there is no object in the input".into())),
        _ => Err(Error::Usage(errors.join("\n"))),
    }
}

fn texts(file: &Path) -> Result<Vec<(String, String)>> {
    let unreadable = |path: &Path, error: io::Error| Error::Usage(format!("cannot read {}: {error}", path.display()));
    if file == Path::new("-") {
        let text = limited(io::stdin().lock()).map_err(|error| unreadable(Path::new("standard input"), error))?;
        return Ok(vec![("<stdin>".into(), text)]);
    }
    let read = |path: &Path| {
        let text = fs::File::open(path).and_then(limited).map_err(|error| unreadable(path, error))?;
        Ok((path.display().to_string(), text))
    };
    if !file.is_dir() {
        return Ok(vec![read(file)?]);
    }
    let entries = fs::read_dir(file).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut paths: Vec<PathBuf> =
        entries.map_err(|error| unreadable(file, error))?.iter().map(fs::DirEntry::path).collect();
    paths.retain(|path| {
        path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|it| extension == *it))
    });
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

/// All of an input. Half of one is never taken for the whole.
fn limited(input: impl Read) -> io::Result<String> {
    let mut text = String::new();
    input.take(LIMIT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LIMIT {
        return Err(io::Error::other(format!("it has more than {} MiB; apply it in parts", LIMIT >> 20)));
    }
    Ok(text)
}

fn parse(name: &str, text: &str, color: Option<&str>, documents: &mut Vec<Document>, errors: &mut Vec<String>) {
    for (first_line, part) in split(text) {
        match serde_saphyr::from_str::<Value>(part) {
            Ok(Value::Null) => {}
            Ok(value) => {
                let line = first_line + leading_lines(part);
                object(&format!("{name}:{line}"), value, color, documents, errors);
            }
            Err(error) => {
                // The parser counts lines from the beginning of the part; the message must count from that of the file.
                let location = error.location();
                let (line, column) = location.map_or((1, 1), |location| (location.line(), location.column()));
                let line = usize::try_from(line).unwrap_or(1) + first_line - 1;
                let message = error.without_snippet().to_string();
                let message = message.split(" at line ").next().unwrap_or_default().trim_end_matches([',', ' ', ':']);
                let message = message.strip_prefix("error: ").unwrap_or(message);
                errors.push(format!("{name}:{line}:{column}: no YAML at line {line}, column {column}: {message}"));
            }
        }
    }
}

/// The documents of a text, each with the number of its first line. A line `---` ends a document, as kubectl has it.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let (mut begin, mut begin_line, mut at) = (0, 1, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let end = at + line.len();
        if line.trim_end() == "---" || line.starts_with("--- ") {
            parts.push((begin_line, &text[begin..at]));
            (begin, begin_line) = (end, number + 2);
        }
        at = end;
    }
    parts.push((begin_line, &text[begin..]));
    parts.retain(|(_, part)| !part.trim().is_empty());
    parts
}

/// Empty lines and comments before a document's content.
fn leading_lines(part: &str) -> usize {
    part.lines().take_while(|line| line.trim().is_empty() || line.trim_start().starts_with('#')).count()
}

fn object(at: &str, mut value: Value, color: Option<&str>, documents: &mut Vec<Document>, errors: &mut Vec<String>) {
    let field = |name: &str| value.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let (Some(version), Some(kind)) = (field("apiVersion"), field("kind")) else {
        errors.push(format!("{at}: no Kubernetes object: apiVersion and kind must be there, as texts"));
        return;
    };
    if let (true, Some(items)) = (kind.ends_with("List"), value.get("items").and_then(Value::as_array)) {
        for item in items {
            object(at, item.clone(), color, documents, errors);
        }
        return;
    }
    let name = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if name.is_empty() {
        errors.push(format!("{at}: {kind} without a name: set metadata.name"));
        return;
    }
    if kind == "Rainbow" && version.starts_with("rainbow.dev/") {
        let mut wrong = release::manifest(&mut value, color);
        wrong.extend(rainbow_errors(&value));
        errors.extend(wrong.into_iter().map(|error| format!("{at}: rainbow `{name}`: {error}")));
    }
    match serde_json::from_value(value) {
        Ok(object) => documents.push(Document { at: at.to_owned(), object }),
        Err(error) => errors.push(format!("{at}: {name}: {error}")),
    }
}

/// What is wrong with a Rainbow: types, unknown fields, and then what the operator would refuse.
fn rainbow_errors(value: &Value) -> Vec<String> {
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let deserializer = serde_path_to_error::Deserializer::new(value, &mut track);
    let parsed: Result<Rainbow, _> = serde_ignored::deserialize(deserializer, |path| unknown.push(path.to_string()));
    let rainbow = match parsed {
        Ok(rainbow) => rainbow,
        Err(error) => return vec![format!("{}: {error}", dotted(&track.path().to_string()))],
    };
    // Only what the user wrote as the spec: the rest is the API server's to judge.
    let in_spec = |path: &String| path.starts_with("spec");
    let mut errors: Vec<String> = unknown
        .iter()
        .map(|path| dotted(path))
        .filter(in_spec)
        .map(|path| format!("{path}: there is no such field; is it misspelt?"))
        .collect();
    errors.extend(rainbow.metadata.name.as_deref().and_then(rainbow_api::validate_name).map(|error| error.to_string()));
    errors.extend(rainbow_api::validate(&rainbow.spec).iter().map(ToString::to_string));
    errors
}

/// `spec.tiers.0.name` or `spec.tiers.?.0.name` as `spec.tiers[0].name`.
fn dotted(path: &str) -> String {
    let mut text = String::new();
    for part in path.split('.').filter(|part| *part != "?") {
        if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            text.push_str(&format!("[{part}]"));
        } else {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(part);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> Vec<String> {
        let (mut documents, mut errors) = (Vec::new(), Vec::new());
        parse("app.yaml", text, None, &mut documents, &mut errors);
        errors
    }

    const RAINBOW: &str = "apiVersion: rainbow.dev/v1alpha1\nkind: Rainbow\nmetadata: { name: shop }\n";

    #[test]
    fn documents_know_their_lines() {
        let (mut documents, mut errors) = (Vec::new(), Vec::new());
        let text = "# one\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n---\n---\n# comment only\n---\n\napiVersion: v1\nkind: Secret\nmetadata: { name: b }\n";
        parse("f", text, None, &mut documents, &mut errors);
        assert_eq!(errors, Vec::<String>::new());
        assert_eq!(documents.iter().map(|document| document.at.as_str()).collect::<Vec<_>>(), ["f:2", "f:10"]);
    }

    #[test]
    fn what_is_too_long_is_refused_and_not_cut() {
        assert_eq!(limited("a: 1".as_bytes()).unwrap(), "a: 1");
        let error = limited(io::repeat(b'#')).unwrap_err();
        assert_eq!(error.to_string(), "it has more than 16 MiB; apply it in parts");
    }

    #[test]
    fn lists_are_unfolded() {
        let (mut documents, mut errors) = (Vec::new(), Vec::new());
        let text = r#"{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}},{"kind":"Pod"}]}"#;
        parse("f", text, None, &mut documents, &mut errors);
        assert_eq!(documents.len(), 1);
        assert_eq!(errors, ["f:1: no Kubernetes object: apiVersion and kind must be there, as texts"]);
    }

    #[test]
    fn no_yaml_has_file_line_and_column() {
        let errors = errors("# a comment\n---\nkind: [Rainbow\n");
        assert_eq!(errors.len(), 1);
        assert!(
            errors[0].starts_with("app.yaml:3:7: no YAML at line 3, column 7: ")
                || errors[0].starts_with("app.yaml:4:1: no YAML at line 4"),
            "{errors:?}"
        );
    }

    #[test]
    fn a_field_of_the_wrong_type_is_named() {
        let text = format!("{RAINBOW}spec: {{ color: 123456, tiers: [] }}\n");
        assert_eq!(
            errors(&text),
            ["app.yaml:1: rainbow `shop`: spec.color: invalid type: integer `123456`, expected a string"]
        );
    }

    #[test]
    fn an_unknown_field_is_named() {
        let text = format!(
            "{RAINBOW}spec:\n  tiers:\n  - name: a\n    replica: 3\n    template: {{ spec: {{ containers: [{{ name: a, image: a }}] }} }}\n"
        );
        assert_eq!(
            errors(&text),
            ["app.yaml:1: rainbow `shop`: spec.tiers[0].replica: there is no such field; is it misspelt?"]
        );
    }

    #[test]
    fn all_errors_of_all_documents_are_told() {
        let text = format!("{RAINBOW}spec: {{ tiers: [] }}\n---\nkind: Pod\n---\napiVersion: v1\nkind: Pod\n");
        let errors = errors(&text);
        assert!(errors.len() >= 3, "{errors:?}");
        assert!(errors[0].starts_with("app.yaml:1: rainbow `shop`: spec.tiers: "), "{errors:?}");
        assert_eq!(errors.last().map(String::as_str), Some("app.yaml:8: Pod without a name: set metadata.name"));
    }
}
