//! Order of items over epochs: every epoch is another permutation of all items.

use revealed_data::shuffled;

/// Items `from` to `from + size` of the concatenated permutations of `count` items; `seed` gives the seed of an epoch's
/// permutation. Empty if there are no items. It depends on its arguments only, so a phase can resume at any step.
pub(crate) fn items(
    count: usize,
    from: usize,
    size: usize,
    seed: impl Fn(usize) -> u64,
) -> Vec<usize> {
    let mut taken = Vec::with_capacity(size);
    while taken.len() < size && count > 0 {
        let next = from + taken.len();
        let order = shuffled(count, seed(next / count));
        let left = order.into_iter().rev().skip(next % count);
        taken.extend(left.take(size - taken.len()));
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_item_repeats_within_an_epoch() {
        for size in [1, 3, 7, 10] {
            let steps = 21_usize.div_ceil(size);
            let take = |step| items(7, step * size, size, |epoch| epoch as u64);
            let mut all: Vec<usize> = (0..steps).flat_map(take).collect();
            all.truncate(21);
            for epoch in all.chunks(7) {
                let mut sorted = epoch.to_vec();
                sorted.sort_unstable();
                assert_eq!(sorted, (0..7).collect::<Vec<_>>(), "{size}: {all:?}");
            }
            assert_ne!(all[..7], all[7..14], "epochs have different orders");
            assert_eq!(
                all,
                items(7, 0, 21, |epoch| epoch as u64),
                "the step size makes no difference"
            );
        }
    }

    #[test]
    fn no_items_give_an_empty_order() {
        assert!(items(0, 5, 3, |_| 0).is_empty());
    }
}
