//! Tokens in the middle of a text: completions after their prompt, and samples spelt canonically.

use super::encode::row;
use super::*;

/// Keeps a tokenizer that adds a leading space from adding it to what follows.
const ANCHOR: &str = "\n";
impl Encoder {
    /// The canonical form of a policy's sample: its text, tokenized as a demonstration's would be.
    ///
    /// The sample ends at its first stop token, if it has one; then the row ends with
    /// [`Encoder::terminator`], and without one it does not. So no difference between a demonstration
    /// and a sample of the same text is left for a reward to find. Text that spells a special token
    /// without being one keeps the tokens it was sampled as, and so do special tokens and, at the end of
    /// an unfinished sample, the beginning of a character.
    pub fn sample(&self, prompt_ids: &[u32], sample_ids: &[u32]) -> Encoded {
        let end = sample_ids.iter().position(|id| self.stop_ids.contains(id));
        let body = &sample_ids[..end.unwrap_or(sample_ids.len())];
        let mut ids = self.canonical(prompt_ids.last().copied(), body);
        ids.extend(end.map(|_| self.terminator));
        let limit = self.options.max_completion_tokens;
        let truncated = ids.len() > limit;
        ids.truncate(limit);
        let terminated = end.is_some() && !truncated;
        row(prompt_ids.to_vec(), &ids, terminated, truncated)
    }

    /// Tokens spelt as the tokenizer spells their text after `last`; special tokens stay and part it.
    fn canonical(&self, mut last: Option<u32>, body: &[u32]) -> Vec<u32> {
        let mut ids = Vec::with_capacity(body.len());
        for part in body.split_inclusive(|id| self.special.contains(id)) {
            let special = part.last().copied().filter(|id| self.special.contains(id));
            let text = &part[..part.len() - usize::from(special.is_some())];
            ids.extend(self.respelt(last, text));
            ids.extend(special);
            last = part.last().copied();
        }
        ids
    }

    fn respelt(&self, last: Option<u32>, ids: &[u32]) -> Vec<u32> {
        // A character has at most four bytes, so at most three tokens begin one without ending it.
        let whole = (ids.len().saturating_sub(3)..=ids.len())
            .rev()
            .find(|&end| !self.text_after(last, &ids[..end]).ends_with('\u{FFFD}'))
            .unwrap_or(ids.len());
        let (whole, rest) = ids.split_at(whole);
        match self.ids_after(last, &self.text_after(last, whole)) {
            Ok(again) if !again.iter().any(|id| self.special.contains(id)) => {
                [&again, rest].concat()
            }
            _ => ids.to_vec(),
        }
    }

    /// The tokenizer splits at added tokens and begins anew after them, as at the start of a text.
    fn anchor_after(&self, last: Option<u32>) -> Option<&[u32]> {
        let inside = last.is_some_and(|last| !self.added.contains(&last));
        self.anchor.as_deref().filter(|_| inside)
    }

    /// The tokens of `text` where it follows the token `last`.
    pub(super) fn ids_after(&self, last: Option<u32>, text: &str) -> Result<Vec<u32>, DataError> {
        if let Some(anchor) = self.anchor_after(last)
            && let Some(ids) = self.ids(&format!("{ANCHOR}{text}"))?.strip_prefix(anchor)
        {
            return Ok(ids.to_vec());
        }
        self.ids(text)
    }

    /// The text of `ids` where they follow the token `last`, special tokens included.
    pub(super) fn text_after(&self, last: Option<u32>, ids: &[u32]) -> String {
        let decode = |ids: &[u32]| self.tokenizer.decode(ids, false).unwrap_or_default();
        let Some(anchor) = self.anchor_after(last) else {
            return decode(ids);
        };
        let text = decode(&[anchor, ids].concat());
        text.strip_prefix(&decode(anchor)).map(str::to_owned).unwrap_or(text)
    }

    pub(super) fn find_anchor(&self) -> Result<Option<Vec<u32>>, DataError> {
        let anchor = self.ids(ANCHOR)?;
        let after = self.ids(&format!("{ANCHOR}a"))?;
        let bare = self.ids("a")?;
        let adds_space = after.strip_prefix(&*anchor).is_some_and(|ids| ids != bare);
        Ok(adds_space.then_some(anchor))
    }
}
