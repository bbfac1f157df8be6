//! Both objectives drive the unchanged loop: the reward learns to put demonstrations above samples.

use own_objective::{GrowingMargin, exponential};
use revealed::data::Encoder;
use revealed::lab::shop_desk::{self, Setting, TaskSize};
use revealed::models::{CausalLm, HfConfig};
use revealed::objectives::RewardObjective;
use revealed::train::{Event, Observer, Phase, Recipe, Run, State, Task, align};

/// Loss and accuracy of every step of the first round's fit.
#[derive(Default)]
struct Fit(Vec<[f64; 2]>);

impl Observer for Fit {
    fn observe(&mut self, event: &Event<'_>) {
        if let Event::Step { at, metrics, .. } = event
            && (at.round, at.phase) == (1, Phase::Fit)
        {
            let number = |name| metrics.iter().find(|m| m.0 == name).map_or(f64::NAN, |m| m.1);
            self.0.push([number("loss"), number("rewards/accuracies")]);
        }
    }
}

fn fitted_with(objective: &dyn RewardObjective) -> Fit {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let size = TaskSize { clerk: 0, demonstrations: 32, held_out: 8, prompts: 0, test: 0 };
    let world = shop_desk::task_of_size(0, Setting::Easy, &size);
    shop_desk::write_jsonl(&file("demonstrations.jsonl"), &world.demonstrations).unwrap();
    shop_desk::write_jsonl(&file("held_out.jsonl"), &world.held_out).unwrap();
    std::fs::write(file("tokenizer.json"), shop_desk::tokenizer_json()).unwrap();
    std::fs::write(file("tokenizer_config.json"), shop_desk::tokenizer_config_json()).unwrap();

    let mut recipe = Recipe::default();
    recipe.data.demonstrations = file("demonstrations.jsonl");
    recipe.data.held_out_file = Some(file("held_out.jsonl"));
    recipe.data.max_completion_tokens = 40;
    recipe.sft.epochs = 0;
    recipe.reward.steps = 30;
    recipe.reward.optimizer.lr = 3e-3;
    recipe.policy.steps = 1;
    recipe.policy.batch_size = 8;
    recipe.run.rounds = 1;

    let fields = serde_json::from_str(&shop_desk::config_json(32, 1, 2)).unwrap();
    let config = HfConfig::new(file("config.json"), fields);
    let base = CausalLm::random(config, 0, &revealed::device("flex").unwrap()).unwrap();
    let encoder = Encoder::from_folder(folder.path(), recipe.data.encode_options()).unwrap();
    let task = Task::load(&recipe.data, encoder, 0).unwrap();
    let mut fit = Fit::default();
    let mut run = Run { task: &task, recipe: &recipe, objective, observer: &mut fit };
    align(State::new(base.clone(), base), &mut run, |_| Ok(())).unwrap();
    fit
}

fn learns(objective: &dyn RewardObjective) {
    let Fit(steps) = fitted_with(objective);
    let (first, last) = (steps[0], steps[steps.len() - 1]);
    assert_eq!(steps.len(), 30);
    assert!(last[0] < first[0] / 2.0, "the loss fell from {} to {}", first[0], last[0]);
    assert!(last[1] > 0.95, "{} of pairs are in order", last[1]);
}

#[test]
fn a_function_is_an_objective() {
    learns(&exponential);
}

#[test]
fn a_trait_impl_keeps_its_numbers() {
    learns(&GrowingMargin { margin: 0.5, growth: 0.1 });
}

#[test]
fn an_objective_with_its_sign_reversed_does_not_learn() {
    let reversed = |demonstration, sample| exponential(sample, demonstration);
    let Fit(steps) = fitted_with(&reversed);
    assert!(steps[steps.len() - 1][1] < 0.05, "{:?}", steps.last());
}
