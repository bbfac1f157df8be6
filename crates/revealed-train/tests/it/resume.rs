//! A run that is killed after any step resumes with bit-identical results.

use std::fs;
use std::path::{Path, PathBuf};

use revealed_models::WeightStorage;
use revealed_reward::RewardModel;
use revealed_train::{
    Alternation, At, Average, Event, Keep, KlReference, LengthControl, ModelSection, Observer,
    Phase, Recipe, RewardStart, RunFolder, ScaleFrom, Setup, SftObjective, SolverName, State,
    TrainError, Tuning, ValidationReward, align, best_round,
};

use sha2::Digest;

use revealed_train::testing::{World, demonstrations, device, model, weights};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(fs::copy(&path, &target).unwrap()),
        }
    }
}

fn world(tuning: Tuning) -> World {
    World::new(tuning, |recipe| {
        recipe.run.rounds = 2;
        recipe.reward.start = RewardStart::Warm;
        (recipe.reward.ensemble_size, recipe.reward.uncertainty_penalty) = (2, 0.5);
        recipe.gate.validation_reward = ValidationReward::Independent;
        recipe.policy.reference = KlReference::Moving;
        recipe.model.bf16 = tuning == Tuning::Full;
        // The defaults, or the choices that they replaced.
        (recipe.reward.average, recipe.reward.scale_from) = match tuning {
            Tuning::Lora => (Average::Rounds, ScaleFrom::Sft),
            Tuning::Full => (Average::None, ScaleFrom::Policy),
        };
    })
}

/// Runs to the end; a copy of the run folder is kept after every phase.
fn uninterrupted(world: &World) -> (State, Vec<PathBuf>) {
    let out = world.recipe.run.out.clone();
    let mut files = RunFolder::create(&out, &world.recipe).unwrap();
    let checkpoints = files.checkpoints(&world.recipe);
    let mut kept = Vec::new();
    let state = world.run(&mut files, |run| {
        align(world.state(), run, |state| {
            checkpoints.save(state, RunFolder::metrics_bytes(&out)?)?;
            let folder = world.folder.path().join(format!("kept-{}", kept.len()));
            copy(&out, &folder);
            kept.push(folder);
            Ok(())
        })
    });
    (state.unwrap(), kept)
}

fn resumed(world: &World, folder: &Path) -> Result<State, TrainError> {
    let mut files = RunFolder::resume(folder, &world.recipe)?;
    let saved = files.checkpoints(&world.recipe).load(&world.base)?.unwrap();
    files.rewind(saved.metrics_bytes)?;
    world.run(&mut files, |run| align(saved.state, run, |_| Ok(())))
}

/// A resumed run must end like an uninterrupted one.
fn assert_same_end(again: &State, end: &State) {
    assert_eq!(weights(&again.policy), weights(&end.policy));
    assert_eq!(weights(&again.sft), weights(&end.sft));
    // The output head, which the folder of a classifier does not contain, is not part of a reward.
    let part = |r: &RewardModel| (weights(&r.model.backbone.decoder), weights(&r.model.score));
    let rewards = |state: &State| -> Vec<_> {
        let members = state.reward.iter().flat_map(|reward| &reward.members);
        members
            .chain(&state.validation_reward)
            .map(|reward| (reward.calibration, part(reward)))
            .collect()
    };
    assert_eq!(rewards(again), rewards(end));
    assert_eq!((&again.reports, &again.pool, &again.held), (&end.reports, &end.pool, &end.held));
}

#[test]
fn a_run_resumed_after_any_phase_ends_bit_identical() {
    for tuning in [Tuning::Lora, Tuning::Full] {
        let world = world(tuning);
        let (end, kept) = uninterrupted(&world);
        assert_eq!(kept.len(), 9);
        let metrics = |folder: &Path| fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
        for folder in &kept {
            // Text written by a killed run after its checkpoint.
            let mut torn = metrics(folder);
            torn.push_str("{\"round\":1,");
            fs::write(folder.join("metrics.jsonl"), torn).unwrap();
            let again = resumed(&world, folder).unwrap();
            assert_same_end(&again, &end);
            let reward = again.reward.as_ref().unwrap();
            let members = if tuning == Tuning::Lora { 4 } else { 2 };
            assert_eq!((reward.members.len(), reward.uncertainty_penalty), (members, 0.5));
            assert_eq!(metrics(folder), metrics(&world.recipe.run.out), "{folder:?}");
        }
    }
}

#[test]
fn a_run_on_a_bf16_base_resumes_to_the_same_bits() {
    let world = World::new(Tuning::Lora, |recipe| {
        recipe.run.rounds = 1;
        recipe.model.weights = WeightStorage::Bf16;
        recipe.policy.solver = SolverName::PPO;
    });
    let (end, kept) = uninterrupted(&world);
    assert_eq!(end.policy.weight_storage(), WeightStorage::Bf16);
    for folder in &kept {
        assert_same_end(&resumed(&world, folder).unwrap(), &end);
    }
    // A session loads the base as the recipe has it: it is the one that the state began with.
    let setup = Setup::load(world.recipe.clone(), &device(), &mut ()).unwrap();
    assert_eq!(setup.policy.weight_storage(), WeightStorage::Bf16);
    assert_eq!(weights(&setup.base), weights(&world.base));
    // With weights in f32 it is another run.
    let other = Recipe {
        model: ModelSection { weights: WeightStorage::F32, ..world.recipe.model.clone() },
        ..world.recipe.clone()
    };
    let error = RunFolder::resume(&kept[0], &other).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("weights"), "{error}");
    // So is a base in f32 under this recipe.
    let base = world.base.clone().with_weight_storage(WeightStorage::F32).unwrap();
    let state = State::new(base.clone(), base.with_lora(&world.recipe.model.lora, 1).unwrap());
    let error = world.run(&mut (), |run| align(state, run, |_| Ok(()))).unwrap_err();
    assert!(matches!(&error, TrainError::Recipe { key: "model.weights", .. }), "{error}");
}

#[test]
fn a_run_resumed_after_any_step_ends_bit_identical() {
    type Change = fn(&mut Recipe);
    let changes: [(Tuning, Change); 4] = [
        (Tuning::Lora, |recipe| {
            (recipe.sft.epochs, recipe.sft.early_stopping_patience) = (3, 0);
            (recipe.reward.ensemble_size, recipe.gate.validation_reward) =
                (2, ValidationReward::Independent);
        }),
        (Tuning::Full, |recipe| {
            (recipe.policy.solver, recipe.reward.start) = (SolverName::PPO, RewardStart::Warm);
            recipe.sft.objective = SftObjective::IqLearn;
        }),
        (Tuning::Lora, |recipe| {
            recipe.policy.solver = SolverName::REINFORCE;
            (recipe.policy.kl_target, recipe.policy.kl_horizon) = (0.1, 50.0);
            recipe.sft.keep = Keep::Last;
        }),
        (Tuning::Full, |recipe| {
            recipe.policy.alternation = Alternation::StepWise;
            (recipe.reward.ensemble_size, recipe.reward.average) = (2, Average::Rounds);
            recipe.reward.length_control = LengthControl::Expert;
        }),
    ];
    for (tuning, change) in changes {
        let whole = |recipe: &mut Recipe| {
            (recipe.run.rounds, recipe.policy.steps) = (2, 3);
            change(recipe);
            recipe.run.save_steps = 0;
        };
        let (end, phases) = uninterrupted(&World::new(tuning, whole));
        let world = World::new(tuning, |recipe| {
            whole(recipe);
            recipe.run.save_steps = 1;
        });
        let (same, kept) = uninterrupted(&world);
        assert!(kept.len() >= phases.len() + 10, "{}", kept.len());
        assert_same_end(&same, &end);
        let metrics = |folder: &Path| fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
        for folder in kept.iter().step_by(2) {
            let again = resumed(&world, folder).unwrap();
            assert_same_end(&again, &end);
            assert_eq!(metrics(folder), metrics(&world.recipe.run.out), "{folder:?}");
        }
    }
}

/// Asks to stop after a number of steps, and keeps the last one.
struct Impatient(usize, Option<At>);

impl Observer for Impatient {
    fn observe(&mut self, event: &Event<'_>) {
        if let Event::Step { at, .. } = event {
            (self.0, self.1) = (self.0.saturating_sub(1), Some(*at));
        }
    }

    fn should_stop(&self) -> bool {
        self.0 == 0
    }
}

#[test]
fn a_run_that_is_asked_to_stop_saves_after_its_step_and_can_be_resumed() {
    let world = World::new(Tuning::Lora, |recipe| {
        (recipe.sft.epochs, recipe.gate.validation_reward) = (2, ValidationReward::Independent);
    });
    let end = world.align().0;
    for patience in 1..=13 {
        let mut saved: Option<State> = None;
        let mut impatient = Impatient(patience, None);
        let stopped = world.run(&mut impatient, |run| {
            align(world.state(), run, |state| {
                saved = Some(state.clone());
                Ok(())
            })
        });
        let error = stopped.unwrap_err();
        let TrainError::Interrupted { at } = error else { panic!("{error}") };
        // At the end of a phase the step is 0.
        let heard = impatient.1.unwrap();
        let step = if saved.as_ref().unwrap().phase_state.is_some() { heard.step } else { 0 };
        assert_eq!((at.phase, at.step), (heard.phase, step), "{at} after {patience} steps");
        assert!(step == 0 || at.round == heard.round, "{at} after {patience} steps");
        let again = world.run(&mut (), |run| align(saved.unwrap(), run, |_| Ok(())));
        assert_same_end(&again.unwrap(), &end);
    }
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_it_is_used() {
    let world = World::new(Tuning::Full, |recipe| recipe.run.save_steps = 1);
    let (end, kept) = uninterrupted(&world);
    let folder = &kept[5];
    let files = RunFolder::resume(folder, &world.recipe).unwrap();
    let checkpoints = files.checkpoints(&world.recipe);
    let newest = folder.join("checkpoints/000006");
    let state = newest.join("state.json");
    fs::write(&state, fs::read(&state).unwrap().split_last().unwrap().1).unwrap();
    let saved = checkpoints.load(&world.base).unwrap().unwrap();
    assert_eq!(saved.damaged.len(), 1);
    let error = saved.damaged[0].to_string();
    assert!(error.contains("000006") && error.contains("state.json"), "{error}");
    assert!(!newest.exists() && folder.join("checkpoints/000006.damaged").is_dir());
    drop(files);
    assert_same_end(&resumed(&world, folder).unwrap(), &end);
}

#[test]
fn a_changed_byte_anywhere_in_a_checkpoint_is_an_error_that_names_the_file() {
    let world = World::new(Tuning::Lora, |recipe| recipe.run.save_total_limit = 1);
    let (_, kept) = uninterrupted(&world);
    let files = RunFolder::resume(&kept[3], &world.recipe).unwrap();
    let checkpoints = files.checkpoints(&world.recipe);
    assert!(checkpoints.load(&world.base).unwrap().is_some());
    let folder = kept[3].join("checkpoints/000004");
    let mut all = vec!["state.json".to_owned()];
    for model in ["sft", "policy", "candidate", "reward"] {
        for file in ["adapter_config.json", "adapter_model.safetensors"] {
            all.push(format!("{model}/{file}"));
        }
    }
    for name in all {
        let path = folder.join(&name);
        let bytes = fs::read(&path).unwrap();
        let mut changed = bytes.clone();
        *changed.last_mut().unwrap() ^= 1;
        for damaged in [&changed[..], &bytes[..bytes.len() - 1]] {
            fs::write(&path, damaged).unwrap();
            let error = checkpoints.load(&world.base).unwrap_err();
            let TrainError::Checkpoint { path: named, .. } = &error else { panic!("{error}") };
            assert!(named.ends_with(&name), "{error}");
        }
        fs::write(&path, bytes).unwrap();
    }
    for (manifest, complaint) in [
        ("{", "does not parse"),
        (r#"{"files": [["../state.json", 1, ""]]}"#, "outside the checkpoint"),
        (r#"{"files": [["/etc/hostname", 1, ""]]}"#, "outside the checkpoint"),
        (r#"{"files": []}"#, "does not list state.json"),
    ] {
        fs::write(folder.join("manifest.json"), manifest).unwrap();
        let error = checkpoints.load(&world.base).unwrap_err().to_string();
        assert!(error.contains("manifest.json") && error.contains(complaint), "{error}");
    }
}

#[test]
fn a_checkpoint_can_be_damaged_twice_and_partial_folders_are_removed() {
    let world = World::new(Tuning::Lora, |_| {});
    let (end, _) = uninterrupted(&world);
    let out = &world.recipe.run.out;
    let files = RunFolder::resume(out, &world.recipe).unwrap();
    let checkpoints = files.checkpoints(&world.recipe);
    let folder = out.join("checkpoints");
    let names = || {
        let entries = fs::read_dir(&folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let newest = names().into_iter().next_back().unwrap();
    for _ in 0..2 {
        fs::write(folder.join(&newest).join("state.json"), "{").unwrap();
        let saved = checkpoints.load(&world.base).unwrap().unwrap();
        assert_eq!(saved.damaged.len(), 1);
        assert!(names().contains(&format!("{newest}.damaged")));
        // Partial folders of killed processes under the next names.
        for left in ["000001.removed/policy", ".000099.partial", "+000050", "000004.removed"] {
            fs::create_dir_all(folder.join(left)).unwrap();
        }
        checkpoints.save(&end, 0).unwrap();
        assert!(names().contains(&newest));
        assert!(!names().iter().any(|n| n.ends_with("removed") || n.ends_with("partial")));
    }
}

#[test]
fn a_checkpoint_that_was_edited_with_its_manifest_is_refused_and_the_one_before_it_used() {
    let world = World::new(Tuning::Lora, |recipe| recipe.run.save_steps = 1);
    let (_, kept) = uninterrupted(&world);
    let folder = &kept[kept.len() - 2];
    let files = RunFolder::resume(folder, &world.recipe).unwrap();
    let checkpoints = files.checkpoints(&world.recipe);
    let all = folder.join("checkpoints");
    let newest = fs::read_dir(&all).unwrap().map(|e| e.unwrap().path()).max().unwrap();
    let whole = fs::read_to_string(newest.join("state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&whole).unwrap();
    for (pointer, value, complaint) in [
        ("/round", serde_json::json!(u64::MAX), "the round is"),
        ("/round", serde_json::json!(0), "the round is 0"),
        ("/held/sft/0/completion_start", serde_json::json!(1e9 as u64), "after its row"),
        ("/pool/negatives/0/row/input_ids/0", serde_json::json!(99_999), "outside the vocabulary"),
    ] {
        let mut edited = state.clone();
        *edited.pointer_mut(pointer).unwrap() = value;
        let text = edited.to_string();
        fs::write(newest.join("state.json"), &text).unwrap();
        let manifest = fs::read_to_string(newest.join("manifest.json")).unwrap();
        let mut manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        for entry in manifest["files"].as_array_mut().unwrap() {
            if entry[0] == "state.json" {
                let hash = sha2::Sha256::digest(text.as_bytes());
                let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
                *entry = serde_json::json!(["state.json", text.len(), hash]);
            }
        }
        fs::write(newest.join("manifest.json"), manifest.to_string()).unwrap();
        let saved = checkpoints.load(&world.base).unwrap().unwrap();
        let damage = saved.damaged[0].to_string();
        assert!(damage.contains(complaint) && damage.contains("state.json"), "{damage}");
        fs::rename(newest.with_extension("damaged"), &newest).unwrap();
    }
}

#[test]
fn only_the_newest_complete_checkpoint_counts() {
    let world = World::new(Tuning::Full, |_| {});
    let (end, _) = uninterrupted(&world);
    let out = &world.recipe.run.out;
    let folders: Vec<_> = fs::read_dir(out.join("checkpoints")).unwrap().collect();
    assert_eq!(folders.len(), 2, "older ones are removed");
    // An interrupted save.
    fs::create_dir(out.join("checkpoints/.000099.partial")).unwrap();
    let files = RunFolder::resume(out, &world.recipe).unwrap();
    let saved = files.checkpoints(&world.recipe).load(&world.base).unwrap().unwrap();
    assert_eq!(saved.state.reports, end.reports);
    assert!(saved.state.is_finished(&world.recipe));
}

#[test]
fn the_state_after_the_best_round_is_kept_and_used_last() {
    let world = World::new(Tuning::Lora, |recipe| {
        recipe.run.rounds = 3;
        recipe.gate.patience = 9;
    });
    // `best_round` decides which round is best.
    let (end, _) = uninterrupted(&world);
    let best = best_round(&end.reports, &world.recipe).unwrap();
    let out = &world.recipe.run.out;
    let mut recipe = world.recipe.clone();
    recipe.run.rounds = best + 1;
    // Ten more saves remove the older checkpoints.
    let files = RunFolder::resume(out, &recipe).unwrap();
    let checkpoints = files.checkpoints(&recipe);
    let later = State { phase: Phase::Fit, ..end.clone() };
    (0..10).for_each(|_| checkpoints.save(&later, 0).unwrap());
    let folder = out.join("checkpoints");
    let names = || -> Vec<String> {
        let entries = fs::read_dir(&folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let left = names();
    assert_eq!(left.len(), 3, "{left:?}");
    let kept = left.last().unwrap();
    assert!(kept.starts_with("best-"), "{left:?}");
    // All others are damaged.
    for newest in &left[..2] {
        fs::write(folder.join(newest).join("state.json"), "{}").unwrap();
    }
    let saved = checkpoints.load(&world.base).unwrap().unwrap();
    assert_eq!(saved.damaged.len(), 2);
    assert_eq!((saved.state.phase, saved.state.round), (Phase::Sample, best + 1));
    assert_eq!(saved.state.reports, end.reports[..best]);
    // Later checkpoints have higher numbers.
    checkpoints.save(&saved.state, 0).unwrap();
    let number = |name: &str| name.rsplit('-').next().unwrap().parse::<u32>().ok();
    let newest = names().iter().filter_map(|name| number(name)).max().unwrap();
    assert!(newest > number(kept).unwrap());
}

#[test]
fn resuming_with_another_recipe_names_the_keys() {
    let world = World::new(Tuning::Full, |_| {});
    let out = &world.recipe.run.out;
    assert!(RunFolder::resume(out, &world.recipe).is_err(), "there is no run yet");
    RunFolder::create(out, &world.recipe).unwrap();
    let resume = |change: fn(&mut Recipe)| {
        let mut recipe = world.recipe.clone();
        change(&mut recipe);
        RunFolder::resume(out, &recipe).map(drop).map_err(|error| error.to_string())
    };
    assert!(resume(|_| {}).is_ok());
    assert!(resume(|recipe| recipe.run.rounds = 7).is_ok());
    let error = resume(|recipe| {
        recipe.policy.optimizer.lr = 0.5;
        recipe.data.prompts = Some("more.jsonl".into());
    });
    let error = error.unwrap_err();
    assert!(error.contains("data.prompts, policy.optimizer.lr;"), "{error}");
}

#[test]
fn metrics_are_never_extended_to_the_length_at_a_checkpoint() {
    let world = World::new(Tuning::Full, |_| {});
    let mut files = RunFolder::create(&world.recipe.run.out, &world.recipe).unwrap();
    files.rewind(1000).unwrap();
    assert_eq!(RunFolder::metrics_bytes(&world.recipe.run.out).unwrap(), 0);
}

#[test]
fn a_state_resumes_only_with_the_same_data() {
    let world = World::new(Tuning::Lora, |_| {});
    let (_, states) = world.align();
    let mut rows = demonstrations();
    rows.iter_mut().for_each(|(_, completion)| completion.push_str(" q"));
    let changed = World::with_rows(Tuning::Lora, &rows, |_| {});
    for state in states {
        let result = changed.run(&mut (), |run| align(state, run, |_| Ok(())));
        assert!(matches!(result, Err(TrainError::Mismatch { .. })));
    }
}

#[test]
fn a_state_resumes_only_with_the_same_base_model() {
    for tuning in [Tuning::Lora, Tuning::Full] {
        let world = World::new(tuning, |_| {});
        let (_, states) = world.align();
        for state in states {
            let other = State { initial: model(2), ..state };
            let error = world.run(&mut (), |run| align(other, run, |_| Ok(()))).unwrap_err();
            assert!(error.to_string().contains("base model's weights have changed"), "{error}");
        }
    }
}

#[test]
fn two_processes_cannot_use_one_run_folder() {
    let world = World::new(Tuning::Lora, |_| {});
    let first = RunFolder::create(&world.recipe.run.out, &world.recipe).unwrap();
    let second = RunFolder::resume(&world.recipe.run.out, &world.recipe);
    assert!(second.unwrap_err().to_string().contains("another process works in this run folder"));
    drop(first);
    RunFolder::resume(&world.recipe.run.out, &world.recipe).unwrap();
}

#[test]
fn the_recipe_of_a_resumed_run_has_the_new_number_of_rounds() {
    let mut world = World::new(Tuning::Lora, |_| {});
    let out = world.recipe.run.out.clone();
    drop(RunFolder::create(&out, &world.recipe).unwrap());
    world.recipe.run.rounds = 7;
    drop(RunFolder::resume(&out, &world.recipe).unwrap());
    assert_eq!(Recipe::read(&out.join("recipe.toml"), &[]).unwrap().run.rounds, 7);
}
