//! Verdicts on two answers.

/// Which of the answers shown is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The first.
    A,
    /// The second.
    B,
    /// Neither.
    Tie,
}

/// The verdict in a judgement: `[[A]]` where that occurs, else `[[B]]`, else `[[C]]` for a tie, as FastChat looks for
/// them; none without any.
pub fn verdict(judgment: &str) -> Option<Verdict> {
    let marks = [("[[A]]", Verdict::A), ("[[B]]", Verdict::B), ("[[C]]", Verdict::Tie)];
    marks.into_iter().find(|(mark, _)| judgment.contains(mark)).map(|(_, verdict)| verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_looked_for_in_fastchats_order() {
        assert_eq!(verdict("so: [[B]]"), Some(Verdict::B));
        assert_eq!(verdict("[[C]]"), Some(Verdict::Tie));
        // FastChat's rule.
        assert_eq!(verdict("not [[B]] but [[A]]"), Some(Verdict::A));
        for text in ["", "A", "[A]", "[[a]]", "[[D]]", "[[A"] {
            assert_eq!(verdict(text), None, "{text}");
        }
    }
}
