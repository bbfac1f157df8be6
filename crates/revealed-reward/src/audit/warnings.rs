//! Warnings about shortcuts, from the figures of an audit.

use super::Audit;

/// Of |r| within prompts: above it, a quarter of what makes a reward prefer one sample to another is that feature.
const MAX_CORRELATION: f64 = 0.5;
/// Of the accuracy beyond the better probe: less is within one standard error, √(½·½/n), of 600 pairs.
const MIN_BEYOND: f64 = 0.02;
/// Of the expected calibration error: chance alone gives a perfectly calibrated reward about 0.1 on 100 pairs
/// (0.8 √(p(1 − p)/10) in each of ten bins of ten, p near 0.8).
const MAX_ECE: f64 = 0.15;
/// The standard normal quantile of a two-sided 95 % interval.
const Z_95: f64 = 1.959_963_984_540_054;

impl Audit {
    /// The reward's accuracy minus that of the better probe, in [−1, 1]; at 0 or below, length or words explain it.
    pub fn beyond_shortcuts(&self) -> f64 {
        self.accuracy - self.length_accuracy.max(self.bag_accuracy)
    }

    /// The upper end of the 95 % interval, over prompts, of the accuracy on length-matched pairs; `None` without such pairs.
    pub fn length_matched_upper(&self) -> Option<f64> {
        let low = |p| wilson_low(p, self.length_matched_prompts);
        self.length_matched_accuracy.map(|accuracy| 1.0 - low(1.0 - accuracy))
    }

    /// One sentence per sign of a shortcut; empty if there is none. Intervals count prompts, not pairs, since pairs
    /// of one prompt share its demonstration.
    pub fn warnings(&self) -> Vec<String> {
        let beyond = (self.beyond_shortcuts() < MIN_BEYOND).then(|| {
            format!(
                "the reward orders {:.3} of held-out pairs, length alone {:.3}, a bag of tokens {:.3}: nothing shows that it knows more than these",
                self.accuracy, self.length_accuracy, self.bag_accuracy
            )
        });
        let ece = (self.ece > MAX_ECE).then(|| {
            format!(
                "the reward's confidence in a pair is off by {:.3} on average, above {MAX_ECE}: its margins do not mean what they say",
                self.ece
            )
        });
        let correlations = [
            ("length", self.length_correlation),
            ("ending in the terminator", self.terminated_correlation),
            ("repetition", self.repetition_correlation),
            ("format marks", self.marks_correlation),
        ];
        let features = correlations.into_iter().filter_map(|(feature, r)| {
            let r = r.filter(|r| r.abs() > self.least_correlation())?;
            Some(format!(
                "among samples of one prompt the score follows {feature}: correlation {r:.2}, beyond ±{MAX_CORRELATION}"
            ))
        });
        let rest = [self.length_matched_warning(), beyond, ece];
        features.chain(rest.into_iter().flatten()).collect()
    }

    fn length_matched_warning(&self) -> Option<String> {
        let (pairs, prompts) = (self.length_matched_pairs, self.length_matched_prompts);
        let Some(accuracy) = self.length_matched_accuracy else {
            return Some(
                "no held-out pair has completions of like length: what the reward knows beside length cannot be seen".into(),
            );
        };
        (wilson_low(accuracy, prompts) <= 0.5).then(|| {
            format!(
                "on {pairs} held-out pairs of like length ({prompts} prompts) the reward's accuracy, {accuracy:.3}, cannot be told from chance"
            )
        })
    }

    /// The bound on |r|, or what chance reaches where samples are few: `z / √(samples − prompts)`, since r of
    /// independent numbers deviates by 1/√(n − 1), with a degree of freedom lost to the mean of each prompt.
    fn least_correlation(&self) -> f64 {
        let freedom = self.pairs.saturating_sub(self.prompts).max(1);
        MAX_CORRELATION.max(Z_95 / (freedom as f64).sqrt())
    }
}

/// The lower end of Wilson's 95 % interval of a proportion `p` of `n` trials (Newcombe, Statistics in Medicine 17 (1998),
/// method 3).
fn wilson_low(p: f64, n: usize) -> f64 {
    let (n, z) = (n as f64, Z_95);
    let centre = p + z * z / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    (centre - half) / (1.0 + z * z / n)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An audit without warnings.
    fn good() -> Audit {
        Audit {
            prompts: 100,
            pairs: 400,
            accuracy: 0.9,
            auc: 0.9,
            ece: 0.05,
            length_accuracy: 0.6,
            bag_accuracy: 0.7,
            length_matched_prompts: 60,
            length_matched_pairs: 80,
            length_matched_accuracy: Some(0.8),
            bag_hard_pairs: 120,
            bag_hard_accuracy: Some(0.7),
            length_correlation: Some(0.2),
            terminated_correlation: Some(-0.2),
            repetition_correlation: None,
            marks_correlation: Some(0.0),
        }
    }

    #[test]
    fn each_sign_of_a_shortcut_alone_gives_its_sentence() {
        let said = |change: &dyn Fn(&mut Audit)| {
            let mut audit = good();
            change(&mut audit);
            audit.warnings()
        };
        assert!(said(&|_| {}).is_empty());
        type Change = fn(&mut Audit);
        let signs: [(Change, &str); 9] = [
            (|a| a.length_correlation = Some(0.51), "follows length: correlation 0.51"),
            (|a| a.length_correlation = Some(-0.51), "follows length: correlation -0.51"),
            (|a| a.terminated_correlation = Some(0.9), "follows ending in the terminator"),
            (|a| a.repetition_correlation = Some(-0.7), "follows repetition: correlation -0.70"),
            (|a| a.marks_correlation = Some(0.6), "follows format marks"),
            (|a| a.length_matched_accuracy = Some(0.6), "accuracy, 0.600, cannot be told from"),
            (|a| a.length_matched_accuracy = None, "no held-out pair has completions of like"),
            (|a| a.bag_accuracy = 0.885, "a bag of tokens 0.885: nothing shows"),
            (|a| a.ece = 0.16, "off by 0.160 on average"),
        ];
        for (change, sentence) in signs {
            let said = said(&change);
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(said[0].contains(sentence), "{said:?}");
        }
        assert!(said(&|a| a.length_accuracy = 0.95)[0].contains("length alone 0.950"));
    }

    #[test]
    fn bounds_hold_on_both_sides() {
        let silent = |change: &dyn Fn(&mut Audit)| {
            let mut audit = good();
            change(&mut audit);
            audit.warnings().is_empty()
        };
        assert!(silent(&|a| a.length_correlation = Some(0.49)));
        assert!(silent(&|a| a.ece = 0.14));
        assert!(silent(&|a| a.bag_accuracy = 0.87));
        assert!(silent(&|a| a.length_matched_accuracy = Some(0.64)));
    }

    #[test]
    fn few_samples_need_a_larger_correlation() {
        // 9 degrees of freedom: 1.96 / 3 = 0.653.
        let with = |r| Audit { prompts: 4, pairs: 13, length_correlation: Some(r), ..good() };
        assert!(with(0.65).warnings().is_empty());
        assert_eq!(with(0.66).warnings().len(), 1);
        // No freedom at all: nothing is beyond chance.
        let none = Audit { prompts: 4, pairs: 4, length_correlation: Some(1.0), ..good() };
        assert!(none.warnings().is_empty());
    }

    #[test]
    fn the_interval_of_matched_pairs_counts_prompts() {
        let with = |prompts| Audit { length_matched_prompts: prompts, ..good() };
        assert!(with(11).warnings().is_empty());
        assert_eq!(with(10).warnings().len(), 1);
    }

    #[test]
    fn wilson_gives_the_bounds_newcombe_printed() {
        // Table I of Newcombe (1998), method 3; four printed decimals.
        for (successes, n, low) in [(81.0, 263, 0.2553), (15.0, 148, 0.0624), (1.0, 29, 0.0061)] {
            assert!((wilson_low(successes / n as f64, n) - low).abs() < 5.1e-5);
        }
    }

    #[test]
    fn beyond_shortcuts_is_the_margin_over_the_better_probe() {
        assert!((good().beyond_shortcuts() - 0.2).abs() < 1e-12);
        let long = Audit { length_accuracy: 0.95, ..good() };
        assert!((long.beyond_shortcuts() + 0.05).abs() < 1e-12);
    }
}
