//! A whole round on a tiny model: SFT, samples, reward, policy, gate.

use revealed::Device;
use revealed::models::CausalLm;
use revealed::train::{Run, SolverName, State, Tuning, align};

use crate::{close, devices, flex};
use revealed_train::testing::{World, weights};

fn round(world: &World, device: &Device) -> State {
    let folder = world.folder.path();
    let base = CausalLm::load(folder, device).unwrap();
    let policy = match world.recipe.model.tuning {
        Tuning::Full => base.clone(),
        Tuning::Lora => base.clone().with_lora(&world.recipe.model.lora, 5).unwrap(),
    };
    let objective = world.recipe.reward.pair_objective();
    let mut run =
        Run { task: &world.task, recipe: &world.recipe, objective: &objective, observer: &mut () };
    align(State::new(base, policy), &mut run, |_| Ok(())).unwrap()
}

#[test]
fn one_round_ends_where_it_ends_on_flex() {
    for other in devices() {
        for (tuning, solver) in [(Tuning::Lora, SolverName::RLOO), (Tuning::Full, SolverName::PPO)]
        {
            let world = World::new(tuning, |recipe| recipe.policy.solver = solver);
            let (found, wanted) = (round(&world, &other.device), round(&world, &flex()));
            // The same samples, or the two runs have parted.
            assert_eq!(found.pool.negatives.len(), wanted.pool.negatives.len());
            for (a, b) in found.pool.negatives.iter().zip(&wanted.pool.negatives) {
                assert_eq!(a.row, b.row, "{}", other.name);
            }
            let figures = |state: &State| -> Vec<f32> {
                let report = &state.reports[0];
                [report.before, report.after]
                    .into_iter()
                    .flat_map(|m| [m.reward, m.kl, m.log_likelihood, m.length, m.terminated])
                    .chain([report.accuracy_initial, report.sft_log_likelihood])
                    .map(|value| value as f32)
                    .collect()
            };
            // AdamW's first steps have the size of the learning rate wherever a gradient is not 0, so that a gradient that is rounding
            // noise moves a weight either way: rounds are compared by what they come to, at the size of a step.
            let loose = crate::Other { tolerance: other.tolerance * 100.0, ..other.clone() };
            close(&figures(&found), &figures(&wanted), &loose, "a round's figures");
            let (a, b) = (weights(&found.policy), weights(&wanted.policy));
            let apart: f32 = a.0.iter().zip(&b.0).map(|(a, b)| (a - b).abs()).sum::<f32>();
            let mean = apart / a.0.len() as f32;
            assert!(mean <= other.tolerance * 10.0, "{}: weights {mean:e} apart", other.name);
        }
    }
}
