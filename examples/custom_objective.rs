//! A reward objective of one's own in the unchanged loop: `cargo run --example custom_objective`.
//!
//! The margin that a demonstration must keep over a sample grows with the sample's own score:
//! `L = max(0, m + a·|r_sample| − (r_demonstration − r_sample))`. Everything else is as shipped. The world is the
//! built-in shop desk with an untrained model, so this runs anywhere in seconds and proves wiring, not quality.

use revealed::burn::tensor::Tensor;
use revealed::data::Encoder;
use revealed::lab::shop_desk;
use revealed::models::{CausalLm, HfConfig};
use revealed::objectives::RewardObjective;
use revealed::train::{Event, Observer, Recipe, Run, State, Task, align};

struct GrowingMargin {
    margin: f64,
    growth: f64,
}

impl RewardObjective for GrowingMargin {
    fn loss(&self, demonstration: Tensor<1>, sample: Tensor<1>) -> Tensor<1> {
        let margin = sample.clone().abs().mul_scalar(self.growth).add_scalar(self.margin);
        (margin - (demonstration - sample)).clamp_min(0.0)
    }
}

struct Rounds;

impl Observer for Rounds {
    fn observe(&mut self, event: &Event<'_>) {
        if let Event::Round(report) = event {
            let (before, after) = (report.before.reward, report.after.reward);
            println!(
                "round {}: reward of samples {before:.2} before, {after:.2} after",
                report.round
            );
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name);
    let world = shop_desk::task(0);
    shop_desk::write_jsonl(&file("demonstrations.jsonl"), &world.demonstrations)?;
    std::fs::write(file("tokenizer.json"), shop_desk::tokenizer_json())?;
    std::fs::write(file("tokenizer_config.json"), shop_desk::tokenizer_config_json())?;

    let mut recipe = Recipe::default();
    recipe.data.demonstrations = file("demonstrations.jsonl");
    recipe.data.held_out = 32;
    recipe.data.max_completion_tokens = 40;
    recipe.sft.optimizer.lr = 1e-2;
    recipe.reward.steps = 20;
    recipe.policy.steps = 2;
    recipe.run.rounds = 1;

    let fields = serde_json::from_str(&shop_desk::config_json(32, 1, 2))?;
    let config = HfConfig::new(file("config.json"), fields);
    let base = CausalLm::random(config, 0, &revealed::device("flex")?)?;
    let policy = base.clone().with_lora(&recipe.model.lora, 0)?;
    let encoder = Encoder::from_folder(folder.path(), recipe.data.encode_options())?;
    let task = Task::load(&recipe.data, encoder, 0)?;

    let objective = GrowingMargin { margin: 0.5, growth: 0.1 };
    let mut run =
        Run { task: &task, recipe: &recipe, objective: &objective, observer: &mut Rounds };
    align(State::new(base, policy), &mut run, |_| Ok(()))?;
    Ok(())
}
