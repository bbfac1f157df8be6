//! From a row's columns to a record.

use std::path::Path;

use serde_json::Value;

use crate::DataError;
use crate::conversation::{Completion, Message, Prompt};
use crate::dataset::{Demonstration, Kind, Preference};
use crate::error::{Columns as Names, Row, RowProblem};
use crate::rows::{Columns, type_name};

const TEXT_OR_MESSAGES: &str = "text or a list of messages with `role` and `content` as text";
/// The layouts, as errors list them.
pub(crate) const EXPECTED: &str = "messages; prompt, completion; instruction, output (and input); \
     prompt, chosen, rejected; chosen, rejected; prompt";

/// The layout that the columns of a row have.
pub(crate) fn detect(path: &Path, row: Row, columns: &Columns) -> Result<Kind, DataError> {
    let has = |name: &str| columns.get(name).is_some_and(|value| !value.is_null());
    if has("chosen") && has("rejected") {
        return Ok(match has("prompt") {
            true => Kind::ExplicitPreferences,
            false => Kind::ImplicitPreferences,
        });
    }
    if has("messages") {
        return Ok(Kind::Messages);
    }
    if has("prompt") && has("completion") {
        return Ok(Kind::PromptCompletion);
    }
    if has("instruction") && has("output") {
        return Ok(Kind::Alpaca);
    }
    // A prompt beside half a pair is a mistake, not a file of prompts.
    if has("prompt") && !has("chosen") && !has("rejected") {
        return Ok(Kind::Prompts);
    }
    let found = names(columns);
    Err(DataError::Columns { path: path.to_owned(), row, found, expected: EXPECTED })
}

fn names(columns: &Columns) -> Names {
    Names(columns.keys().cloned().collect())
}

/// Reads columns of one layout; `number` is the id of rows without one.
pub(crate) struct Layout<'a> {
    pub(crate) kind: Kind,
    pub(crate) columns: &'a Columns,
    pub(crate) number: usize,
}

impl Layout<'_> {
    /// A demonstration, of a kind that holds them.
    pub(crate) fn demonstration(&self) -> Result<Demonstration, RowProblem> {
        let (prompt, completion) = match self.kind {
            Kind::Messages => self.conversation("messages")?,
            Kind::Alpaca => self.alpaca()?,
            _ => (self.prompt()?, self.completion("completion")?),
        };
        Ok(Demonstration { id: self.id(), source: self.label("source"), prompt, completion })
    }

    /// A preference, of a kind that holds them.
    pub(crate) fn preference(&self) -> Result<Preference, RowProblem> {
        let chosen = self.text_or_messages("chosen")?;
        let rejected = self.text_or_messages("rejected")?;
        let explicit = self.kind == Kind::ExplicitPreferences;
        let whole = |turns: &Prompt| matches!(turns, Prompt::Chat(chat) if chat.messages.len() > 1);
        // Some files give a text prompt and again the whole conversation on both sides.
        let (prompt, chosen, rejected) = if explicit && !(whole(&chosen) && whole(&rejected)) {
            (self.prompt()?, answer("chosen", chosen)?, answer("rejected", rejected)?)
        } else {
            common_prompt(chosen, rejected)?
        };
        let meta = self.columns.get("meta").and_then(|meta| meta.get("subset"));
        let subset = self.label("subset").or_else(|| meta.and_then(label));
        Ok(Preference { id: self.id(), subset, prompt, chosen, rejected })
    }

    /// The id and prompt, of a file of prompts.
    pub(crate) fn prompt_row(&self) -> Result<(String, Prompt), RowProblem> {
        Ok((self.id(), self.prompt()?))
    }

    fn id(&self) -> String {
        self.label("id").unwrap_or_else(|| self.number.to_string())
    }

    fn label(&self, column: &str) -> Option<String> {
        self.columns.get(column).and_then(label)
    }

    fn column(&self, column: &'static str) -> Result<&Value, RowProblem> {
        self.columns.get(column).ok_or_else(|| RowProblem::MissingColumn {
            column,
            kind: self.kind.name(),
            found: names(self.columns),
        })
    }

    fn text(&self, column: &'static str) -> Result<String, RowProblem> {
        text(column, self.column(column)?)
    }

    fn prompt(&self) -> Result<Prompt, RowProblem> {
        match self.text_or_messages("prompt")? {
            Prompt::Chat(chat) if chat.messages.is_empty() => {
                Err(RowProblem::TooFewMessages { column: "prompt", found: 0, needed: 1 })
            }
            prompt => Ok(prompt),
        }
    }

    fn completion(&self, column: &'static str) -> Result<Completion, RowProblem> {
        answer(column, self.text_or_messages(column)?)
    }

    fn conversation(&self, column: &'static str) -> Result<(Prompt, Completion), RowProblem> {
        let Prompt::Chat(mut chat) = self.text_or_messages(column)? else {
            let expected = "a list of messages with `role` and `content` as text";
            return Err(RowProblem::WrongType {
                column: column.to_owned(),
                found: "text",
                expected,
            });
        };
        if chat.messages.len() < 2 {
            let found = chat.messages.len();
            return Err(RowProblem::TooFewMessages { column, found, needed: 2 });
        }
        let last = chat.messages.split_off(chat.messages.len() - 1);
        Ok((Prompt::Chat(chat), answer(column, last.into())?))
    }

    fn alpaca(&self) -> Result<(Prompt, Completion), RowProblem> {
        let mut content = self.text("instruction")?;
        if let Some(input) = self.columns.get("input").filter(|input| !input.is_null()) {
            let input = text("input", input)?;
            if !input.is_empty() {
                content = format!("{content}\n\n{input}");
            }
        }
        let prompt = Prompt::from(vec![Message::new("user", content)]);
        Ok((prompt, self.text("output")?.into()))
    }

    fn text_or_messages(&self, column: &'static str) -> Result<Prompt, RowProblem> {
        prompt_from_json(column, self.column(column)?)
    }
}

/// The prompt in a JSON value: text, or a list of messages. `column` is its name in errors.
///
/// # Errors
/// [`RowProblem`] names the field of a message that cannot be used.
pub fn prompt_from_json(column: &str, value: &Value) -> Result<Prompt, RowProblem> {
    match value {
        Value::Array(turns) => {
            let turn = |(index, turn)| message(&format!("{column}[{index}]"), turn);
            let turns = turns.iter().enumerate().map(turn).collect::<Result<Vec<_>, _>>()?;
            Ok(turns.into())
        }
        Value::String(_) => Ok(Prompt::Text(text(column, value)?)),
        other => Err(RowProblem::WrongType {
            column: column.to_owned(),
            found: type_name(other),
            expected: TEXT_OR_MESSAGES,
        }),
    }
}

fn label(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn text(column: &str, value: &Value) -> Result<String, RowProblem> {
    let column = || column.to_owned();
    match value {
        Value::String(text) if text.contains('\0') => Err(RowProblem::Nul { column: column() }),
        Value::String(text) => Ok(text.clone()),
        other => Err(RowProblem::WrongType {
            column: column(),
            found: type_name(other),
            expected: "text",
        }),
    }
}

fn message(column: &str, turn: &Value) -> Result<Message, RowProblem> {
    let field = |name: &str| {
        let found = turn.get(name).unwrap_or(&Value::Null);
        text(&format!("{column}.{name}"), found)
    };
    Ok(Message::new(field("role")?, field("content")?))
}

/// The one assistant message, or the text.
fn answer(column: &'static str, turns: Prompt) -> Result<Completion, RowProblem> {
    match turns {
        Prompt::Text(text) => Ok(text.into()),
        Prompt::Chat(mut chat) => match (chat.messages.pop(), chat.messages.len()) {
            (None, _) => Err(RowProblem::TooFewMessages { column, found: 0, needed: 1 }),
            (Some(last), 0) if last.role() == "assistant" => Ok(Completion::from_message(last)),
            (Some(last), 0) => Err(RowProblem::LastRole { column, found: last.role().to_owned() }),
            (Some(_), rest) => Err(RowProblem::SeveralTurns { column, found: rest + 1 }),
        },
    }
}

/// Splits two whole conversations, or two texts, into their common prompt and their endings.
fn common_prompt(
    chosen: Prompt,
    rejected: Prompt,
) -> Result<(Prompt, Completion, Completion), RowProblem> {
    match (chosen, rejected) {
        (Prompt::Chat(mut chosen), Prompt::Chat(rejected)) => {
            let (good, mut bad) = (&mut chosen.messages, rejected.messages);
            // The last message of each side is its answer, even where the answers are equal.
            let most = good.len().min(bad.len()).saturating_sub(1);
            let shared = (0..most).take_while(|&turn| good[turn] == bad[turn]).count();
            if shared == 0 {
                return Err(RowProblem::NoCommonPrompt);
            }
            let good = answer("chosen", good.split_off(shared).into())?;
            let bad = answer("rejected", bad.split_off(shared).into())?;
            Ok((Prompt::Chat(chosen), good, bad))
        }
        (Prompt::Text(chosen), Prompt::Text(rejected)) => {
            let mut shared: usize = chosen
                .chars()
                .zip(rejected.chars())
                .take_while(|(left, right)| left == right)
                .map(|(left, _)| left.len_utf8())
                .sum();
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
        _ => Err(RowProblem::WrongType {
            column: "rejected".to_owned(),
            found: "another type than `chosen`",
            expected: "text where `chosen` is text, messages where it is messages",
        }),
    }
}
