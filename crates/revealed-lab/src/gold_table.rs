//! The gold reward of a policy on the built-in task, for tables only.

use revealed_data::Prompt;
use revealed_eval::stats::mean_ci95;
use revealed_models::{CausalLm, Decoding, SamplingConfig, sample};
use revealed_report::GoldRow;
use revealed_train::Task;

use crate::LabError;
use crate::shop_desk::{Note, gold};

/// Completions per prompt.
pub const GOLD_SAMPLES: usize = 4;

/// A completion with its gold reward.
pub struct Scored {
    /// Index of its prompt.
    pub prompt: usize,
    /// Token ids.
    pub tokens: Vec<u32>,
    /// Decoded text.
    pub text: String,
    /// Whether it ends in EOS.
    pub terminated: bool,
    /// Gold reward, 0 to 1.
    pub gold: f64,
}

/// Completions of notes with their gold rewards; the `samples` of a note are adjacent; greedy for a temperature of 0.
///
/// # Errors
/// When a note cannot be encoded or sampling fails.
pub fn completions(
    model: &CausalLm,
    notes: &[Note],
    (temperature, samples): (f64, usize),
    task: &Task,
    seed: u64,
) -> Result<Vec<Scored>, LabError> {
    let prompts: Vec<Vec<u32>> = notes
        .iter()
        .map(|note| task.encoder.prompt(&Prompt::Text(note.prompt())))
        .collect::<Result<_, _>>()?;
    let greedy = temperature == 0.0;
    let config = SamplingConfig {
        decoding: if greedy { Decoding::Greedy } else { Decoding::Sample },
        temperature: if greedy { 1.0 } else { temperature },
        max_new_tokens: task.max_completion_tokens,
        samples_per_prompt: if greedy { 1 } else { samples },
        batch_size: 256,
        stop_ids: task.encoder.stop_ids().to_vec(),
        pad_id: task.pad_id(),
        seed,
        ..SamplingConfig::default()
    };
    let drawn = sample(model, &prompts, &config)?;
    Ok(drawn
        .into_iter()
        .map(|sample| {
            let text = task.encoder.decode(&sample.token_ids);
            let gold = gold(&notes[sample.prompt], &text, sample.finished).score;
            let (prompt, terminated) = (sample.prompt, sample.finished);
            Scored { prompt, tokens: sample.token_ids, text, terminated, gold }
        })
        .collect())
}

/// Mean gold reward of completions.
pub fn mean_gold(scored: &[Scored]) -> f64 {
    scored.iter().map(|one| one.gold).sum::<f64>() / scored.len() as f64
}

/// A row of the table, and completions to show.
pub struct Measured {
    /// Gold figures at T = 1, T = 0.7 and greedy.
    pub row: GoldRow,
    /// Completions of the first prompts, at T = 1.
    pub examples: Vec<String>,
}

/// Measures a policy on test prompts by the gold reward.
///
/// # Errors
/// When sampling fails.
pub fn measure(
    name: &str,
    model: &CausalLm,
    test: &[Note],
    task: &Task,
    seed: u64,
) -> Result<Measured, LabError> {
    let at = |temperature| completions(model, test, (temperature, GOLD_SAMPLES), task, seed);
    let (first, cooler, greedy) = (at(1.0)?, at(0.7)?, at(0.0)?);
    let share = |holds: fn(&Scored) -> bool| {
        first.iter().filter(|one| holds(one)).count() as f64 / first.len() as f64
    };
    // Samples of one prompt are not independent: the interval is over prompts.
    let by_prompt: Vec<f64> = first.chunks(GOLD_SAMPLES).map(mean_gold).collect();
    let (low, high) = mean_ci95(&by_prompt);
    let row = GoldRow {
        name: name.into(),
        t1: mean_gold(&first),
        t1_ci95: [low, high],
        t07: mean_gold(&cooler),
        greedy: mean_gold(&greedy),
        perfect: share(|one| one.gold >= 1.0),
        terminated: share(|one| one.terminated),
    };
    let examples = first.iter().step_by(GOLD_SAMPLES).take(3).map(|one| one.text.clone()).collect();
    Ok(Measured { row, examples })
}
