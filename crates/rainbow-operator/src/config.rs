//! ConfigMaps and Secrets that an application names: what is known of their content, and which copies follow from it.
//!
//! The watches show metadata only, so that the operator holds no user's data. The content of an object that an application names is read
//! when the object is new or has changed, and only the name of the resulting copy is kept.

use rainbow_api::{ColorConfig, ConfigContent, ConfigKind, ConfigName, Demand, Reason};
use std::collections::{BTreeMap, BTreeSet};

use crate::{
    content::{self, ContentKey},
    messages,
};

/// Whether the objects of a kind can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ReadAccess {
    /// The objects have been listed, and are watched.
    Yes,
    /// The first list is under way.
    #[default]
    NotYet,
    /// The operator was installed without the right.
    NotAllowed,
    /// The API server refused the first list with this answer.
    Failed(String),
}

/// Whether the objects of each kind can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadAccesses {
    pub(crate) config_maps: ReadAccess,
    pub(crate) secrets: ReadAccess,
}

impl ReadAccesses {
    pub(crate) fn of(&self, kind: ConfigKind) -> &ReadAccess {
        match kind {
            ConfigKind::ConfigMap => &self.config_maps,
            ConfigKind::Secret => &self.secrets,
        }
    }
}

/// Result of reading an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReadOutcome {
    /// The object exists, and its copy has this name.
    Content { version: u64, copy: String },
    /// The object does not exist.
    Absent,
    /// The object could not be read.
    Failed(String),
}

/// State of an object that is followed.
#[derive(Clone, Debug, Default)]
struct Original {
    /// Number of changes that the watch has shown. A read during which one came is discarded.
    changes: u64,
    /// Result of the last read. `None`: the object must be read.
    found: Option<ReadOutcome>,
}

/// State of an application's configuration.
#[derive(Debug, Default)]
pub(crate) struct Config {
    originals: BTreeMap<ConfigName, Original>,
    /// Key of the hashes of Secrets, once it is known.
    pub(crate) key: Option<ContentKey>,
    pub(crate) readables: ReadAccesses,
}

/// Object to be read, with the number of its changes before the read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObjectToRead {
    pub(crate) name: ConfigName,
    pub(crate) changes: u64,
}

/// Copies of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// All copies are known.
    Copies(Vec<ColorConfig>),
    /// The version cannot be made: the reason, and the sentence for people.
    Blocked(Reason, String),
}

impl Config {
    /// Follows these objects and no others. Returns the new ones, and those that are no longer followed.
    pub(crate) fn follow(&mut self, names: &BTreeSet<ConfigName>) -> (Vec<ConfigName>, Vec<ConfigName>) {
        let new: Vec<ConfigName> = names.iter().filter(|name| !self.originals.contains_key(*name)).cloned().collect();
        let old: Vec<ConfigName> = self.originals.keys().filter(|name| !names.contains(*name)).cloned().collect();
        old.iter().for_each(|name| drop(self.originals.remove(name)));
        self.originals.extend(new.iter().map(|name| (name.clone(), Original::default())));
        (new, old)
    }

    /// Returns the objects that are followed.
    pub(crate) fn names(&self) -> impl Iterator<Item = &ConfigName> {
        self.originals.keys()
    }

    /// Takes in that the watch has shown an object at a version. Returns whether that is news.
    pub(crate) fn see(&mut self, name: &ConfigName, version: u64) -> bool {
        let Some(original) = self.originals.get_mut(name) else { return false };
        let is_known = matches!(original.found, Some(ReadOutcome::Content { version: known, .. }) if known >= version);
        if !is_known || version == 0 {
            original.changes += 1;
            original.found = None;
            return true;
        }
        false
    }

    /// Takes in that the watch has shown that an object is gone, or that a list has not shown it. Returns whether that is news.
    pub(crate) fn miss(&mut self, name: &ConfigName) -> bool {
        let Some(original) = self.originals.get_mut(name) else { return false };
        if original.found == Some(ReadOutcome::Absent) {
            return false;
        }
        original.changes += 1;
        original.found = None;
        true
    }

    /// Returns those of the objects that must be read: all that are unknown, and all that could not be read.
    pub(crate) fn to_read<'a>(&self, names: impl Iterator<Item = &'a ConfigName>) -> Vec<ObjectToRead> {
        let unknown = |name: &ConfigName| {
            let original = self.originals.get(name)?;
            let is_due = matches!(original.found, None | Some(ReadOutcome::Failed(_)));
            let is_readable = *self.readables.of(name.kind) == ReadAccess::Yes;
            (is_due && is_readable).then(|| ObjectToRead { name: name.clone(), changes: original.changes })
        };
        names.filter_map(unknown).collect()
    }

    /// Takes in the result of a read, unless the object has changed since.
    pub(crate) fn learn(&mut self, read: &ObjectToRead, found: ReadOutcome) {
        if let Some(original) = self.originals.get_mut(&read.name)
            && original.changes == read.changes
        {
            original.found = Some(found);
        }
    }

    /// Returns the name of the copy that an object has now.
    pub(crate) fn copy_of(&self, name: &ConfigName) -> Option<&str> {
        match self.originals.get(name)?.found.as_ref()? {
            ReadOutcome::Content { copy, .. } => Some(copy),
            ReadOutcome::Absent | ReadOutcome::Failed(_) => None,
        }
    }

    /// Returns the copies of a version whose templates name these objects.
    pub(crate) fn resolve(&self, rainbow: &str, named: &BTreeMap<ConfigName, Demand>) -> Resolution {
        let mut copies = Vec::new();
        let (mut forbidden, mut failed, mut missing) = (BTreeSet::new(), Vec::new(), Vec::new());
        for (name, demand) in named {
            match self.readables.of(name.kind) {
                ReadAccess::NotAllowed => drop(forbidden.insert(name.clone())),
                ReadAccess::Failed(why) => failed.push(messages::not_listed(name.kind, why)),
                ReadAccess::NotYet => failed.push(messages::not_read_yet(name)),
                ReadAccess::Yes => match (self.originals.get(name).and_then(|known| known.found.as_ref()), demand) {
                    (Some(ReadOutcome::Content { copy, .. }), _) => {
                        copies.push(one(name, copy.clone(), ConfigContent::Copied))
                    }
                    (Some(ReadOutcome::Absent), Demand::Optional) => {
                        copies.push(one(name, content::name_of_nothing(rainbow, name), ConfigContent::Absent));
                    }
                    (Some(ReadOutcome::Absent), Demand::Required) => missing.push(name),
                    (Some(ReadOutcome::Failed(why)), _) => failed.push(why.clone()),
                    (None, _) => failed.push(messages::not_read_yet(name)),
                },
            }
        }
        failed.dedup();
        if !forbidden.is_empty() {
            return Resolution::Blocked(Reason::ConfigNotAllowed, messages::config_not_allowed(&forbidden));
        }
        if !failed.is_empty() {
            return Resolution::Blocked(Reason::Unavailable, failed.join("; "));
        }
        if !missing.is_empty() {
            return Resolution::Blocked(Reason::ConfigMissing, messages::config_missing(&missing));
        }
        Resolution::Copies(copies)
    }
}

fn one(name: &ConfigName, copy: String, content: ConfigContent) -> ColorConfig {
    ColorConfig { kind: name.kind, name: name.name.clone(), copy, content }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(name: &str) -> ConfigName {
        ConfigName { kind: ConfigKind::ConfigMap, name: name.into() }
    }

    fn secret(name: &str) -> ConfigName {
        ConfigName { kind: ConfigKind::Secret, name: name.into() }
    }

    fn content(version: u64) -> ReadOutcome {
        ReadOutcome::Content { version, copy: format!("settings-{version}") }
    }

    fn config() -> Config {
        let readables = ReadAccesses { config_maps: ReadAccess::Yes, secrets: ReadAccess::NotAllowed };
        let mut config = Config { readables, ..Config::default() };
        config.follow(&[map("settings"), map("extra"), secret("database")].into());
        config
    }

    #[test]
    fn a_change_during_a_read_is_not_lost() {
        let mut config = config();
        let names = [map("settings")];
        let read = config.to_read(names.iter());
        assert_eq!(read, [ObjectToRead { name: map("settings"), changes: 0 }]);
        assert!(config.see(&map("settings"), 7), "the watch shows a change");
        config.learn(&read[0], content(6));
        assert_eq!(config.copy_of(&map("settings")), None, "the answer may be older");
        let read = config.to_read(names.iter());
        config.learn(&read[0], content(7));
        assert!(config.to_read(names.iter()).is_empty());
        // A state that is known already is no news. A lagging watch shows it after the read.
        assert!(!config.see(&map("settings"), 7) && !config.see(&map("settings"), 6));
        assert!(config.see(&map("settings"), 8));
        let read = config.to_read(names.iter());
        config.learn(&read[0], ReadOutcome::Absent);
        assert!(!config.miss(&map("settings")) && config.see(&map("settings"), 9));
        assert!(!config.see(&map("other"), 1), "an object that nobody names");
    }

    #[test]
    fn a_version_waits_for_all_that_it_needs() {
        let mut config = config();
        let named = |all: &[(ConfigName, Demand)]| all.iter().cloned().collect::<BTreeMap<_, _>>();
        let reason = |config: &Config, name, demand| match config.resolve("shop", &named(&[(name, demand)])) {
            Resolution::Blocked(reason, _) => Some(reason),
            Resolution::Copies(_) => None,
        };
        let (required, optional) = (Demand::Required, Demand::Optional);
        assert_eq!(reason(&config, secret("database"), optional), Some(Reason::ConfigNotAllowed));
        assert_eq!(reason(&config, map("settings"), required), Some(Reason::Unavailable), "not read yet");
        config.learn(&ObjectToRead { name: map("settings"), changes: 0 }, ReadOutcome::Absent);
        assert_eq!(reason(&config, map("settings"), required), Some(Reason::ConfigMissing));
        config.learn(&ObjectToRead { name: map("settings"), changes: 0 }, content(1));
        config.learn(&ObjectToRead { name: map("extra"), changes: 0 }, ReadOutcome::Absent);
        let Resolution::Copies(copies) =
            config.resolve("shop", &named(&[(map("settings"), required), (map("extra"), optional)]))
        else {
            panic!("all is known");
        };
        let text: Vec<String> = copies.iter().map(|one| format!("{} {:?}", one.name, one.content)).collect();
        assert_eq!(text, ["extra Absent", "settings Copied"]);
    }
}
