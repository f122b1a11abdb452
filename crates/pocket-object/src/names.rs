//! Syntax of names, labels and paths. Each function returns the mistakes, in the words of Kubernetes.

const LABEL_TEXT: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_TEXT: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const DNS_1035_TEXT: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED_TEXT: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE_TEXT: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY_TEXT: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const ENV_TEXT: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";

fn too_long(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    bytes.first().is_some_and(plain) && bytes.last().is_some_and(plain) && bytes.iter().all(|b| plain(b) || *b == b'-')
}

fn is_mixed(text: &str) -> bool {
    let bytes = text.as_bytes();
    let plain = u8::is_ascii_alphanumeric;
    bytes.first().is_some_and(plain)
        && bytes.last().is_some_and(plain)
        && bytes.iter().all(|b| plain(b) || b"-_.".contains(b))
}

fn problems(text: &str, max: usize, right: bool, explanation: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if text.len() > max {
        problems.push(too_long(max));
    }
    if !right {
        problems.push(explanation.to_owned());
    }
    problems
}

/// Checks a DNS label of RFC 1123: `my-name`, `123-abc`.
pub fn label(text: &str) -> Vec<String> {
    problems(text, 63, is_label(text), LABEL_TEXT)
}

/// Checks a DNS subdomain of RFC 1123: `example.com`.
pub fn subdomain(text: &str) -> Vec<String> {
    problems(text, 253, text.split('.').all(is_label), SUBDOMAIN_TEXT)
}

/// Checks a DNS label of RFC 1035, which starts with a letter.
pub fn dns_1035(text: &str) -> Vec<String> {
    let right = is_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase());
    problems(text, 63, right, DNS_1035_TEXT)
}

/// Checks a segment of a URL path: the names of RBAC objects.
pub fn path_segment(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if matches!(text, "." | "..") {
        problems.push(format!("may not be '{text}'"));
    }
    for part in ["/", "%"] {
        if text.contains(part) {
            problems.push(format!("may not contain '{part}'"));
        }
    }
    problems
}

/// Checks the key of a label or annotation: `name` or `example.com/name`.
pub fn qualified_name(text: &str) -> Vec<String> {
    let (prefix, name) = match text.split_once('/') {
        None => (None, text),
        Some((_, name)) if name.contains('/') => {
            return vec![format!(
                "a qualified name {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                QUALIFIED_TEXT.trim_start_matches("name part ")
            )];
        }
        Some((prefix, name)) => (Some(prefix), name),
    };
    let mut problems = Vec::new();
    match prefix {
        Some("") => problems.push("prefix part must be non-empty".to_owned()),
        Some(prefix) => problems.extend(subdomain(prefix).into_iter().map(|text| format!("prefix part {text}"))),
        None => {}
    }
    if name.is_empty() {
        problems.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        problems.push(format!("name part {}", too_long(63)));
    }
    if !is_mixed(name) {
        problems.push(QUALIFIED_TEXT.to_owned());
    }
    problems
}

/// Checks the value of a label.
pub fn label_value(text: &str) -> Vec<String> {
    problems(text, 63, text.is_empty() || is_mixed(text), LABEL_VALUE_TEXT)
}

/// Checks a key of a ConfigMap or Secret.
pub fn config_key(text: &str) -> Vec<String> {
    let right = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    let mut problems = problems(text, 253, right, CONFIG_KEY_TEXT);
    if text == "." || text == ".." {
        problems.push(format!("must not be '{text}'"));
    } else if text.starts_with("..") {
        problems.push("must not start with '..'".to_owned());
    }
    problems
}

/// Checks the name of an environment variable.
pub fn env_name(text: &str) -> Vec<String> {
    let right = !text.is_empty() && text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=');
    if right { Vec::new() } else { vec![ENV_TEXT.to_owned()] }
}

/// Checks the name of a port: an IANA service name.
pub fn port_name(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if text.len() > 15 {
        problems.push("must be no more than 15 characters".to_owned());
    }
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        problems.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !text.bytes().any(|b| b.is_ascii_lowercase()) {
        problems.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        problems.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        problems.push("must not begin or end with a hyphen".to_owned());
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let check = |rule: fn(&str) -> Vec<String>, right: &[&str], wrong: &[&str]| {
            for text in right {
                assert_eq!(rule(text), Vec::<String>::new(), "{text}");
            }
            for text in wrong {
                assert_ne!(rule(text), Vec::<String>::new(), "{text}");
            }
        };
        let long = "a".repeat(64);
        check(label, &["a", "0", "a-b"], &["", "-a", "a-", "A", "a.b", "a_b", &long, "ä"]);
        check(subdomain, &["a.b", "0.1", &long], &["", "a..b", ".a", "a-.b", "A", &"a".repeat(254)]);
        check(dns_1035, &["a", "a-0"], &["0a", "a.", ""]);
        check(qualified_name, &["a", "A_b.c", "x.y/Z"], &["", "/a", "x/", "a/b/c", "X.y/z", "_a", &long]);
        check(label_value, &["", "a", "A_b.c-1"], &["-", "a b", "_", &long]);
        check(config_key, &["a.b_c-D", ".x"], &["", ".", "..", "..a", "a b", "a/b"]);
        check(env_name, &["A", "a.b", "a b"], &["", "a=b", "ä", "a\n"]);
        check(port_name, &["http", "a1-b"], &["", "1", "-a", "a--b", "HTTP", "abcdefghijklmnop"]);
        check(path_segment, &["system:node", "A b"], &["..", "a/b", "%"]);
    }
}
