//! A few values by number, in one run of memory. A tree of the standard library's would be a fortieth of the agent for each
//! kind of value.

/// Values by number, the least first.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Numbered<V>(Vec<(u32, V)>);

impl<V> Default for Numbered<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V: std::fmt::Debug> std::fmt::Debug for Numbered<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(number, value)| (number, value))).finish()
    }
}

impl<V> Numbered<V> {
    fn find(&self, number: u32) -> Result<usize, usize> {
        self.0.binary_search_by_key(&number, |(n, _)| *n)
    }

    pub(crate) fn get(&self, number: u32) -> Option<&V> {
        self.find(number).ok().map(|at| &self.0[at].1)
    }

    pub(crate) fn insert(&mut self, number: u32, value: V) {
        match self.find(number) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (number, value)),
        }
    }

    pub(crate) fn remove(&mut self, number: u32) {
        if let Ok(at) = self.find(number) {
            self.0.remove(at);
        }
    }

    /// Removes the one of the least number; false: there is none.
    pub(crate) fn remove_least(&mut self) -> bool {
        !self.0.is_empty() && {
            self.0.remove(0);
            true
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, (u32, V)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::Numbered;

    #[test]
    fn values_are_found_by_their_numbers_and_replaced() {
        let mut some = Numbered::default();
        for (number, value) in [(9, 'a'), (2, 'b'), (u32::MAX, 'c'), (9, 'd'), (5, 'e')] {
            some.insert(number, value);
        }
        some.remove(5);
        some.remove(6);
        assert_eq!(some.iter().copied().collect::<Vec<_>>(), [(2, 'b'), (9, 'd'), (u32::MAX, 'c')]);
        assert_eq!((some.get(9), some.get(5), some.len()), (Some(&'d'), None, 3));
        assert!(some.remove_least() && some.get(2).is_none());
        some.clear();
        assert!(some.is_empty() && !some.remove_least());
    }
}
