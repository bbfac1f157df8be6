//! What is compared: one function an arm, all from the same SFT model.

use std::time::Instant;

use anyhow::Result;
use revealed::models::CausalLm;
use revealed::objectives::{LogRatioLoss, LogRatioObjective, PairLoss};
use revealed::train::{
    Alternation, Anchor, Fading, Keep, LengthControl, OptimizerConfig, Phase, Pool, Recipe,
    RewardStart, Run, SelfPlay, SftObjective, Solver, State, Stop, align, fit_sft, self_play,
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
    /// Runs on seeds below this.
    seeds: u64,
    /// Runs on this setting alone.
    only: Option<Level>,
}

#[derive(Clone, Copy)]
enum Method {
    /// The SFT model as it is, and the base before it.
    Start,
    /// Imitation with changed settings.
    Imitate(fn(&mut Recipe)),
    /// The policy as its own reward; negatives of the initial model and of the policy.
    SelfPlay { objective: LogRatioObjective, play: Play, negatives: [usize; 2] },
    /// The loop on SFT samples in the place of demonstrations.
    Discriminate,
    /// The loop with another number of demonstrations, SFT included.
    Demonstrations(usize),
    /// The loop with changed settings, every round kept.
    Irl { rounds: usize, change: fn(&mut Recipe) },
}

/// Seeds of the comparison: the first five.
const COMPARED: u64 = 5;

/// Everything there is to run.
pub fn all() -> Vec<Arm> {
    let arm = |name, method| Arm { name, method, seeds: COMPARED, only: None };
    let irl = |name, rounds, change| arm(name, Method::Irl { rounds, change });
    let ablation = |name, change| Arm {
        only: Some(Level::Hard),
        ..arm(name, Method::Irl { rounds: 2, change })
    };
    let log_ratio =
        |loss| LogRatioObjective { loss, scale: 0.1, offset: 0.0, label_smoothing: 0.0 };
    let play = |name, loss, play| {
        arm(name, Method::SelfPlay { objective: log_ratio(loss), play, negatives: [0, 2] })
    };
    vec![
        Arm { seeds: u64::MAX, ..arm("sft", Method::Start) },
        arm(
            "sft-more",
            Method::Imitate(|recipe| {
                recipe.sft.epochs = 40;
                recipe.sft.patience = recipe.sft.epochs;
                recipe.sft.keep = Keep::Last;
            }),
        ),
        arm("iq-learn", Method::Imitate(|recipe| recipe.sft.objective = SftObjective::IqLearn)),
        play("spin", LogRatioLoss::Spin, PLAY),
        arm(
            "spin-initial",
            Method::SelfPlay {
                objective: log_ratio(LogRatioLoss::Spin),
                play: PLAY,
                negatives: [4, 2],
            },
        ),
        play("irft", LogRatioLoss::Spin, Play { rounds: 6, steps: 33, anchor: Anchor::Sft }),
        play("gsil", LogRatioLoss::GsilBernoulli, PLAY),
        arm("afd-bce", Method::Discriminate),
        Arm { seeds: u64::MAX, ..irl("irl-rloo", 3, |_| {}) },
        irl("irl-grpo", 2, |recipe| recipe.policy.solver = Solver::Grpo),
        irl("irl-ppo", 2, |recipe| recipe.policy.solver = Solver::Ppo),
        irl("irl-mixed", 2, |recipe| recipe.negatives.policy = 2),
        ablation("negatives-policy", |recipe| {
            (recipe.negatives.initial, recipe.negatives.policy) = (0, 4);
        }),
        ablation("negatives-sft", |recipe| {
            (recipe.negatives.initial, recipe.negatives.sft) = (0, 4);
        }),
        ablation("negatives-greedy", |recipe| {
            (recipe.negatives.initial, recipe.negatives.greedy) = (0, 1);
        }),
        ablation("negatives-made", |recipe| {
            (recipe.negatives.other_prompts, recipe.negatives.truncated) = (1, 1);
        }),
        ablation("mixed-fading", |recipe| {
            (recipe.negatives.policy, recipe.reward.fading) = (2, Fading::Won);
        }),
        ablation("mixed-warm", |recipe| {
            recipe.negatives.policy = 2;
            recipe.reward.start = RewardStart::Warm;
            recipe.reward.optimizer.lr = 1e-4;
            recipe.reward.steps = 30;
        }),
        ablation("mixed-pool-round", |recipe| {
            (recipe.negatives.policy, recipe.reward.pool) = (2, Pool::Round);
        }),
        ablation("anchor-moving", |recipe| recipe.policy.anchor = Anchor::Moving),
        ablation("reward-warm", |recipe| recipe.reward.start = RewardStart::Warm),
        ablation("step-wise", |recipe| recipe.policy.alternation = Alternation::StepWise),
        ablation("ensemble", |recipe| {
            (recipe.reward.members, recipe.reward.disagreement) = (3, 0.5);
        }),
        ablation("length-expert", |recipe| {
            recipe.reward.length_control = LengthControl::Expert;
        }),
        ablation("loss-bce", |recipe| recipe.reward.objective = PairLoss::Bce),
        ablation("loss-linear", |recipe| recipe.reward.objective = PairLoss::LinearDifference),
        ablation("reinforce", |recipe| recipe.policy.solver = Solver::Reinforce),
        Arm { only: Some(Level::Hard), ..arm("demos-64", Method::Demonstrations(64)) },
        Arm { only: Some(Level::Hard), ..arm("demos-1024", Method::Demonstrations(1024)) },
    ]
}

/// A round of SPIN as long as a reward fit.
const PLAY: Play = Play { rounds: 2, steps: 100, anchor: Anchor::Moving };

#[derive(Clone, Copy)]
struct Play {
    rounds: usize,
    steps: usize,
    anchor: Anchor,
}

impl Arm {
    /// Whether it is part of the comparison on a setting and a seed.
    pub fn runs_on(&self, level: Level, seed: u64) -> bool {
        self.only.is_none_or(|only| only == level) && seed < self.seeds
    }

    /// Whether it changes one thing of the loop, rather than being a method of its own.
    pub fn is_ablation(&self) -> bool {
        self.only.is_some()
    }

    /// Runs it.
    pub fn run(&self, prepared: &Prepared) -> Result<Vec<Round>> {
        match self.method {
            Method::Start => start(prepared),
            Method::Imitate(change) => imitate(change, prepared),
            Method::SelfPlay { objective, play, negatives } => {
                against_itself(&objective, play, negatives, prepared)
            }
            Method::Discriminate => discriminate(prepared),
            Method::Irl { rounds, change } => irl(rounds, change, prepared),
            Method::Demonstrations(count) => irl(2, |_| {}, &prepared.with_demonstrations(count)?),
        }
    }
}

fn imitate(change: fn(&mut Recipe), prepared: &Prepared) -> Result<Vec<Round>> {
    let mut recipe = prepared.recipe.clone();
    change(&mut recipe);
    let objective = recipe.reward.pair_objective();
    let task = &prepared.task;
    let mut run = Run { task, recipe: &recipe, objective: &objective, observer: &mut () };
    let began = Instant::now();
    let model = fit_sft(prepared.base.clone(), &mut run)?;
    Ok(vec![plain(1, began.elapsed().as_secs_f64(), &model, prepared)?])
}

fn against_itself(
    objective: &LogRatioObjective,
    play: Play,
    [initial, policy]: [usize; 2],
    prepared: &Prepared,
) -> Result<Vec<Round>> {
    let mut recipe = prepared.recipe.clone();
    (recipe.negatives.initial, recipe.negatives.policy) = (initial, policy);
    let pairs = recipe.reward.pair_objective();
    let task = &prepared.task;
    let mut run = Run { task, recipe: &recipe, objective: &pairs, observer: &mut () };
    let config = SelfPlay {
        rounds: play.rounds,
        steps: play.steps,
        batch_size: recipe.reward.batch_size,
        anchor: play.anchor,
        optimizer: OptimizerConfig { lr: 1e-4, ..recipe.policy.optimizer.clone() },
    };
    let mut policies = Vec::new();
    let mut began = Instant::now();
    let models = (&prepared.base, &prepared.sft);
    self_play(models, &config, objective, &mut run, |_, policy| {
        policies.push((began.elapsed().as_secs_f64(), policy.clone()));
        began = Instant::now();
        Ok(())
    })?;
    // Rounds of a tenth of an epoch are not rows of a table.
    let every = if play.rounds > 3 { play.rounds / 2 } else { 1 };
    let mut results = Vec::new();
    let mut seconds = 0.0;
    for (index, (took, policy)) in policies.iter().enumerate() {
        seconds += took;
        if (index + 1) % every == 0 {
            let mut result = plain((index + 1) / every, seconds, policy, prepared)?;
            let ratio = |rows: &[_]| log_ratio(policy, &prepared.sft, rows, prepared);
            result.ordered = Some(ordered(&ratio, prepared)?);
            results.push(result);
            seconds = 0.0;
        }
    }
    Ok(results)
}

/// AfD's choice: a discriminator between samples of the SFT model and of the initial one.
fn discriminate(prepared: &Prepared) -> Result<Vec<Round>> {
    irl(1, |recipe| recipe.reward.objective = PairLoss::Bce, &prepared.with_sft_samples()?)
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
