//! The key to an endpoint, which nothing but a request's header may show.

use std::fmt;

use super::JudgeError;

/// Shorter ones are placeholders of local servers ("none", "EMPTY"), and words of answers.
const SHORTEST_SECRET: usize = 8;

/// An API key; [`fmt::Debug`] does not show it, and there is no way to read it back.
#[derive(Clone)]
pub struct ApiKey(String);

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

impl ApiKey {
    /// A key, without the space around it.
    ///
    /// # Errors
    /// When it is empty or holds what no header can: anything but visible ASCII.
    pub fn new(text: &str) -> Result<Self, JudgeError> {
        let text = text.trim();
        match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Self(text.to_owned())),
            false => Err(JudgeError::Key),
        }
    }

    /// The header's value.
    pub(super) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// A server's text without the key.
    pub(super) fn cut_from(&self, text: &str) -> String {
        match self.0.len() >= SHORTEST_SECRET {
            true => text.replace(&self.0, "[key]"),
            false => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_by_nothing_but_its_header() {
        let key = ApiKey::new(" sk-planted-0123\n").unwrap();
        assert_eq!(format!("{key:?}"), "ApiKey(…)");
        assert_eq!(key.bearer(), "Bearer sk-planted-0123");
        assert_eq!(key.cut_from("wrong key sk-planted-0123!"), "wrong key [key]!");
    }

    #[test]
    fn a_placeholder_is_not_cut_out_of_answers() {
        assert_eq!(ApiKey::new("none").unwrap().cut_from("none of it"), "none of it");
    }

    #[test]
    fn a_key_that_fits_no_header_is_refused_and_not_repeated() {
        for text in ["", "  ", "sk planted", "sk-\u{e9}"] {
            let message = ApiKey::new(text).unwrap_err().to_string();
            assert!(text.trim().is_empty() || !message.contains(text), "{message}");
        }
    }
}
