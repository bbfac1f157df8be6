//! Text to tokens and back, with the checks that keep both sides of a pair alike.

use std::borrow::Cow;

use rayon::prelude::*;

use super::*;
use crate::error::{Columns, Place};
use crate::folder::PANICKED;
use crate::guard::guarded;
use crate::template::GenerationPrompt;
use crate::{LongCompletion, LongPrompt};

/// Tokens shown on each side of the place an error is about.
const SHOWN: usize = 6;

/// A row before its limits.
struct Parts {
    prompt: Vec<u32>,
    completion: Vec<u32>,
    terminator: u32,
    boundary: Boundary,
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
    /// A token would span both: what the model is trained on is not what it would read in one text.
    Crossed {
        /// The tokens of that one text.
        whole: Vec<u32>,
    },
}

fn boundary(prompt: &[u32], whole: &[u32]) -> Boundary {
    match whole.starts_with(prompt) {
        true => Boundary::Stable,
        false => Boundary::Crossed { whole: whole.to_vec() },
    }
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
                self.ids(&template.render(chat, GenerationPrompt::Add)?)?
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
            .map(|row| self.encode(&row.prompt, &row.completion))
            .collect();
        let mut set = EncodedSet { rows: Vec::new(), dropped: Vec::new(), truncated: Vec::new() };
        for (index, (row, encoded)) in demonstrations.iter().zip(encoded).enumerate() {
            match kept(&row.id, row.place.as_ref(), encoded)? {
                Ok(encoded) => {
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

    /// [`Encoder::encode`], with what it noted at the boundary.
    pub(crate) fn encode_noting(
        &self,
        prompt: &Prompt,
        completion: &Completion,
    ) -> Result<(Encoded, Boundary), DataError> {
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
        Ok((row(prompt, &completion, terminated, cut || !terminated), parts.boundary))
    }

    /// How a prompt is written: a conversation by the template, or as text where it is one user message
    /// and there is no template.
    fn form<'a>(&'a self, prompt: &'a Prompt) -> Result<Form<'a>, DataError> {
        match (prompt, &self.template) {
            (Prompt::Text(text), _) => Ok(Form::Plain(Cow::Borrowed(text))),
            (Prompt::Chat(chat), Some(template)) => Ok(Form::Chat(template, chat)),
            (Prompt::Chat(chat), None) => match chat.messages.as_slice() {
                [only] if only.role() == "user" && chat.is_plain() => Ok(Form::Plain(only.text())),
                messages => {
                    let roles = messages.iter().map(|message| message.role().to_owned());
                    let roles = Columns(roles.collect());
                    Err(DataError::NoTemplate { folder: self.folder.clone(), roles })
                }
            },
        }
    }

    fn untemplated(&self, text: &str, completion: &Completion) -> Result<Parts, DataError> {
        let prompt = self.plain(text)?;
        let completion = &*completion.text();
        self.refuse_stops(completion)?;
        let ids = self.ids_after(prompt.last().copied(), completion)?;
        let whole = self.plain(&format!("{text}{completion}"))?;
        let boundary = boundary(&prompt, &whole);
        Ok(Parts { prompt, completion: ids, terminator: self.terminator, boundary })
    }

    /// The template's text with the answer must continue its text without.
    fn templated(
        &self,
        template: &ChatTemplate,
        chat: &Conversation,
        completion: &Completion,
    ) -> Result<Parts, DataError> {
        self.refuse_stops(&completion.text())?;
        let before = template.render(chat, GenerationPrompt::Add)?;
        let mut whole = chat.clone();
        whole.messages.push(completion.message().clone());
        let full = template.render(&whole, GenerationPrompt::Omit)?;
        let prompt = self.ids(&before)?;
        let whole = self.ids(&full)?;
        let Some(rest) = full.strip_prefix(&before) else {
            return Err(self.unstable(&prompt, &whole));
        };
        let boundary = boundary(&prompt, &whole);
        let mut ids = self.ids_after(prompt.last().copied(), rest)?;
        let Some(end) = ids.iter().position(|id| self.stop_ids.contains(id)) else {
            let last = &ids[ids.len().saturating_sub(SHOWN)..];
            let (tokens, stops) = (self.shown(last), self.shown(&self.stop_ids));
            return Err(DataError::TerminatorOutsideLoss { tokens, stops });
        };
        let terminator = ids[end];
        ids.truncate(end);
        Ok(Parts { prompt, completion: ids, terminator, boundary })
    }

    /// What every answer would meet is the template's fault and refused before any row is read.
    pub(super) fn probe(&self, template: &ChatTemplate) -> Result<u32, DataError> {
        let chat = vec![Message::new("user", "a")].into();
        let parts = self.templated(template, &chat, &"b".into())?;
        match parts.boundary {
            Boundary::Stable => Ok(parts.terminator),
            Boundary::Crossed { whole } => Err(self.unstable(&parts.prompt, &whole)),
        }
    }

    /// The text of the chat template for those who read a number at a conversation's last token: where the template writes
    /// whitespace behind an answer's terminator, as ChatML does, one that ends there. None without a template.
    pub fn template_to_terminator(&self) -> Option<String> {
        let template = self.template.as_ref()?;
        let turns = vec![Message::new("user", "a"), Message::new("assistant", "a")].into();
        // Making an encoder has tried such turns; a template that refuses them all the same is not touched.
        let written = template.render(&turns, GenerationPrompt::Omit).unwrap_or_default();
        let end = written.trim_end();
        let ends = || self.ids(end).is_ok_and(|ids| ids.last() == Some(&self.terminator));
        let cut = end.len() < written.len() && ends();
        Some(if cut { template.without_tail() } else { template.text().to_owned() })
    }

    fn unstable(&self, prompt: &[u32], whole: &[u32]) -> DataError {
        let shared = prompt.iter().zip(whole).take_while(|(left, right)| left == right).count();
        let around = |ids: &[u32]| {
            let from = shared.saturating_sub(SHOWN / 2);
            self.shown(&ids[from..ids.len().min(shared + SHOWN)])
        };
        DataError::UnstablePrefix { prompt: around(prompt), full: around(whole) }
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

    pub(super) fn find_prefix(&self, add_bos: Option<bool>) -> Result<Vec<u32>, DataError> {
        let bare = self.ids("a")?;
        let whole = self.raw_ids("a", true)?;
        let at = (0..whole.len()).find(|&at| whole[at..].starts_with(&bare)).unwrap_or(0);
        let prefix = whole[..at].to_vec();
        // tokenizer_config.json may say otherwise than tokenizer.json; Transformers follows the former.
        Ok(match (add_bos, self.bos_id) {
            (Some(true), Some(bos)) if prefix.is_empty() => vec![bos],
            (Some(false), Some(bos)) if prefix == [bos] => Vec::new(),
            _ => prefix,
        })
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
