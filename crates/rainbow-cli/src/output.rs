//! `-o`: answers for programs.

use clap::ValueEnum;
use serde::Serialize;

use crate::{
    error::{Error, Result},
    printer::Printer,
};

/// A form of the answer.
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

/// Prints JSON, YAML or names. False: the caller prints its own form (wide or default).
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
