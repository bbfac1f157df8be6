//! Prompt templates with `{name}` for what is filled in, as Python's `str.format` reads them.

use super::JudgeError;

/// The template with every `{name}` replaced by its value; `{{` and `}}` are braces. Values are not looked into.
///
/// # Errors
/// When a name is none of those given, or a brace opens or closes nothing.
pub fn fill(template: &str, values: &[(&str, &str)]) -> Result<String, JudgeError> {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(brace) = rest.find(['{', '}']) {
        let at = template.len() - rest.len() + brace;
        filled.push_str(&rest[..brace]);
        let tail = &rest[brace..];
        if tail.starts_with("{{") || tail.starts_with("}}") {
            filled.push_str(&tail[..1]);
            rest = &tail[2..];
            continue;
        }
        let end = tail.find('}').filter(|_| tail.starts_with('{'));
        let end = end.ok_or(JudgeError::Brace { at })?;
        let name = &tail[1..end];
        match values.iter().find(|(known, _)| *known == name) {
            Some((_, value)) => filled.push_str(value),
            None => {
                let known = values.iter().map(|(known, _)| format!("{{{known}}}")).collect();
                return Err(JudgeError::Placeholder { name: name.into(), known });
            }
        }
        rest = &tail[end + 1..];
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_and_values_are_not_looked_into() {
        let values = [("a", "{b}"), ("b", "é}")];
        assert_eq!(fill("x {a}{b} {{a}} y", &values).unwrap(), "x {b}é} {a} y");
        assert_eq!(fill("", &values).unwrap(), "");
    }

    #[test]
    fn what_cannot_be_filled_is_named() {
        let message = fill("é {question}", &[("answer", "")]).unwrap_err().to_string();
        assert!(message.contains("`{question}`") && message.contains("{answer}"), "{message}");
        assert!(matches!(fill("é {a", &[]), Err(JudgeError::Brace { at: 3 })));
        assert!(matches!(fill("é } {a}", &[("a", "")]), Err(JudgeError::Brace { at: 3 })));
    }
}
