//! Matches of two models' answers, from files to files.

use std::fs;
use std::path::Path;

use super::*;
use crate::error::EvalError;
use crate::log::{Log, read_lines};
use crate::mt_bench::tests::{KEY, World, answers, client};
use crate::testing::{Act, Stub};

fn run(stub: &Stub, matches: &[Match], folder: &Path) -> Result<Played, EvalError> {
    let (mut games, known) = Log::open(&folder.join("judge_pair.games.jsonl")).unwrap();
    let (mut pairs, known_pairs) = Log::open::<Pair>(&folder.join("judge_pair.jsonl")).unwrap();
    let client = client(stub, 1);
    play(&client, matches, ["a", "b"], (&mut games, known), (&mut pairs, &known_pairs), &mut |_| {})
}

fn matches(world: &World) -> Vec<Match> {
    let (a, b) = (answers("a", &[81, 111], "a"), answers("b", &[81, 111], "b"));
    let models: [(&str, &[_]); 2] = [("a", &a), ("b", &b)];
    crate::mt_bench::matches(&world.questions, models, &world.prompts, &world.references).unwrap()
}

#[test]
fn each_order_shows_the_answers_where_the_prompt_says() {
    let matches = matches(&World::new());
    let seen: Vec<[&str; 2]> =
        matches.iter().map(|each| each.asks.each_ref().map(|ask| ask.user.as_str())).collect();
    let wanted = [
        ["q1|a81-1|b81-1", "q1|b81-1|a81-1"],
        ["a81-1|a81-2|b81-1|b81-2", "b81-1|b81-2|a81-1|a81-2"],
        ["r111-1|a111-1|b111-1", "r111-1|b111-1|a111-1"],
        ["r111-2|a111-2|b111-2", "r111-2|b111-2|a111-2"],
    ];
    assert_eq!(seen, wanted);
}

#[test]
fn a_broken_run_goes_on_where_it_was_and_writes_each_pair_once() {
    let world = World::new();
    let folder = world.folder.path().join("model_judgment");
    let matches = matches(&world);
    // Says A, so the model shown first wins; the fourth request is refused.
    let stub = Stub::serve(|number, _| match number {
        3 => Act::Answer(403, "", String::new()),
        _ => Act::Say("[[A]]".into()),
    });
    run(&stub, &matches, &folder).unwrap_err();
    let games = || read_lines::<Game>(&folder.join("judge_pair.games.jsonl")).unwrap();
    let pairs = || read_lines::<Pair>(&folder.join("judge_pair.jsonl")).unwrap();
    assert_eq!((games().len(), pairs().len()), (3, 1));
    let played = run(&stub, &matches, &folder).unwrap();
    assert_eq!((played.asked, stub.seen().len()), (5, 9));
    let again = run(&stub, &matches, &folder).unwrap();
    assert_eq!((again.asked, games().len(), pairs().len()), (0, 8, 4));
    assert_eq!(again.games, played.games);
    let pair = &pairs()[3];
    assert_eq!((pair.g1_winner, pair.g2_winner), (Winner::First, Winner::Second));
    assert_eq!(pair.judge, ["judge", "pair-math-v1-multi-turn"]);
    assert_eq!(pair.g2_user_prompt, "r111-2|b111-2|a111-2");
    let text = fs::read_to_string(folder.join("judge_pair.jsonl")).unwrap();
    assert!(text.contains("\"g1_winner\":\"model_1\"") && !text.contains(KEY), "{text}");
}
