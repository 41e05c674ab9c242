//! The window: what is under way, and up to where everything is done.
//!
//! Events are begun in the order of the log and done in any. The place that is kept lies before the first that is not done, so that
//! nothing is lost where it begins again; what was done beyond it is done again then: at least once.

use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InFlightWindow {
    /// From the first that is not done on: whether it is done. The first never is.
    open: BTreeMap<u64, bool>,
    /// Up to here everything was begun, or is not wanted.
    through: u64,
}

impl InFlightWindow {
    /// Up to here everything is done.
    pub fn after(position: u64) -> InFlightWindow {
        InFlightWindow { open: BTreeMap::new(), through: position }
    }

    /// The next one is under way. Positions ascend.
    pub fn begin(&mut self, position: u64) {
        self.open.insert(position, false);
        self.pass(position);
    }

    /// Up to here there is nothing else that is wanted.
    pub fn pass(&mut self, position: u64) {
        self.through = self.through.max(position);
    }

    /// One is done.
    pub fn done(&mut self, position: u64) {
        if let Some(done) = self.open.get_mut(&position) {
            *done = true;
        }
        while let Some(first) = self.open.first_entry().filter(|first| *first.get()) {
            first.remove();
        }
    }

    /// Up to here everything is done.
    pub fn place(&self) -> u64 {
        self.open.first_key_value().map_or(self.through, |(first, _)| first - 1)
    }

    /// How many there are from the first on that is not done: so many are done again at most.
    pub fn len(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_place_lies_before_the_first_that_is_not_done(
            start in 0u64..5,
            steps in proptest::collection::vec((0u8..4, 1u64..4, any::<proptest::sample::Index>()), 0..60),
        ) {
            let mut window = InFlightWindow::after(start);
            let (mut through, mut begun, mut done) = (start, BTreeSet::new(), BTreeSet::new());
            for (what, step, which) in steps {
                match what {
                    0 | 1 => {
                        through += step;
                        begun.insert(through);
                        window.begin(through);
                    }
                    2 => {
                        through += step;
                        window.pass(through);
                    }
                    _ => {
                        let open: Vec<u64> = begun.difference(&done).copied().collect();
                        if !open.is_empty() {
                            let position = *which.get(&open);
                            done.insert(position);
                            window.done(position);
                        }
                    }
                }
                let first = begun.difference(&done).next().copied();
                prop_assert_eq!(window.place(), first.map_or(through, |first| first - 1));
                prop_assert_eq!(window.len(), first.map_or(0, |first| begun.range(first..).count()));
            }
        }
    }
}
