//! Names that many objects of an application repeat, kept once.

use std::sync::Arc;

/// Names in use. There are few of them.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<Arc<str>>);

impl Names {
    /// Replaces a name by an equal one that is already kept.
    pub(super) fn share(&mut self, name: &mut Arc<str>) {
        if let Some(known) = self.0.iter().find(|known| *known == name) {
            *name = Arc::clone(known);
            return;
        }
        // A new name is rare, so this is the time to forget names that nothing uses any more.
        self.0.retain(|known| Arc::strong_count(known) > 1);
        self.0.push(Arc::clone(name));
        self.0.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_are_one() {
        let mut names = Names::default();
        let (mut first, mut second): (Arc<str>, Arc<str>) = ("web".into(), "web".into());
        names.share(&mut first);
        names.share(&mut second);
        assert!(Arc::ptr_eq(&first, &second));
        drop((first, second));
        names.share(&mut "api".into());
        assert_eq!(names.0.len(), 1, "nothing has the other any more");
    }
}
