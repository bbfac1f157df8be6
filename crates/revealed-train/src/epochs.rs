//! Which items the steps of a stage take: all of them in one order, then all of them in another.

use revealed_data::shuffled;

/// An endless order of `count` items in which none comes twice before all have come.
pub(crate) struct Epochs {
    count: usize,
    epoch: usize,
    /// What is left of the epoch, the next item last.
    left: Vec<usize>,
}

impl Epochs {
    pub(crate) fn new(count: usize) -> Self {
        Self { count, epoch: 0, left: vec![] }
    }

    /// The next `size` items; `seed` gives the seed of an epoch's order. Nothing where there are no items.
    pub(crate) fn take(&mut self, size: usize, seed: impl Fn(usize) -> u64) -> Vec<usize> {
        let mut taken = Vec::with_capacity(size);
        while taken.len() < size && self.count > 0 {
            if self.left.is_empty() {
                self.left = shuffled(self.count, seed(self.epoch));
                self.epoch += 1;
            }
            let from = self.left.len().saturating_sub(size - taken.len());
            taken.extend(self.left.drain(from..).rev());
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_item_comes_twice_before_all_have_come() {
        for size in [1, 3, 7, 10] {
            let mut epochs = Epochs::new(7);
            let mut all: Vec<usize> =
                (0..21).flat_map(|_| epochs.take(size, |epoch| epoch as u64)).collect();
            all.truncate(21);
            for epoch in all.chunks(7) {
                let mut sorted = epoch.to_vec();
                sorted.sort_unstable();
                assert_eq!(sorted, (0..7).collect::<Vec<_>>(), "{size}: {all:?}");
            }
            assert_ne!(all[..7], all[7..14], "another epoch has another order");
        }
    }

    #[test]
    fn nothing_comes_of_nothing() {
        assert!(Epochs::new(0).take(3, |_| 0).is_empty());
    }
}
