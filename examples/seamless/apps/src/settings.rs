//! Settings, from the environment as in any container.

use std::{env, fmt, str::FromStr, time::Duration};

/// Settings of both tiers from their environment.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `VERSION`: part of every reply. The images set it.
    pub version: String,
    /// `PORT`: port to listen on, 8080 by default.
    pub port: u16,
    /// `ON_SIGTERM`: reaction to SIGTERM.
    pub on_sigterm: OnSigterm,
    /// `GRACE_MS`: with `ON_SIGTERM=drain`, time without a request after which the program ends, 5000 by default.
    pub grace: Duration,
    /// `READY_AFTER_MS`: time for which `/ready` answers 503 after the start, 0 by default.
    pub ready_after: Duration,
    /// Misbehaviour, which tests ask for.
    pub faults: Faults,
}

/// Misbehaviour of a release that must not reach users. `/ready` reports success all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// `FAIL_PERCENT`: share of the replies that are a 500, from 0 to 100, spread evenly. `FAIL=1` is the same as 100.
    pub fail_percent: u8,
    /// `DELAY_MS`: time that every reply takes longer.
    pub delay: Duration,
    /// `LEAK_MIB_PER_SECOND`: memory that is taken each second from the first request on, and never given back.
    pub leak_mib_per_second: u32,
    /// `EXIT_AFTER_REQUESTS`: number of requests after which the next one ends the program, with exit code 1. 0: never.
    pub exit_after_requests: u64,
}

/// Reaction to SIGTERM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnSigterm {
    /// Continues to accept until clients stay away for the grace time, asks them to close their connections, finishes every request, as a
    /// well-made server does.
    Drain,
    /// Stops listening at once and finishes the outstanding requests, as most servers do.
    Close,
    /// Exits at once, as a program without a signal handler would outside a container.
    Die,
}

impl FromStr for OnSigterm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "drain" => Ok(Self::Drain),
            "close" => Ok(Self::Close),
            "die" => Ok(Self::Die),
            other => Err(format!("`{other}` is none of drain, close, die")),
        }
    }
}

impl Settings {
    /// Reads the environment.
    ///
    /// # Errors
    /// When a variable has an invalid value.
    pub fn read() -> Result<Self, String> {
        Ok(Self {
            version: env::var("VERSION").unwrap_or_else(|_| "dev".into()),
            port: variable("PORT", 8080)?,
            on_sigterm: variable("ON_SIGTERM", OnSigterm::Drain)?,
            grace: Duration::from_millis(variable("GRACE_MS", 5000)?),
            ready_after: Duration::from_millis(variable("READY_AFTER_MS", 0)?),
            faults: Faults::read()?,
        })
    }
}

impl Faults {
    fn read() -> Result<Self, String> {
        let always = variable("FAIL", 0u8)? != 0;
        let fail_percent = if always { 100 } else { variable("FAIL_PERCENT", 0u8)? };
        if fail_percent > 100 {
            return Err(format!("FAIL_PERCENT: it must be at most 100, not {fail_percent}"));
        }
        Ok(Self {
            fail_percent,
            delay: Duration::from_millis(variable("DELAY_MS", 0)?),
            leak_mib_per_second: variable("LEAK_MIB_PER_SECOND", 0)?,
            exit_after_requests: variable("EXIT_AFTER_REQUESTS", 0)?,
        })
    }
}

/// Reads a variable of the environment; returns the default where it is not set.
///
/// # Errors
/// When the variable has an invalid value.
pub fn variable<T: FromStr<Err: fmt::Display>>(name: &str, default: T) -> Result<T, String> {
    match env::var(name) {
        Ok(text) if !text.is_empty() => text.parse().map_err(|error| format!("{name}: {error}")),
        _ => Ok(default),
    }
}
