//! Answers for programs, as `-o` asks for.

use clap::ValueEnum;
use serde::Serialize;

use crate::{
    error::{Error, Result},
    printer::Printer,
};

/// Form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// JSON
    Json,
    /// YAML
    Yaml,
    /// Names only
    Name,
    /// More columns
    Wide,
}

/// Prints JSON, YAML or names, and returns true. Otherwise returns false, and the caller prints its own form (wide or default).
pub(crate) fn print<T: Serialize>(
    printer: Printer,
    format: Option<Format>,
    value: &T,
    names: impl IntoIterator<Item = String>,
) -> Result<bool> {
    match format {
        Some(Format::Json) => printer.line(json(value)?),
        Some(Format::Yaml) => printer.text(yaml(value)?),
        Some(Format::Name) => names.into_iter().for_each(|name| printer.line(name)),
        Some(Format::Wide) | None => return Ok(false),
    }
    Ok(true)
}

pub(crate) fn json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string_pretty(value).map_err(|error| Error::failed("cannot write JSON", error))
}

pub(crate) fn yaml<T: Serialize>(value: &T) -> Result<String> {
    serde_saphyr::to_string(value).map_err(|error| Error::failed("cannot write YAML", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// YAML 1.1, which kubectl and many others read, takes none of these for a text without quotes.
    #[test]
    fn names_that_look_like_something_else_stay_texts() {
        for name in [
            "123456",
            "123e45",
            "000000",
            "1e1000",
            "0x1f",
            "0o17",
            "010",
            "0b11",
            "2001-01-01",
            "true",
            "false",
            "yes",
            "no",
            "on",
            "off",
            "y",
            "n",
            "null",
            "nan",
            "inf",
        ] {
            let text = yaml(&serde_json::json!({ "color": name, "colors": [name] })).unwrap();
            let quoted = |mark| {
                text.contains(&format!("color: {mark}{name}{mark}")) && text.contains(&format!("- {mark}{name}{mark}"))
            };
            assert!(quoted('"') || quoted('\''), "{text}");
        }
        assert_eq!(yaml(&serde_json::json!({ "color": "v1" })).unwrap(), "color: v1\n");
    }
}
