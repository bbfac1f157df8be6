//! Samples from a policy and its reference, scores the completions, and compares the two.

use std::collections::BTreeMap;

use revealed_data::Prompt;
use serde_json::{Map, Value, json};

use super::best_of_n::best_of_n;
use super::completion::SampledCompletion;
use super::figures::figures;
use super::prompts::{EncodedPrompt, FailedPrompt, encode};
use super::result::{PolicyResult, SIDES};
use super::sampling::{draw, set_kl};
use super::scoring::{CompletionScorer, Gold, set_gold};
use super::settings::PolicySettings;
use crate::error::EvalError;
use crate::preferences::subsample;
use crate::progress::Progress;
use crate::rewards::{PolicyAndReference, RewardScorer};

/// Prompts with the completions of both sides.
struct Sampled {
    prompts: Vec<EncodedPrompt>,
    sides: [Vec<Vec<SampledCompletion>>; 2],
    failed: Vec<FailedPrompt>,
}

/// Compares a policy with its reference on prompts, given with their ids: KL, lengths and diversity; with a reward also win
/// rates, mean rewards and best-of-n; with a gold score the same by gold.
///
/// Prompts that leave too little room for completions, or whose completions do not fit a reward, are in
/// [`PolicyResult::failed`].
///
/// # Errors
/// When a setting is out of its range, no prompt can be used, a model gives a number that is not finite, or the gold
/// function has no score.
pub fn evaluate_policy(
    models: &PolicyAndReference,
    prompts: Vec<(String, Prompt)>,
    (reward, gold): (Option<&RewardScorer>, Option<Gold<'_>>),
    settings: &PolicySettings,
    on_progress: &mut dyn FnMut(Progress<'_>),
) -> Result<PolicyResult, EvalError> {
    let config = settings.sampling(&models.rows);
    config.check()?;
    let prompts = match settings.max_prompts {
        0 => prompts,
        count => subsample(prompts, count, settings.seed),
    };
    let (prompts, failed) = encode(prompts, &models.rows, settings.max_tokens);
    if prompts.is_empty() {
        return Err(no_prompts(&failed));
    }
    let scorer = |of| CompletionScorer::new(of, &prompts, &models.rows, settings.batch_tokens);
    let reward = reward.map(scorer);
    let (gold_reward, gold_function) = match gold {
        Some(Gold::Reward(of)) => (Some(scorer(of)), None),
        Some(Gold::Function(name, function)) => (None, Some((name, function))),
        None => (None, None),
    };
    let mut side = |name: &str, model| {
        let stage = format!("sampling from the {name}");
        draw(&stage, model, &prompts, &models.rows, &config, on_progress)
    };
    let mut sides = [side(SIDES[0], &models.policy)?, side(SIDES[1], &models.reference)?];
    set_kl(&mut sides[0], &prompts, models, settings, on_progress)?;
    let mut sampled = Sampled { prompts, sides, failed };
    if let Some(scorer) = &reward {
        sampled.score(scorer, |c, score| c.reward = Some(score), on_progress)?;
    }
    if let Some(scorer) = &gold_reward {
        sampled.score(scorer, |c, score| c.gold = Some(score), on_progress)?;
    }
    if let Some((_, function)) = gold_function {
        for side in &mut sampled.sides {
            set_gold(&sampled.prompts, side, function)?;
        }
    }
    let reads = |scorer: &Option<CompletionScorer<'_>>| scorer.as_ref().map(|s| s.by_tokens);
    let mut described = settings.to_map();
    described.extend([
        ("gold".into(), json!(gold_function.map(|(name, _)| name))),
        ("reward_reads_tokens".into(), json!(reads(&reward))),
        ("judge_reads_tokens".into(), json!(reads(&gold_reward))),
        ("not_used".into(), json!(sampled.reasons())),
        ("text".into(), json!(models.rows.encoder.recipe())),
    ]);
    sampled.result(described)
}

fn no_prompts(failed: &[FailedPrompt]) -> EvalError {
    let (id, reason) = match failed.first() {
        Some((id, reason)) => (id.clone(), reason.to_string()),
        None => ("none".into(), "there are no prompts".into()),
    };
    EvalError::NoPrompts { failed: failed.len(), id, reason }
}

impl Sampled {
    /// Scores both sides; prompts with a completion that does not fit are removed.
    fn score(
        &mut self,
        scorer: &CompletionScorer<'_>,
        set: fn(&mut SampledCompletion, f64),
        on_progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), EvalError> {
        let mut reasons = BTreeMap::new();
        for (name, side) in SIDES.into_iter().zip(&mut self.sides) {
            let stage = format!("scoring the {name}");
            let scores = scorer.scores(&stage, &self.prompts, side, on_progress)?;
            for (index, (all, scores)) in side.iter_mut().zip(scores).enumerate() {
                match scores {
                    Ok(scores) => all.iter_mut().zip(scores).for_each(|(c, score)| set(c, score)),
                    Err(reason) => drop(reasons.insert(index, reason)),
                }
            }
        }
        let mut failed = Vec::new();
        for (index, reason) in reasons.into_iter().rev() {
            failed.push((self.prompts.remove(index).id, reason));
            self.sides.iter_mut().for_each(|side| drop(side.remove(index)));
        }
        self.failed.extend(failed.into_iter().rev());
        Ok(())
    }

    /// Why prompts were not used, by id.
    fn reasons(&self) -> BTreeMap<&String, String> {
        self.failed.iter().map(|(id, reason)| (id, reason.to_string())).collect()
    }

    /// # Errors
    /// When no prompt is left.
    fn result(self, settings: Map<String, Value>) -> Result<PolicyResult, EvalError> {
        if self.prompts.is_empty() {
            return Err(no_prompts(&self.failed));
        }
        let [policy, reference] = &self.sides;
        let curve = |name, side| best_of_n(side).into_iter().map(move |point| (name, point));
        Ok(PolicyResult {
            figures: figures(policy, reference),
            curves: curve(SIDES[1], reference).chain(curve(SIDES[0], policy)).collect(),
            prompts: self.prompts,
            completions: self.sides,
            failed: self.failed,
            settings,
        })
    }
}
