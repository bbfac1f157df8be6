//! Text as it stands, for evaluations that put their own prompts together.

use super::Encoder;
use crate::DataError;

impl Encoder {
    /// What the tokenizer puts before plain text: usually the BOS token or nothing.
    pub fn prefix(&self) -> &[u32] {
        &self.prefix
    }

    /// Tokens of a text and nothing else: no prefix, no template, no limit; specials that it spells become specials.
    ///
    /// # Errors
    /// [`DataError::Encode`] when the tokenizer refuses it.
    pub fn text_ids(&self, text: &str) -> Result<Vec<u32>, DataError> {
        self.ids(text)
    }
}
