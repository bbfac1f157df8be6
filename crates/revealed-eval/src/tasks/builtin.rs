//! The built-in descriptions. They hold formats and no data: rows come from the user's files.

/// Names and descriptions.
pub(super) const BUILTIN: &[(&str, &str)] = &[
    ("arc_challenge", include_str!("builtin/arc_challenge.toml")),
    ("arc_easy", include_str!("builtin/arc_easy.toml")),
    ("boolq", include_str!("builtin/boolq.toml")),
    ("gsm8k", include_str!("builtin/gsm8k.toml")),
    ("hellaswag", include_str!("builtin/hellaswag.toml")),
    ("lambada", include_str!("builtin/lambada.toml")),
    ("mmlu", include_str!("builtin/mmlu.toml")),
    ("openbookqa", include_str!("builtin/openbookqa.toml")),
    ("piqa", include_str!("builtin/piqa.toml")),
    ("truthfulqa_mc1", include_str!("builtin/truthfulqa_mc1.toml")),
    ("truthfulqa_mc2", include_str!("builtin/truthfulqa_mc2.toml")),
    ("winogrande", include_str!("builtin/winogrande.toml")),
];

/// The built-in tasks: names and descriptions in TOML, to read or to start one's own from.
pub fn builtin_tasks() -> impl Iterator<Item = (&'static str, &'static str)> {
    BUILTIN.iter().copied()
}
