//! Numbers over time as one line of Unicode blocks.

/// Blocks from low to high.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The last `width` values between their own lowest and highest; a value that is not finite is a gap, and values that are all
/// the same lie in the middle.
pub fn spark(values: &[f64], width: usize) -> String {
    let last = &values[values.len().saturating_sub(width)..];
    let finite = || last.iter().copied().filter(|value| value.is_finite());
    let (low, high) = (finite().fold(f64::MAX, f64::min), finite().fold(f64::MIN, f64::max));
    let block = |value: &f64| match value {
        value if !value.is_finite() => ' ',
        _ if high <= low => BLOCKS[3],
        value => {
            let share = (value - low) / (high - low);
            BLOCKS[((share * 8.0) as usize).min(7)]
        }
    };
    last.iter().map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_span_the_blocks_and_gaps_stay_gaps() {
        assert_eq!(spark(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 8), "▁▂▃▄▅▆▇█");
        assert_eq!(spark(&[9.0, 0.0, f64::NAN, 1.0], 3), "▁ █");
        assert_eq!(spark(&[2.0, 2.0], 8), "▄▄");
        assert_eq!(spark(&[], 8), "");
        assert_eq!(spark(&[f64::NAN], 8), " ");
    }
}
