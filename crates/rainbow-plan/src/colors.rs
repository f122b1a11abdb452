//! Which colors are held, wait or leave, and whether a new one is to be made.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Action, InstanceName, Problem,
    draft::Draft,
    situation::Situation,
    view::{ColorId, View},
};

/// What a color is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Stages need it: its size is enforced.
    Held {
        /// Their names, in the order of the spec.
        stages: Vec<usize>,
    },
    /// It is the spec's color and in no stage yet: its size is enforced, so that it can be promoted at once.
    Candidate,
    /// It shall have pods, but as many colors live as may.
    Waiting {
        /// The stages that would hold it.
        stages: Vec<usize>,
    },
    /// No stage needs it: it keeps what it has until it has drained.
    Leaving,
}

impl Role {
    /// Its size is enforced.
    pub(crate) fn enforced(&self) -> bool {
        matches!(self, Self::Held { .. } | Self::Candidate)
    }

    /// Indexes of the stages it is for.
    pub(crate) fn stages(&self) -> &[usize] {
        match self {
            Self::Held { stages } | Self::Waiting { stages } => stages,
            Self::Candidate | Self::Leaving => &[],
        }
    }
}

/// The color was made of the tiers the spec has now.
pub(crate) fn matches_spec(view: &View<'_>, color: ColorId) -> bool {
    let wanted: BTreeMap<&str, &str> =
        view.spec().tiers.iter().map(|tier| (tier.name.as_str(), tier.identity.as_str())).collect();
    let found: BTreeMap<&str, &str> =
        view.colors[color].tiers.iter().map(|tier| (tier.name.as_str(), tier.identity.as_str())).collect();
    wanted == found
}

/// Makes the spec's color where it does not exist, and refuses a name that other tiers have.
pub(crate) fn create(view: &View<'_>, draft: &mut Draft) {
    let spec = view.spec();
    match view.color(&spec.color) {
        None => {
            let own = |tier: &str| InstanceName { tier: tier.to_owned(), color: spec.color.clone() };
            draft.act(Action::CreateColor {
                color: spec.color.clone(),
                revision: view.colors.first().map_or(0, |newest| newest.revision).saturating_add(1),
                instances: spec.tiers.iter().map(|tier| (tier.name.clone(), own(&tier.name))).collect(),
            });
        }
        // One that is being deleted makes way: the spec's tiers get the name when it is gone.
        Some(color) if !view.colors[color].deleting && !matches_spec(view, color) => {
            draft.problem(Problem::ColorInUse { color: spec.color.clone() });
        }
        Some(_) => {}
    }
}

/// The role of every color, by its index.
pub(crate) fn roles(view: &View<'_>, situations: &[Situation<'_>], draft: &mut Draft) -> Vec<Role> {
    let mut roles: Vec<Role> = (0..view.colors.len()).map(|color| wanted_role(view, situations, color)).collect();
    for (id, role) in roles.iter().enumerate() {
        let color = view.colors[id];
        if let (true, Role::Held { stages }) = (color.retire, role) {
            let stage = stages.first().map_or_else(String::new, |index| situations[*index].stage.name.clone());
            draft.problem(Problem::InUse { color: color.name.clone(), stage });
        }
    }
    limit(view, situations, &mut roles, draft);
    roles
}

fn wanted_role(view: &View<'_>, situations: &[Situation<'_>], id: ColorId) -> Role {
    let color = view.colors[id];
    let stages: Vec<usize> = (0..situations.len()).filter(|index| situations[*index].touches.contains(&id)).collect();
    if !stages.is_empty() || removed_stage_points_at(view, id) {
        Role::Held { stages }
    } else if color.name == view.spec().color && !color.retire && !color.deleting {
        Role::Candidate
    } else {
        Role::Leaving
    }
}

/// A stage that was taken out of the spec still has a Service that points at the color.
fn removed_stage_points_at(view: &View<'_>, id: ColorId) -> bool {
    view.world.stages.iter().any(|(name, service)| match service {
        crate::StageService::Ours { selects: crate::Selection::Instance(instance), .. } => {
            view.spec().stages.iter().all(|stage| stage.name != *name) && view.owners(instance).contains(&id)
        }
        _ => false,
    })
}

/// The color has pods, or asks for some.
fn lives(view: &View<'_>, id: ColorId) -> bool {
    view.colors[id].instances.values().any(|instance| {
        let count = view.count(instance);
        count.replicas > 0 || !count.gone
    })
}

/// Holds back colors that would be more than may live. A color that has pods already, or that a stage points at, is never
/// held back; nothing is ended to make room.
fn limit(view: &View<'_>, situations: &[Situation<'_>], roles: &mut [Role], draft: &mut Draft) {
    let mut living: BTreeSet<ColorId> = (0..view.colors.len()).filter(|id| lives(view, *id)).collect();
    living.extend(situations.iter().filter_map(|situation| situation.serving));
    // A limit of none could never be met by any application.
    let most = view.spec().keep.live.max(1) as usize;
    // Newest first: the color of the latest release gets a slot that is free before older ones come back.
    for id in 0..view.colors.len() {
        if !roles[id].enforced() || living.contains(&id) {
            continue;
        }
        if living.len() < most {
            living.insert(id);
            continue;
        }
        roles[id] = Role::Waiting { stages: roles[id].stages().to_vec() };
        draft.problem(Problem::TooManyColors {
            color: view.colors[id].name.clone(),
            live: u32::try_from(living.len()).unwrap_or(u32::MAX),
            held_by: living
                .iter()
                .map(|holder| held_by(view, situations, roles, *holder))
                .collect::<Vec<_>>()
                .join(", "),
        });
    }
}

fn held_by(view: &View<'_>, situations: &[Situation<'_>], roles: &[Role], id: ColorId) -> String {
    let name = &view.colors[id].name;
    match &roles[id] {
        Role::Held { stages } if !stages.is_empty() => {
            let names: Vec<&str> = stages.iter().map(|index| situations[*index].stage.name.as_str()).collect();
            format!("{name} (stage {})", names.join(", "))
        }
        Role::Held { .. } => format!("{name} (a removed stage)"),
        Role::Candidate | Role::Waiting { .. } => format!("{name} (the spec's color)"),
        Role::Leaving => format!("{name} (draining)"),
    }
}
