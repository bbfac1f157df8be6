//! The gold reward of a policy on the built-in task: for tables only.

use anyhow::Result;
use revealed::data::Prompt;
use revealed::eval::shop_desk::{Note, gold};
use revealed::eval::stats::mean_ci95;
use revealed::models::{CausalLm, Decoding, SamplingConfig, sample};
use revealed::train::Task;

/// Completions of each prompt that gold figures are means of.
pub const GOLD_SAMPLES: usize = 4;

/// A completion with its gold reward.
pub struct Scored {
    /// Its prompt's index.
    pub prompt: usize,
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// Its text.
    pub text: String,
    /// Whether it ended.
    pub terminated: bool,
    /// In [0, 1].
    pub gold: f64,
}

/// Completions of notes with their gold rewards, `samples` adjacent ones a note; greedy for a temperature of 0.
pub fn completions(
    model: &CausalLm,
    notes: &[Note],
    (temperature, samples): (f64, usize),
    task: &Task,
    seed: u64,
) -> Result<Vec<Scored>> {
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

/// The mean gold reward.
pub fn mean_gold(scored: &[Scored]) -> f64 {
    scored.iter().map(|one| one.gold).sum::<f64>() / scored.len() as f64
}

/// Gold figures of one policy: T = 1, T = 0.7, greedy.
pub struct GoldRow {
    /// Whose.
    pub name: String,
    /// At the three.
    pub scores: [f64; 3],
    /// Of the first, over prompts.
    pub interval: (f64, f64),
    /// Share of perfect completions at T = 1.
    pub perfect: f64,
    /// Share of completions that end at T = 1.
    pub terminated: f64,
    /// Completions of the first prompts.
    pub examples: Vec<String>,
}

/// A policy's row.
pub fn gold_row(
    name: &str,
    model: &CausalLm,
    test: &[Note],
    task: &Task,
    seed: u64,
) -> Result<GoldRow> {
    let at = |temperature| completions(model, test, (temperature, GOLD_SAMPLES), task, seed);
    let all = [at(1.0)?, at(0.7)?, at(0.0)?];
    let first = &all[0];
    let share = |holds: fn(&Scored) -> bool| {
        first.iter().filter(|one| holds(one)).count() as f64 / first.len() as f64
    };
    // Samples of one prompt are not independent: the interval is over prompts.
    let by_prompt: Vec<f64> = first.chunks(GOLD_SAMPLES).map(mean_gold).collect();
    Ok(GoldRow {
        name: name.into(),
        scores: [mean_gold(first), mean_gold(&all[1]), mean_gold(&all[2])],
        interval: mean_ci95(&by_prompt),
        perfect: share(|one| one.gold >= 1.0),
        terminated: share(|one| one.terminated),
        examples: first.iter().step_by(GOLD_SAMPLES).take(3).map(|one| one.text.clone()).collect(),
    })
}
