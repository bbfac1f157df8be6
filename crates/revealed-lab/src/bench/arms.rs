//! The compared methods, one function per arm, all from the same SFT model.

use std::path::Path;
use std::time::Instant;

use revealed_models::CausalLm;
use revealed_objectives::{LogRatioLoss, LogRatioObjective};
use revealed_train::{
    KlReference, LogRatioReward, OptimizerConfig, Phase, Recipe, Run, SelfPlay, State, TrainError,
    align, fit_sft, improve_policy, self_play,
};

use super::fingerprint::fingerprint;
use super::measure::{gold_of, log_ratio, ordered, within_prompts};
use super::outcome::{Level, Round};
use super::world::Prepared;
use crate::LabError;
use crate::base_model::settings;

/// A method or a setting to run.
#[derive(Clone)]
pub struct Arm {
    /// Name in results and tables.
    pub name: String,
    method: Method,
    /// Runs on this setting alone.
    only: Option<Level>,
    /// An ablation's arm without its change.
    against: &'static str,
}

/// The arm that others are compared with.
pub const REFERENCE: &str = "irl-rloo";

/// Settings as `revealed align --set` takes them.
type Changes = Vec<String>;

#[derive(Debug, Clone)]
enum Method {
    /// The SFT model as it is, and the base before it.
    Start,
    /// Imitation with changed settings.
    Imitate(Changes),
    /// The policy as its own reward; negatives of the initial model and of the policy.
    SelfPlay { objective: LogRatioObjective, play: Play, negatives: [usize; 2] },
    /// One round of the loop on SFT samples in the place of demonstrations.
    Discriminate(Changes),
    /// One round of improvement against the log-ratio of the SFT model to the base.
    LogRatio { dense: bool, changes: Changes },
    /// The loop with another number of demonstrations, SFT included.
    Demonstrations(usize),
    /// The loop with changed settings, every round kept.
    Irl { rounds: usize, changes: Changes },
}

fn list(changes: &[&str]) -> Changes {
    changes.iter().map(|change| (*change).to_owned()).collect()
}

/// All arms.
pub fn all() -> Vec<Arm> {
    let arm =
        |name: &str, method| Arm { name: name.into(), method, only: None, against: REFERENCE };
    let irl =
        |name, rounds, changes: &[&str]| arm(name, Method::Irl { rounds, changes: list(changes) });
    let on_hard = |arm| Arm { only: Some(Level::Hard), ..arm };
    // Ablations that differ in the first round run for one round, those of later rounds for two.
    let first = |name, changes: &[&str]| on_hard(irl(name, 1, changes));
    let later = |name, changes: &[&str]| on_hard(irl(name, 2, changes));
    let of_mixed = |name, changes: &[&str]| {
        let changes = [&["negatives.policy=2"], changes].concat();
        Arm { against: "irl-mixed", ..later(name, &changes) }
    };
    let spin = |play, negatives| Method::SelfPlay {
        objective: objective(LogRatioLoss::Spin),
        play,
        negatives,
    };
    let gsil = objective(LogRatioLoss::GsilBernoulli);
    vec![
        arm("sft", Method::Start),
        arm(
            "sft-more",
            Method::Imitate(list(&[
                "sft.epochs=40",
                "sft.early_stopping_patience=40",
                "sft.keep=last",
            ])),
        ),
        arm("iq-learn", Method::Imitate(list(&["sft.objective=iq-learn"]))),
        arm("spin", spin(PLAY, [0, 2])),
        arm("spin-initial", spin(PLAY, [4, 2])),
        arm(
            "irft",
            spin(Play { rounds: 6, steps: 33, reference: KlReference::Sft, ..PLAY }, [0, 2]),
        ),
        arm("gsil", Method::SelfPlay { objective: gsil, play: PLAY, negatives: [0, 2] }),
        arm("afd-bce", Method::Discriminate(list(&["reward.objective=bce"]))),
        arm("log-ratio", Method::LogRatio { dense: false, changes: list(&[]) }),
        arm(
            "log-ratio-dense",
            Method::LogRatio { dense: true, changes: list(&["policy.solver=ppo"]) },
        ),
        irl(REFERENCE, 3, &[]),
        irl("irl-grpo", 2, &["policy.solver=grpo"]),
        irl("irl-ppo", 2, &["policy.solver=ppo"]),
        irl("irl-mixed", 2, &["negatives.policy=2"]),
        irl(
            "irl-apart",
            3,
            &["reward.average=none", "reward.scale_from=policy", "policy.kl_coef=0.3"],
        ),
        later("negatives-policy", &["negatives.initial=0", "negatives.policy=4"]),
        first("negatives-sft", &["negatives.initial=0", "negatives.sft=4"]),
        later("negatives-greedy", &["negatives.initial=0", "negatives.greedy=1"]),
        first("negatives-made", &["negatives.other_prompts=1", "negatives.truncated=1"]),
        of_mixed("mixed-negative-reweighting", &["reward.negative_reweighting=validation-reward"]),
        of_mixed(
            "mixed-warm",
            &["reward.start=warm", "reward.optimizer.lr=1e-4", "reward.steps=30"],
        ),
        of_mixed("mixed-pool-round", &["reward.pool=round"]),
        later("anchor-moving", &["policy.reference=moving"]),
        later("reward-warm", &["reward.start=warm"]),
        later("step-wise", &["policy.alternation=step-wise"]),
        first("ensemble", &["reward.ensemble_size=3", "reward.uncertainty_penalty=0.5"]),
        first("length-expert", &["reward.length_control=expert"]),
        first("loss-bce", &["reward.objective=bce"]),
        first("loss-linear", &["reward.objective=linear-difference"]),
        first("reinforce", &["policy.solver=reinforce"]),
        on_hard(arm("demos-64", Method::Demonstrations(64))),
        on_hard(arm("demos-1024", Method::Demonstrations(1024))),
    ]
}

fn objective(loss: LogRatioLoss) -> LogRatioObjective {
    LogRatioObjective { loss, scale: 0.1, offset: 0.0, label_smoothing: 0.0 }
}

/// A round of SPIN as long as a reward fit.
const PLAY: Play = Play { rounds: 2, steps: 100, reference: KlReference::Moving, lr: 1e-4 };

#[derive(Debug, Clone, Copy)]
struct Play {
    rounds: usize,
    steps: usize,
    reference: KlReference,
    lr: f64,
}

impl Arm {
    /// The loop with settings of the caller's choice, on every setting.
    ///
    /// # Errors
    /// For a setting of a part that all arms of a seed share, or of gates, which the bench switches off.
    pub fn of(name: String, rounds: usize, changes: Changes) -> Result<Self, LabError> {
        for change in &changes {
            let section = change.split(['.', '=']).next().unwrap_or_default();
            if !["negatives", "reward", "policy"].contains(&section) {
                return Err(LabError::SharedSetting { change: change.clone() });
            }
        }
        let method = Method::Irl { rounds, changes };
        Ok(Self { name, method, only: None, against: REFERENCE })
    }

    /// Whether it is part of the comparison on a setting.
    pub fn runs_on(&self, level: Level) -> bool {
        self.only.is_none_or(|only| only == level)
    }

    /// The arm without an ablation's change.
    pub fn against(&self) -> &'static str {
        self.against
    }

    /// Hash of the method and the task's recipe. Results with another fingerprint cannot be compared with this arm.
    pub fn fingerprint(&self) -> String {
        fingerprint(&format!("{:?}", self.method))
    }

    /// The loop's settings, with the gates that its rounds would meet outside the bench.
    pub fn recipe(&self) -> Result<Recipe, LabError> {
        let changes = match &self.method {
            Method::Irl { changes, .. } | Method::Discriminate(changes) => changes.as_slice(),
            _ => &[],
        };
        changed(&settings(Path::new("."), 0), changes)
    }

    /// Whether it changes one thing of the loop, rather than being a method of its own.
    pub fn is_ablation(&self) -> bool {
        self.only.is_some()
    }

    /// Runs it.
    pub fn run(&self, prepared: &Prepared) -> Result<Vec<Round>, LabError> {
        match &self.method {
            Method::Start => start(prepared),
            Method::Imitate(changes) => imitate(changes, prepared),
            Method::SelfPlay { objective, play, negatives } => {
                against_itself(objective, *play, *negatives, prepared)
            }
            // AfD's choice: a discriminator between samples of the SFT model and of the initial one.
            Method::Discriminate(changes) => irl(1, changes, &prepared.with_sft_samples()?),
            Method::Irl { rounds, changes } => irl(*rounds, changes, prepared),
            Method::LogRatio { dense, changes } => against_log_ratio(*dense, changes, prepared),
            Method::Demonstrations(count) => irl(1, &[], &prepared.with_demonstrations(*count)?),
        }
    }
}

/// A seed's recipe with some of its settings changed.
fn changed(recipe: &Recipe, changes: &[String]) -> Result<Recipe, LabError> {
    Ok(Recipe::parse(&recipe.to_commented_toml(), "the task's recipe", changes)?)
}

fn imitate(changes: &[String], prepared: &Prepared) -> Result<Vec<Round>, LabError> {
    let recipe = changed(&prepared.recipe, changes)?;
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
) -> Result<Vec<Round>, LabError> {
    let mut recipe = prepared.recipe.clone();
    (recipe.negatives.initial, recipe.negatives.policy) = (initial, policy);
    let pairs = recipe.reward.pair_objective();
    let task = &prepared.task;
    let mut run = Run { task, recipe: &recipe, objective: &pairs, observer: &mut () };
    let config = SelfPlay {
        rounds: play.rounds,
        steps: play.steps,
        batch_size: recipe.reward.batch_size,
        reference: play.reference,
        optimizer: OptimizerConfig { lr: play.lr, ..recipe.policy.optimizer.clone() },
    };
    let mut policies = Vec::new();
    let mut began = Instant::now();
    let models = (&prepared.base, &prepared.sft);
    self_play(models, &config, objective, &mut run, |_, policy| {
        policies.push((began.elapsed().as_secs_f64(), policy.clone()));
        began = Instant::now();
        Ok(())
    })?;
    // Short rounds, a tenth of an epoch, are grouped for the table.
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

/// The reward without training: log-ratio of SFT model and base model, scaled as learned rewards are.
fn against_log_ratio(
    dense: bool,
    changes: &[String],
    prepared: &Prepared,
) -> Result<Vec<Round>, LabError> {
    let recipe = changed(&prepared.recipe, changes)?;
    let objective = recipe.reward.pair_objective();
    let task = &prepared.task;
    let mut run = Run { task, recipe: &recipe, objective: &objective, observer: &mut () };
    let began = Instant::now();
    let ratio = |rows: &[_]| log_ratio(&prepared.sft, &prepared.base, rows, prepared);
    let spread = within_prompts(&ratio, prepared)?.max(recipe.reward.scale_floor);
    let reward = LogRatioReward {
        policy: prepared.sft.clone(),
        reference: prepared.base.clone(),
        scale: 1.0 / spread,
        dense,
    };
    let policy = improve_policy(prepared.sft.clone(), &prepared.sft, &reward, 1, &mut run)?;
    let mut round = plain(1, began.elapsed().as_secs_f64(), &policy, prepared)?;
    round.ordered = Some(ordered(&ratio, prepared)?);
    Ok(vec![round])
}

fn plain(
    round: usize,
    seconds: f64,
    policy: &CausalLm,
    prepared: &Prepared,
) -> Result<Round, LabError> {
    let gold = gold_of(policy, prepared)?;
    Ok(Round { round, seconds, gold, ordered: None, report: None })
}

fn start(prepared: &Prepared) -> Result<Vec<Round>, LabError> {
    let mut sft = plain(1, 0.0, &prepared.sft, prepared)?;
    let ratio = |rows: &[_]| log_ratio(&prepared.sft, &prepared.base, rows, prepared);
    sft.ordered = Some(ordered(&ratio, prepared)?);
    Ok(vec![plain(0, 0.0, &prepared.base, prepared)?, sft])
}

fn irl(rounds: usize, changes: &[String], prepared: &Prepared) -> Result<Vec<Round>, LabError> {
    let mut recipe = changed(&prepared.recipe, changes)?;
    recipe.gate = recipe.gate.without_bounds();
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
        let scores =
            |rows: &[_]| Ok(reward.scores(rows, task.pad_id(), 8192).map_err(TrainError::from)?);
        result.ordered = Some(ordered(&scores, prepared)?);
        result.report = state.reports.last().cloned();
        results.push(result);
    }
    Ok(results)
}
