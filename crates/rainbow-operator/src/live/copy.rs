//! ConfigMaps and Secrets, of which the watches show metadata only: Rainbow's copies, and the objects of others.

use rainbow_api::labels;

use super::{Meta, ShownMeta, rainbow_of};
use crate::uid::Uid;

/// Copy that Rainbow has made.
#[derive(Clone, Debug)]
pub(crate) struct Copied {
    pub(crate) meta: Meta,
    /// Name of the object that was copied.
    pub(crate) of: Box<str>,
    /// Uid of the Rainbow that owns the copy.
    pub(crate) owner: Option<Uid>,
    pub(crate) check: Check,
}

/// Result of comparing a copy's content with its name. A copy is immutable, so one with the right content keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// The copy must be read.
    Unknown,
    Intact,
    /// Another writer has replaced the copy by another object.
    Wrong,
}

impl Copied {
    /// Returns the copy. `None`: the object is no copy of Rainbow's. An object that only has the Rainbow as its owner may be its user's,
    /// made to be deleted with the Rainbow.
    pub(super) fn of(object: &ShownMeta) -> Option<Box<Self>> {
        let meta = &object.metadata;
        rainbow_of(meta)?;
        let of = meta.annotations.as_ref()?.get(labels::COPY_OF)?;
        let owner = meta.owner_references.iter().flatten().find(|owner| owner.kind == "Rainbow");
        Some(Box::new(Self {
            meta: Meta::of(meta),
            of: of.as_str().into(),
            owner: owner.map(|owner| Uid::of(&owner.uid)),
            check: Check::Unknown,
        }))
    }
}
