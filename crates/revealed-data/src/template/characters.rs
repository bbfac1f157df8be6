//! Python's classes of characters and its changes of case.

use unicode_categories::UnicodeCategories;

/// Python's `str.isspace`: Unicode white space and four separators of ASCII.
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\u{1c}'..='\u{1f}')
}

/// Python's `str.isalpha`: a letter.
pub(super) fn is_letter(character: char) -> bool {
    character.is_ascii_alphabetic() || (!character.is_ascii() && character.is_letter())
}

/// Python's `str.isdecimal`: a digit of a decimal number.
pub(super) fn is_decimal(character: char) -> bool {
    character.is_ascii_digit() || (!character.is_ascii() && character.is_number_decimal_digit())
}

/// Python's `str.isdigit`: also superscripts, subscripts and digits in circles.
pub(super) fn is_digit(character: char) -> bool {
    is_decimal(character)
        || matches!(character,
            '\u{b2}' | '\u{b3}' | '\u{b9}' | '\u{1369}'..='\u{1371}' | '\u{19da}' | '\u{2070}'
            | '\u{2074}'..='\u{2079}' | '\u{2080}'..='\u{2089}' | '\u{2460}'..='\u{2468}'
            | '\u{2474}'..='\u{247c}' | '\u{2488}'..='\u{2490}' | '\u{24ea}'
            | '\u{24f5}'..='\u{24fd}' | '\u{24ff}' | '\u{2776}'..='\u{277e}'
            | '\u{2780}'..='\u{2788}' | '\u{278a}'..='\u{2792}' | '\u{10a40}'..='\u{10a43}'
            | '\u{10e60}'..='\u{10e68}' | '\u{11052}'..='\u{1105a}' | '\u{1f100}'..='\u{1f10a}')
}

/// Python's `str.isnumeric`: also fractions, Roman numerals and numerals of Chinese.
pub(super) fn is_numeric(character: char) -> bool {
    /// Letters of Chinese that are numerals.
    const CHINESE: &str = "㐅㒃㠪㭍一七万三九二五亖亿什仟仨伍佰億兆六八十千卄卅卌\
                           叁参參叄四壱壹幺廾廿弌弍弎弐拾捌柒漆玖百肆萬貮貳贰阡陆陌陸零";
    is_digit(character) || character.is_numeric() || CHINESE.contains(character)
}

/// Python's title case of one character.
fn title(character: char, out: &mut String) {
    match character {
        'Ǆ' | 'ǅ' | 'ǆ' => out.push('ǅ'),
        'Ǉ' | 'ǈ' | 'ǉ' => out.push('ǈ'),
        'Ǌ' | 'ǋ' | 'ǌ' => out.push('ǋ'),
        'Ǳ' | 'ǲ' | 'ǳ' => out.push('ǲ'),
        _ => {
            let mut upper = character.to_uppercase();
            out.extend(upper.next());
            out.extend(upper.flat_map(char::to_lowercase));
        }
    }
}

fn is_cased(character: char) -> bool {
    character.is_uppercase()
        || character.is_lowercase()
        || matches!(character, 'ǅ' | 'ǈ' | 'ǋ' | 'ǲ')
}

/// Python's `str.capitalize`.
pub(super) fn capitalize(text: &str) -> String {
    let mut characters = text.chars();
    let mut out = String::new();
    if let Some(first) = characters.next() {
        title(first, &mut out);
    }
    out + &characters.as_str().to_lowercase()
}

/// Python's `str.title`: a capital behind every character that is not cased.
pub(super) fn title_case(text: &str) -> String {
    let mut out = String::new();
    let mut within = false;
    for character in text.chars() {
        if within {
            out.extend(character.to_lowercase());
        } else {
            title(character, &mut out);
        }
        within = is_cased(character);
    }
    out
}

/// Python's `str.istitle`.
pub(super) fn is_title(text: &str) -> bool {
    let (mut within, mut any) = (false, false);
    for character in text.chars() {
        let upper = character.is_uppercase() || (is_cased(character) && !character.is_lowercase());
        if (upper && within) || (character.is_lowercase() && !within) {
            return false;
        }
        within = is_cased(character);
        any |= within;
    }
    any
}

/// Python's `str.swapcase`.
pub(super) fn swap_case(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        if character.is_uppercase() {
            out.extend(character.to_lowercase());
        } else {
            out.extend(character.to_uppercase());
        }
    }
    out
}

/// Python's `str.casefold`.
pub(super) fn casefold(text: &str) -> String {
    let fold = |character: char| match character {
        'ı' => "ı".to_owned(),
        _ => character.to_uppercase().flat_map(char::to_lowercase).collect::<String>(),
    };
    text.chars().map(fold).collect()
}

/// Python's `str.isupper` and `str.islower`.
pub(super) fn is_case(text: &str, upper: bool) -> bool {
    let wanted = |c: char| if upper { c.is_uppercase() } else { c.is_lowercase() };
    text.chars().any(wanted) && !text.chars().any(|c| is_cased(c) && !wanted(c))
}

/// Python's `str.splitlines`: at every boundary of lines that Unicode knows.
pub(super) fn lines(text: &str, keep_ends: bool) -> Vec<&str> {
    let mut out = Vec::new();
    let (mut start, mut characters) = (0, text.char_indices().peekable());
    while let Some((at, character)) = characters.next() {
        let ends = matches!(
            character,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'
                ..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        );
        if !ends {
            continue;
        }
        let mut next = at + character.len_utf8();
        if character == '\r' && characters.next_if(|(_, c)| *c == '\n').is_some() {
            next += 1;
        }
        out.push(&text[start..if keep_ends { next } else { at }]);
        start = next;
    }
    if start < text.len() {
        out.push(&text[start..]);
    }
    out
}
