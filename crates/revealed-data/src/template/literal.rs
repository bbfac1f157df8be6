//! String literals: decoded as Python decodes them, and written as minijinja reads them.

use std::iter::Peekable;
use std::str::Chars;

/// Writes the literal `quoted` so that minijinja reads the text that Jinja2 reads.
pub(super) fn rewrite_text(quoted: &str, out: &mut String) -> Result<(), String> {
    if !quoted.contains('\\') {
        out.push_str(quoted);
        return Ok(());
    }
    let quote = quoted.chars().next().unwrap_or('\'');
    let mut characters = quoted[1..quoted.len() - 1].chars().peekable();
    out.push(quote);
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                for decoded in escape(&mut characters)? {
                    write_escaped(decoded, quote, out);
                }
            }
            _ => out.push(character),
        }
    }
    out.push(quote);
    Ok(())
}

/// A character of the text, escaped where minijinja would not read it as itself.
fn write_escaped(character: char, quote: char, out: &mut String) {
    match character {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\\' => out.push_str("\\\\"),
        _ if character == quote => {
            out.push('\\');
            out.push(character);
        }
        _ => out.push(character),
    }
}

/// Decodes what follows a backslash.
fn escape(characters: &mut Peekable<Chars>) -> Result<Vec<char>, String> {
    let Some(letter) = characters.next() else { return Ok(vec!['\\']) };
    let decoded = match letter {
        '\n' => return Ok(Vec::new()),
        '\\' | '\'' | '"' => letter,
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        'x' => coded(characters, 2, 16)?,
        'u' => coded(characters, 4, 16)?,
        'U' => coded(characters, 8, 16)?,
        'N' => return Err("the escape \\N{...} of a string is not supported".to_owned()),
        '0'..='7' => {
            let mut code = letter.to_digit(8).unwrap_or(0);
            for _ in 0..2 {
                if let Some(digit) = characters.peek().and_then(|c| c.to_digit(8)) {
                    code = code * 8 + digit;
                    characters.next();
                }
            }
            char::from_u32(code).unwrap_or('\0')
        }
        _ => return Ok(vec!['\\', letter]),
    };
    Ok(vec![decoded])
}

fn coded(characters: &mut Peekable<Chars>, count: usize, base: u32) -> Result<char, String> {
    let mut code = 0u32;
    for _ in 0..count {
        let digit = characters.next().and_then(|c| c.to_digit(base));
        let digit = digit.ok_or("an escape of a string is cut short")?;
        code = code.wrapping_mul(base).wrapping_add(digit);
    }
    char::from_u32(code)
        .ok_or_else(|| format!("the escape of U+{code:04X} in a string is no character"))
}
