//! Reconciliation of owned fields with a changed schema.

use super::set::{Branch, FieldSet, Step};
use crate::shape::{Form, Node, Ownership};

/// Turns the ownership of parts of a value that has become atomic into ownership of the whole value.
pub(super) fn reconcile(fields: &mut FieldSet, node: &Node) {
    let (mut gone, mut whole) = (FieldSet::default(), FieldSet::default());
    let found = Branch { member: false, below: std::mem::take(fields) };
    let (remove, add) = visit(&found, false, node);
    gone.add(&remove.below);
    whole.add(&add.below);
    *fields = found.below;
    fields.subtract_with_all_below(&gone);
    fields.add(&whole);
}

/// Returns the places to remove with everything below them, and the places to add.
fn visit(branch: &Branch, is_whole: bool, node: &Node) -> (Branch, Branch) {
    let form = node.form(None);
    let atomic = match form {
        Form::Scalar(_) => return (Branch::default(), Branch::default()),
        Form::List(list) => list.ownership == Ownership::Atomic,
        Form::Map(map) if map.is_untyped() => return (Branch::default(), Branch::default()),
        Form::Map(map) => map.atomic,
    };
    if !is_whole && atomic {
        let has_fields = matches!(form, Form::List(_)) || !branch.below.is_empty();
        return match has_fields {
            true => (Branch::leaf(), Branch::leaf()),
            false => (Branch::default(), Branch::default()),
        };
    }
    let (mut gone, mut whole) = (Branch::default(), Branch::default());
    for (step, inner) in branch.below.branches() {
        let child = match (form, step) {
            (Form::Map(map), Step::Field(name)) => map.field(name).map(|link| link.node()),
            (Form::List(list), _) => Some(list.element.node()),
            _ => None,
        };
        if let Some(child) = child {
            let (remove, add) = visit(inner, inner.member && inner.below.is_empty(), child);
            gone.below.insert(step.clone(), remove);
            whole.below.insert(step.clone(), add);
        }
    }
    (gone, whole)
}
