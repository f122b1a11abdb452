//! Configuration that must be read before the next plan.

use rainbow_api::{ConfigKind, ConfigName};
use std::collections::BTreeSet;

use crate::{
    apply::{ConfigRequests, ConfigResults, CopyToCheck},
    cache::App,
    config::ReadAccess,
    live::{Check, Root},
    manifests::{self, Scope},
};

/// Returns the unknown parts of an application's configuration that its next plan depends on.
pub(super) fn questions(app: &App, root: &Root, scope: &Scope<'_>) -> ConfigRequests {
    let is_copied = |kind: ConfigKind, copy: &str| {
        app.copies(kind).get(copy).is_some_and(|found| found.check != Check::Wrong && !found.meta.deleting)
    };
    let colors = app.colors.values().flat_map(|color| &color.spec.config);
    // An existing copy tells nothing about the object, and needs nothing of it.
    let lacks = colors.filter(|one| !is_copied(one.kind, &one.copy));
    let mut names: BTreeSet<ConfigName> =
        lacks.map(|one| ConfigName { kind: one.kind, name: one.name.clone() }).collect();
    names.extend(root.config.values().flat_map(|named| named.keys()).cloned());
    let mut copies = Vec::new();
    for kind in [ConfigKind::ConfigMap, ConfigKind::Secret] {
        let all = app.copies(kind).iter().filter(|_| *app.config.readables.of(kind) == ReadAccess::Yes);
        let unknown = all.filter(|(_, found)| found.check == Check::Unknown && !found.meta.deleting);
        copies.extend(unknown.map(|(name, found)| CopyToCheck {
            copy: ConfigName { kind, name: name.to_string() },
            uid: found.meta.uid.clone(),
            of: found.of.to_string(),
        }));
    }
    ConfigRequests {
        originals: app.config.to_read(names.iter()),
        copies,
        key: app.config.key.clone(),
        key_object: manifests::config_key(scope, &root.rainbow),
    }
}

/// Returns whether a kind that the application names is being listed for the first time.
pub(super) fn is_being_listed(app: &App) -> bool {
    app.config.names().any(|name| *app.config.readables.of(name.kind) == ReadAccess::NotYet)
}

/// Takes in what was read.
pub(crate) fn learn(app: &mut App, answers: ConfigResults) {
    app.changes += 1;
    if let Some(key) = answers.key {
        app.config.key = Some(key);
    }
    for (read, found) in answers.originals {
        app.config.learn(&read, found);
    }
    for (one, check) in answers.checks {
        if let Some(copy) = app.copies_mut(one.copy.kind).get_mut(&one.copy.name)
            && copy.meta.uid == one.uid
        {
            copy.check = check;
        }
    }
}
