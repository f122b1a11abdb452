//! Settings, from the environment as in any container.

use std::{fmt, str::FromStr, time::Duration};

use crate::color::Color;

/// Settings of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `COLOR`: name of the color. The image sets it.
    pub color: Color,
    /// `HTTP_PORT`: port of pages and websockets, 8080 by default.
    pub http_port: u16,
    /// `TCP_PORT`: port of lines, 8081 by default.
    pub tcp_port: u16,
    /// `INTERVAL_MS`: time between two lines, 5000 by default.
    pub interval: Duration,
    /// `ON_SIGTERM`: reaction to SIGTERM.
    pub on_sigterm: OnSigterm,
    /// `GRACE_MS`: time for which connections are still accepted after SIGTERM with `ON_SIGTERM=drain`, 5000 by default.
    pub grace: Duration,
    /// `READY_AFTER_MS`: time for which `/ready` answers 503 after the start, 0 by default.
    pub ready_after: Duration,
}

/// Reaction to SIGTERM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnSigterm {
    /// Continues to accept for the grace time, then closes every connection in an orderly way.
    Drain,
    /// Exits at once, as a program without a signal handler would outside a container.
    Die,
}

impl FromStr for OnSigterm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "drain" => Ok(Self::Drain),
            "die" => Ok(Self::Die),
            other => Err(format!("`{other}` is none of drain, die")),
        }
    }
}

impl Settings {
    /// Reads the environment.
    ///
    /// # Errors
    /// When a variable has an invalid value, or `COLOR` is not set.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let milliseconds = |name, default| number(&variable, name, default).map(Duration::from_millis);
        let color = variable("COLOR").ok_or("COLOR: it is not set; the image's build does that")?;
        let interval = milliseconds("INTERVAL_MS", 5000)?;
        if interval.is_zero() {
            return Err("INTERVAL_MS: it must be more than 0".into());
        }
        Ok(Self {
            color: color.parse().map_err(|error| format!("COLOR: {error}"))?,
            http_port: number(&variable, "HTTP_PORT", 8080)?,
            tcp_port: number(&variable, "TCP_PORT", 8081)?,
            interval,
            on_sigterm: number(&variable, "ON_SIGTERM", OnSigterm::Drain)?,
            grace: milliseconds("GRACE_MS", 5000)?,
            ready_after: milliseconds("READY_AFTER_MS", 0)?,
        })
    }
}

fn number<T: FromStr<Err: fmt::Display>>(
    variable: impl Fn(&str) -> Option<String>,
    name: &str,
    default: T,
) -> Result<T, String> {
    match variable(name) {
        Some(text) if !text.is_empty() => text.parse().map_err(|error| format!("{name}: {error}")),
        _ => Ok(default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned()))
    }

    #[test]
    fn the_color_is_enough() {
        let settings = read(&[("COLOR", "000000")]).unwrap();
        assert_eq!((settings.http_port, settings.tcp_port), (8080, 8081));
        assert_eq!((settings.interval, settings.on_sigterm), (Duration::from_secs(5), OnSigterm::Drain));
    }

    #[test]
    fn says_which_variable_is_wrong() {
        for (variable, text, wanted) in [
            ("COLOR", "", "COLOR: `` is no color"),
            ("HTTP_PORT", "http", "HTTP_PORT: invalid digit"),
            ("INTERVAL_MS", "0", "INTERVAL_MS: it must be more than 0"),
            ("ON_SIGTERM", "close", "ON_SIGTERM: `close` is none of drain, die"),
        ] {
            let error = read(&[(variable, text), ("COLOR", "3c3fdc")]).unwrap_err();
            assert!(error.starts_with(wanted), "{error}");
        }
        assert!(read(&[]).unwrap_err().starts_with("COLOR: it is not set"));
    }
}
