//! Shift and scale of a learned reward.

use serde::{Deserialize, Serialize};

use crate::error::RewardError;

/// `calibrated = (raw − shift) / scale`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// The mean raw score of the demonstrations.
    pub shift: f64,
    /// The pooled standard deviation of raw scores within a prompt's samples, at least the floor.
    pub scale: f64,
}

impl Default for Calibration {
    fn default() -> Self {
        Self { shift: 0.0, scale: 1.0 }
    }
}

impl Calibration {
    /// Fits the shift to demonstrations and the scale to groups of samples, one group per prompt.
    ///
    /// `scale² = Σ_g Σ_i (s_gi − mean_g)² / Σ_g (n_g − 1)`, not below `floor`: dividing by a tiny spread
    /// would magnify noise. Differences between prompts are ignored: the pairwise loss does not determine them.
    ///
    /// # Errors
    /// Without demonstrations, without a group of two or more, or with a score that is not finite.
    pub fn fit<G: AsRef<[f64]>>(
        demonstrations: &[f64],
        samples: &[G],
        floor: f64,
    ) -> Result<Self, RewardError> {
        finite("demonstration", demonstrations)?;
        if demonstrations.is_empty() {
            return Err(RewardError::TooFew { needed: "demonstrations", found: 0 });
        }
        let (mut squares, mut freedom) = (0.0, 0usize);
        for group in samples.iter().map(AsRef::as_ref) {
            finite("sample", group)?;
            let mean = group.iter().sum::<f64>() / group.len().max(1) as f64;
            squares += group.iter().map(|score| (score - mean).powi(2)).sum::<f64>();
            freedom += group.len().saturating_sub(1);
        }
        if freedom == 0 {
            return Err(RewardError::TooFew {
                needed: "a prompt with two samples or more",
                found: samples.len(),
            });
        }
        Ok(Self {
            shift: demonstrations.iter().sum::<f64>() / demonstrations.len() as f64,
            scale: (squares / freedom as f64).sqrt().max(floor),
        })
    }

    /// The calibrated score: 0 for the average demonstration, 1 for one scale unit above it.
    pub fn apply(&self, raw: f64) -> f64 {
        (raw - self.shift) / self.scale
    }

    /// The raw score of a calibrated score (inverse of `apply`).
    pub fn revert(&self, calibrated: f64) -> f64 {
        calibrated * self.scale + self.shift
    }
}

/// Refuses the first score that is NaN or infinite.
pub(crate) fn finite(what: &'static str, scores: &[f64]) -> Result<(), RewardError> {
    match scores.iter().position(|score| !score.is_finite()) {
        Some(index) => Err(RewardError::NonFinite { what, index, value: scores[index] }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demonstrations_average_zero_and_an_offset_per_prompt_changes_nothing() {
        let demonstrations = [1.0, 2.0, 6.0];
        let near = [vec![0.0, 1.0, 2.0], vec![4.0, 6.0]];
        let shifted = [vec![10.0, 11.0, 12.0], vec![-4.0, -2.0]];
        let calibration = Calibration::fit(&demonstrations, &near, 0.0).unwrap();
        assert_eq!(calibration, Calibration::fit(&demonstrations, &shifted, 0.0).unwrap());
        let mean: f64 = demonstrations.iter().map(|s| calibration.apply(*s)).sum::<f64>() / 3.0;
        assert!(mean.abs() < 1e-12);
        // (1 + 0 + 1 + 1 + 1) / (2 + 1)
        assert!((calibration.scale - (4.0f64 / 3.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn a_calibrated_score_leads_back_to_its_raw_one() {
        let calibration = Calibration { shift: -1.5, scale: 0.25 };
        assert_eq!(calibration.apply(-1.0), 2.0);
        assert_eq!(calibration.revert(2.0), -1.0);
    }

    #[test]
    fn a_spread_below_the_floor_is_raised_to_it() {
        let calibration = Calibration::fit(&[0.0], &[[1.0, 1.0 + 1e-9]], 0.1).unwrap();
        assert_eq!(calibration.scale, 0.1);
    }

    #[test]
    fn single_samples_and_non_finite_scores_are_refused() {
        assert!(matches!(
            Calibration::fit(&[0.0], &[[1.0], [2.0]], 0.1),
            Err(RewardError::TooFew { .. })
        ));
        assert!(matches!(
            Calibration::fit(&[f64::NAN], &[[1.0, 2.0]], 0.1),
            Err(RewardError::NonFinite { .. })
        ));
    }
}
