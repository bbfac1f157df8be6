//! Methods that score an answer: a learned reward, and baselines that need none.
//!
//! | name | score of answer `y` to prompt `x` |
//! |---|---|
//! | `reward` | the learned reward `r(x, y)` |
//! | `length` | characters of `y` |
//! | `bag` | a logistic regression on the token counts of `y`, fitted to other preference pairs |
//! | `log_ratio` | `Σ_t log π(y_t) − log π_ref(y_t)`, in nats: the implicit reward of the policy |
//! | `log_ratio_per_token` | the same divided by the tokens of `y` |

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use revealed_data::{Encoded, Encoder, Preference};
use revealed_models::CausalLm;
use revealed_reward::{BagProbe, RewardEnsemble};

use crate::error::EvalError;
use crate::log_probs::completion_log_probs;
use crate::row_encoder::RowEncoder;

/// A learned reward with the text processing that it was trained with.
pub struct RewardScorer {
    /// The reward.
    pub reward: RewardEnsemble,
    /// Encodes texts for it.
    pub rows: RowEncoder,
}

impl RewardScorer {
    /// A reward and its encoder.
    ///
    /// # Errors
    /// When the reward has no members.
    pub fn new(reward: RewardEnsemble, encoder: Encoder) -> Result<Self, EvalError> {
        let member = reward.members.first().ok_or(EvalError::NoScorer)?;
        let rows = RowEncoder::new(encoder, member.model.backbone.shape());
        Ok(Self { reward, rows })
    }

    /// Scores of rows of prompt and completion, in the reward's unit.
    ///
    /// # Errors
    /// When a score is not finite.
    pub fn scores<R: AsRef<[u32]> + Sync>(
        &self,
        rows: &[R],
        batch_tokens: usize,
    ) -> Result<Vec<f64>, EvalError> {
        Ok(self.reward.scores(rows, self.rows.encoder.pad_id(), batch_tokens)?)
    }
}

/// A policy and its reference model, which share one tokenizer.
pub struct PolicyAndReference {
    /// The policy.
    pub policy: CausalLm,
    /// The model that it is compared with.
    pub reference: CausalLm,
    /// Encodes texts for both.
    pub rows: RowEncoder,
}

impl PolicyAndReference {
    /// Two models and the encoder of both.
    ///
    /// # Errors
    /// When their vocabularies differ in size.
    pub fn new(policy: CausalLm, reference: CausalLm, encoder: Encoder) -> Result<Self, EvalError> {
        let (found, expected) = (policy.shape().vocab_size, reference.shape().vocab_size);
        if found != expected {
            return Err(EvalError::Vocabulary {
                model: "the policy",
                found,
                other: "the reference",
                expected,
            });
        }
        let rows = RowEncoder::new(encoder, reference.shape());
        Ok(Self { policy, reference, rows })
    }
}

/// All methods that score the answers of an evaluation.
pub struct Scorers {
    rows: RowEncoder,
    /// Of the policy, if it gives other tokens than `rows`.
    policy_rows: Option<RowEncoder>,
    reward: Option<RewardEnsemble>,
    /// Policy and reference.
    models: Option<[CausalLm; 2]>,
    probe: Option<BagProbe>,
}

/// Scores of rows, by the name of the method.
pub(super) type ScoresByMethod = BTreeMap<&'static str, Vec<f64>>;

impl From<RewardScorer> for Scorers {
    /// A reward and the baseline of length.
    fn from(RewardScorer { reward, rows }: RewardScorer) -> Self {
        Self { rows, policy_rows: None, reward: Some(reward), models: None, probe: None }
    }
}

impl From<PolicyAndReference> for Scorers {
    /// The log-ratio of two models and the baseline of length.
    fn from(PolicyAndReference { policy, reference, rows }: PolicyAndReference) -> Self {
        let models = Some([policy, reference]);
        Self { rows, policy_rows: None, reward: None, models, probe: None }
    }
}

impl Scorers {
    /// A learned reward, the log-ratio of two models, and the baseline of length.
    ///
    /// # Errors
    /// When the vocabularies differ in size.
    pub fn reward_and_log_ratio(
        reward: RewardScorer,
        models: PolicyAndReference,
    ) -> Result<Self, EvalError> {
        let PolicyAndReference { policy, reference, rows: policy_rows } = models;
        let expected = reward.rows.dims.vocab_size;
        for model in [&policy, &reference] {
            let found = model.shape().vocab_size;
            if found != expected {
                let (model, other) = ("a model", "the reward");
                return Err(EvalError::Vocabulary { model, found, other, expected });
            }
        }
        let own = writes_otherwise(&policy_rows.encoder, &reward.rows.encoder);
        let (policy_rows, models) = (own.then_some(policy_rows), Some([policy, reference]));
        Ok(Self { policy_rows, models, ..Self::from(reward) })
    }

    /// Encodes answers for all methods except `log_ratio`.
    pub fn rows(&self) -> &RowEncoder {
        &self.rows
    }

    /// Encodes answers for `log_ratio`, if the policy's tokenizer or chat template gives other tokens than the reward's.
    pub fn policy_rows(&self) -> Option<&RowEncoder> {
        self.policy_rows.as_ref()
    }

    /// The learned reward.
    pub(super) fn reward(&self) -> Option<&RewardEnsemble> {
        self.reward.as_ref()
    }

    /// Adds the baseline `bag`: a bag-of-tokens probe fitted to the pairs whose prompt is not in `evaluated`, as
    /// [`Prompt::words`](revealed_data::Prompt::words) gives it. Returns the number of pairs used.
    ///
    /// # Errors
    /// When no pair is left.
    pub fn fit_probe(
        &mut self,
        pairs: &[Preference],
        evaluated: &HashSet<String>,
    ) -> Result<usize, EvalError> {
        let mut tokens = Vec::new();
        for pair in pairs.iter().filter(|pair| !evaluated.contains(&pair.prompt.words())) {
            let sides = [&pair.chosen, &pair.rejected];
            if let [Ok(a), Ok(b)] = sides.map(|text| self.rows.completion(&pair.prompt, text)) {
                tokens.push([a, b].map(|row| row.input_ids[row.completion_start..].to_vec()));
            }
        }
        if tokens.is_empty() {
            return Err(EvalError::NoProbePairs { pairs: pairs.len() });
        }
        let pairs: Vec<(&[u32], &[u32])> =
            tokens.iter().map(|[a, b]| (a.as_slice(), b.as_slice())).collect();
        self.probe = Some(BagProbe::fit(&pairs));
        Ok(tokens.len())
    }

    /// Names of the methods, in alphabetical order.
    pub fn names(&self) -> Vec<&'static str> {
        let mut names = vec!["length"];
        if self.models.is_some() {
            names.extend(["log_ratio", "log_ratio_per_token"]);
        }
        names.extend(self.reward.as_ref().map(|_| "reward"));
        match self.probe {
            Some(_) => std::iter::once("bag").chain(names).collect(),
            None => names,
        }
    }

    /// Every method's score of every row. `texts` are the completions; `policy_rows` are the rows of the policy's own encoder,
    /// empty if it has none.
    pub(super) fn scores(
        &self,
        rows: &[Encoded],
        policy_rows: &[Encoded],
        texts: &[Cow<'_, str>],
        batch_tokens: usize,
    ) -> Result<ScoresByMethod, EvalError> {
        let mut scores = ScoresByMethod::new();
        scores.insert("length", texts.iter().map(|text| text.chars().count() as f64).collect());
        if let Some(probe) = &self.probe {
            let bag = |row: &Encoded| probe.logit(&row.input_ids[row.completion_start..]);
            scores.insert("bag", rows.iter().map(bag).collect());
        }
        if let Some(reward) = &self.reward {
            let ids: Vec<&[u32]> = rows.iter().map(|row| row.input_ids.as_slice()).collect();
            let pad_id = self.rows.encoder.pad_id();
            scores.insert("reward", reward.scores(&ids, pad_id, batch_tokens)?);
        }
        if let Some(models) = &self.models {
            let (rows, encoder) = match &self.policy_rows {
                Some(own) => (policy_rows, own),
                None => (rows, &self.rows),
            };
            let rows: Vec<&Encoded> = rows.iter().collect();
            let ratios = log_ratios(models, &rows, encoder.encoder.pad_id(), batch_tokens)?;
            let tokens = rows.iter().map(|row| row.input_ids.len() - row.completion_start);
            let each = ratios.iter().zip(tokens).map(|(sum, n)| sum / n.max(1) as f64).collect();
            scores.insert("log_ratio", ratios);
            scores.insert("log_ratio_per_token", each);
        }
        Ok(scores)
    }
}

/// `Σ_t log π(y_t) − log π_ref(y_t)` of each row, in nats.
fn log_ratios(
    [policy, reference]: &[CausalLm; 2],
    rows: &[&Encoded],
    pad_id: u32,
    batch_tokens: usize,
) -> Result<Vec<f64>, EvalError> {
    let sums = |model| -> Result<Vec<f64>, EvalError> {
        let all = completion_log_probs(model, rows, pad_id, batch_tokens, 1.0)?;
        Ok(all.iter().map(|row| row.iter().map(|v| f64::from(*v)).sum()).collect())
    };
    let (policy, reference) = (sums(policy)?, sums(reference)?);
    Ok(policy.iter().zip(reference).map(|(a, b)| a - b).collect())
}

/// Whether two encoders give a conversation different tokens.
fn writes_otherwise(one: &Encoder, other: &Encoder) -> bool {
    let read = |encoder: &Encoder| {
        let recipe = encoder.recipe();
        // The template of a reward is cut at EOS, and limits do not change how a text is written.
        let template = encoder.template_to_terminator();
        let mut tokens = recipe.special_tokens;
        tokens.retain(|name, _| template.as_ref().is_some_and(|text| text.contains(&**name)));
        (template, tokens, recipe.prefix, recipe.terminator, recipe.vocab_size)
    };
    read(one) != read(other)
}
