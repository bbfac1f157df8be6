//! Tokens in the middle of a text: the text of samples, and their tokens as the tokenizer gives them.

use std::borrow::Cow;

use super::encode::row;
use super::*;

/// Before a text, it keeps a tokenizer from adding a space to it, or from dropping its space.
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

    /// The text of a policy's completion as it continues its prompt: a space that the tokenizer
    /// would drop at the start of a text is kept. Special tokens are left out.
    pub fn completion_text(&self, prompt_ids: &[u32], completion_ids: &[u32]) -> String {
        let is_text = |id: &u32| !self.special.contains(id);
        let ids: Vec<u32> = completion_ids.iter().copied().filter(is_text).collect();
        guarded(|| self.text_after(prompt_ids.last().copied(), &ids)).unwrap_or_default()
    }

    /// A text that ends in, or as, the token `last`, with its tokens. The tokens of a text depend on
    /// what is before it only in this: whether it is the start, follows an added token (tokenizers
    /// split there) or follows other text.
    fn context(&self, last: Option<u32>) -> Option<(&str, Cow<'_, [u32]>)> {
        let last = last?;
        match self.added.get(&last) {
            Some(text) => Some((text, Cow::Owned(vec![last]))),
            None => self.anchor.as_deref().map(|ids| (ANCHOR, Cow::Borrowed(ids))),
        }
    }

    /// The tokens of `text` where it follows the token `last`.
    pub(super) fn ids_after(&self, last: Option<u32>, text: &str) -> Result<Vec<u32>, DataError> {
        if let Some((before, ids)) = self.context(last)
            && let Some(ids) = self.ids(&format!("{before}{text}"))?.strip_prefix(&*ids)
        {
            return Ok(ids.to_vec());
        }
        self.ids(text)
    }

    /// The text of `ids` where they follow the token `last`, special tokens included.
    pub(super) fn text_after(&self, last: Option<u32>, ids: &[u32]) -> String {
        let decode = |ids: &[u32]| self.tokenizer.decode(ids, false).unwrap_or_default();
        let alone = decode(ids);
        let Some((_, before)) = self.context(last) else {
            return alone;
        };
        let text = decode(&[&*before, ids].concat());
        let Some(text) = text.strip_prefix(&decode(&before)) else {
            return text;
        };
        // Some tokenizers add a space after every added token and drop only the first when they
        // decode: there the text that gives these tokens again is the one without it.
        let gives = |text: &str| self.ids_after(last, text).is_ok_and(|again| again == ids);
        match text != alone && !gives(text) && gives(&alone) {
            true => alone,
            false => text.to_owned(),
        }
    }

    pub(super) fn find_anchor(&self) -> Result<Option<Vec<u32>>, DataError> {
        let anchor = self.ids(ANCHOR)?;
        let after = self.ids(&format!("{ANCHOR}a"))?;
        let bare = self.ids("a")?;
        let adds_space = after.strip_prefix(&*anchor).is_some_and(|ids| ids != bare);
        let spaced = self.ids(" a")?;
        let drops_space = self.tokenizer.decode(&spaced, false).is_ok_and(|text| text == "a");
        Ok((adds_space || drops_space).then_some(anchor))
    }
}
