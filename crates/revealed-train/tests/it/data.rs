//! Rows of files and of samples.

use revealed_data::Encoder;
use revealed_train::{At, Phase, Recipe, Rollout, Row, Task, TrainError, Tuning};
use serde_json::json;

use revealed_train::testing::{self, EOS, World, demonstrations, task, write_rows};

#[test]
fn a_sample_with_the_text_of_a_demonstration_is_the_same_row() {
    let world = World::new(Tuning::Full, |_| {});
    for row in world.task.train.iter().chain(&world.task.held_out) {
        assert!(row.terminated && row.completion().ends_with(&[EOS]));
        assert_eq!(&world.task.canonical(row.prompt(), row.completion()), row);
        // Without its last token it is the same row without EOS.
        let (open, cut) =
            (&row.completion()[..row.completion().len() - 1], row.input_ids.len() - 1);
        let expected = Row {
            input_ids: row.input_ids[..cut].to_vec(),
            completion_start: row.completion_start,
            terminated: false,
        };
        assert_eq!(world.task.canonical(row.prompt(), open), expected);
    }
}

#[test]
fn other_tokens_of_the_same_text_give_the_same_row() {
    let folder = tempfile::tempdir().unwrap();
    let vocab =
        json!({"<pad>": 0, "<bos>": 1, "<eos>": 2, "a": 3, "b": 4, "c": 5, "ab": 6, "abc": 7});
    let bpe = json!({"type": "BPE", "vocab": vocab, "merges": [["a", "b"], ["ab", "c"]]});
    let decoder = json!({"type": "Fuse"});
    testing::write_tokenizer_json(folder.path(), &["<pad>", "<bos>", "<eos>"], bpe, decoder);
    let rows: Vec<(String, String)> =
        ["a", "b", "c", "ac", "bc", "ca"].map(|prompt| (prompt.into(), "abcab".into())).to_vec();
    let mut recipe = Recipe::default();
    recipe.data.demonstrations = write_rows(folder.path(), "rows.jsonl", &rows);
    recipe.data.held_out = 2;
    let task = task(folder.path(), &recipe).unwrap();
    for row in &task.train {
        assert_eq!(row.completion(), [7, 6, EOS]);
        for sample in [vec![3, 4, 5, 3, 4, EOS], vec![6, 5, 6, EOS], vec![7, 6, EOS, 3]] {
            assert_eq!(&task.canonical(row.prompt(), &sample), row, "{sample:?}");
        }
    }
}

#[test]
fn samples_in_pairs_and_rollouts_are_tokenized_as_demonstrations() {
    let rows: Vec<(String, String)> =
        (0..24).map(|i| (["a", "b", "c", "d"][i % 4].repeat(1 + i / 4), "abcd".into())).collect();
    let mut world = World::with_rows(Tuning::Full, &demonstrations(), |recipe| {
        recipe.sft.epochs = 0;
        recipe.data.max_prompt_tokens = 16;
    });
    // Tokens of one and of two letters, so that sampled tokens often differ from the tokenizer's.
    let mut vocab = json!({"<pad>": 0, "<bos>": 1, "<eos>": 2, "a": 3, "b": 4, "c": 5, "d": 6});
    let pairs = ["ab", "bc", "cd", "da", "ac", "ca", "bd", "db", "ba", "cb", "dc", "ad", "aa"];
    for (index, pair) in pairs.iter().enumerate() {
        vocab[*pair] = json!(7 + index);
    }
    let merges: Vec<[&str; 2]> = pairs.iter().map(|pair| [&pair[..1], &pair[1..]]).collect();
    let bpe = json!({"type": "BPE", "vocab": vocab, "merges": merges});
    let folder = world.folder.path();
    let decoder = json!({"type": "Fuse"});
    testing::write_tokenizer_json(folder, &["<pad>", "<bos>", "<eos>"], bpe, decoder);
    write_rows(folder, "demonstrations.jsonl", &rows);
    world.task = task(folder, &world.recipe).unwrap();

    let (end, _) = world.align();
    let spelt = |row: &Row| world.task.canonical(row.prompt(), row.completion());
    let negatives = &end.pool.negatives;
    assert!(!negatives.is_empty() && negatives.iter().all(|n| spelt(&n.row) == n.row));
    // They were sampled with other tokens.
    assert!(end.held.policy.iter().any(|row| &spelt(row) != row));

    let at = At { round: 1, phase: Phase::Improve, step: 1 };
    let reward = end.reward.as_ref().unwrap();
    let prompts = &world.task.prompts;
    let rollout = world
        .run(&mut (), |run| Rollout::new(&world.base, &world.base, reward, prompts, at, run))
        .unwrap();
    assert!(rollout.rows != rollout.canonical);
    for (row, canonical) in rollout.rows.iter().zip(&rollout.canonical) {
        assert_eq!(&spelt(row), canonical);
    }
    // Samples of a prompt are adjacent.
    for (index, row) in rollout.rows.iter().enumerate() {
        assert_eq!(row.prompt(), prompts[index / rollout.group]);
    }
    let scores = reward.scores(&rollout.canonical, 0, 512).unwrap();
    for ((score, ours), row) in scores.iter().zip(&rollout.scores).zip(&rollout.rows) {
        let penalty = if row.terminated { 0.0 } else { world.recipe.policy.missing_eos_value };
        assert!((score + penalty - ours).abs() < 1e-4);
    }
}

fn load(world: &World, change: impl FnOnce(&mut Recipe)) -> Result<Task, TrainError> {
    let mut recipe = world.recipe.clone();
    change(&mut recipe);
    task(world.folder.path(), &recipe)
}

#[test]
fn too_few_training_or_held_out_rows_are_an_error_that_names_which() {
    let world = World::new(Tuning::Full, |_| {});
    for (held_out, side) in [(24, "training"), (23, "training"), (1, "held-out"), (0, "held-out")] {
        let error = load(&world, |recipe| recipe.data.held_out = held_out).unwrap_err();
        assert!(error.to_string().starts_with(side), "{held_out}: {error}");
    }
    assert!(load(&world, |recipe| recipe.data.held_out = 22).is_ok());
}

#[test]
fn held_out_prompts_are_neither_trained_on_nor_sampled_from() {
    let world = World::new(Tuning::Full, |_| {});
    let held = demonstrations()[..6].to_vec();
    let mut fresh = held.clone();
    fresh.push(("p q".into(), " a".into()));
    fresh.push(("q p".into(), " a b".into()));
    let folder = world.folder.path();
    let held_out = write_rows(folder, "held.jsonl", &fresh);
    let prompts = write_rows(folder, "more.jsonl", &fresh);
    let task = load(&world, |recipe| {
        recipe.data.held_out_file = Some(held_out);
        recipe.data.prompts = Some(prompts);
    });
    let task = task.unwrap();
    assert_eq!((task.train.len(), task.held_out.len()), (24, 2));
    // The training prompts and the six unlabelled ones that are not held out.
    assert_eq!(task.prompts.len(), 30);
    for row in &task.held_out {
        assert!(!task.prompts.iter().any(|prompt| prompt == row.prompt()));
    }
    let notes = task.notes.join("\n");
    assert!(notes.contains("6 held-out demonstrations left out"), "{notes}");
    assert!(notes.contains("2 unlabelled prompts left out"), "{notes}");
}

#[test]
fn an_unlabelled_prompt_that_is_too_long_is_dropped_with_a_note() {
    let world = World::new(Tuning::Full, |_| {});
    let rows = [("a b c d e f g h i".to_owned(), " a".to_owned()), ("p q".into(), " a".into())];
    let prompts = write_rows(world.folder.path(), "more.jsonl", &rows);
    let task = load(&world, |recipe| recipe.data.prompts = Some(prompts)).unwrap();
    assert_eq!(task.prompts.len(), task.train.len() + 1);
    assert!(task.notes.iter().any(|note| note.starts_with("1 unlabelled prompts are too long")));
}

#[test]
fn prompts_begin_with_those_of_the_demonstrations_in_order() {
    let world = World::new(Tuning::Full, |recipe| recipe.data.max_demonstrations = 10);
    assert_eq!(world.task.train.len(), 10);
    for (row, prompt) in world.task.train.iter().zip(&world.task.prompts) {
        assert_eq!(row.prompt(), prompt);
    }
}

#[test]
fn the_pad_token_of_a_reward_ends_no_row() {
    let world = World::new(Tuning::Full, |_| {});
    assert_eq!(world.task.reward_pad_id(), 0);
    let path = world.folder.path().join("tokenizer_config.json");
    let text = std::fs::read_to_string(&path).unwrap().replace("<pad>", "<eos>");
    std::fs::write(path, text).unwrap();
    let encoder = Encoder::from_folder(world.folder.path(), world.recipe.data.encode_options());
    let task = Task::load(&world.recipe.data, encoder.unwrap(), 0).unwrap();
    assert_eq!(task.pad_id(), EOS);
    assert_ne!(task.reward_pad_id(), EOS);
}
