//! Regular expressions as Python's `re` reads them, on names of modules.

use fancy_regex::Regex;

/// A regular expression with the part of Python's syntax that means the same here.
#[derive(Debug, Clone)]
pub(crate) struct Pattern(Regex);

impl Pattern {
    /// A pattern that has to match a whole name, as `re.fullmatch`.
    pub fn whole(text: &str) -> Result<Self, String> {
        Self::compile(text, &format!(r"\A(?:{})\z", python(text)?))
    }

    /// A pattern that is put between others, from a name's beginning, as `re.match`.
    pub fn within(text: &str, before: &str, after: &str) -> Result<Self, String> {
        Self::compile(text, &format!(r"\A(?:{before}{}{after})", python(text)?))
    }

    fn compile(text: &str, whole: &str) -> Result<Self, String> {
        // A part that is no expression by itself could join with what is put around it.
        let compiled = Regex::new(&python(text)?).and_then(|_| Regex::new(whole));
        compiled.map(Self).map_err(|error| format!("`{text}` is not a regular expression: {error}"))
    }

    pub fn matches(&self, name: &str) -> Result<bool, String> {
        self.0.is_match(name).map_err(|error| format!("matching `{name}`: {error}"))
    }

    /// The number of the group `idx`, where the pattern matches.
    pub fn index(&self, name: &str) -> Result<Option<u64>, String> {
        let found = self.0.captures(name).map_err(|error| format!("matching `{name}`: {error}"))?;
        let digits = found.and_then(|found| Some(found.name("idx")?.as_str().to_owned()));
        Ok(digits.and_then(|digits| digits.parse().ok()))
    }
}

/// Characters that have a meaning behind a backslash for the engine alone.
const UNKNOWN: &str = "hHRKGXOpPNQEegz<>";

/// The expression in the syntax of the engine; constructs that would mean something else are
/// refused.
fn python(text: &str) -> Result<String, String> {
    let refuse = |construct: &str, meaning: &str| {
        Err(format!(
            "`{text}`: `{construct}` means {meaning} in Python's regular expressions and something else in this program's; write the pattern without it"
        ))
    };
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::new();
    let mut class = false;
    let mut i = 0;
    while let Some(&c) = chars.get(i) {
        let next = chars.get(i + 1).copied();
        match (c, next) {
            ('\\', Some('Z')) if !class => {
                out.push_str(r"\z");
                i += 1;
            }
            ('\\', Some(escaped)) => {
                if UNKNOWN.contains(escaped) {
                    return refuse(&format!("\\{escaped}"), "nothing (it is an error)");
                }
                out.push('\\');
                out.push(escaped);
                i += 1;
            }
            ('[', _) if class => return refuse("[", "a bracket within a class"),
            ('[', _) => {
                class = true;
                out.push('[');
                if next == Some('^') {
                    out.push('^');
                    i += 1;
                }
                // A bracket that comes first is part of the class.
                if chars.get(i + 1) == Some(&']') {
                    out.push_str(r"\]");
                    i += 1;
                }
            }
            (']', _) if class => {
                class = false;
                out.push(']');
            }
            ('&' | '~' | '-', Some(again)) if class && again == c => {
                return refuse(&format!("{c}{c}"), "these characters");
            }
            ('{', Some(',')) if !class => out.push_str("{0"),
            _ => out.push(c),
        }
        i += 1;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_match_as_in_python() {
        let name = "model.layers.11.self_attn.q_proj";
        for (pattern, right) in [
            (r".*\.(q|v)_proj", true),
            (r".*\.(q|v)_proj$", true),
            (r"^model\.layers\.\d+\.self_attn\..*", true),
            (r"model.layers.1.self_attn.q_proj", false),
            (r"q_proj", false),
            (r"q_proj|.*v_proj", false),
            (r"(?!.*lm_head).*proj", true),
            (r"(?!.*self_attn).*proj", false),
            (r".*(?<!k)_proj", true),
            (r".*\.(?:0|11)\..*", true),
            (r"(?i).*Q_PROJ", true),
            (r".*[^]]q_proj", true),
            (r".*\.1{,2}\..*", true),
            (r".*q_proj\Z", true),
            (r".*\.(1)\1\..*", true),
            (r"(?P<a>m)odel.*(?P=a)?.*", true),
            (r"model\.layers\.(?:[0-9]|1[0-1])\.(self\_attn|mlp)\.[a-z\_]+", true),
            ("", false),
        ] {
            let found = Pattern::whole(pattern).unwrap().matches(name).unwrap();
            assert_eq!(found, right, "{pattern}");
        }
    }

    #[test]
    fn what_means_something_else_is_refused_by_name() {
        for (pattern, part) in [
            ("[a[b]", "`[`"),
            ("[a&&b]", "`&&`"),
            (r"\p{L}+", r"`\p`"),
            ("(q_proj", "not a regular expression"),
            ("q_proj)|(v_proj", "not a regular expression"),
            ("*", "not a regular expression"),
        ] {
            let reason = Pattern::whole(pattern).unwrap_err();
            assert!(reason.contains(part) && reason.contains(pattern), "{reason}");
        }
    }
}
