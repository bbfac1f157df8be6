//! What is compared: one function an arm, all from the same SFT model.

use std::time::Instant;

use anyhow::Result;
use revealed::models::CausalLm;
use revealed::objectives::PairLoss;
use revealed::train::{
    Alternation, Anchor, Fading, Judge, Phase, Pool, Recipe, RewardStart, Run, Solver, State, Stop,
    align,
};

use super::Level;
use super::measure::{Round, gold_of, log_ratio, ordered};
use super::world::Prepared;

/// One thing to run.
#[derive(Clone, Copy)]
pub struct Arm {
    /// As in results and tables.
    pub name: &'static str,
    method: Method,
}

#[derive(Clone, Copy)]
enum Method {
    /// The SFT model as it is, and the base before it.
    Start,
    /// The loop with changed settings, every round kept.
    Irl { rounds: usize, change: fn(&mut Recipe) },
}

/// Everything there is to run.
pub fn all() -> Vec<Arm> {
    let irl = |name, rounds, change| Arm { name, method: Method::Irl { rounds, change } };
    vec![
        Arm { name: "sft", method: Method::Start },
        irl("irl-rloo", 3, |_| {}),
        irl("irl-grpo", 3, |recipe| recipe.policy.solver = Solver::Grpo),
        irl("irl-ppo", 3, |recipe| recipe.policy.solver = Solver::Ppo),
        irl("negatives-initial", 3, |recipe| recipe.negatives.policy = 0),
        irl("negatives-policy", 3, |recipe| recipe.negatives.initial = 0),
        irl("negatives-made", 3, |recipe| {
            (recipe.negatives.other_prompts, recipe.negatives.truncated) = (1, 1);
        }),
        irl("fading", 3, |recipe| recipe.reward.fading = Fading::Won),
        irl("warm-small", 3, |recipe| {
            recipe.reward.start = RewardStart::Warm;
            recipe.reward.optimizer.lr = 1e-4;
            recipe.reward.steps = 30;
        }),
        irl("anchor-moving", 3, |recipe| recipe.policy.anchor = Anchor::Moving),
        irl("pool-round", 3, |recipe| recipe.reward.pool = Pool::Round),
        irl("step-wise", 3, |recipe| recipe.policy.alternation = Alternation::StepWise),
        irl("bce", 1, |recipe| recipe.reward.objective = PairLoss::Bce),
    ]
}

impl Arm {
    /// Whether it is part of a setting's comparison.
    pub fn runs_on(&self, _level: Level) -> bool {
        true
    }

    /// Runs it.
    pub fn run(&self, prepared: &Prepared) -> Result<Vec<Round>> {
        match self.method {
            Method::Start => start(prepared),
            Method::Irl { rounds, change } => irl(rounds, change, prepared),
        }
    }
}

fn plain(round: usize, seconds: f64, policy: &CausalLm, prepared: &Prepared) -> Result<Round> {
    let gold = gold_of(policy, prepared)?;
    Ok(Round { round, seconds, gold, ordered: None, report: None, objections: vec![] })
}

fn start(prepared: &Prepared) -> Result<Vec<Round>> {
    let mut sft = plain(1, 0.0, &prepared.sft, prepared)?;
    let ratio = |rows: &[_]| log_ratio(&prepared.sft, &prepared.base, rows, prepared);
    sft.ordered = Some(ordered(&ratio, prepared)?);
    Ok(vec![plain(0, 0.0, &prepared.base, prepared)?, sft])
}

/// Bounds that no round breaks: every round is kept, whatever it does.
pub fn keep_everything(recipe: &mut Recipe) {
    let gate = &mut recipe.gate;
    (gate.min_accuracy, gate.min_distinct_share) = (0.0, 0.0);
    (gate.min_gain, gate.min_judge_gain) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    gate.max_kl = f64::INFINITY;
    gate.max_likelihood_drop = f64::INFINITY;
    gate.max_terminated_drop = f64::INFINITY;
    gate.max_repetition_rise = f64::INFINITY;
    gate.max_length_factor = f64::INFINITY;
    gate.stop = Stop::Never;
}

fn irl(rounds: usize, change: fn(&mut Recipe), prepared: &Prepared) -> Result<Vec<Round>> {
    let mut defaults = prepared.recipe.clone();
    defaults.gate.judge = Judge::Independent;
    change(&mut defaults);
    let mut recipe = defaults.clone();
    keep_everything(&mut recipe);
    let mut state = State::new(prepared.base.clone(), prepared.sft.clone());
    state.phase = Phase::Sample;
    let objective = recipe.reward.pair_objective();
    let task = &prepared.task;
    let mut results = Vec::new();
    for round in 1..=rounds {
        let began = Instant::now();
        recipe.run.rounds = round;
        let mut run = Run { task, recipe: &recipe, objective: &objective, observer: &mut () };
        state = align(state, &mut run, |_| Ok(()))?;
        let mut result = plain(round, began.elapsed().as_secs_f64(), &state.policy, prepared)?;
        let reward = state.reward.as_ref().expect("a round has fitted one");
        let scores = |rows: &[_]| Ok(reward.scores(rows, task.pad_id(), 8192)?);
        result.ordered = Some(ordered(&scores, prepared)?);
        let report = state.reports.last().expect("a round has been judged").clone();
        result.objections = report.objections(&defaults);
        result.report = Some(report);
        results.push(result);
    }
    Ok(results)
}
