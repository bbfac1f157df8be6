//! Scores of a round by the validation reward.

use super::held_out::{accuracy, mean};
use crate::record::ValidationScores;

/// Scores by the validation reward; the `group` samples of a prompt are adjacent.
pub(super) fn validation_scores(
    demonstrations: &[f64],
    old: &[f64],
    new: &[f64],
    group: usize,
) -> ValidationScores {
    let rises: Vec<f64> =
        old.chunks(group).zip(new.chunks(group)).map(|(old, new)| mean(new) - mean(old)).collect();
    let (rise, count) = (mean(&rises), rises.len() as f64);
    let squares: f64 = rises.iter().map(|one| (one - rise).powi(2)).sum();
    ValidationScores {
        demonstrations: mean(demonstrations),
        before: mean(old),
        after: mean(new),
        standard_error: (squares / (count - 1.0).max(1.0) / count).sqrt(),
        accuracy_after: accuracy(demonstrations, new, group),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_error_is_over_means_of_prompts() {
        // Two samples of each of three prompts, whose means rise by 1, 2 and 6.
        let old = [0.0, 2.0, 5.0, 5.0, -1.0, -3.0];
        let new = [1.0, 3.0, 9.0, 5.0, 4.0, 4.0];
        let scores = validation_scores(&[2.0, 7.0, 4.0], &old, &new, 2);
        assert!((scores.before - 8.0 / 6.0).abs() < 1e-12);
        assert!((scores.after - 26.0 / 6.0).abs() < 1e-12);
        assert!((scores.demonstrations - 13.0 / 3.0).abs() < 1e-12);
        // Variance (4 + 1 + 9) / 2 over three prompts.
        assert!((scores.standard_error - (7.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!((scores.gain() - 3.0 / (7.0f64 / 3.0).sqrt()).abs() < 1e-12);
        // Above 1 and below 3; below 9 and above 5; equal to 4 twice.
        assert_eq!(scores.accuracy_after, (1.0 + 0.0 + 0.0 + 1.0 + 0.5 + 0.5) / 6.0);
    }
}
