//! The tokens within a tag of a template, grouped by brackets.

use minijinja::Error;

use super::environment::syntax_error;

/// Brackets within brackets.
const DEEPEST: usize = 60;

/// A kind of token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Name,
    Number,
    Text,
    Operator,
}

/// A token and the white space before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) space: &'a str,
    pub(super) text: &'a str,
    pub(super) kind: Kind,
}

/// A token, or what brackets enclose.
#[derive(Debug, Clone)]
pub(super) enum Node<'a> {
    Token(Token<'a>),
    Group { space: &'a str, open: char, items: Vec<Node<'a>>, end_space: &'a str },
}

impl<'a> Node<'a> {
    /// Whether it is this operator.
    pub(super) fn is(&self, operator: &str) -> bool {
        matches!(self, Node::Token(t) if t.kind == Kind::Operator && t.text == operator)
    }

    /// The name that it is.
    pub(super) fn name(&self) -> Option<&'a str> {
        match self {
            Node::Token(token) if token.kind == Kind::Name => Some(token.text),
            _ => None,
        }
    }

    /// The bracket that opens it.
    pub(super) fn bracket(&self) -> Option<char> {
        match self {
            Node::Group { open, .. } => Some(*open),
            Node::Token(_) => None,
        }
    }
}

/// A tag without its delimiters.
#[derive(Debug)]
pub(super) struct Tag<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    /// The white space and sign before the closing delimiter.
    pub(super) end: &'a str,
    /// Bytes up to the end of the closing delimiter.
    pub(super) length: usize,
}

/// Operators, the longer ones first.
const OPERATORS: [&str; 25] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}",
    ">", "<", "=", ".", ":", "|", ",",
];

/// Reads the tokens of `source` up to `close` (`}}` or `%}`); `line` is where it begins.
pub(super) fn tag<'a>(source: &'a str, close: &str, line: usize) -> Result<Tag<'a>, Error> {
    let mut stack: Vec<(&'a str, char, Vec<Node<'a>>)> = Vec::new();
    let mut nodes: Vec<Node<'a>> = Vec::new();
    let mut at = 0;
    loop {
        let here = line + source[..at].matches('\n').count();
        let rest = &source[at..];
        let space = &rest[..rest.len() - rest.trim_start().len()];
        let rest = &rest[space.len()..];
        if rest.is_empty() {
            return Err(syntax_error(here, &format!("a tag does not end with {close}")));
        }
        let sign = usize::from(rest.starts_with(['-', '+']));
        if stack.is_empty() && (rest.starts_with(close) || rest[sign..].starts_with(close)) {
            let sign = if rest.starts_with(close) { 0 } else { sign };
            let length = at + space.len() + sign + close.len();
            return Ok(Tag { nodes, end: &source[at..length - close.len()], length });
        }
        let token = token(space, rest).map_err(|message| syntax_error(here, &message))?;
        at += space.len() + token.text.len();
        match token.text {
            "(" | "[" | "{" if token.kind == Kind::Operator => {
                if stack.len() == DEEPEST {
                    return Err(syntax_error(here, "brackets are nested too deep"));
                }
                let open = token.text.chars().next().unwrap_or('(');
                stack.push((space, open, std::mem::take(&mut nodes)));
            }
            ")" | "]" | "}" if token.kind == Kind::Operator => {
                let wrong = || syntax_error(here, &format!("unexpected {}", token.text));
                let (space, open, outer) = stack.pop().ok_or_else(wrong)?;
                if !matches!((open, token.text), ('(', ")") | ('[', "]") | ('{', "}")) {
                    return Err(wrong());
                }
                let items = std::mem::replace(&mut nodes, outer);
                nodes.push(Node::Group { space, open, items, end_space: token.space });
            }
            _ => nodes.push(Node::Token(token)),
        }
    }
}

fn token<'a>(space: &'a str, rest: &'a str) -> Result<Token<'a>, String> {
    let first = rest.chars().next().unwrap_or(' ');
    let (kind, length) = match first {
        '\'' | '"' => {
            (Kind::Text, text_length(rest, first).ok_or("a string has no closing quote")?)
        }
        '0'..='9' => (Kind::Number, number_length(rest)),
        _ if first == '_' || first.is_alphabetic() => {
            let more = |c: char| !(c == '_' || c.is_alphanumeric());
            (Kind::Name, rest.find(more).unwrap_or(rest.len()))
        }
        _ => match OPERATORS.iter().find(|operator| rest.starts_with(**operator)) {
            Some(operator) => (Kind::Operator, operator.len()),
            None => return Err(format!("unexpected character '{first}'")),
        },
    };
    Ok(Token { space, text: &rest[..length], kind })
}

fn text_length(rest: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The length of a number: digits, a fraction and an exponent, or digits of another base.
fn number_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let run = |from: usize, of: fn(&u8) -> bool| {
        bytes[from..].iter().take_while(|byte| of(byte) || **byte == b'_').count()
    };
    if bytes[0] == b'0' && bytes.get(1).is_some_and(|b| b"xXoObB".contains(b)) {
        return 2 + run(2, u8::is_ascii_hexdigit);
    }
    let mut end = run(0, u8::is_ascii_digit);
    if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
        end += 1 + run(end + 1, u8::is_ascii_digit);
    }
    if bytes.get(end).is_some_and(|byte| b"eE".contains(byte)) {
        let sign = usize::from(bytes.get(end + 1).is_some_and(|byte| b"+-".contains(byte)));
        if bytes.get(end + 1 + sign).is_some_and(u8::is_ascii_digit) {
            end += 1 + sign + run(end + 1 + sign, u8::is_ascii_digit);
        }
    }
    end
}
