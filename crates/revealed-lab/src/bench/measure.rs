//! Figures of a policy and of a reward. Only this file reads the gold reward.

use crate::shop_desk::Note;
use revealed_data::Prompt;
use revealed_models::{CausalLm, CompletionBatch, PaddingSide};
use revealed_train::Row;

use super::outcome::Gold;
use super::world::Prepared;
use crate::LabError;
use crate::gold_table::{Scored, completions, mean_gold};

const TEMPERATURES: [f64; 4] = [0.3, 0.5, 0.7, 1.0];
/// Unlabelled prompts on which a temperature is chosen.
const CHOICE: usize = 64;
const SAMPLES: usize = 4;

/// Gold figures of a policy.
pub fn gold_of(policy: &CausalLm, prepared: &Prepared) -> Result<Gold, LabError> {
    let (test, task) = (&prepared.world.test, &prepared.task);
    let seed = prepared.recipe.run.seed;
    let at = |temperature, samples| completions(policy, test, (temperature, samples), task, seed);
    let first = at(1.0, SAMPLES)?;
    let share = |holds: fn(&Scored) -> bool| {
        first.iter().filter(|one| holds(one)).count() as f64 / first.len() as f64
    };
    let t1 = mean_gold(&first);
    let mut best_t = (f64::NEG_INFINITY, 1.0);
    for temperature in TEMPERATURES {
        let notes = &prepared.world.prompts[..CHOICE];
        let mean = mean_gold(&completions(policy, notes, (temperature, 2), task, seed + 1)?);
        best_t = if mean > best_t.0 { (mean, temperature) } else { best_t };
    }
    let best_t = best_t.1;
    let rows: Vec<Row> =
        first.iter().map(|one| row(one, prepared)).collect::<Result<_, LabError>>()?;
    let own = total_log_prob(policy, &rows, prepared)?;
    let reference = total_log_prob(&prepared.sft, &rows, prepared)?;
    let kl = own.iter().zip(&reference).map(|(a, b)| a - b).sum::<f64>() / rows.len() as f64;
    Ok(Gold {
        t1,
        best: if best_t == 1.0 { t1 } else { mean_gold(&at(best_t, 2)?) },
        best_t,
        greedy: mean_gold(&at(0.0, 1)?),
        perfect: share(|one| one.gold >= 1.0),
        terminated: share(|one| one.terminated),
        length: first.iter().map(|one| one.tokens.len()).sum::<usize>() as f64 / first.len() as f64,
        kl,
    })
}

/// A completion of a test prompt as a row.
fn row(one: &Scored, prepared: &Prepared) -> Result<Row, LabError> {
    row_of(one, &prepared.world.test, prepared)
}

fn row_of(one: &Scored, notes: &[Note], prepared: &Prepared) -> Result<Row, LabError> {
    let note = &notes[one.prompt];
    let prompt = prepared.task.encoder.prompt(&Prompt::Text(note.prompt()))?;
    Ok(Row {
        input_ids: [prompt.as_slice(), &one.tokens].concat(),
        completion_start: prompt.len(),
        terminated: one.terminated,
    })
}

/// `Σ_t log π(y_t)` at T = 1 of each row.
fn total_log_prob(
    model: &CausalLm,
    rows: &[Row],
    prepared: &Prepared,
) -> Result<Vec<f64>, LabError> {
    let mut totals = Vec::with_capacity(rows.len());
    for part in rows.chunks(128) {
        let part: Vec<(&[u32], usize)> =
            part.iter().map(|row| (row.input_ids.as_slice(), row.completion_start)).collect();
        let (pad, device) = (prepared.task.pad_id(), model.device());
        let batch = CompletionBatch::new(&part, pad, PaddingSide::Right, &device)?;
        let sums = model.log_probs(&batch, 1.0).log_probs.sum_dim(1);
        totals.extend(sums.into_data().iter::<f32>().map(f64::from));
    }
    Ok(totals)
}

/// Scores of rows by a reward.
pub type Scores<'a> = &'a dyn Fn(&[Row]) -> Result<Vec<f64>, LabError>;

/// How often `scores` orders two SFT samples of a test prompt as gold does; ties of the scores count half.
pub fn ordered(scores: Scores<'_>, prepared: &Prepared) -> Result<f64, LabError> {
    let (test, task) = (&prepared.world.test, &prepared.task);
    let samples = match prepared.ordered.get() {
        Some(samples) => samples,
        None => {
            let seed = prepared.recipe.run.seed;
            let drawn = completions(&prepared.sft, test, (1.0, SAMPLES), task, seed)?;
            prepared.ordered.get_or_init(|| drawn)
        }
    };
    let rows: Vec<Row> = samples
        .iter()
        .map(|one| {
            let row = row(one, prepared)?;
            Ok(task.canonical(row.prompt(), row.completion()))
        })
        .collect::<Result<_, LabError>>()?;
    let scored = scores(&rows)?;
    let (mut right, mut pairs) = (0.0, 0.0);
    for (group, of_group) in samples.chunks(SAMPLES).zip(scored.chunks(SAMPLES)) {
        for i in 0..SAMPLES {
            for j in 0..i {
                let (gold, score) = (group[i].gold - group[j].gold, of_group[i] - of_group[j]);
                if gold != 0.0 {
                    pairs += 1.0;
                    right += match gold * score {
                        x if x > 0.0 => 1.0,
                        x if x < 0.0 => 0.0,
                        _ => 0.5,
                    };
                }
            }
        }
    }
    Ok(right / pairs)
}

/// The spread of scores of two SFT samples of a prompt, over some prompts without replies.
pub fn within_prompts(scores: Scores<'_>, prepared: &Prepared) -> Result<f64, LabError> {
    let notes = &prepared.world.prompts[..CHOICE];
    let seed = prepared.recipe.run.seed + 2;
    let drawn = completions(&prepared.sft, notes, (1.0, 2), &prepared.task, seed)?;
    let rows: Vec<Row> =
        drawn.iter().map(|one| row_of(one, notes, prepared)).collect::<Result<_, LabError>>()?;
    let scored = scores(&rows)?;
    // Half of the squared difference of two is their variance.
    let squares: f64 = scored.chunks(2).map(|pair| (pair[0] - pair[1]).powi(2) / 2.0).sum();
    Ok((squares / notes.len() as f64).sqrt())
}

/// The implicit reward of a policy: its log-ratio to a reference.
pub fn log_ratio(
    policy: &CausalLm,
    reference: &CausalLm,
    rows: &[Row],
    prepared: &Prepared,
) -> Result<Vec<f64>, LabError> {
    let own = total_log_prob(policy, rows, prepared)?;
    let other = total_log_prob(reference, rows, prepared)?;
    Ok(own.into_iter().zip(other).map(|(a, b)| a - b).collect())
}
