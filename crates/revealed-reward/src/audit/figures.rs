//! The figures of an audit, each a function of numbers.

use std::collections::HashSet;

/// Bins of [`ece`]: 100 held-out pairs give about ten per bin.
const BINS: usize = 10;

/// Share of margins above 0; ties count half. Needs at least one margin.
pub(super) fn accuracy(margins: &[f64]) -> f64 {
    margins.iter().map(|margin| credit(*margin)).sum::<f64>() / margins.len() as f64
}

fn credit(margin: f64) -> f64 {
    match margin {
        m if m > 0.0 => 1.0,
        m if m < 0.0 => 0.0,
        _ => 0.5,
    }
}

/// Mann and Whitney's `U / (n_d n_s)`: `mean_{d,s}[ 1{d > s} + ½·1{d = s} ]` over all demonstrations and samples, at
/// least one of each.
pub(super) fn auc(demonstrations: &[f64], samples: &[f64]) -> f64 {
    let labelled = |scores: &[f64], label: bool| -> Vec<(f64, bool)> {
        scores.iter().map(|score| (*score, label)).collect()
    };
    let mut all = [labelled(demonstrations, true), labelled(samples, false)].concat();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut wins) = (0.0, 0.0);
    for tied in all.chunk_by(|a, b| a.0 == b.0) {
        let above = tied.iter().filter(|(_, label)| *label).count() as f64;
        let equal = tied.len() as f64 - above;
        wins += above * (below + 0.5 * equal);
        below += equal;
    }
    wins / (demonstrations.len() as f64 * samples.len() as f64)
}

/// Expected calibration error of the pair classifier `p(demo ≻ sample) = σ(l)`, `l` in logits:
/// `Σ_b n_b/n · |accuracy_b − confidence_b|`, over ten bins of equal width of the confidence `max(p, 1 − p) = σ(|l|)` in
/// [½, 1]; at least one logit.
///
/// The demonstration is always the right answer, so `p` itself has no negatives to be calibrated on; the confidence in
/// whichever side scores higher has. That is the same as showing each pair in both orders. Source: Eq. 3 of
/// <https://arxiv.org/abs/1706.04599>.
pub(super) fn ece(logits: &[f64]) -> f64 {
    let mut gaps = [0.0; BINS];
    for logit in logits {
        let confidence = 1.0 / (1.0 + (-logit.abs()).exp());
        let bin = ((confidence - 0.5) * 2.0 * BINS as f64) as usize;
        gaps[bin.min(BINS - 1)] += credit(*logit) - confidence;
    }
    gaps.iter().map(|gap: &f64| gap.abs()).sum::<f64>() / logits.len() as f64
}

/// Pearson's correlation of `(x, y)`, both centred per prompt; `None` if either is constant within every
/// prompt.
pub(super) fn within_prompts(prompts: impl Iterator<Item = Vec<(f64, f64)>>) -> Option<f64> {
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for prompt in prompts {
        let (x, y): (Vec<f64>, Vec<f64>) = prompt.into_iter().unzip();
        for (x, y) in centred(&x).zip(centred(&y)) {
            xx += x * x;
            yy += y * y;
            xy += x * y;
        }
    }
    let spread = xx.sqrt() * yy.sqrt();
    (spread > 0.0).then(|| (xy / spread).clamp(-1.0, 1.0))
}

/// Values minus their mean; exactly 0 if all are equal, because the first value is subtracted before the mean.
fn centred(values: &[f64]) -> impl Iterator<Item = f64> {
    let first = values.first().copied().unwrap_or(0.0);
    let mean = values.iter().map(|value| value - first).sum::<f64>() / values.len().max(1) as f64;
    values.iter().map(move |value| value - first - mean)
}

/// Share of 4-grams that repeat an earlier one, in [0, 1]; 0 for fewer than four tokens.
pub fn repetition(tokens: &[u32]) -> f64 {
    let all = tokens.windows(4).count();
    let distinct: HashSet<&[u32]> = tokens.windows(4).collect();
    if all == 0 { 0.0 } else { 1.0 - distinct.len() as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_worth_half_in_accuracy_and_auc() {
        assert_eq!(accuracy(&[2.0, -1.0, 0.0, 3.0]), 0.625);
        // 2 > {1, 2, 0}: 1 + ½ + 1; 0 > {1, 2, 0}: ½.
        assert_eq!(auc(&[2.0, 0.0], &[1.0, 2.0, -0.0]), 0.5);
        assert_eq!(auc(&[5.0, 4.0], &[1.0]), 1.0);
        assert_eq!(auc(&[1.0], &[5.0, 4.0]), 0.0);
        assert_eq!(auc(&[1.0; 3], &[1.0; 4]), 0.5);
    }

    #[test]
    fn confidence_that_matches_the_accuracy_has_no_error() {
        let log_odds = |p: f64| (p / (1.0 - p)).ln();
        // 3 of 4 right at confidence ¾; 9 of 10 right at confidence 0.9.
        let mut logits = vec![log_odds(0.75); 3];
        logits.push(-log_odds(0.75));
        logits.extend([vec![log_odds(0.9); 9], vec![-log_odds(0.9)]].concat());
        assert!(ece(&logits) < 1e-12, "{}", ece(&logits));
        // Twice as sure: σ(2 ln 3) = 0.9, σ(2 ln 9) = 81/82.
        let bold: Vec<f64> = logits.iter().map(|logit| 2.0 * logit).collect();
        let expected = (4.0 * (0.9 - 0.75) + 10.0 * (81.0 / 82.0 - 0.9)) / 14.0;
        assert!((ece(&bold) - expected).abs() < 1e-12);
    }

    #[test]
    fn bins_are_apart_and_the_surest_pair_has_one() {
        // Errors of opposite sign cancel within a bin, [0.7, 0.75), and not across.
        let log_odds = |p: f64| (p / (1.0 - p)).ln();
        assert!((ece(&[log_odds(0.71), -log_odds(0.72)]) - 0.43 / 2.0).abs() < 1e-12);
        assert!((ece(&[log_odds(0.71), -log_odds(0.76)]) - (0.29 + 0.76) / 2.0).abs() < 1e-12);
        assert!((ece(&[log_odds(0.93), -log_odds(0.97)]) - (0.07 + 0.97) / 2.0).abs() < 1e-12);
        assert_eq!(ece(&[1e9]), 0.0);
        assert_eq!(ece(&[-1e9]), 1.0);
        assert_eq!(ece(&[0.0, -0.0]), 0.0);
    }

    #[test]
    fn correlation_is_within_prompts_and_undefined_without_variation() {
        let rising = |offset: f64| vec![(1.0, offset), (2.0, offset + 1.0), (3.0, offset + 2.0)];
        // Between the prompts the sign is the opposite.
        let second: Vec<(f64, f64)> = rising(-50.0).iter().map(|(x, y)| (x + 9.0, *y)).collect();
        let r = within_prompts([rising(0.0), second.clone()].into_iter()).unwrap();
        assert!((r - 1.0).abs() < 1e-12);
        let falling: Vec<(f64, f64)> = second.iter().map(|(x, y)| (-x, *y)).collect();
        assert!((within_prompts([falling].into_iter()).unwrap() + 1.0).abs() < 1e-12);
        // Centred: x −1 0 1, y −⅓ ⅔ −⅓: nothing in common.
        let none = vec![(1.0, 0.0), (2.0, 1.0), (3.0, 0.0)];
        assert!(within_prompts([none].into_iter()).unwrap().abs() < 1e-12);
        let constant = vec![(0.1, 1.0), (0.1, 2.0), (0.1, 4.0)];
        assert_eq!(within_prompts([constant.clone()].into_iter()), None);
        let swapped = constant.iter().map(|(x, y)| (*y, *x)).collect();
        assert_eq!(within_prompts([swapped].into_iter()), None);
        assert_eq!(within_prompts([vec![(1.0, 2.0)], vec![(3.0, 4.0)], vec![]].into_iter()), None);
    }

    #[test]
    fn repetition_counts_four_grams_seen_before() {
        assert_eq!(repetition(&[1, 2, 3, 4, 5]), 0.0);
        assert_eq!(repetition(&[1; 6]), 1.0 - 1.0 / 3.0);
        assert_eq!(repetition(&[1, 1, 1]), 0.0);
        assert_eq!(repetition(&[1, 2, 3, 1, 2, 3]), 0.0);
        assert_eq!(repetition(&[1, 2, 3, 1, 2, 3, 1]), 0.25);
    }
}
