//! Names that are taken.

use crate::{domain::Owner, kind::Kind};

/// Describes two purposes that have the same name.
pub(crate) fn name_taken(kind: Kind, name: &str, purpose: &Owner, owner: &Owner) -> String {
    let remedy = match purpose {
        Owner::Stage(stage) | Owner::Shadow(stage) => {
            format!("rename the stage, or set another spec.stages[{stage}].service.name")
        }
        Owner::Instance(_) | Owner::Rainbow(_) => match owner {
            Owner::Stage(stage) | Owner::Shadow(stage) => {
                format!("rename stage `{stage}`, or set another spec.stages[{stage}].service.name")
            }
            Owner::Instance(_) => "give spec.color another name".to_owned(),
            Owner::Rainbow(_) => "make this Rainbow again with a spec.namePrefix".to_owned(),
        },
    };
    format!("{} cannot have {kind} `{name}`, which is that of {}: {remedy}", self::owner(purpose), self::owner(owner))
}

/// Describes why the color that the spec describes cannot be made: a name is taken.
pub(crate) fn color_name_taken(kind: Kind, name: &str, purpose: &Owner, owner: &Owner) -> String {
    format!("spec.color: {}", name_taken(kind, name, purpose, owner))
}

fn owner(owner: &Owner) -> String {
    match owner {
        Owner::Instance(instance) => format!("tier `{}` of color `{}`", instance.tier, instance.color),
        Owner::Stage(stage) => format!("stage `{stage}`"),
        Owner::Shadow(stage) => format!("the shadow of stage `{stage}`"),
        Owner::Rainbow(rainbow) => format!("Rainbow `{rainbow}`"),
    }
}

/// Describes that a needed name belongs to an object that is not Rainbow's.
pub(crate) fn foreign(kind: Kind, name: &str) -> String {
    format!("{kind} `{name}` exists and is not Rainbow's")
}

/// Describes that the prefix of all names was changed while objects have names with the former one.
pub(crate) fn prefix_changed(was: &str, is: &str) -> String {
    format!(
        "spec.namePrefix cannot change from \"{was}\" to \"{is}\" while Deployments have names with the former, so names keep the \
         former: set it back, or delete the Rainbow and make it again"
    )
}

/// Describes that an object that should be created exists.
pub(crate) fn there_already(kind: Kind, name: &str) -> String {
    format!("{kind} `{name}` exists already")
}

/// Describes that a Color that should be created belongs to another Rainbow.
pub(crate) fn color_of_another(kind: Kind, name: &str) -> String {
    format!("{kind} `{name}` exists and is not this Rainbow's: delete it or change spec.color")
}
