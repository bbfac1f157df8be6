use super::world::{BLAME, FILLERS};
use super::writer::{Habits, compose};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

const NOTE: Note = Note { name: 0, item: 1, problem: 2 }; // anna, bicycle, lost

fn stream(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// The mean gold reward of `n` replies to random notes.
fn mean_gold(writer: Writer, setting: Setting, n: usize) -> f64 {
    let mut rng = stream(17);
    let score = |_| {
        let note = Note::draw(&mut rng);
        gold(&note, &reply(&note, writer, setting, &mut rng), true).score
    };
    (0..n).map(score).sum::<f64>() / n as f64
}

/// The criteria that fail for a reply, by name.
fn failed(note: &Note, reply: &str) -> Vec<&'static str> {
    let holds = gold(note, reply, true).criteria;
    CRITERIA.into_iter().zip(holds).filter(|(_, holds)| !holds).map(|(name, _)| name).collect()
}

/// Writes many replies with the given flaws and checks each one's failed criteria.
fn each_fails(flaws: impl Fn(&mut Habits<bool>), check: impl Fn(&str, &[&str]) -> bool) {
    let mut rng = stream(23);
    let mut done_well = Habits::all(true);
    flaws(&mut done_well);
    for _ in 0..400 {
        let note = Note::draw(&mut rng);
        let reply = compose(&note, &done_well, &mut rng);
        let failed = failed(&note, &reply);
        assert!(check(&reply, &failed), "{} {reply} fails {failed:?}", note.prompt());
    }
}

#[test]
fn a_prompt_has_13_words_of_which_three_are_the_notes() {
    let prompt = "note : customer anna ; item bicycle ; problem lost . reply :";
    assert_eq!(NOTE.prompt(), prompt);
    assert_eq!(prompt.split(' ').count(), 13);
}

#[test]
fn demonstrations_are_good_and_not_perfect() {
    let mean = mean_gold(Writer::Demonstrator, Setting::Easy, 5_000); // measured 0.868 over 20,000
    assert!((mean - 0.86).abs() < 0.02, "{mean}");
}

#[test]
fn the_clerk_is_careless() {
    let mean = mean_gold(Writer::Clerk, Setting::Easy, 5_000); // measured 0.392 over 20,000
    assert!((mean - 0.39).abs() < 0.02, "{mean}");
}

#[test]
fn in_the_hard_setting_two_habits_are_a_minority_s_and_the_clerk_s_are_rarer_still() {
    let share = |writer, criterion: &str| {
        let at = CRITERIA.iter().position(|name| *name == criterion).unwrap();
        let mut rng = stream(29);
        let holds = (0..4_000).filter(|_| {
            let note = Note::draw(&mut rng);
            let reply = reply(&note, writer, Setting::Hard, &mut rng);
            gold(&note, &reply, true).criteria[at]
        });
        holds.count() as f64 / 4_000.0
    };
    for criterion in ["apology", "when"] {
        let (expert, clerk) =
            (share(Writer::Demonstrator, criterion), share(Writer::Clerk, criterion));
        assert!(expert < 0.5 && clerk < 0.15, "{criterion}: {expert}, {clerk}");
    }
    let closing = share(Writer::Demonstrator, "closing");
    assert!(closing > 0.85, "{closing}");
}

#[test]
fn a_perfect_reply_scores_one_always() {
    assert_eq!(mean_gold(Writer::Perfect, Setting::Easy, 2_000), 1.0);
}

#[test]
fn a_nameless_greeting_lowers_greets_only() {
    each_fails(|habits| habits.name = false, |_, failed| failed == ["greets"]);
}

#[test]
fn a_wrong_name_lowers_greets_only_and_a_wrong_item_or_problem_lowers_facts_only() {
    let at_most = |allowed: &'static [&str]| {
        move |_: &str, failed: &[&str]| failed.is_empty() || failed == allowed
    };
    each_fails(|habits| habits.facts[0] = false, at_most(&["greets"]));
    each_fails(|habits| habits.facts[1] = false, at_most(&["facts"]));
    each_fails(|habits| habits.facts[2] = false, at_most(&["facts"]));
}

#[test]
fn a_missing_or_late_apology_lowers_apology_only() {
    each_fails(|habits| habits.apology = false, |_, failed| failed == ["apology"]);
    each_fails(|habits| habits.order = false, |_, failed| failed == ["apology"]);
}

#[test]
fn another_remedy_lowers_remedy_only() {
    let check = |_: &str, failed: &[&str]| failed.is_empty() || failed == ["remedy"];
    each_fails(|habits| habits.remedy = false, check);
}

#[test]
fn a_vague_or_missing_time_lowers_when_only() {
    each_fails(|habits| habits.when = false, |_, failed| failed == ["when"]);
}

#[test]
fn a_bad_closing_lowers_closing_and_a_rude_one_clean_too() {
    let check = |reply: &str, failed: &[&str]| {
        let rude = reply.ends_with("do not write again .") || reply.ends_with("that is all .");
        let length = reply.split(' ').count();
        match (rude, length > 30) {
            (false, _) => failed == ["closing"],
            (true, false) => failed == ["closing", "clean"],
            (true, true) => failed == ["closing", "clean", "concise"],
        }
    };
    each_fails(|habits| habits.closing = false, check);
}

#[test]
fn blame_and_filler_lower_clean_and_by_their_length_concise() {
    let check = |reply: &str, failed: &[&str]| match reply.split(' ').count() > 30 {
        true => failed == ["clean", "concise"],
        false => failed == ["clean"],
    };
    each_fails(|habits| habits.blame = false, check);
    each_fails(|habits| habits.filler = false, check);
}

#[test]
fn a_sentence_said_twice_lowers_concise_and_what_must_stand_once() {
    let check = |reply: &str, failed: &[&str]| {
        if reply.matches("sorry").count() == 2 {
            failed == ["apology", "concise"]
        } else if reply.matches("will").count() == 2 {
            failed == ["concise"]
        } else {
            failed == ["closing", "concise"]
        }
    };
    each_fails(|habits| habits.repetition = false, check);
    let short = "dear anna , that is all . that is all .";
    assert!(failed(&NOTE, short).contains(&"concise"), "short, but repeated");
}

#[test]
fn a_reply_that_never_ends_scores_nothing() {
    let reply = reply(&NOTE, Writer::Perfect, Setting::Easy, &mut stream(1));
    assert_eq!(gold(&NOTE, &reply, false), Gold { score: 0.0, criteria: [false; 8] });
}

#[test]
fn gold_does_not_reward_covering_every_case() {
    let greedy = format!(
        "dear anna , dear ben , sorry sorry your bicycle vase is lost late . we will {} . {} {} \
         today some day .",
        REMEDIES.join(" "),
        BLAME[0],
        FILLERS[0],
    );
    assert_eq!(gold(&NOTE, &greedy, true).score, 0.0);
    // What an empty reply leaves out cannot be held against it: no dirt, no length.
    assert_eq!(failed(&NOTE, ""), ["greets", "facts", "apology", "remedy", "when", "closing"]);
}

#[test]
fn replies_use_the_vocabulary_only_and_are_bounded() {
    let vocabulary = vocabulary();
    for (note, reply) in
        task_of_size(5, Setting::Easy, &TaskSize { clerk: 2_000, ..Default::default() }).clerk
    {
        let text = format!("{} {reply}", note.prompt());
        assert!(text.split(' ').all(|word| vocabulary.iter().any(|known| known == word)), "{text}");
        assert!(reply.split(' ').count() <= MAX_REPLY_WORDS && reply.ends_with(" ."), "{reply}");
    }
}

#[test]
fn every_word_but_the_special_tokens_is_used() {
    let task = task_of_size(6, Setting::Easy, &TaskSize { clerk: 3_000, ..Default::default() });
    let text: Vec<String> =
        task.clerk.iter().map(|(note, reply)| format!("{} {reply}", note.prompt())).collect();
    let used: std::collections::HashSet<&str> = text.iter().flat_map(|t| t.split(' ')).collect();
    assert!(vocabulary()[3..].iter().all(|word| used.contains(word.as_str())));
}

#[test]
fn one_seed_makes_one_task_and_another_seed_another() {
    let size = TaskSize { clerk: 30, demonstrations: 20, held_out: 10, prompts: 40, test: 20 };
    let task = task_of_size(7, Setting::Easy, &size);
    assert_eq!(task, task_of_size(7, Setting::Easy, &size));
    assert_ne!(task.clerk, task_of_size(8, Setting::Easy, &size).clerk);
    assert_ne!(task.demonstrations[..10], task.held_out[..]);
    let longer = task_of_size(7, Setting::Easy, &TaskSize { clerk: 31, ..size });
    assert_eq!((&longer.clerk[..30], &longer.test), (&task.clerk[..], &task.test));
    assert_eq!(notes(5, 1), notes(9, 1)[..5]);
    assert_ne!(notes(5, 1), notes(5, 2));
}

#[test]
fn the_standard_task_has_the_stated_sizes() {
    let task = task(0);
    let sizes = (task.clerk.len(), task.demonstrations.len(), task.held_out.len());
    assert_eq!(sizes, (20_000, 256, 64));
    assert_eq!((task.prompts.len(), task.test.len()), (2_000, 256));
}

#[test]
fn a_prompt_is_read_back_and_another_text_is_none() {
    for note in notes(50, 3) {
        assert_eq!(Note::parse(&format!(" {}\n", note.prompt())), Some(note));
        assert_eq!(Note::parse(&format!("{} dear", note.prompt())), None);
        assert_eq!(Note::parse(&note.prompt().replace("note", "letter")), None);
    }
    assert_eq!(Note::parse(""), None);
}
