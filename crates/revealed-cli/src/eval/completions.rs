//! Completions of a policy, and what rewards and gold functions give them.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Result, bail};
use revealed::Device;
use revealed::data::{EncodeOptions, Encoded, LongCompletion, Prompt};
use revealed::eval::policy::{SampledCompletion, kl_terms};
use revealed::eval::shop_desk::{Note, gold};
use revealed::models::{CausalLm, SamplingConfig, sample};
use revealed::reward::RewardEnsemble;
use revealed::train::derive;

use crate::log_probs::of_rows;
use crate::progress::Progress;
use crate::rows::Rows;
use crate::score::{TextArgs, load_reward};

/// Prompts a call of the sampler.
const PROMPTS: usize = 32;
/// Rows scored between two signs of progress.
const ROWS: usize = 256;

/// A prompt that completions are drawn for.
pub struct Asked {
    /// Its name.
    pub id: String,
    /// What it says.
    pub prompt: Prompt,
    /// Its tokens for the policy.
    pub ids: Vec<u32>,
}

/// Draws completions of every prompt; the same seed gives each prompt the same noise, whichever the model.
///
/// # Errors
/// When the model gives no number.
pub fn draw(
    title: &str,
    model: &CausalLm,
    asked: &[Asked],
    rows: &Rows,
    config: &SamplingConfig,
    progress: &mut Progress,
) -> Result<Vec<Vec<SampledCompletion>>> {
    let mut all: Vec<Vec<SampledCompletion>> = asked.iter().map(|_| Vec::new()).collect();
    progress.begin(title, asked.len());
    for (call, chunk) in asked.chunks(PROMPTS).enumerate() {
        let prompts: Vec<Vec<u32>> = chunk.iter().map(|one| one.ids.clone()).collect();
        let seed = derive(config.seed, 0, "sample", call);
        for drawn in sample(model, &prompts, &SamplingConfig { seed, ..config.clone() })? {
            let prompt = &prompts[drawn.prompt];
            all[call * PROMPTS + drawn.prompt].push(SampledCompletion {
                text: rows.encoder.completion_text(prompt, &drawn.token_ids),
                tokens: drawn.token_ids,
                finished: drawn.finished,
                ..SampledCompletion::default()
            });
        }
        progress.step(asked.len().min((call + 1) * PROMPTS), asked.len(), "");
    }
    progress.end("");
    Ok(all)
}

/// Sets k1 and k3 of the policy's completions, at the temperature that they were drawn at.
///
/// # Errors
/// When a model gives no number.
pub fn diverge(
    completions: &mut [Vec<SampledCompletion>],
    asked: &[Asked],
    models: &[CausalLm; 2],
    pad_id: u32,
    (batch_tokens, temperature): (usize, f64),
    progress: &mut Progress,
) -> Result<()> {
    progress.begin("log-probs", asked.len());
    for (index, (own, one)) in completions.iter_mut().zip(asked).enumerate() {
        let rows: Vec<Encoded> = own.iter().map(|completion| row(&one.ids, completion)).collect();
        let rows: Vec<&Encoded> = rows.iter().collect();
        let of = |model| of_rows(&rows, model, pad_id, batch_tokens, temperature);
        let (policy, reference) = (of(&models[0])?, of(&models[1])?);
        for ((completion, policy), reference) in own.iter_mut().zip(&policy).zip(&reference) {
            let (k1, k3) = kl_terms(policy, reference);
            (completion.k1, completion.k3) = (Some(k1), Some(k3));
        }
        progress.step(index + 1, asked.len(), "");
    }
    progress.end("");
    Ok(())
}

fn row(prompt: &[u32], completion: &SampledCompletion) -> Encoded {
    Encoded {
        input_ids: [prompt, &completion.tokens].concat(),
        completion_start: prompt.len(),
        terminated: completion.finished,
        truncated: false,
    }
}

/// A reward with its text side, for completions that other models drew.
pub struct Scorer {
    reward: RewardEnsemble,
    rows: Rows,
    batch_tokens: usize,
    /// Whether it reads the policy's own tokens.
    pub by_tokens: bool,
}

impl Scorer {
    /// Loads a reward. Where its prompts are the policy's token for token, as far as its limits take them, so are completions: it
    /// then scores what was drawn, and not what decoding and tokenizing again would give.
    ///
    /// # Errors
    /// When a folder is missing or damaged.
    pub fn load(
        folder: &Path,
        text: &TextArgs,
        asked: &[Asked],
        policy: &Rows,
        device: &Device,
    ) -> Result<Self> {
        let (rows, reward) = load_reward(folder, text, device)?;
        let same = asked
            .iter()
            .filter_map(|one| Some(rows.encoder.prompt(&one.prompt).ok()? == one.ids))
            .collect::<HashSet<bool>>();
        let by_tokens = rows.shape.vocab_size == policy.shape.vocab_size && !same.contains(&false);
        Ok(Self { reward, rows, batch_tokens: text.batch_tokens, by_tokens })
    }

    fn row(&self, one: &Asked, completion: &SampledCompletion) -> Result<Vec<u32>, String> {
        if self.by_tokens {
            return self.drawn(one, completion);
        }
        let mut row = self.rows.row(&one.prompt, &completion.text.as_str().into())?;
        if row.terminated && !completion.finished {
            row.input_ids.pop();
        }
        Ok(row.input_ids)
    }

    /// What was drawn, within the reward's limits.
    fn drawn(&self, one: &Asked, completion: &SampledCompletion) -> Result<Vec<u32>, String> {
        let EncodeOptions { max_completion_tokens: limit, too_long, .. } =
            self.rows.encoder.options();
        let (mut row, tokens) = (row(&one.ids, completion).input_ids, completion.tokens.len());
        if tokens > *limit {
            if too_long.completions == LongCompletion::Drop {
                return Err(format!(
                    "a completion has {tokens} tokens, the reward's limit is {limit}; raise --max-completion-tokens, or lower --max-tokens"
                ));
            }
            row.truncate(one.ids.len() + limit);
        }
        self.rows.fits(&row, 0).map(|()| row)
    }

    /// The score of every completion; for a prompt one of whose completions does not fit, the reason.
    ///
    /// # Errors
    /// When a score is not finite.
    pub fn scores(
        &self,
        title: &str,
        asked: &[Asked],
        side: &[Vec<SampledCompletion>],
        progress: &mut Progress,
    ) -> Result<Vec<Result<Vec<f64>, String>>> {
        let encoded: Vec<Result<Vec<Vec<u32>>, String>> = asked
            .iter()
            .zip(side)
            .map(|(one, all)| {
                self.rows.prompt(&one.prompt, 0)?;
                all.iter().map(|completion| self.row(one, completion)).collect()
            })
            .collect();
        let rows: Vec<&[u32]> = encoded.iter().flatten().flatten().map(Vec::as_slice).collect();
        let mut scores = Vec::with_capacity(rows.len());
        progress.begin(title, rows.len());
        for chunk in rows.chunks(ROWS) {
            let pad_id = self.rows.encoder.pad_id();
            scores.extend(self.reward.scores(chunk, pad_id, self.batch_tokens)?);
            progress.step(scores.len(), rows.len(), "");
        }
        progress.end("");
        let mut scores = scores.into_iter();
        let split = encoded
            .into_iter()
            .map(|own| own.map(|rows| scores.by_ref().take(rows.len()).collect()));
        Ok(split.collect())
    }
}

/// The shop desk's gold reward of every completion.
///
/// # Errors
/// When a prompt is none of the shop desk's.
pub fn shop_desk_gold(asked: &[Asked], side: &mut [Vec<SampledCompletion>]) -> Result<()> {
    for (one, all) in asked.iter().zip(side) {
        let Some(note) = Note::parse(&one.prompt.words()) else {
            bail!(
                "prompt {} is no note of the shop desk; --gold shop-desk is for prompts that `revealed quickstart` wrote",
                one.id
            );
        };
        for completion in all {
            completion.gold = Some(gold(&note, &completion.text, completion.finished).score);
        }
    }
    Ok(())
}
