//! Text of others in a page of ours.

/// Characters of a shown text at most.
const LONGEST: usize = 4_000;

/// Text as it stands in HTML, in attributes too. Control characters but line ends and tabs become `�`, since HTML has no place
/// for them.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(letter),
            letter if letter.is_control() => escaped.push('\u{FFFD}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// The same of a prompt or completion, which may be very long.
pub(super) fn shown(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} … <i>(cut)</i>", escape(&text[..end])),
        None if text.is_empty() => "<i>(nothing)</i>".into(),
        None => escape(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_text() {
        let text = "</script><b a='\"'>&amp;\u{0}\u{1b}[31m\n";
        let expected = "&lt;/script&gt;&lt;b a=&#39;&quot;&#39;&gt;&amp;amp;\u{FFFD}\u{FFFD}[31m\n";
        assert_eq!(escape(text), expected);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let cut = shown(&"é".repeat(LONGEST + 1));
        assert!(cut.starts_with('é') && cut.ends_with("(cut)</i>"));
        assert_eq!(shown(&"é".repeat(LONGEST)).chars().count(), LONGEST);
        assert_eq!(shown(" "), "<i>(nothing)</i>");
    }
}
