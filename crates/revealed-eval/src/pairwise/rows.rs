//! Matches of any two files of answers: rows of prompt and completion.

use std::collections::HashMap;

use revealed_data::{Demonstration, Prompt};

use super::Match;
use crate::error::EvalError;
use crate::judge::{Ask, fill};
use crate::mt_bench::QuestionId;

/// The system message of requests without one of their own.
pub const SYSTEM: &str = "You compare answers fairly and say briefly why.";

/// The built-in template; one of the user's can name the same three things.
pub const BUILT_IN: &str = "Two assistants were given the same prompt. Decide whose answer serves the person who wrote \
it better: whether it does what was asked, is correct and complete, and is no longer than it needs to be. The order of \
the answers and their length as such say nothing.

=== Prompt ===
{question}

=== Answer of A ===
{answer_a}

=== Answer of B ===
{answer_b}

=== Your task ===
Give your reasons in a few sentences. Then end with one line that holds nothing but your verdict: [[A]] if A's answer is \
better, [[B]] if B's is, [[C]] if neither is.";

/// The matches of two sets of rows, paired by id and prompt, or by prompt alone where ids differ, in the order of the first;
/// with the number of rows of each without a partner. `template` names `{question}`, `{answer_a}` and `{answer_b}`, `prompt`
/// is its name.
///
/// # Errors
/// When the template names something else.
pub fn matches_of_rows(
    rows: [&[Demonstration]; 2],
    (prompt, template): (&str, &str),
) -> Result<(Vec<Match>, [usize; 2]), EvalError> {
    let [first, second] = rows;
    let mut by_prompt: HashMap<String, Vec<&Demonstration>> = HashMap::new();
    for row in second {
        by_prompt.entry(row.prompt.words()).or_default().push(row);
    }
    let (mut pairs, mut alone) = (Vec::new(), 0);
    for row in first {
        let candidates = by_prompt.get_mut(&row.prompt.words()).filter(|all| !all.is_empty());
        let Some(candidates) = candidates else {
            alone += 1;
            continue;
        };
        let at = candidates.iter().position(|other| other.id == row.id).unwrap_or(0);
        pairs.push((row, candidates.remove(at)));
    }
    let mut matches = Vec::with_capacity(pairs.len());
    for (row, other) in &pairs {
        let question = text(&row.prompt);
        let ask = |a: &str, b: &str| -> Result<Ask, EvalError> {
            let values = [("question", &*question), ("answer_a", a), ("answer_b", b)];
            Ok(Ask { system: SYSTEM.into(), user: fill(template, &values)? })
        };
        matches.push(Match {
            question_id: QuestionId::Text(row.id.clone()),
            category: None,
            turn: 1,
            prompt: prompt.into(),
            asks: [
                ask(&row.completion.text(), &other.completion.text())?,
                ask(&other.completion.text(), &row.completion.text())?,
            ],
        });
    }
    Ok((matches, [alone, second.len() - pairs.len()]))
}

/// A prompt as a judge reads it: one turn as it is, several with their roles.
fn text(prompt: &Prompt) -> String {
    match prompt {
        Prompt::Text(text) => text.clone(),
        Prompt::Chat(chat) => match chat.messages.as_slice() {
            [only] => only.text().into_owned(),
            turns => {
                let turn =
                    |turn: &revealed_data::Message| format!("{}: {}", turn.role(), turn.text());
                turns.iter().map(turn).collect::<Vec<_>>().join("\n\n")
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, prompt: &str, completion: &str) -> Demonstration {
        Demonstration {
            id: id.into(),
            source: None,
            place: None,
            completion_ids: None,
            prompt: Prompt::Text(prompt.into()),
            completion: completion.into(),
        }
    }

    #[test]
    fn rows_are_matched_by_prompt_and_by_id_among_those_of_one_prompt() {
        let first =
            [row("1", "p", "a1"), row("2", "p", "a2"), row("3", "q", "a3"), row("4", "r", "a4")];
        let second =
            [row("2", "p ", "b2"), row("1", "p", "b1"), row("9", "q", "b3"), row("4", "s", "b4")];
        let template = ("t", "{question}|{answer_a}|{answer_b}");
        let (matches, alone) = matches_of_rows([&first, &second], template).unwrap();
        let asked: Vec<[&str; 2]> =
            matches.iter().map(|each| each.asks.each_ref().map(|ask| ask.user.as_str())).collect();
        assert_eq!(asked, [["p|a1|b1", "p|b1|a1"], ["p|a2|b2", "p|b2|a2"], ["q|a3|b3", "q|b3|a3"]]);
        assert_eq!(alone, [1, 1]);
    }

    #[test]
    fn the_built_in_template_can_be_filled_and_asks_for_the_marks_that_are_read() {
        let rows = [row("1", "p", "a")];
        let (matches, _) = matches_of_rows([&rows, &rows], ("built-in", BUILT_IN)).unwrap();
        let user = &matches[0].asks[0].user;
        assert!(["[[A]]", "[[B]]", "[[C]]"].iter().all(|mark| user.contains(mark)));
        assert!(matches_of_rows([&rows, &rows], ("t", "{answer}")).is_err());
    }

    #[test]
    fn several_turns_are_shown_with_their_roles() {
        let turn = |role: &str, content: &str| revealed_data::Message::new(role, content);
        let one = Prompt::from(vec![turn("user", "hi")]);
        let two = Prompt::from(vec![turn("system", "s"), turn("user", "hi")]);
        assert_eq!((text(&one), text(&two)), ("hi".into(), "system: s\n\nuser: hi".into()));
    }
}
