//! The filter `wordwrap`: Python's `textwrap.wrap`, a line at a time.

use minijinja::Error;
use minijinja::value::Value;

use super::args::Arguments;
use super::characters::{is_letter, is_numeric, lines};
use super::value::invalid;

/// `value | wordwrap(width, break_long_words, wrapstring, break_on_hyphens)`.
pub(super) fn word_wrap(args: &[Value]) -> Result<Value, Error> {
    let names = ["s", "width", "break_long_words", "wrapstring", "break_on_hyphens"];
    let args = Arguments::bind(args, &names)?;
    let width = usize::try_from(args.integer(1)?.unwrap_or(79)).ok().filter(|&width| width > 0);
    let wrap = Wrap {
        width: width.ok_or_else(|| invalid("the width must be above 0"))?,
        long_words: args.get(2).is_none_or(Value::is_true),
        hyphens: args.get(4).is_none_or(Value::is_true),
    };
    let between = args.optional_string(3)?.unwrap_or("\n");
    let wrapped =
        lines(args.string(0)?, false).into_iter().map(|line| wrap.line(line).join(between));
    Ok(Value::from(wrapped.collect::<Vec<_>>().join(between)))
}

struct Wrap {
    width: usize,
    long_words: bool,
    hyphens: bool,
}

/// White space of ASCII, which is all that `textwrap` breaks at.
fn is_blank(character: &char) -> bool {
    matches!(character, '\t' | '\n' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

fn is_word(character: char) -> bool {
    character == '_' || is_letter(character) || is_numeric(character)
}

/// A character before which `textwrap` sees a dash between words.
fn ends_word(character: char) -> bool {
    is_word(character) || matches!(character, '!' | '"' | '\'' | '&' | '.' | ',' | '?')
}

impl Wrap {
    fn line(&self, line: &str) -> Vec<String> {
        let mut chunks = self.chunks(&line.chars().collect::<Vec<_>>());
        chunks.reverse();
        let mut out: Vec<String> = Vec::new();
        while let Some(next) = chunks.last() {
            if !out.is_empty() && next.iter().all(|c| c.is_whitespace()) {
                chunks.pop();
            }
            let mut current: Vec<Vec<char>> = Vec::new();
            let mut length = 0;
            while let Some(chunk) = chunks.pop_if(|chunk| length + chunk.len() <= self.width) {
                length += chunk.len();
                current.push(chunk);
            }
            if let Some(long) = chunks.pop_if(|chunk| chunk.len() > self.width) {
                self.long_word(long, self.width - length, &mut current, &mut chunks);
            }
            current.pop_if(|chunk| chunk.iter().all(|c| c.is_whitespace()));
            if !current.is_empty() {
                out.push(current.concat().into_iter().collect());
            }
        }
        out
    }

    /// Puts what fits of a word longer than a line on the current line.
    fn long_word(
        &self,
        mut word: Vec<char>,
        room: usize,
        current: &mut Vec<Vec<char>>,
        chunks: &mut Vec<Vec<char>>,
    ) {
        if !self.long_words {
            let to = if current.is_empty() { current } else { chunks };
            to.push(word);
            return;
        }
        let mut end = room;
        let hyphen = word[..room].iter().rposition(|c| *c == '-').filter(|_| self.hyphens);
        if let Some(hyphen) = hyphen.filter(|&at| word[..at].iter().any(|c| *c != '-')) {
            end = hyphen + 1;
        }
        chunks.push(word.split_off(end));
        current.push(word);
    }

    /// Words, parts of words and white space, at whose borders a line may break.
    fn chunks(&self, line: &[char]) -> Vec<Vec<char>> {
        let mut out = Vec::new();
        let mut start = 0;
        while start < line.len() {
            let blanks = line[start..].iter().take_while(|c| is_blank(c)).count();
            let length = match blanks {
                0 if self.hyphens => hyphenated(line, start),
                0 => line[start..].iter().take_while(|c| !is_blank(c)).count(),
                blanks => blanks,
            };
            out.push(line[start..start + length].to_vec());
            start += length;
        }
        out
    }
}

/// The length of the part of a word at `start`: up to behind a hyphen between letters, up to a dash
/// of two hyphens, or that dash.
fn hyphenated(line: &[char], start: usize) -> usize {
    let at = |index: usize| line.get(index).copied();
    let letter = |index: Option<usize>| index.and_then(at).is_some_and(is_letter);
    let dash = |from: usize| {
        let hyphens = line[from..].iter().take_while(|c| **c == '-').count();
        let word = at(from + hyphens).is_some_and(is_word);
        let after = from > 0 && at(from - 1).is_some_and(ends_word);
        (hyphens >= 2 && word && after).then_some(hyphens)
    };
    if let Some(hyphens) = dash(start) {
        return hyphens;
    }
    let mut end = start + 1;
    while let Some(character) = at(end).filter(|c| !is_blank(c)) {
        if dash(end).is_some() {
            break;
        }
        let before = letter(end.checked_sub(1))
            && (letter(end.checked_sub(2))
                || (at(end.wrapping_sub(2)) == Some('-') && letter(end.checked_sub(3))));
        let next = end + 1;
        let after = letter(Some(next))
            && (letter(Some(next + 1)) || (at(next + 1) == Some('-') && letter(Some(next + 2))));
        if character == '-' && before && after {
            return next - start;
        }
        end += 1;
    }
    end - start
}
