//! Seeds derived from (run seed, round, purpose, step): no random state is carried over.

/// A seed for one purpose: equal inputs give equal seeds, different inputs unrelated ones.
pub fn derive(seed: u64, round: usize, purpose: &str, step: usize) -> u64 {
    let mut state = mix(seed);
    for part in [round as u64, step as u64].into_iter().chain(purpose.bytes().map(u64::from)) {
        state = mix(state ^ mix(part));
    }
    state
}

/// SplitMix64's step (Steele, Lea and Flood, 2014).
fn mix(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::derive;

    #[test]
    fn every_part_of_the_key_changes_the_seed() {
        let seed = derive(1, 2, "fit", 3);
        assert_eq!(seed, derive(1, 2, "fit", 3));
        for other in [derive(2, 2, "fit", 3), derive(1, 3, "fit", 3), derive(1, 2, "fi", 3)] {
            assert_ne!(seed, other);
        }
        assert_ne!(derive(1, 2, "fit", 3), derive(1, 3, "fit", 2));
    }
}
