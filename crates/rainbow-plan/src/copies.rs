//! Copies of configuration. A copy that a color reads exists before the color does, stays as long as the color, and is deleted
//! with the last color that reads it.

use std::collections::BTreeMap;

use crate::{
    Action, ChainKey, ConfigCopy, ConfigName, CopyState, InstanceName, Object, Problem, Source, Version,
    colors::Role,
    draft::Draft,
    history::exists,
    view::{ColorId, View},
};

/// Returns whether all copies that the spec's color reads exist. Makes those that do not: the color is made when they are seen.
pub(crate) fn are_made(view: &View<'_>, draft: &mut Draft) -> bool {
    let spec = view.spec;
    let mut all = true;
    for copy in spec.config.iter().map(ConfigCopy::name) {
        let Some(state) = view.world.copies.get(&copy) else { continue };
        if let CopyState::Ours { intact: true, .. } = state {
            continue;
        }
        all = false;
        // `keep` repairs a copy that a color already reads.
        if view.colors.iter().any(|color| color.config.iter().any(|known| known.name() == copy)) {
            continue;
        }
        match repair(&copy, *state) {
            Repair::Do(action) => draft.act(ChainKey::Start(spec.color.clone()), action),
            Repair::Foreign => draft.problem(Problem::Foreign { object: Object::Copy(copy) }),
            Repair::Impossible | Repair::Wait => {}
        }
    }
    all
}

/// Restores copies that colors read, and deletes those that no color reads.
pub(crate) fn keep(view: &View<'_>, roles: &[Role], draft: &mut Draft) {
    let mut readers: BTreeMap<ConfigName, Vec<ColorId>> = BTreeMap::new();
    for (id, color) in view.colors.iter().enumerate() {
        for copy in &color.config {
            readers.entry(copy.name()).or_default().push(id);
        }
    }
    for (copy, state) in &view.world.copies {
        let Some(readers) = readers.get(copy) else { continue };
        if let CopyState::Ours { intact: true, .. } = state {
            continue;
        }
        match repair(copy, *state) {
            Repair::Do(action) => draft.act(ChainKey::Config, action),
            Repair::Wait => {}
            Repair::Foreign => draft.problem(Problem::Foreign { object: Object::Copy(copy.clone()) }),
            // A color without pods needs its copies only when a stage is to go back to it. The problem is reported then.
            Repair::Impossible => {
                if let Some(reader) = readers.iter().find(|reader| needs_pods(view, roles, **reader)) {
                    let color = view.colors[*reader];
                    let source = color.config.iter().find(|known| known.name() == *copy);
                    draft.problem(Problem::CopyLost {
                        color: color.name.clone(),
                        copy: copy.clone(),
                        source: source.map(|known| known.source.clone()).unwrap_or_else(|| copy.clone()),
                    });
                }
            }
        }
    }
    if view.spec.version == Version::Invalid || has_orphans(view) {
        return;
    }
    for (copy, state) in &view.world.copies {
        let is_read = readers.contains_key(copy) || view.spec.config.iter().any(|known| known.name() == *copy);
        if matches!(state, CopyState::Ours { .. }) && !is_read {
            draft.act(ChainKey::Config, Action::DeleteCopy { copy: copy.clone() });
        }
    }
}

/// Returns the objects whose content in the spec's version differs from that in a color of the same name.
pub(crate) fn changed(view: &View<'_>, color: ColorId) -> Vec<ConfigName> {
    let known = &view.colors[color].config;
    view.spec.config.iter().filter(|copy| !known.contains(copy)).map(|copy| copy.source.clone()).collect()
}

/// Repair of a copy that is not as it should be.
enum Repair {
    Do(Action),
    /// An object of another owner has the name.
    Foreign,
    /// The object that was copied has another content by now.
    Impossible,
    Wait,
}

/// Returns the repair of a copy. A copy is never changed: one with another content is deleted before a new one is made, and only
/// where a new one can be made.
fn repair(copy: &ConfigName, state: CopyState) -> Repair {
    let copy = copy.clone();
    match state {
        CopyState::Absent { source: Source::Same } => Repair::Do(Action::CreateCopy { copy }),
        CopyState::Ours { source: Source::Same, .. } => Repair::Do(Action::DeleteCopy { copy }),
        CopyState::Absent { source: Source::Changed } | CopyState::Ours { source: Source::Changed, .. } => {
            Repair::Impossible
        }
        CopyState::Foreign => Repair::Foreign,
        CopyState::Deleting => Repair::Wait,
    }
}

/// Returns whether the color has pods, or should have some.
fn needs_pods(view: &View<'_>, roles: &[Role], id: ColorId) -> bool {
    roles[id].enforced() || view.colors[id].instances.values().any(|instance| !view.count(instance).gone)
}

/// Returns whether there are instances that no color has. Nothing tells which copies their pods read.
fn has_orphans(view: &View<'_>) -> bool {
    let is_orphan = |instance: &InstanceName| {
        view.owners(instance).is_empty() && (exists(view, instance) || view.alive(instance).next().is_some())
    };
    view.world.instances.keys().any(is_orphan)
}
