//! A run killed after any phase goes on as if nothing had happened.

use std::fs;
use std::path::{Path, PathBuf};

use revealed_reward::RewardModel;
use revealed_train::{
    Anchor, Average, Judge, Recipe, RewardStart, RunFolder, ScaleFrom, State, TrainError, Tuning,
    align,
};

use crate::support::{World, demonstrations, weights};

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
        (recipe.reward.members, recipe.reward.disagreement) = (2, 0.5);
        recipe.gate.judge = Judge::Independent;
        recipe.policy.anchor = Anchor::Moving;
        // The defaults, or what they replaced.
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
    let (state, bytes) = files.checkpoints(&world.recipe).load(&world.base)?.unwrap();
    files.rewind(bytes)?;
    world.run(&mut files, |run| align(state, run, |_| Ok(())))
}

#[test]
fn from_every_phase_the_end_is_the_same_to_the_last_bit() {
    for tuning in [Tuning::Lora, Tuning::Full] {
        let world = world(tuning);
        let (end, kept) = uninterrupted(&world);
        assert_eq!(kept.len(), 9);
        let metrics = |folder: &Path| fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
        for folder in &kept {
            // What a killed run wrote after its checkpoint.
            let mut torn = metrics(folder);
            torn.push_str("{\"round\":1,");
            fs::write(folder.join("metrics.jsonl"), torn).unwrap();
            let again = resumed(&world, folder).unwrap();
            assert_eq!(weights(&again.policy), weights(&end.policy), "{folder:?}");
            assert_eq!(weights(&again.sft), weights(&end.sft));
            let [a, b] = [&again, &end].map(|state| state.reward.as_ref().unwrap());
            let members = if tuning == Tuning::Lora { 4 } else { 2 };
            assert_eq!((a.members.len(), b.members.len()), (members, members));
            assert_eq!((a.disagreement, b.disagreement), (0.5, 0.5));
            let judges = [&again, &end].map(|state| state.judge.as_ref().unwrap());
            // The output head, which a classifier's folder does not keep, is not part of a reward.
            let part =
                |r: &RewardModel| (weights(&r.model.backbone.decoder), weights(&r.model.score));
            for (a, b) in a.members.iter().zip(&b.members).chain([(judges[0], judges[1])]) {
                assert_eq!(a.calibration, b.calibration);
                assert_eq!(part(a), part(b));
            }
            assert_eq!(
                (&again.reports, &again.pool, &again.held),
                (&end.reports, &end.pool, &end.held)
            );
            assert_eq!(metrics(folder), metrics(&world.recipe.run.out), "{folder:?}");
        }
    }
}

#[test]
fn a_changed_byte_anywhere_in_a_checkpoint_is_an_error_that_names_the_file() {
    let world = World::new(Tuning::Lora, |_| {});
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
    fs::write(folder.join("manifest.json"), "{").unwrap();
    let error = checkpoints.load(&world.base).unwrap_err().to_string();
    assert!(error.contains("manifest.json"), "{error}");
}

#[test]
fn only_the_newest_complete_checkpoint_counts() {
    let world = World::new(Tuning::Full, |_| {});
    let (end, _) = uninterrupted(&world);
    let out = &world.recipe.run.out;
    let folders: Vec<_> = fs::read_dir(out.join("checkpoints")).unwrap().collect();
    assert_eq!(folders.len(), 1, "older ones are removed");
    // A save that was cut short.
    fs::create_dir(out.join("checkpoints/.000099.partial")).unwrap();
    let files = RunFolder::resume(out, &world.recipe).unwrap();
    let (state, _) = files.checkpoints(&world.recipe).load(&world.base).unwrap().unwrap();
    assert_eq!(state.reports, end.reports);
    assert!(state.is_finished(&world.recipe));
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
fn metrics_are_never_filled_up_to_a_checkpoint_s_length() {
    let world = World::new(Tuning::Full, |_| {});
    let mut files = RunFolder::create(&world.recipe.run.out, &world.recipe).unwrap();
    files.rewind(1000).unwrap();
    assert_eq!(RunFolder::metrics_bytes(&world.recipe.run.out).unwrap(), 0);
}

#[test]
fn a_state_goes_on_only_with_the_data_it_began_with() {
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
fn two_processes_cannot_work_in_one_run_folder() {
    let world = World::new(Tuning::Lora, |_| {});
    let first = RunFolder::create(&world.recipe.run.out, &world.recipe).unwrap();
    let second = RunFolder::resume(&world.recipe.run.out, &world.recipe);
    assert!(second.unwrap_err().to_string().contains("another process works in this run folder"));
    drop(first);
    RunFolder::resume(&world.recipe.run.out, &world.recipe).unwrap();
}

#[test]
fn a_resumed_run_s_recipe_says_how_many_rounds_it_was_given() {
    let mut world = World::new(Tuning::Lora, |_| {});
    let out = world.recipe.run.out.clone();
    drop(RunFolder::create(&out, &world.recipe).unwrap());
    world.recipe.run.rounds = 7;
    drop(RunFolder::resume(&out, &world.recipe).unwrap());
    assert_eq!(Recipe::read(&out.join("recipe.toml"), &[]).unwrap().run.rounds, 7);
}
