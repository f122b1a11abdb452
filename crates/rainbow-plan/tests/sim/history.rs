//! Histories as text: an application and the events that happen to it, one line each. A history that fails is printed in this
//! form. It can be pasted into a test (`explore::script`) or, each line behind `> `, into a walk.

use std::fmt;

use super::{events::Event, spec, *};

/// Application and the events that happen to it. Each property defines the meaning of the second part.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    pub spec: Spec,
    pub events: Vec<Event>,
    pub then: Vec<Event>,
}

impl History {
    /// Reads what `Display` writes. Lines that begin with `#` are left out.
    pub fn read(text: &str) -> Self {
        let mut spec = spec::spec("v1", Vec::new(), Vec::new());
        let (mut events, mut then, mut second) = (Vec::new(), Vec::new(), false);
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if line == "then" {
                second = true;
            } else if events.is_empty() && !second && spec::set(&mut spec, &words) {
            } else {
                let event = line.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
                if second { then.push(event) } else { events.push(event) }
            }
        }
        Self { spec, events, then }
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in spec::lines(&self.spec) {
            writeln!(f, "{line}")?;
        }
        for event in &self.events {
            writeln!(f, "{event}")?;
        }
        if !self.then.is_empty() {
            writeln!(f, "then")?;
        }
        for event in &self.then {
            writeln!(f, "{event}")?;
        }
        Ok(())
    }
}
