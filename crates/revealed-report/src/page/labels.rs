//! Display names of metrics, in the order of the page, and a change of log-likelihood in words.

use super::number::number;

/// Metric, name, unit.
const LABELS: &[(&str, &str, &str)] = &[
    ("loss", "Loss", ""),
    ("rewards/margins", "Reward margin", "raw"),
    ("rewards/accuracies", "Reward accuracy on training pairs", "share"),
    ("objective/scores", "Reward of samples", "calibrated"),
    ("objective/kl", "KL to the reference model", "nats/completion"),
    ("completions/mean_length", "Length", "tokens"),
    ("completions/terminated", "Ended in EOS", "share"),
    ("frac_reward_zero_std", "Prompts without reward spread", "share"),
    ("objective/entropy", "Entropy", "nats/token"),
    ("loss/policy_avg", "Policy loss", ""),
    ("loss/value_avg", "Critic loss", ""),
    ("policy/approxkl_avg", "KL per update", "nats/token"),
    ("policy/clipfrac_avg", "Clipped", "share of tokens"),
    ("val/ratio_farthest", "Farthest ratio", ""),
    ("grad_norm", "Gradient norm before clipping", ""),
    ("learning_rate", "Learning rate", ""),
    ("rewards/demonstrations", "Raw reward of demonstrations", ""),
    ("rewards/negatives", "Raw reward of negatives", ""),
    ("objective/kl_coef", "KL coefficient", "reward/nat"),
    ("tokens", "Tokens per step", ""),
    ("padding", "Padding in the batches of a step", "share of tokens"),
    ("eval_loss", "Held-out loss of the kept epoch", "nats/token"),
    ("pairs", "Pairs in the pool", ""),
    ("calibration/shift", "Calibration: shift", "raw reward"),
    ("calibration/scale", "Calibration: scale", "raw reward"),
];

/// Position of a metric on the page, its display name and its unit; unknown metrics come last under their name in the file.
pub(super) fn label(metric: &str) -> (usize, &str, &'static str) {
    match LABELS.iter().position(|(name, ..)| *name == metric) {
        Some(at) => (at, LABELS[at].1, LABELS[at].2),
        None => (LABELS.len(), metric, ""),
    }
}

/// A change of the log-likelihood in words, after "Demonstrations".
pub(super) fn likelihood(change: f64) -> String {
    let what = match change {
        0.0 => return "keep their log-likelihood".into(),
        change if change.is_nan() => return "have no log-likelihood".into(),
        change if change > 0.0 => "gain",
        _ => "lose",
    };
    format!("{what} {} nats/token of log-likelihood", number(change.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_likelihood_is_kept_gained_or_lost_and_the_number_has_no_sign() {
        assert_eq!(likelihood(0.0), "keep their log-likelihood");
        assert_eq!(likelihood(-0.25), "lose 0.250 nats/token of log-likelihood");
        assert_eq!(likelihood(0.25), "gain 0.250 nats/token of log-likelihood");
        assert_eq!(likelihood(f64::NAN), "have no log-likelihood");
    }
}
