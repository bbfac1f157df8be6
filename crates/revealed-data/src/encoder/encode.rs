//! Text to tokens and back, with the checks that keep both sides of a pair alike.

use std::borrow::Cow;

use rayon::prelude::*;

use super::fields::{self, Rendered};
use super::*;
use crate::error::{Columns, Place};
use crate::guard::guarded;
use crate::template::GenerationPrompt;
use crate::tokenizer_file::PANICKED;
use crate::{LongCompletion, LongPrompt};

/// Tokens shown on each side of the place an error is about.
const SHOWN: usize = 6;

/// A row before its limits.
struct Parts {
    prompt: Vec<u32>,
    completion: Vec<u32>,
    terminator: u32,
    noted: Noted,
}

/// A prompt as it will be written.
enum Form<'a> {
    Plain(Cow<'a, str>),
    Chat(&'a ChatTemplate, &'a Conversation),
}

/// Whether the tokenizer, given prompt and completion at once, begins with the prompt's own tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Boundary {
    Stable,
    /// A token spans both, or the prompt's last tokens change with what follows: prompt and
    /// completion are tokenized separately.
    Crossed {
        /// The tokens of the one text.
        whole: Vec<u32>,
    },
}

/// What [`Encoder::encode`] notes about a row.
pub(crate) struct Noted {
    pub(crate) boundary: Boundary,
    /// Fields that the template does not write.
    pub(crate) unwritten: Vec<String>,
}

impl Encoder {
    /// The tokens a completion of `prompt` is sampled after.
    ///
    /// # Errors
    /// [`DataError::PromptTooLong`] (unless long prompts are cut), [`DataError::SecondBos`],
    /// [`DataError::NoTemplate`], [`DataError::Template`], [`DataError::EmptyPrompt`].
    pub fn prompt(&self, prompt: &Prompt) -> Result<Vec<u32>, DataError> {
        let ids = match self.form(prompt)? {
            Form::Plain(text) => self.plain(&text)?,
            Form::Chat(template, chat) => {
                let before = template.render(chat, GenerationPrompt::Add)?;
                Rendered { template, chat, before: &before, full: None }.unwritten()?;
                self.ids(&before)?
            }
        };
        Ok(self.limit_prompt(self.checked(ids)?)?.0)
    }

    /// The tokens of a prompt and a completion of it: a demonstration, a side of a pair, a row to score.
    ///
    /// # Errors
    /// As [`Encoder::prompt`]; [`DataError::CompletionTooLong`] (unless long completions are cut),
    /// [`DataError::StopInCompletion`], [`DataError::UnstablePrefix`],
    /// [`DataError::TerminatorOutsideLoss`].
    pub fn encode(&self, prompt: &Prompt, completion: &Completion) -> Result<Encoded, DataError> {
        Ok(self.encode_noting(prompt, completion)?.0)
    }

    /// Demonstrations as tokens, in order, on all processors.
    ///
    /// # Errors
    /// [`DataError::Record`] with the id of the first demonstration that is refused; those beyond the
    /// limits are listed instead.
    pub fn encode_all(&self, demonstrations: &[Demonstration]) -> Result<EncodedSet, DataError> {
        let encoded: Vec<_> = demonstrations
            .par_iter()
            .map(|row| self.encode_noting(&row.prompt, &row.completion))
            .collect();
        let mut set = EncodedSet {
            rows: Vec::new(),
            dropped: Vec::new(),
            truncated: Vec::new(),
            separate: Vec::new(),
            unwritten: BTreeMap::new(),
        };
        for (index, (row, encoded)) in demonstrations.iter().zip(encoded).enumerate() {
            match kept(&row.id, row.place.as_ref(), encoded)? {
                Ok((encoded, noted)) => {
                    if noted.boundary != Boundary::Stable {
                        set.separate.push(row.id.clone());
                    }
                    for field in noted.unwritten {
                        *set.unwritten.entry(field).or_default() += 1;
                    }
                    if encoded.truncated {
                        set.truncated.push(row.id.clone());
                    }
                    set.rows.push((index, encoded));
                }
                Err(dropped) => set.dropped.push(dropped),
            }
        }
        Ok(set)
    }

    /// [`Encoder::encode`], with what it noted.
    pub(crate) fn encode_noting(
        &self,
        prompt: &Prompt,
        completion: &Completion,
    ) -> Result<(Encoded, Noted), DataError> {
        let parts = match self.form(prompt)? {
            Form::Plain(text) => self.untemplated(&text, completion)?,
            Form::Chat(template, chat) => self.templated(template, chat, completion)?,
        };
        let (prompt, cut) = self.limit_prompt(self.checked(parts.prompt)?)?;
        let mut completion = parts.completion;
        completion.push(parts.terminator);
        let (tokens, limit) = (completion.len(), self.options.max_completion_tokens);
        if tokens > limit && self.options.too_long.completions == LongCompletion::Drop {
            return Err(DataError::CompletionTooLong { tokens, limit });
        }
        completion.truncate(limit);
        let terminated = tokens <= limit;
        Ok((row(prompt, &completion, terminated, cut || !terminated), parts.noted))
    }

    /// How a prompt is written: a conversation by the template, or as text where it is one user
    /// message and there is no template.
    fn form<'a>(&'a self, prompt: &'a Prompt) -> Result<Form<'a>, DataError> {
        let chat = match prompt {
            Prompt::Text(text) => return Ok(Form::Plain(Cow::Borrowed(text))),
            Prompt::Chat(chat) => chat,
        };
        if let Some(template) = self.chat.of(chat)? {
            return Ok(Form::Chat(template, chat));
        }
        match chat.messages.as_slice() {
            [only] if only.role() == "user" && chat.is_plain() => Ok(Form::Plain(only.text())),
            messages => {
                let roles = Columns(messages.iter().map(|one| one.role().to_owned()).collect());
                let fields = Columns(fields::names(chat));
                Err(DataError::NoTemplate { folder: self.folder.clone(), roles, fields })
            }
        }
    }

    fn untemplated(&self, text: &str, completion: &Completion) -> Result<Parts, DataError> {
        if !completion.message().is_plain() {
            let fields = completion.message().extra_fields().map(str::to_owned).collect();
            return Err(DataError::AnswerNeedsTemplate { fields: Columns(fields) });
        }
        let prompt = self.plain(text)?;
        let completion = &*completion.text();
        self.refuse_stops(completion)?;
        let whole = self.plain(&format!("{text}{completion}"))?;
        let (ids, boundary) = self.completion_of(&prompt, whole, completion)?;
        let noted = Noted { boundary, unwritten: Vec::new() };
        Ok(Parts { prompt, completion: ids, terminator: self.terminator, noted })
    }

    /// The template's text with the answer must continue its text without.
    fn templated(
        &self,
        template: &ChatTemplate,
        chat: &Conversation,
        completion: &Completion,
    ) -> Result<Parts, DataError> {
        for text in fields::texts(completion.message()) {
            self.refuse_stops(text)?;
        }
        let before = template.render(chat, GenerationPrompt::Add)?;
        let mut answered = chat.clone();
        answered.messages.push(completion.message().clone());
        let full = template.render(&answered, GenerationPrompt::Omit)?;
        let full_text = Some(full.as_str());
        let rendered = Rendered { template, chat: &answered, before: &before, full: full_text };
        let unwritten = rendered.unwritten()?;
        let prompt = self.ids(&before)?;
        let whole = self.ids(&full)?;
        let Some(rest) = full.strip_prefix(&before) else {
            return Err(self.unstable(&prompt, &whole));
        };
        let (mut ids, boundary) = self.completion_of(&prompt, whole, rest)?;
        let Some(end) = ids.iter().position(|id| self.stop_ids.contains(id)) else {
            let last = &ids[ids.len().saturating_sub(SHOWN)..];
            let (tokens, stops) = (self.shown(last), self.shown(&self.stop_ids));
            return Err(DataError::TerminatorOutsideLoss { tokens, stops });
        };
        let terminator = ids[end];
        ids.truncate(end);
        let noted = Noted { boundary, unwritten };
        Ok(Parts { prompt, completion: ids, terminator, noted })
    }

    /// The completion's part of the tokens of the whole text; where these do not begin with the
    /// prompt's, the tokens of `rest`, the completion's text, after the prompt.
    fn completion_of(
        &self,
        prompt: &[u32],
        whole: Vec<u32>,
        rest: &str,
    ) -> Result<(Vec<u32>, Boundary), DataError> {
        match whole.strip_prefix(prompt) {
            Some(ids) => Ok((ids.to_vec(), Boundary::Stable)),
            None => {
                let ids = self.ids_after(prompt.last().copied(), rest)?;
                Ok((ids, Boundary::Crossed { whole }))
            }
        }
    }

    /// The terminator that the template writes after an answer.
    pub(super) fn probe(&self, template: &ChatTemplate) -> Result<u32, DataError> {
        let chat = vec![Message::new("user", "a")].into();
        let parts = self.templated(template, &chat, &"b".into())?;
        match parts.noted.boundary {
            Boundary::Stable => Ok(parts.terminator),
            Boundary::Crossed { whole } => Err(self.unstable(&parts.prompt, &whole)),
        }
    }

    /// The text of the chat template for those who read a number at a conversation's last token: where the template writes
    /// whitespace behind an answer's terminator, as ChatML does, one that ends there. None without a template.
    pub fn template_to_terminator(&self) -> Option<String> {
        let template = self.chat.default_template()?;
        let turns = vec![Message::new("user", "a"), Message::new("assistant", "a")].into();
        // Making an encoder has tried such turns; a template that refuses them all the same is not touched.
        let written = template.render(&turns, GenerationPrompt::Omit).unwrap_or_default();
        let end = written.trim_end();
        let ends = || self.ids(end).is_ok_and(|ids| ids.last() == Some(&self.terminator));
        let cut = end.len() < written.len() && ends();
        Some(if cut { template.without_tail() } else { template.text().to_owned() })
    }

    fn unstable(&self, prompt: &[u32], whole: &[u32]) -> DataError {
        let [prompt, full] = self.around_difference(prompt, whole);
        DataError::UnstablePrefix { prompt, full }
    }

    /// The tokens of both sides from shortly before where they differ.
    pub(crate) fn around_difference(&self, left: &[u32], right: &[u32]) -> [Tokens; 2] {
        let shared = left.iter().zip(right).take_while(|(left, right)| left == right).count();
        let from = shared.saturating_sub(SHOWN / 2);
        [left, right].map(|ids| self.shown(&ids[from..ids.len().min(shared + SHOWN)]))
    }

    fn refuse_stops(&self, completion: &str) -> Result<(), DataError> {
        let ids = self.ids(completion)?;
        match ids.into_iter().find(|id| self.stop_ids.contains(id)) {
            Some(stop) => Err(DataError::StopInCompletion { token: self.shown(&[stop]) }),
            None => Ok(()),
        }
    }

    fn checked(&self, ids: Vec<u32>) -> Result<Vec<u32>, DataError> {
        match (ids.as_slice(), self.bos_id) {
            ([], _) => Err(DataError::EmptyPrompt),
            ([first, second, ..], Some(bos)) if *first == bos && *second == bos => {
                let tokens = self.shown(&ids[..ids.len().min(SHOWN)]);
                Err(DataError::SecondBos { tokens })
            }
            _ => Ok(ids),
        }
    }

    /// The prompt within its limit, and whether it was cut.
    fn limit_prompt(&self, mut ids: Vec<u32>) -> Result<(Vec<u32>, bool), DataError> {
        let (tokens, limit) = (ids.len(), self.options.max_prompt_tokens);
        if tokens <= limit {
            return Ok((ids, false));
        }
        if self.options.too_long.prompts == LongPrompt::Drop {
            return Err(DataError::PromptTooLong { tokens, limit });
        }
        let bos = usize::from(limit > 1 && ids.first().copied() == self.bos_id);
        ids.drain(bos..tokens - limit + bos);
        Ok((ids, true))
    }

    pub(super) fn ids(&self, text: &str) -> Result<Vec<u32>, DataError> {
        self.raw_ids(text, false)
    }

    fn raw_ids(&self, text: &str, with_specials: bool) -> Result<Vec<u32>, DataError> {
        guarded(|| self.tokenizer.encode_fast(text, with_specials))
            .unwrap_or_else(|| Err(PANICKED.into()))
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(|source| DataError::Encode { text: text.chars().take(40).collect(), source })
    }

    fn plain(&self, text: &str) -> Result<Vec<u32>, DataError> {
        Ok([self.prefix.clone(), self.ids(text)?].concat())
    }

    pub(super) fn find_prefix(&self) -> Result<Vec<u32>, DataError> {
        let bare = self.ids("a")?;
        let whole = self.raw_ids("a", true)?;
        let at = (0..whole.len()).find(|&at| whole[at..].starts_with(&bare)).unwrap_or(0);
        Ok(whole[..at].to_vec())
    }
}

pub(super) fn row(
    prompt: Vec<u32>,
    completion: &[u32],
    terminated: bool,
    truncated: bool,
) -> Encoded {
    let completion_start = prompt.len();
    Encoded { input_ids: [&prompt, completion].concat(), completion_start, terminated, truncated }
}

/// A record's tokens, or the limit it met; every other error names the record.
pub(crate) fn kept<T>(
    id: &str,
    place: Option<&Place>,
    encoded: Result<T, DataError>,
) -> Result<Result<T, Dropped>, DataError> {
    match encoded {
        Ok(encoded) => Ok(Ok(encoded)),
        Err(limit @ (DataError::PromptTooLong { .. } | DataError::CompletionTooLong { .. })) => {
            Ok(Err(Dropped { id: id.to_owned(), reason: limit.to_string() }))
        }
        Err(source) => {
            let (id, place) = (id.to_owned(), place.cloned());
            Err(DataError::Record { id, place, source: Box::new(source) })
        }
    }
}
