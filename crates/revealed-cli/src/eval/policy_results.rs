//! What `revealed eval policy` drew, and what it shows of it.

use std::collections::BTreeMap;

use anyhow::Result;
use revealed::eval::policy::{BestOfN, SampledCompletion, best_of_n, figures};
use revealed::eval::{Estimate, Figure, Item};
use serde_json::{Map, Value, json};

use super::completions::{Asked, Scorer};
use super::table::{cell, estimate_cell, head, row, shown, shown_figure};
use crate::output::Output;
use crate::progress::Progress;

/// Who completes prompts, in the order of [`Drawn::sides`].
pub const SIDES: [&str; 2] = ["policy", "reference"];

/// An id with the reason why its prompt was not used.
pub type Failed = (String, String);

/// Keeps a score of a completion.
pub type Set = fn(&mut SampledCompletion, f64);

/// Prompts with the completions of policy and reference.
pub struct Drawn {
    /// The prompts.
    pub asked: Vec<Asked>,
    /// By [`SIDES`], prompt and sample.
    pub sides: Vec<Vec<Vec<SampledCompletion>>>,
}

impl Drawn {
    /// Scores both sides; prompts with a completion that does not fit are taken out and given back.
    ///
    /// # Errors
    /// When a score is not finite.
    pub fn score(
        &mut self,
        scorer: &Scorer,
        set: Set,
        progress: &mut Progress,
    ) -> Result<Vec<Failed>> {
        let mut reasons: BTreeMap<usize, String> = BTreeMap::new();
        for (name, side) in SIDES.into_iter().zip(&mut self.sides) {
            let title = format!("scoring the {name}");
            let scores = scorer.scores(&title, &self.asked, side, progress)?;
            for (index, (all, scores)) in side.iter_mut().zip(scores).enumerate() {
                match scores {
                    Ok(scores) => all.iter_mut().zip(scores).for_each(|(c, score)| set(c, score)),
                    Err(reason) => drop(reasons.insert(index, format!("{title}: {reason}"))),
                }
            }
        }
        let mut failed = Vec::new();
        for (index, reason) in reasons.into_iter().rev() {
            failed.push((self.asked.remove(index).id, reason));
            self.sides.iter_mut().for_each(|side| drop(side.remove(index)));
        }
        failed.reverse();
        Ok(failed)
    }

    /// A record's items.
    pub fn items(&self) -> Vec<Item> {
        (0..self.asked.len()).map(|index| item(self, index)).collect()
    }
}

/// Figures, and the best-of-n curves of policy and reference.
pub struct Results {
    figures: Vec<Figure>,
    curves: Vec<(&'static str, BestOfN)>,
    /// Prompts that were used, and that were not.
    prompts: [usize; 2],
}

impl Results {
    /// Measures what was drawn; `failed` prompts were not used.
    pub fn of(drawn: &Drawn, failed: usize) -> Self {
        let [policy, reference] = [&drawn.sides[0], &drawn.sides[1]];
        let curve = |name, side| best_of_n(side).into_iter().map(move |point| (name, point));
        Self {
            figures: figures(policy, reference),
            curves: curve("reference", reference).chain(curve("policy", policy)).collect(),
            prompts: [drawn.asked.len(), failed],
        }
    }

    /// A line a figure, a line a point of a curve, and a line of counts.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn lines(&self, output: &mut Output) -> Result<()> {
        for figure in &self.figures {
            let mut line = Map::from_iter([
                ("metric".into(), json!(figure.name)),
                ("of".into(), json!(figure.subset)),
                ("prompts".into(), json!(figure.n)),
            ]);
            line.extend(shown_figure(figure).as_object().cloned().unwrap_or_default());
            output.line(&Value::Object(line))?;
        }
        for (name, point) in &self.curves {
            output.line(&json!({
                "best_of": point.n,
                "of": name,
                "kl": point.kl,
                "sqrt_kl": point.kl.sqrt(),
                "reward": shown(point.reward.value, point.reward.interval()),
                "gold": point.gold.map(|gold| shown(gold.value, gold.interval())),
            }))?;
        }
        let [used, failed] = self.prompts;
        output.line(&json!({"prompts": used, "not_used": failed}))
    }

    /// The same as tables.
    pub fn tables(&self) -> String {
        let [used, failed] = self.prompts;
        let mut text = head(&["metric", "value"]);
        for figure in self.figures.iter().filter(|figure| figure.subset.is_none()) {
            text.push_str(&row([&figure.name, &cell(figure.value, figure.interval)]));
        }
        text.push_str(&format!("\n{}", self.sides()));
        if !self.curves.is_empty() {
            text.push_str(&format!("\n{}", self.curve()));
        }
        text.push_str(&format!("\n{used} prompts used, {failed} not\n"));
        text
    }

    fn sides(&self) -> String {
        let mut text = head(&["metric", "policy", "reference"]);
        let of = |name: &str, side: &str| {
            let holds =
                |figure: &&Figure| figure.name == name && figure.subset.as_deref() == Some(side);
            let found = self.figures.iter().find(holds);
            found.map_or_else(String::new, |figure| cell(figure.value, figure.interval))
        };
        for figure in self.figures.iter().filter(|f| f.subset.as_deref() == Some(SIDES[0])) {
            let sides = SIDES.map(|side| of(&figure.name, side));
            text.push_str(&row([&figure.name, &sides[0], &sides[1]]));
        }
        text
    }

    fn curve(&self) -> String {
        let mut text = head(&["best of", "samples of", "KL ≤", "√KL", "reward", "gold"]);
        for (name, point) in &self.curves {
            let gold = point.gold.map_or_else(String::new, |gold| estimate_cell(&gold));
            let (kl, root) = (format!("{:.3}", point.kl), format!("{:.3}", point.kl.sqrt()));
            let reward = estimate_cell(&point.reward);
            text.push_str(&row([&point.n.to_string(), *name, &kl, &root, &reward, &gold]));
        }
        text
    }

    /// Every figure for a record, those of the curves among them.
    pub fn all(&self) -> Vec<Figure> {
        let mut figures = self.figures.clone();
        for (name, point) in &self.curves {
            let of = |what: &str| format!("best_of_{}/{what}", point.n);
            let prompts = self.prompts[0];
            figures.push(Estimate::bare(point.kl).figure(of("kl"), Some(name), prompts));
            figures.push(point.reward.figure(of("reward"), Some(name), prompts));
            figures.extend(point.gold.map(|gold| gold.figure(of("gold"), Some(name), prompts)));
        }
        figures
    }
}

/// A prompt with its completions, for the record.
fn item(drawn: &Drawn, index: usize) -> Item {
    let one = &drawn.asked[index];
    let (mut values, mut detail) = (BTreeMap::new(), Map::new());
    detail.insert("prompt".into(), json!(one.prompt));
    for (name, side) in SIDES.into_iter().zip(&drawn.sides) {
        let all = &side[index];
        let mut mean = |what: &str, of: fn(&SampledCompletion) -> Option<f64>| {
            let found: Option<Vec<f64>> = all.iter().map(of).collect();
            if let Some(found) = found.filter(|found| !found.is_empty()) {
                let mean = found.iter().sum::<f64>() / found.len() as f64;
                values.insert(format!("{name}/{what}"), mean);
            }
        };
        mean("reward", |c| c.reward);
        mean("gold", |c| c.gold);
        mean("kl_k1", |c| c.k1);
        mean("kl_k3", |c| c.k3);
        mean("tokens", |c| Some(c.tokens.len() as f64));
        mean("finished", |c| Some(f64::from(u8::from(c.finished))));
        let shown = |c: &SampledCompletion| {
            json!({
                "completion": c.text, "tokens": c.tokens.len(), "finished": c.finished,
                "reward": c.reward, "gold": c.gold, "k1": c.k1,
            })
        };
        detail.insert(name.into(), all.iter().map(shown).collect());
    }
    Item { id: format!("{index}/{}", one.id), subset: None, values, detail }
}
