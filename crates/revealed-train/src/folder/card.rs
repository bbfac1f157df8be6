//! Model cards: the `README.md` of a model folder, as the Hugging Face hub reads it.

use std::fmt::Write;

use super::report::figures;
use crate::recipe::{Recipe, Tuning};
use crate::record::RoundReport;
use crate::state::State;
use crate::task::Task;

/// Heading of the part of a card that holds for adapter and merged model.
pub(super) const PROVENANCE: &str = "## How it was made";

/// Contents of a model folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contents {
    /// A full model.
    Policy,
    /// A PEFT adapter.
    PolicyAdapter,
    /// A sequence classifier.
    Reward,
    /// Its PEFT adapter.
    RewardAdapter,
}

impl Contents {
    /// The policy of a run with this recipe.
    pub fn policy(recipe: &Recipe) -> Self {
        match recipe.model.tuning {
            Tuning::Lora => Self::PolicyAdapter,
            Tuning::Full => Self::Policy,
        }
    }

    fn is_policy(self) -> bool {
        matches!(self, Self::Policy | Self::PolicyAdapter)
    }

    fn library(self) -> &'static str {
        match self {
            Self::Policy | Self::Reward => "transformers",
            Self::PolicyAdapter | Self::RewardAdapter => "peft",
        }
    }
}

/// The card of a model folder of a run.
pub(crate) fn card(contents: Contents, state: &State, recipe: &Recipe, task: &Task) -> String {
    let kept = state.reports.iter().rev().find(|report| report.accepted);
    let shown = kept.or(state.reports.last());
    let mut text = front_matter(contents, &recipe.model.path);
    text.push_str(match contents {
        Contents::Policy => "# Policy\n\nA causal language model, aligned from demonstrations alone.\n",
        Contents::PolicyAdapter => {
            "# Policy\n\nA PEFT adapter of a causal language model, aligned from demonstrations alone.\n"
        }
        Contents::Reward => {
            "# Reward\n\nA sequence classifier with one label: a reward learned from demonstrations alone. It was \
             never shown a preference.\n"
        }
        Contents::RewardAdapter => {
            "# Reward\n\nA PEFT adapter of a sequence classifier with one label: a reward learned from \
             demonstrations alone. It was never shown a preference.\n"
        }
    });
    let _ = writeln!(text, "\n## Use\n\n{}", usage(contents, state, task));
    provenance(&mut text, state, recipe, task);
    match shown {
        Some(report) if contents.is_policy() => policy_figures(&mut text, report, kept.is_some()),
        Some(report) => reward_figures(&mut text, report),
        None => {}
    }
    text.push_str(
        "\n## Limits\n\nFigures are on held-out demonstrations of the same kind as those it learned from; they do \
         not hold for other prompts. Errors of the demonstrations are learned too. The licences of the base model \
         and of the demonstrations apply.\n",
    );
    text
}

/// YAML front matter for the hub; `base` is path or hub id of the base model.
pub(crate) fn front_matter(contents: Contents, base: &str) -> String {
    let task = if contents.is_policy() { "text-generation" } else { "text-classification" };
    // A quoted JSON string is also a YAML string.
    let base = serde_json::Value::from(hub_id(base).unwrap_or_else(|| base.to_owned()));
    format!(
        "---\nbase_model: {base}\nlibrary_name: {}\npipeline_tag: {task}\ntags:\n- alignment\n- inverse-reinforcement-learning\n- revealed\n---\n\n",
        contents.library()
    )
}

/// Hub id of a model in the cache of the hub, `…/models--ORG--NAME/snapshots/REVISION`.
fn hub_id(path: &str) -> Option<String> {
    let mut parts = path.rsplit(['/', '\\']).filter(|part| !part.is_empty());
    let (_revision, snapshots, name) = (parts.next()?, parts.next()?, parts.next()?);
    let id = name.strip_prefix("models--").filter(|_| snapshots == "snapshots")?;
    Some(id.replacen("--", "/", 1))
}

/// How to load the folder with its library.
fn usage(contents: Contents, state: &State, task: &Task) -> String {
    let (library, class, arguments) = match contents {
        Contents::Policy => ("transformers", "AutoModelForCausalLM", "\"policy\""),
        Contents::PolicyAdapter => ("peft", "AutoPeftModelForCausalLM", "\"policy\""),
        Contents::Reward => ("transformers", "AutoModelForSequenceClassification", "\"reward\""),
        Contents::RewardAdapter => {
            ("peft", "AutoPeftModelForSequenceClassification", "\"reward-adapter\", num_labels=1")
        }
    };
    let load = loading(library, class, arguments);
    if contents == Contents::PolicyAdapter {
        return format!(
            "```python\nfrom transformers import GenerationConfig\n{load}\nmodel.generation_config = GenerationConfig.from_pretrained({arguments})\n```\n\nPEFT takes the generation config of the base model; the last line sets the stop token of this adapter.\n"
        );
    }
    if contents.is_policy() {
        return format!("```python\n{load}\n```\n");
    }
    let pad = task.reward_pad_id();
    let several = match state.reward.as_ref().map_or(1, |reward| reward.members.len()) {
        1 => "",
        _ => {
            " The reward of the run is the mean of several classifiers: this folder is the newest one, `ensemble.json` names the others."
        }
    };
    format!(
        "```python\n{load}\nmodel.config.pad_token_id = {pad}\n```\n\nPad with token {pad}: the score is read at the last token that is not this one. A row is a prompt and a completion with EOS, as in training: `reward.json` has the settings from text to ids, and shift and scale of the calibrated score, `(score - shift) / scale`: demonstrations average 0, and 1 is the standard deviation between samples of one prompt.{several}\n"
    )
}

/// Python code that loads a folder.
pub(crate) fn loading(library: &str, class: &str, arguments: &str) -> String {
    format!("from {library} import {class}\n\nmodel = {class}.from_pretrained({arguments})")
}

/// Data and settings.
fn provenance(text: &mut String, state: &State, recipe: &Recipe, task: &Task) {
    let kept = state.reports.iter().filter(|report| report.accepted).count();
    // Cards are published: a local file is named without its folder.
    let name = |path: &std::path::Path| match path.starts_with("hf:") {
        true => path.display().to_string(),
        false => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    };
    let policy = &recipe.policy;
    let early = state.stopped_early(recipe).map_or(String::new(), |why| format!(" {why}."));
    let _ = writeln!(
        text,
        "{PROVENANCE}\n\nInverse reinforcement learning from demonstrations (<https://arxiv.org/abs/2503.13538>) with `revealed` {}: supervised fine-tuning, then rounds of fitting a reward that prefers demonstrations to samples and improving the policy against it. {kept} of {} rounds were kept.{early}\n\n| | |\n|---|---|\n| base model | `{}` |\n| base model's weights, SHA-256 | `{}` |\n| demonstrations | `{}`: {} to learn from, {} held out |\n| data as tokens, SHA-256 | `{}` |\n| prompts and completions | up to {} and {} tokens |\n| tuning | {} |\n| policy solver | {}, {} rollouts of {} completions per round, lr {}, KL coefficient {} |\n| reward | {} steps of {} pairs per round, lr {} |\n| seed | {} |\n\nEvery setting is in the run's `recipe.toml`.\n",
        env!("CARGO_PKG_VERSION"),
        state.reports.len(),
        recipe.model.path,
        state.base.as_deref().unwrap_or("unknown"),
        name(&recipe.data.demonstrations),
        task.train.len(),
        task.held_out.len(),
        state.data.as_deref().unwrap_or("unknown"),
        recipe.data.max_prompt_tokens,
        recipe.data.max_completion_tokens,
        word(&recipe.model.tuning),
        word(&policy.solver),
        policy.steps,
        policy.batch_size,
        policy.optimizer.lr,
        policy.kl_coef,
        recipe.reward.steps,
        recipe.reward.batch_size,
        recipe.reward.optimizer.lr,
        recipe.run.seed,
    );
}

/// A choice as written in recipes.
fn word(choice: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(choice).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn policy_figures(text: &mut String, report: &RoundReport, kept: bool) {
    let _ = match kept {
        true => writeln!(
            text,
            "## Figures on held-out prompts\n\nBefore and after round {}, the last one kept.\n\n| | before | after |\n|---|---|---|",
            report.round
        ),
        false => writeln!(
            text,
            "## Figures on held-out prompts\n\nNo round was kept: this is the model after supervised fine-tuning, `before` in the table of round {}.\n\n| | before | after |\n|---|---|---|",
            report.round
        ),
    };
    for (name, figure) in figures() {
        let (before, after) = (figure(&report.before), figure(&report.after));
        let _ = writeln!(text, "| {name} | {before:.3} | {after:.3} |");
    }
}

fn reward_figures(text: &mut String, report: &RoundReport) {
    let audit = &report.audit;
    let _ = writeln!(
        text,
        "## Figures on held-out demonstrations, round {}{}\n\n| share of pairs in order | |\n|---|---|\n| this reward | {:.3} |\n| the longer or the shorter answer, whichever fits the training pairs | {:.3} |\n| a bag of tokens | {:.3} |\n| this reward, length-matched pairs | {} |\n\nPairs are of a held-out demonstration and a sample of its prompt: {} of {} prompts.",
        report.round,
        if report.accepted { "" } else { " (which was not kept)" },
        audit.accuracy,
        audit.length_accuracy,
        audit.bag_accuracy,
        audit.length_matched_accuracy.map_or("none".into(), |share| format!("{share:.3}")),
        audit.pairs,
        audit.prompts,
    );
    for warning in audit.warnings() {
        let _ = writeln!(text, "\n- {warning}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    #[test]
    fn a_model_in_the_cache_of_the_hub_is_named_by_its_hub_id() {
        let id = |path: &str| hub_id(path);
        let cached = "/home/me/.cache/huggingface/hub/models--org--base-1.5B/snapshots/0a1b2c/";
        assert_eq!(id(cached).as_deref(), Some("org/base-1.5B"));
        assert_eq!(id("c:\\hub\\models--gpt2\\snapshots\\0a").as_deref(), Some("gpt2"));
        for path in ["model", "/models/base", "models--org--base/blobs/0a", "snapshots/0a"] {
            assert_eq!(id(path), None, "{path}");
        }
    }

    #[test]
    fn a_card_describes_the_folder_and_how_it_was_made() {
        let world = World::new(Tuning::Lora, |_| {});
        let (end, _) = world.align();
        let of = |contents| card(contents, &end, &world.recipe, &world.task);
        let policy = of(Contents::policy(&world.recipe));
        assert!(policy.starts_with("---\nbase_model: \"/"), "{policy}");
        assert!(
            policy.contains("\nlibrary_name: peft\npipeline_tag: text-generation\n"),
            "{policy}"
        );
        assert!(policy.contains("AutoPeftModelForCausalLM"), "{policy}");
        let stops = "model.generation_config = GenerationConfig.from_pretrained(\"policy\")";
        assert!(policy.contains(stops), "{policy}");
        assert!(policy.contains("20 to learn from, 4 held out"), "{policy}");
        assert!(policy.contains(end.data.as_deref().unwrap()), "{policy}");
        assert!(policy.contains("| KL to SFT, nats/completion |"), "{policy}");
        let reward = of(Contents::Reward);
        assert!(
            reward.contains("\nlibrary_name: transformers\npipeline_tag: text-classification\n")
        );
        let pad = format!("model.config.pad_token_id = {}", world.task.reward_pad_id());
        assert!(reward.contains(&pad) && reward.contains("a bag of tokens"), "{reward}");
    }

    #[test]
    fn the_card_of_a_run_without_a_kept_round_states_that_it_is_the_sft_model() {
        let mut world = World::new(Tuning::Full, |recipe| recipe.gate.min_accuracy = 1.0);
        let mut end = world.align().0;
        end.reports[0].accepted = false;
        let recipe = &mut world.recipe;
        (recipe.run.rounds, recipe.gate.patience) = (2, 1);
        let policy = card(Contents::policy(&world.recipe), &end, &world.recipe, &world.task);
        assert!(policy.contains("No round was kept"), "{policy}");
        let early = "0 of 1 rounds were kept. 2 rounds were asked for; the run stopped after round 1, since that was rolled back (gate.patience = 1).";
        assert!(policy.contains(early), "{policy}");
    }
}
