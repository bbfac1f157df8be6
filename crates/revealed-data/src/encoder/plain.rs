//! Text as it stands, for evaluations that put their own prompts together.

use super::Encoder;
use crate::DataError;

impl Encoder {
    /// What the tokenizer puts before plain text: usually the BOS token or nothing.
    pub fn prefix(&self) -> &[u32] {
        &self.prefix
    }

    /// The text of a token that the tokenizer has in addition to its vocabulary, such as a special
    /// token; nothing of other tokens.
    pub fn added_token(&self, id: u32) -> Option<String> {
        self.added.get(&id).cloned()
    }

    /// Special tokens, in order.
    pub fn special_ids(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = self.special.iter().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Tokens of a text and nothing else: no prefix, no template, no limit; specials that it spells
    /// become specials.
    ///
    /// # Errors
    /// [`DataError::Encode`] when the tokenizer refuses it.
    pub fn text_ids(&self, text: &str) -> Result<Vec<u32>, DataError> {
        self.ids(text)
    }
}
