//! State of the copies of ConfigMaps and Secrets.

use rainbow_api::{ColorConfig, ConfigContent, ConfigKind, ConfigName};
use rainbow_plan::{CopyState, Source};
use std::collections::BTreeMap;

use super::Foreign;
use crate::{cache::App, config::ReadAccess, domain, kind::kind_of, live::Check, uid::Uid};

/// Returns the copies that colors have, that the spec's version has, and that exist. Copies of a kind that is not watched are left out.
pub(super) fn copies(
    app: &App,
    owner: Option<&str>,
    version: &[ColorConfig],
    foreign: &Foreign,
) -> BTreeMap<rainbow_plan::ConfigName, CopyState> {
    let owner = owner.map(Uid::of);
    let named = app.colors.values().flat_map(|color| &color.spec.config).chain(version);
    let named = named.filter(|one| one.content == ConfigContent::Copied);
    let mut all: BTreeMap<(ConfigKind, &str), &str> =
        named.map(|one| ((one.kind, one.copy.as_str()), one.name.as_str())).collect();
    // A color that cannot be read may have any of the other copies.
    if app.unreadable_colors.is_empty() {
        for kind in [ConfigKind::ConfigMap, ConfigKind::Secret] {
            for (name, copy) in app.copies(kind).iter() {
                all.entry((kind, name)).or_insert(&copy.of);
            }
        }
    }
    let mut states = BTreeMap::new();
    for ((kind, copy), of) in all {
        if *app.config.readables.of(kind) != ReadAccess::Yes {
            continue;
        }
        let is_same = app.config.copy_of(&ConfigName { kind, name: of.to_owned() }) == Some(copy);
        let source = if is_same { Source::Same } else { Source::Changed };
        let state = match app.copies(kind).get(copy) {
            None if foreign.contains(&(kind_of(kind), copy.to_owned())) => CopyState::Foreign,
            None => CopyState::Absent { source },
            Some(found) if found.meta.deleting => CopyState::Deleting,
            Some(found) => {
                let intact = found.check != Check::Wrong && found.owner == owner;
                CopyState::Ours { source, intact }
            }
        };
        states.insert(domain::config_name(kind, copy), state);
    }
    states
}
