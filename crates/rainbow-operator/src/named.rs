//! Values by name, in the order of names. A sorted list is used since most have a few entries, and a tree has room for eleven in each node.

use std::borrow::Borrow;

#[derive(Clone, Debug)]
pub(crate) struct Named<V, K = Box<str>>(Vec<(K, V)>);

impl<V, K> Default for Named<V, K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V, K: Borrow<str>> Named<V, K> {
    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.borrow().cmp(name))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.place(name).is_ok()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&V> {
        self.entry(name).map(|(_, value)| value)
    }

    /// Returns the name as it is kept, with its value.
    pub(crate) fn entry(&self, name: &str) -> Option<(&K, &V)> {
        self.place(name).ok().and_then(|place| self.0.get(place)).map(|(name, value)| (name, value))
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut V> {
        self.place(name).ok().and_then(|place| self.0.get_mut(place)).map(|(_, value)| value)
    }

    /// Puts a value, and returns the previous one. A name that exists is kept as it is.
    pub(crate) fn insert(&mut self, name: K, value: V) -> Option<V> {
        match self.place(name.borrow()) {
            Ok(place) => self.0.get_mut(place).map(|(_, known)| std::mem::replace(known, value)),
            Err(place) => {
                self.insert_at(place, name, value);
                None
            }
        }
    }

    /// Returns the value of a name, which is added if there is none.
    pub(crate) fn or_default(&mut self, name: &str) -> &mut V
    where
        V: Default,
        K: for<'a> From<&'a str>,
    {
        let place = match self.place(name) {
            Ok(place) => place,
            Err(place) => {
                self.insert_at(place, name.into(), V::default());
                place
            }
        };
        &mut self.0[place].1
    }

    fn insert_at(&mut self, place: usize, name: K, value: V) {
        if self.0.len() == self.0.capacity() {
            // The list grows by a quarter, where it would double by itself.
            self.0.reserve_exact(self.0.len() / 4 + 1);
        }
        self.0.insert(place, (name, value));
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<V> {
        let place = self.place(name).ok()?;
        let (_, value) = self.0.remove(place);
        if self.0.capacity() > 2 * self.0.len() + 4 {
            self.0.shrink_to_fit();
        }
        Some(value)
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.0.retain_mut(|(name, value)| keep(name, value));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.0.iter_mut().map(|(name, value)| (&*name, value))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(name, _)| name)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order_and_each_there_once() {
        let mut named = Named::<u32>::default();
        for (name, value) in [("b", 1), ("c", 2), ("a", 3), ("b", 4)] {
            named.insert(name.into(), value);
        }
        assert_eq!(
            named.iter().map(|(name, value)| (&**name, *value)).collect::<Vec<_>>(),
            [("a", 3), ("b", 4), ("c", 2)]
        );
        assert_eq!((named.get("b"), named.get("x"), named.contains("c")), (Some(&4), None, true));
        assert_eq!((named.remove("b"), named.remove("b")), (Some(4), None));
        named.retain(|name, _| **name == *"c");
        assert_eq!(named.keys().map(|name| &**name).collect::<Vec<_>>(), ["c"]);
        assert!(!named.is_empty());
    }

    #[test]
    fn room_goes_with_what_it_was_for() {
        let mut named = Named::<u64>::default();
        for number in 0..100 {
            named.insert(format!("{number:03}").into(), number);
        }
        assert!(named.0.capacity() <= 125);
        for number in 0..99 {
            named.remove(&format!("{number:03}"));
        }
        assert!(named.0.capacity() <= 6, "{}", named.0.capacity());
    }
}
