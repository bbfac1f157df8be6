//! Chat templates: the Jinja of Hugging Face folders, rendered as Transformers renders it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use minijinja::value::{Serde, Value};
use minijinja::{Environment, Error, ErrorKind, context};
use serde::Serialize;

use crate::DataError;
use crate::conversation::{Conversation, Message};

mod args;
mod characters;
mod checks;
mod environment;
mod expression;
mod filters_number;
mod filters_sequence;
mod filters_text;
mod format;
mod json;
mod literal;
mod macros;
mod methods;
mod numbers;
mod objects;
mod operators;
mod pprint;
mod printing;
mod scopes;
mod strftime;
mod strings;
mod tokens;
mod translate;
mod value;
mod wrap;

/// Steps and output (a step per 64 bytes) that one rendering may cost.
const FUEL: u64 = 5_000_000;
/// Stack of the thread that renders, reserved and not used: a list that is nested as deep as there
/// are steps is freed level by level.
const STACK: usize = 1 << 29;
/// Thousands of times what a long conversation takes.
const LONGEST: Duration = Duration::from_secs(10);
/// Unicode noncharacters around generated text; no message may hold them where spans are asked for.
const START: char = '\u{FDD0}';
const END: char = '\u{FDD1}';

/// Names of a message's reasoning; the first that is not null is used, as in Transformers.
pub(crate) const REASONING_FIELDS: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// A compiled chat template.
///
/// It differs from Transformers in this: `strftime_now` gives the moment the template was made with,
/// in UTC, so every row of a run reads the same; rendering is limited in steps.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Arc<Environment<'static>>,
    text: String,
    origin: PathBuf,
    variables: BTreeMap<String, String>,
    now: u64,
    /// Names that the template sets before it may read them from outside.
    hidden: Vec<String>,
}

impl ChatTemplate {
    /// Compiles `text`; `origin` is the file it came from, `variables` are `bos_token` and the like,
    /// and `now` is what `strftime_now` shows, in seconds since 1970.
    ///
    /// # Errors
    /// [`DataError::Template`] with the line that does not parse.
    pub fn new(
        text: &str,
        origin: &Path,
        variables: BTreeMap<String, String>,
        now: u64,
    ) -> Result<Self, DataError> {
        let compiled = environment::build(now).and_then(|mut environment| {
            let translated = translate::translate(text)?;
            environment.add_template_owned(NAME, translated.text)?;
            Ok((environment, translated.hidden))
        });
        let (environment, hidden) = compiled.map_err(|source| failure(origin, plain(source)))?;
        let environment = Arc::new(environment);
        let (text, origin) = (text.to_owned(), origin.to_owned());
        Ok(Self { environment, text, origin, variables, now, hidden })
    }

    /// The file that the template came from.
    pub(crate) fn origin(&self) -> &Path {
        &self.origin
    }

    /// The template's text as given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text of a template that writes the same without whitespace at the end, unless an answer is to follow.
    pub(crate) fn without_tail(&self) -> String {
        // Jinja drops a template's last line break, which would stand within the block; and it drops the one behind a tag, so that
        // the template begins a line as before.
        let text = self.text.strip_suffix('\n').unwrap_or(&self.text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        format!(
            "{{% set written %}}\n{text}{{{{ '' }}}}{{% endset %}}\
             {{{{ written if add_generation_prompt else written.rstrip() }}}}"
        )
    }

    /// What `strftime_now` shows, in seconds since 1970.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// The special tokens the template can name.
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// Writes a conversation as text; with `add_generation_prompt`, up to where the assistant begins.
    ///
    /// # Errors
    /// [`DataError::Template`] when the template fails or refuses the conversation.
    pub fn render(
        &self,
        conversation: &Conversation,
        add_generation_prompt: GenerationPrompt,
    ) -> Result<String, DataError> {
        self.render_marked(conversation, add_generation_prompt, false)
    }

    /// As [`ChatTemplate::render`], with the byte ranges between `{% generation %}` and
    /// `{% endgeneration %}`; no ranges if the template has no such tags.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`]; [`DataError::ReservedCharacter`] for the two noncharacters (U+FDD0
    /// and U+FDD1) by which the ranges are found.
    pub fn render_with_generation(
        &self,
        conversation: &Conversation,
        add_generation_prompt: GenerationPrompt,
    ) -> Result<(String, Vec<Range<usize>>), DataError> {
        let written = serde_json::to_string(conversation).unwrap_or_default();
        for character in written.chars().chain(self.text.chars()) {
            if character == START || character == END {
                return Err(DataError::ReservedCharacter { code: character.into() });
            }
        }
        Ok(unmark(&self.render_marked(conversation, add_generation_prompt, true)?))
    }

    fn render_marked(
        &self,
        conversation: &Conversation,
        add_generation_prompt: GenerationPrompt,
        marked: bool,
    ) -> Result<String, DataError> {
        let own = context! {
            messages => conversation.messages.iter().map(as_value).collect::<Vec<_>>(),
            add_generation_prompt => add_generation_prompt == GenerationPrompt::Add,
            tools => conversation.tools.as_ref().map(|tools| Value::from(Serde(tools))),
            documents => conversation.documents.as_ref().map(|all| Value::from(Serde(all))),
            __marked => marked,
        };
        let variables = Value::from_pairs(self.variables.iter().map(|(k, v)| (&**k, &**v)));
        // Variables of the row replace special tokens of the same name, as in Transformers.
        let given = Value::from(Serde(&conversation.chat_template_kwargs));
        self.render_value(context! { ..own, ..given, ..variables })
    }

    /// Renders with `values` as all that the template can name besides Jinja2's own globals.
    fn render_value(&self, values: Value) -> Result<String, DataError> {
        let environment = self.environment.clone();
        let values = self.without_hidden(values).map_err(|s| failure(&self.origin, s))?;
        on_a_thread(move || {
            let rendered = environment.get_template(NAME).and_then(|t| t.render(values));
            rendered.map_err(plain)
        })
        .map_err(|source| failure(&self.origin, source))
    }

    /// The values without those that the template hides from itself.
    fn without_hidden(&self, values: Value) -> Result<Value, Error> {
        if self.hidden.is_empty() {
            return Ok(values);
        }
        let mut kept = Vec::new();
        for key in values.try_iter()? {
            let hides = key.as_str().is_some_and(|key| self.hidden.iter().any(|name| name == key));
            if !hides {
                let value = values.get_item(&key)?;
                kept.push((key, value));
            }
        }
        Ok(Value::from_pairs(kept))
    }
}

/// An error without the values that minijinja keeps in it: a list may be nested so deep that only
/// the thread that renders has the stack to free it.
fn plain(error: Error) -> Error {
    let line = error.line().map_or_else(String::new, |line| format!(" (line {line})"));
    let detail = error.detail().unwrap_or("a value cannot be used in this way");
    Error::new(error.kind(), format!("{detail}{line}"))
}

/// The name that messages give to a template.
const NAME: &str = "chat template";

/// Renders with a deep stack and an eye on the clock: some of what a template can write costs time and no steps. One that is given up
/// runs on until the program ends.
fn on_a_thread(
    render: impl FnOnce() -> Result<String, Error> + Send + 'static,
) -> Result<String, Error> {
    let (done, result) = mpsc::channel();
    let work = move || drop(done.send(render()));
    let failed = |text: String| Err(Error::new(ErrorKind::InvalidOperation, text));
    match std::thread::Builder::new().stack_size(STACK).spawn(work) {
        Ok(_) => match result.recv_timeout(LONGEST) {
            Ok(rendered) => rendered,
            Err(RecvTimeoutError::Timeout) => {
                failed(format!("a rendering took longer than {} s", LONGEST.as_secs()))
            }
            Err(RecvTimeoutError::Disconnected) => failed("the renderer panicked".to_owned()),
        },
        Err(error) => failed(format!("no thread to render on: {error}")),
    }
}

/// Whether a rendering ends where the assistant's answer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum GenerationPrompt {
    /// Up to where the assistant begins.
    Add,
    /// The messages alone.
    Omit,
}

/// A message as Transformers gives it to a template: its reasoning has the standard name
/// `reasoning_content` and the name `thinking` too, whichever of [`REASONING_FIELDS`] it came in.
fn as_value(message: &Message) -> Value {
    let given = |name: &&str| message.fields().get(*name).filter(|value| !value.is_null());
    let Some(reasoning) = REASONING_FIELDS.iter().find_map(given) else {
        return Value::from(Serde(message));
    };
    let mut fields = serde_json::Map::new();
    fields.insert("thinking".to_owned(), reasoning.clone());
    fields.extend(message.fields().clone());
    fields.insert("reasoning_content".to_owned(), reasoning.clone());
    Value::from(Serde(&fields))
}

fn failure(origin: &Path, source: Error) -> DataError {
    DataError::Template { origin: origin.to_owned(), source: Box::new(source) }
}

/// Takes the markers out and gives the ranges they enclosed; a marker without its partner (a template
/// that cut the text) encloses nothing.
fn unmark(marked: &str) -> (String, Vec<Range<usize>>) {
    let mut text = String::with_capacity(marked.len());
    let mut spans = Vec::new();
    let mut open = None;
    for character in marked.chars() {
        match character {
            START => open = Some(text.len()),
            END => spans.extend(open.take().map(|start| start..text.len())),
            _ => text.push(character),
        }
    }
    (text, spans)
}

#[cfg(test)]
mod tests;
