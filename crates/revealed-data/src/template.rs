//! Chat templates: the Jinja of Hugging Face folders, rendered as Transformers renders it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{Environment, Error, ErrorKind, State, context};
use serde::Serialize;

use crate::DataError;
use crate::conversation::{Conversation, Message};

mod python;

/// Steps and output (a step per 64 bytes) that one rendering may cost.
const FUEL: u64 = 5_000_000;
/// Of the thread that renders, reserved and not used: a list in a list in a list, a level a step, is let go of level by level.
const STACK: usize = 1 << 29;
/// Thousands of times what a long conversation takes.
const LONGEST: Duration = Duration::from_secs(10);
/// Unicode noncharacters around generated text; no message may hold them where spans are asked for.
const START: char = '\u{FDD0}';
const END: char = '\u{FDD1}';

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
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        let mut environment = Environment::new();
        environment.set_syntax(syntax.map_err(|source| failure(origin, source))?);
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_formatter(python::write);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("tojson", python::tojson);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", move |format: &str| python::strftime(format, now));
        environment.add_function("__generation", generation);
        environment
            .add_template_owned("chat", generation_as_call(text))
            .map_err(|source| failure(origin, source))?;
        let environment = Arc::new(environment);
        Ok(Self { environment, text: text.to_owned(), origin: origin.to_owned(), variables, now })
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
        let given = Value::from(Serde(&conversation.chat_template_kwargs));
        let environment = self.environment.clone();
        let values = context! { ..own, ..given, ..variables };
        on_a_thread(move || environment.get_template("chat")?.render(values))
            .map_err(|source| failure(&self.origin, source))
    }
}

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

fn as_value(message: &Message) -> Value {
    Value::from(Serde(message))
}

fn failure(origin: &Path, source: Error) -> DataError {
    DataError::Template { origin: origin.to_owned(), source: Box::new(source) }
}

fn raise_exception(message: &str) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message.to_owned()))
}

/// Jinja's own way for such a tag: a call block, whose function sees the body as `caller`.
fn generation(state: &mut State, options: Kwargs) -> Result<Value, Error> {
    let caller: Value = options.get("caller")?;
    let body = caller.call(state, &[])?;
    match state.lookup("__marked").is_some_and(|marked| marked.is_true()) {
        true => Ok(Value::from(format!("{START}{body}{END}"))),
        false => Ok(body),
    }
}

/// Writes `{% generation %}` as `{% call __generation() %}`, keeping whitespace control.
fn generation_as_call(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at + 2);
        out.push_str(before);
        let Some(end) = tag.find("%}") else {
            rest = tag;
            break;
        };
        let (body, after) = tag.split_at(end);
        let name = body.trim_start_matches(['-', '+']).trim_end_matches(['-', '+']).trim();
        match name {
            "generation" => out.push_str(&body.replacen(name, "call __generation()", 1)),
            "endgeneration" => out.push_str(&body.replacen(name, "endcall", 1)),
            _ => {
                // Only the tag's opening is consumed: its text may hold another opening.
                rest = tag;
                continue;
            }
        }
        rest = after;
    }
    out.push_str(rest);
    out
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
