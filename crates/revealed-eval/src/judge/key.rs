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

    /// The key as it is and as JSON may write it: any sign but letters and digits escaped, by a backslash or by its number.
    fn spellings(&self) -> Vec<String> {
        let with = |escape: &dyn Fn(char) -> String| -> String {
            let of =
                |sign: char| if sign.is_ascii_alphanumeric() { sign.into() } else { escape(sign) };
            self.0.chars().map(of).collect()
        };
        let mut all = vec![self.0.clone(), self.0.replace('/', "\\/")];
        // What a library escapes differs, so each sign by itself too.
        for sign in self.0.chars().filter(|sign| !sign.is_ascii_alphanumeric()) {
            for number in [format!("\\u{:04x}", sign as u32), format!("\\u{:04X}", sign as u32)] {
                all.push(self.0.replace(sign, &number));
                all.push(self.0.replace('/', "\\/").replace(sign, &number));
            }
        }
        all.push(with(&|sign| format!("\\u{:04x}", sign as u32)));
        all.push(with(&|sign| format!("\\u{:04X}", sign as u32)));
        all
    }

    /// A server's text without the key.
    pub(super) fn cut_from(&self, text: &str) -> String {
        match self.0.len() >= SHORTEST_SECRET {
            true => self
                .spellings()
                .iter()
                .fold(text.to_owned(), |text, key| text.replace(key, "[key]")),
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
        let key = ApiKey::new("sk/planted+0123").unwrap();
        for echo in [
            r"sk\/planted+0123",
            r"sk/planted\u002b0123",
            r"sk\/planted\u002B0123",
            r"sk\u002fplanted\u002b0123",
        ] {
            assert_eq!(key.cut_from(&format!("no {echo}.")), "no [key].");
        }
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
