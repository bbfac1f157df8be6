//! The stages, as the trainer runs them; an observer holds the watch.

use std::time::Instant;

use anyhow::{Context, Result};
use revealed::models::{SamplingConfig, sample};
use revealed::reward::RewardModel;
use revealed::train::{
    Event, Observer, Pair, Phase, Recipe, Row, Run, State, Task, Tuning, ValidationReward, align,
    fit_reward, fit_sft,
};

use crate::setup::{Setup, lora};
use crate::{Args, Stage, memory_mib};

/// One row of the result.
pub struct Line {
    pub stage: String,
    /// Median of the steps, or the whole phase.
    pub seconds: f64,
    /// Worked on in that time; none of a phase, whose tokens nobody counts.
    pub tokens: Option<f64>,
    /// Resident memory at its end, in MiB.
    pub rss_mib: u64,
}

impl Line {
    fn new(stage: impl Into<String>, seconds: f64, tokens: Option<f64>) -> Self {
        Self { stage: stage.into(), seconds, tokens, rss_mib: memory_mib("VmRSS:") }
    }
}

pub fn time(stage: Stage, args: &Args, setup: &Setup) -> Result<Vec<Line>> {
    Ok(match stage {
        Stage::Sft => vec![sft(args, setup)?],
        Stage::Reward => vec![reward(args, setup)?],
        Stage::LogProbs => vec![log_probs(args, setup)?],
        Stage::Generate => vec![generate(args, setup)?],
        Stage::Round => round(args, setup)?,
    })
}

/// When steps of the given phase were done.
struct Watch {
    phase: Phase,
    steps: Vec<Instant>,
}

impl Observer for Watch {
    fn observe(&mut self, event: &Event<'_>) {
        match event {
            Event::Started { at, .. } if at.phase == self.phase => {
                self.steps = vec![Instant::now()];
            }
            Event::Step { at, .. } if at.phase == self.phase => {
                self.steps.push(Instant::now());
            }
            _ => {}
        }
    }
}

impl Watch {
    /// Median of the steps after the first.
    fn median(&self) -> f64 {
        let steps = self.steps.windows(2).skip(1).map(|pair| (pair[1] - pair[0]).as_secs_f64());
        median(steps.collect())
    }
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn tokens(rows: &[Row]) -> f64 {
    rows.iter().map(|row| row.input_ids.len()).sum::<usize>() as f64
}

fn with_run<T>(
    task: &Task,
    recipe: &Recipe,
    observer: &mut dyn Observer,
    work: impl FnOnce(&mut Run<'_>) -> T,
) -> T {
    work(&mut Run { task, recipe, objective: &recipe.reward.pair_objective(), observer })
}

fn sft(args: &Args, setup: &Setup) -> Result<Line> {
    let mut recipe = setup.recipe(args);
    (recipe.sft.epochs, recipe.sft.batch_size) = (1, args.batch);
    let rows = setup.rows(args.batch * (args.steps + 1), args, "sft");
    let tokens = tokens(&rows) / (args.steps + 1) as f64;
    let task = setup.task(&recipe, rows)?;
    let mut watch = Watch { phase: Phase::Sft, steps: vec![] };
    let policy = setup.policy(args)?;
    with_run(&task, &recipe, &mut watch, |run| fit_sft(policy, run))?;
    Ok(Line::new("sft", watch.median(), Some(tokens)))
}

fn reward(args: &Args, setup: &Setup) -> Result<Line> {
    let mut recipe = setup.recipe(args);
    (recipe.reward.steps, recipe.reward.batch_size) = (args.steps + 1, args.batch);
    let count = args.batch * (args.steps + 1);
    let rows = setup.rows(count, args, "demonstration");
    // A pair's completions answer one prompt.
    let samples = setup.completions(&rows, args, "sample");
    let tokens = (tokens(&rows) + tokens(&samples)) / (args.steps + 1) as f64;
    let task = setup.task(&recipe, rows)?;
    let pairs: Vec<Pair<'_>> =
        task.train.iter().zip(&samples).map(|(row, sample)| Pair::new(row, sample)).collect();
    let mut watch = Watch { phase: Phase::Fit, steps: vec![] };
    let reward = RewardModel::new(setup.policy(args)?, 0);
    with_run(&task, &recipe, &mut watch, |run| fit_reward(reward, &pairs, (1, 0), run))?;
    Ok(Line::new("reward", watch.median(), Some(tokens)))
}

fn log_probs(args: &Args, setup: &Setup) -> Result<Line> {
    let (model, recipe) = (setup.policy(args)?, setup.recipe(args));
    let rows = setup.rows(args.batch, args, "log_probs");
    let task = setup.task(&recipe, rows.clone())?;
    let step = |run: &mut Run<'_>| -> Result<()> {
        run.log_probs(&model, &rows, 1.0)?;
        Ok(())
    };
    let seconds = with_run(&task, &recipe, &mut (), |run| timed(args, || step(run)))?;
    Ok(Line::new("log_probs", seconds, Some(tokens(&rows))))
}

fn generate(args: &Args, setup: &Setup) -> Result<Line> {
    let model = setup.policy(args)?;
    let rows = setup.rows(args.batch, args, "generate");
    let prompts: Vec<Vec<u32>> =
        rows.iter().step_by(args.group).map(|row| row.prompt().to_vec()).collect();
    let vocab = model.shape().vocab_size as u32;
    let config = SamplingConfig {
        max_new_tokens: args.completion,
        samples_per_prompt: args.group,
        batch_size: args.batch,
        // Any token may be drawn early on, so that a fiftieth of all ids ends about a fiftieth of the rows at each step.
        stop_ids: if args.ragged { (0..vocab).step_by(50).collect() } else { vec![] },
        ..SamplingConfig::default()
    };
    let mut drawn: usize = 0;
    let seconds = timed(args, || {
        let samples = sample(&model, &prompts, &config)?;
        drawn = samples.iter().map(|sample| sample.token_ids.len()).sum();
        Ok(())
    })?;
    Ok(Line::new("generate", seconds, Some(drawn as f64)))
}

/// Median of the steps after the first.
fn timed(args: &Args, mut step: impl FnMut() -> Result<()>) -> Result<f64> {
    step()?;
    let mut seconds = Vec::new();
    for _ in 0..args.steps {
        let start = Instant::now();
        step()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    Ok(median(seconds))
}

/// Seconds of every phase.
#[derive(Default)]
struct Phases {
    current: Option<(Phase, usize, Instant)>,
    done: Vec<Line>,
}

impl Observer for Phases {
    fn observe(&mut self, event: &Event<'_>) {
        let at = match event {
            Event::Started { at, .. } => at,
            // The gate that follows is not timed: other trainers have none.
            Event::Ended { at, .. } if at.phase == Phase::Improve => return self.close(),
            _ => return,
        };
        if self.current.is_none_or(|(phase, round, _)| (phase, round) != (at.phase, at.round)) {
            self.close();
            self.current = Some((at.phase, at.round, Instant::now()));
        }
    }
}

impl Phases {
    fn close(&mut self) {
        if let Some((phase, round, start)) = self.current.take() {
            let seconds = start.elapsed().as_secs_f64();
            self.done.push(Line::new(format!("round {round} {phase}"), seconds, None));
        }
    }
}

/// One solver's rounds without SFT and judge, every one of them kept.
fn round(args: &Args, setup: &Setup) -> Result<Vec<Line>> {
    let mut recipe = setup.recipe(args);
    recipe.data.demonstrations =
        args.data.clone().context("--data: name a file of demonstrations")?;
    recipe.data.long_completions = revealed::data::LongCompletion::Truncate;
    recipe.data.max_demonstrations = args.batch;
    recipe.model.tuning = if args.lora > 0 { Tuning::Lora } else { Tuning::Full };
    recipe.model.lora = lora(args.lora.max(1));
    recipe.sft.epochs = 0;
    // Two of the policy, on which the reward is then calibrated.
    (recipe.negatives.initial, recipe.negatives.policy) = (0, 2);
    (recipe.reward.steps, recipe.reward.batch_size) = (args.steps, args.batch.min(16));
    recipe.policy.solver = args.solver;
    (recipe.policy.steps, recipe.policy.num_ppo_epochs) = (args.steps, 1);
    (recipe.policy.batch_size, recipe.policy.mini_batch_size) = (args.batch, args.batch);
    recipe.policy.samples_per_prompt = 4;
    recipe.gate = recipe.gate.without_bounds();
    recipe.gate.validation_reward = ValidationReward::None;
    recipe.gate.samples = 2;
    (recipe.health.max_kl, recipe.health.max_length_factor) = (f64::INFINITY, f64::INFINITY);
    recipe.run.rounds = args.rounds;
    (recipe.run.shown_samples, recipe.run.save_steps) = (0, 0);
    recipe.check()?;
    let task = Task::load(&recipe.data, setup.encoder(&recipe)?, 0)?;
    let mut phases = Phases::default();
    let state = State::new(setup.base(args)?, setup.policy(args)?);
    with_run(&task, &recipe, &mut phases, |run| align(state, run, |_| Ok(())))?;
    phases.close();
    let mut lines = phases.done;
    let all = lines.iter().map(|line| line.seconds).sum();
    lines.push(Line::new("round", all, None));
    Ok(lines)
}
