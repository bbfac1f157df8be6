//! Contexts and continuations as tokens, split as lm-evaluation-harness does.

use revealed_data::Encoder;

use super::error::TaskError;
use super::rows::Place;

/// A context with its continuation, if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EncodedRequest {
    /// Both.
    pub ids: Vec<u32>,
    /// Where the continuation starts.
    pub start: usize,
    /// Tokens of the context that did not fit.
    pub cut: usize,
}

/// Text to tokens for one model.
pub(super) struct TextSide<'a> {
    encoder: &'a Encoder,
    context: usize,
    /// The token before a continuation without context: BOS, or EOS without one.
    begin: u32,
    begin_text: String,
}

impl<'a> TextSide<'a> {
    /// For a model that reads `context` tokens.
    pub fn new(encoder: &'a Encoder, context: usize) -> Self {
        let end = encoder.stop_ids().first().copied().unwrap_or(encoder.terminator());
        let begin = encoder.bos_id().unwrap_or(end);
        Self { encoder, context, begin, begin_text: encoder.token(begin) }
    }

    /// A text with the prefix that the tokenizer adds, unless the text begins with it.
    fn tokens(&self, text: &str) -> Result<Vec<u32>, TaskError> {
        let ids = self.encoder.text_ids(text)?;
        match text.starts_with(&self.begin_text) {
            true => Ok(ids),
            false => Ok([self.encoder.prefix(), &ids].concat()),
        }
    }

    /// `whole = tokens(context + continuation)`, of which the continuation is what follows as many tokens as the context alone
    /// has. Spaces that end the context begin the continuation instead. What does not fit the model is cut from the left.
    ///
    /// # Errors
    /// When there is nothing to score, or it is longer than the model's context.
    pub fn pair(
        &self,
        place: &Place,
        context: &str,
        continuation: &str,
    ) -> Result<EncodedRequest, TaskError> {
        let (ids, start) = if context.is_empty() {
            let ids = self.encoder.text_ids(continuation)?;
            match ids.first() == Some(&self.begin) {
                true => (ids, 1),
                false => ([&[self.begin], ids.as_slice()].concat(), 1),
            }
        } else {
            let asked = context.trim_end_matches(python_space);
            let start = self.tokens(asked)?.len();
            (self.tokens(&format!("{context}{continuation}"))?, start)
        };
        if start == 0 || start >= ids.len() {
            let reason = format!(
                "{context:?} and {continuation:?} have {start} and {} tokens; each needs one",
                ids.len().saturating_sub(start)
            );
            return Err(TaskError::TooLong { place: place.clone(), reason });
        }
        let (scored, limit) = (ids.len() - start, self.context);
        if scored > limit {
            let reason =
                format!("{scored} tokens are to be scored; the model's context is {limit}");
            return Err(TaskError::TooLong { place: place.clone(), reason });
        }
        // The last token is not read, so one more than the context fits.
        let cut = ids.len().saturating_sub(limit + 1);
        Ok(EncodedRequest { ids: ids[cut..].to_vec(), start: start - cut, cut })
    }

    /// A context after which `room` tokens fit; what does not is cut from its left.
    ///
    /// # Errors
    /// When it has no tokens, or no room is left for it.
    pub fn prompt(
        &self,
        place: &Place,
        context: &str,
        room: usize,
    ) -> Result<EncodedRequest, TaskError> {
        let ids = self.tokens(context)?;
        let limit = self.context.saturating_sub(room);
        if ids.is_empty() || limit == 0 {
            let (tokens, context) = (ids.len(), self.context);
            let reason = format!(
                "a prompt of {tokens} tokens and {room} generated ones; the prompt needs one, and the model's context is {context}"
            );
            return Err(TaskError::TooLong { place: place.clone(), reason });
        }
        let cut = ids.len().saturating_sub(limit);
        Ok(EncodedRequest { ids: ids[cut..].to_vec(), start: ids.len() - cut, cut })
    }

    /// Tokens at which an answer ends.
    pub fn ends(&self) -> &[u32] {
        self.encoder.stop_ids()
    }

    /// The text of generated tokens, specials left out.
    pub fn decode(&self, ids: &[u32]) -> String {
        self.encoder.decode(ids)
    }

    /// The text of EOS.
    pub fn end_text(&self) -> String {
        self.ends().first().map_or(String::new(), |id| self.encoder.token(*id))
    }
}

/// What Python's `rstrip` takes off: the four separators of ASCII are white space to it.
fn python_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}
