//! Preferences: a prompt with a better and a worse answer.

use serde_json::Value;

use super::columns::{DIALOGUES, QUESTIONS, Reading, is_blank, text};
use super::turns::{answer, looks_stored, turns};
use super::{Layout, context, repeats};
use crate::Kind;
use crate::conversation::{Completion, Conversation, Message, Prompt};
use crate::error::{Columns as Names, RowProblem};

/// One side of a pair.
enum Side {
    Text(String),
    Turns(Vec<Message>),
}

/// A prompt and its better and worse answer.
pub(super) type Pair = (Prompt, Completion, Completion);

pub(super) fn pair(layout: &Layout, reading: &mut Reading<'_>) -> Result<Pair, RowProblem> {
    let kind = layout.kind.name();
    let chosen = side("chosen", reading.required("chosen", kind)?)?;
    let rejected = side("rejected", reading.required("rejected", kind)?)?;
    let candidates = candidates(reading);
    match (chosen, rejected) {
        // Some files give a prompt and again the whole conversation on both sides.
        (Side::Turns(chosen), Side::Turns(rejected)) if chosen.len() > 1 && rejected.len() > 1 => {
            whole(reading, &candidates, chosen, rejected, kind)
        }
        (chosen, rejected) if layout.kind == Kind::ImplicitPreferences => {
            if let Some(column) = candidates.first() {
                return Err(RowProblem::OtherLayout { column: (*column).to_owned(), kind });
            }
            implicit(reading, chosen, rejected)
        }
        (chosen, rejected) => {
            let [column] = candidates.as_slice() else {
                return Err(no_single_prompt(&candidates, kind, reading));
            };
            let prompt = layout.prompt(reading, column, false)?;
            let is_text = matches!(prompt, Prompt::Text(_));
            let completion = |column: &'static str, side| match side {
                Side::Text(text) => Ok(text.into()),
                Side::Turns(_) if is_text => Err(RowProblem::Mixed { column }),
                Side::Turns(messages) => answer(column, messages),
            };
            Ok((prompt, completion("chosen", chosen)?, completion("rejected", rejected)?))
        }
    }
}

fn side(column: &'static str, value: &Value) -> Result<Side, RowProblem> {
    match value {
        Value::String(text) if looks_stored(text) => {
            Err(RowProblem::StoredAsText { column: column.to_owned() })
        }
        Value::String(text) => Ok(Side::Text(text.clone())),
        other => Ok(Side::Turns(turns(column, other, true)?.messages)),
    }
}

/// The columns that could hold the prompt. `input` belongs to `instruction`.
fn candidates(reading: &Reading<'_>) -> Vec<&'static str> {
    let filled = |name: &&&'static str| reading.peek(name).is_some_and(|value| !is_blank(value));
    let mut found: Vec<&'static str> =
        QUESTIONS.iter().chain(&DIALOGUES).filter(filled).copied().collect();
    if found.contains(&"instruction") {
        found.retain(|name| *name != "input");
    }
    found
}

fn no_single_prompt(
    candidates: &[&'static str],
    kind: &'static str,
    reading: &mut Reading<'_>,
) -> RowProblem {
    if candidates.is_empty() {
        let missing = reading.required("prompt", kind).err();
        return missing.unwrap_or(RowProblem::NoCommonPrompt);
    }
    RowProblem::Ambiguous {
        columns: Names(candidates.iter().map(|name| (*name).to_owned()).collect()),
        reason: "which could each be the prompt of `chosen` and `rejected`; keep one of them",
    }
}

/// Two whole conversations: the prompt is what they share.
fn whole(
    reading: &mut Reading<'_>,
    candidates: &[&'static str],
    mut chosen: Vec<Message>,
    mut rejected: Vec<Message>,
    kind: &'static str,
) -> Result<Pair, RowProblem> {
    // The last message of each side is its answer, even where the answers are equal.
    let most = chosen.len().min(rejected.len()) - 1;
    let shared = (0..most).take_while(|&turn| chosen[turn] == rejected[turn]).count();
    if shared == 0 {
        return Err(RowProblem::NoCommonPrompt);
    }
    for column in candidates {
        let Some(value) = reading.get(column)? else { continue };
        let repeated = repeats(&chosen, value) || repeats(&rejected, value);
        if !repeated {
            return Err(RowProblem::OtherLayout { column: (*column).to_owned(), kind });
        }
    }
    if candidates.contains(&"instruction") && reading.peek("input").is_some() {
        let input = reading.get("input")?.map(|value| text("input", value)).transpose()?;
        let holds = |message: &Message| input.is_none_or(|input| message.text().contains(input));
        if !chosen.iter().any(holds) {
            return Err(RowProblem::OtherLayout { column: "input".to_owned(), kind });
        }
    }
    let better = answer("chosen", chosen.split_off(shared))?;
    let worse = answer("rejected", rejected.split_off(shared))?;
    let chat: Conversation = context::conversation(reading, chosen, false)?;
    Ok((Prompt::Chat(chat), better, worse))
}

/// Two texts that begin with the prompt, as TRL takes them.
fn implicit(reading: &mut Reading<'_>, chosen: Side, rejected: Side) -> Result<Pair, RowProblem> {
    let (chosen, rejected) = match (chosen, rejected) {
        (Side::Text(chosen), Side::Text(rejected)) => (chosen, rejected),
        (Side::Turns(_), Side::Turns(_)) => return Err(RowProblem::NoCommonPrompt),
        _ => {
            return Err(RowProblem::WrongType {
                column: "rejected".to_owned(),
                found: "another type than `chosen`",
                expected: "text where `chosen` is text, messages where it is messages",
            });
        }
    };
    context::none_for_text(reading)?;
    if let Some((column, _)) = reading.unread().find(|(name, value)| could_be_prompt(name, value)) {
        return Err(RowProblem::PossiblePrompt { column: column.to_owned() });
    }
    let equal = chosen.chars().zip(rejected.chars()).take_while(|(left, right)| left == right);
    let mut shared: usize = equal.map(|(left, _)| left.len_utf8()).sum();
    // The space before the first differing word belongs to the answers, as in TRL.
    if chosen[..shared].ends_with(' ') {
        shared -= 1;
    }
    if shared == 0 {
        return Err(RowProblem::NoCommonPrompt);
    }
    let prompt = Prompt::Text(chosen[..shared].to_owned());
    Ok((prompt, chosen[shared..].into(), rejected[shared..].into()))
}

/// Whether a column may be the prompt of two texts: it holds text or messages, and its name is not
/// one that files use for where a row comes from.
fn could_be_prompt(name: &str, value: &Value) -> bool {
    let names = [
        "id",
        "uid",
        "uuid",
        "source",
        "subset",
        "split",
        "dataset",
        "category",
        "type",
        "language",
        "lang",
        "model",
        "license",
        "url",
        "meta",
        "metadata",
        "domain",
        "topic",
        "judge",
        "annotator",
        "date",
        "timestamp",
        "hash",
        "label",
        "task",
    ];
    let ends = ["_id", "_model", "_source", "_score", "_rating", "_hash", "_type", "_name"];
    let about = names.contains(&name)
        || ends.iter().any(|end| name.ends_with(end))
        || ["chosen_", "rejected_", "score_", "meta_"].iter().any(|begin| name.starts_with(begin));
    let holds = match value {
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(parts) => {
            parts.first().is_some_and(|part| part.is_object() || part.is_string())
        }
        _ => false,
    };
    holds && !about
}
