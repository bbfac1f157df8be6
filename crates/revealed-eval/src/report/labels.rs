//! Names of metrics for people, in the order in which the page shows them.

/// Metric, name, unit.
const LABELS: &[(&str, &str, &str)] = &[
    ("loss", "Loss", ""),
    ("rewards/margins", "Reward margin", "raw"),
    ("rewards/accuracies", "Reward accuracy on training pairs", "share"),
    ("objective/scores", "Reward of samples", "calibrated"),
    ("objective/kl", "KL to the anchor", "nats a completion"),
    ("completions/mean_length", "Length", "tokens"),
    ("completions/terminated", "Ended by the terminator", "share"),
    ("frac_reward_zero_std", "Prompts without reward spread", "share"),
    ("objective/entropy", "Entropy", "nats a token"),
    ("loss/policy_avg", "Policy loss", ""),
    ("loss/value_avg", "Critic loss", ""),
    ("policy/approxkl_avg", "KL of an update", "nats a token"),
    ("policy/clipfrac_avg", "Clipped", "share of tokens"),
    ("val/ratio_farthest", "Farthest ratio", ""),
    ("grad_norm", "Gradient norm before clipping", ""),
    ("learning_rate", "Learning rate", ""),
    ("rewards/demonstrations", "Raw reward of demonstrations", ""),
    ("rewards/negatives", "Raw reward of negatives", ""),
    ("objective/kl_coef", "Price of KL", "reward a nat"),
    ("tokens", "Tokens a step", ""),
    ("eval_loss", "Held-out loss of the kept epoch", "nats a token"),
    ("pairs", "Pairs in the pool", ""),
    ("calibration/shift", "Calibration: shift", "raw reward"),
    ("calibration/scale", "Calibration: scale", "raw reward"),
];

/// Where a metric stands among the others, its name and its unit; one that is not known comes last, under its own name.
pub(super) fn label(metric: &str) -> (usize, &str, &'static str) {
    match LABELS.iter().position(|(name, ..)| *name == metric) {
        Some(at) => (at, LABELS[at].1, LABELS[at].2),
        None => (LABELS.len(), metric, ""),
    }
}
