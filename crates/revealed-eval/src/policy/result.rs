//! The results of a policy evaluation.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::best_of_n::BestOfN;
use super::completion::SampledCompletion;
use super::prompts::EncodedPrompt;
use crate::estimate::Estimate;
use crate::record::{EvalRecord, Figure, Item, Provenance};
use crate::row_encoder::RowError;

/// The models that complete prompts, in the order of [`PolicyResult::completions`].
pub const SIDES: [&str; 2] = ["policy", "reference"];

/// A policy compared with its reference on the same prompts.
#[derive(Debug)]
pub struct PolicyResult {
    /// Prompts that were used.
    pub prompts: Vec<EncodedPrompt>,
    /// By [`SIDES`], prompt and sample.
    pub completions: [Vec<Vec<SampledCompletion>>; 2],
    /// Prompts that were not used, by id, with the reason.
    pub failed: Vec<(String, RowError)>,
    /// KL, win rates, and figures of each side.
    pub figures: Vec<Figure>,
    /// Best-of-n curves by side, the reference's first; empty without a reward.
    pub curves: Vec<(&'static str, BestOfN)>,
    /// Settings for the record, in order.
    pub(super) settings: Map<String, Value>,
}

impl PolicyResult {
    /// All figures for a record, those of the curves included.
    pub fn record_figures(&self) -> Vec<Figure> {
        let (mut figures, prompts) = (self.figures.clone(), self.prompts.len());
        for (name, point) in &self.curves {
            let of = |what: &str| format!("best_of_{}/{what}", point.n);
            figures.push(Estimate::bare(point.kl).figure(of("kl"), Some(name), prompts));
            figures.push(point.reward.figure(of("reward"), Some(name), prompts));
            figures.extend(point.gold.map(|gold| gold.figure(of("gold"), Some(name), prompts)));
        }
        figures
    }

    /// One item per prompt, with its completions.
    pub fn items(&self) -> Vec<Item> {
        (0..self.prompts.len()).map(|index| self.item(index)).collect()
    }

    fn item(&self, index: usize) -> Item {
        let prompt = &self.prompts[index];
        let (mut values, mut detail) = (BTreeMap::new(), Map::new());
        detail.insert("prompt".into(), json!(prompt.prompt));
        for (name, side) in SIDES.into_iter().zip(&self.completions) {
            let all = &side[index];
            values.extend(means(all).map(|(what, mean)| (format!("{name}/{what}"), mean)));
            let shown = |c: &SampledCompletion| {
                json!({
                    "completion": c.text, "tokens": c.tokens.len(), "finished": c.finished,
                    "reward": c.reward, "gold": c.gold, "k1": c.k1,
                })
            };
            detail.insert(name.into(), all.iter().map(shown).collect());
        }
        Item { id: format!("{index}/{}", prompt.id), subset: None, values, detail }
    }

    /// The record of the evaluation.
    pub fn record(&self, provenance: Provenance) -> EvalRecord {
        let settings = self.settings.clone();
        EvalRecord::new("policy", self.record_figures(), self.items(), settings, provenance)
    }
}

/// The mean of every measure over completions that all have it.
fn means(all: &[SampledCompletion]) -> impl Iterator<Item = (&'static str, f64)> {
    type Measure = fn(&SampledCompletion) -> Option<f64>;
    const MEASURES: [(&str, Measure); 6] = [
        ("reward", |c| c.reward),
        ("gold", |c| c.gold),
        ("kl_k1", |c| c.k1),
        ("kl_k3", |c| c.k3),
        ("tokens", |c| Some(c.tokens.len() as f64)),
        ("finished", |c| Some(f64::from(u8::from(c.finished)))),
    ];
    MEASURES.into_iter().filter_map(|(name, measure)| {
        let found: Option<Vec<f64>> = all.iter().map(measure).collect();
        let found = found.filter(|found| !found.is_empty())?;
        Some((name, found.iter().sum::<f64>() / found.len() as f64))
    })
}
