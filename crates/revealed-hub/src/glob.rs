//! File patterns with the rules of fsspec's `glob` and the exceptions that `datasets` makes.

use regex::Regex;

/// Files that are no data even where a pattern matches them.
const NO_DATA: [&str; 6] = [
    "README.md",
    "config.json",
    "dataset_info.json",
    "dataset_infos.json",
    "dummy_data.zip",
    "dataset_dict.json",
];

/// A pattern that matches whole paths: `*` and `?` within a name, `**` as a name of its own for any
/// folders, `[abc]`, `[a-z]` and `[!abc]`.
#[derive(Debug)]
pub(crate) struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    pub fn new(text: &str) -> Result<Self, String> {
        let regex = translate(text).and_then(|regex| {
            Regex::new(&regex).map_err(|error| format!("it is not a pattern: {error}"))
        });
        match regex {
            Ok(regex) => Ok(Self { text: text.into(), regex }),
            Err(reason) => Err(format!("file pattern `{text}`: {reason}")),
        }
    }

    /// The data files that it matches, in their order.
    pub fn matches<'a>(&self, files: &'a [String]) -> Vec<&'a str> {
        let matched = files.iter().map(String::as_str).filter(|file| self.is_match(file));
        matched.collect()
    }

    /// Whether it has a character that can match several names.
    pub fn has_magic(&self) -> bool {
        self.text.contains(['*', '?', '['])
    }

    /// Hidden files, files in hidden folders and in folders that begin with `__` match only a
    /// pattern that names as many of those.
    fn is_match(&self, file: &str) -> bool {
        let name = base(file);
        let ignored = NO_DATA.contains(&name) && base(&self.text) != name;
        !ignored
            && self.regex.is_match(file)
            && hidden(file) == hidden(&self.text)
            && special_folders(file) == special_folders(&self.text)
    }
}

/// A path's last part.
pub(crate) fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn hidden(path: &str) -> usize {
    let hidden = |part: &&str| part.starts_with('.') && part.contains(|c| c != '.');
    path.split('/').filter(hidden).count()
}

fn special_folders(path: &str) -> usize {
    let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
    folders.split('/').filter(|part| part.starts_with("__")).count()
}

fn translate(pattern: &str) -> Result<String, String> {
    let parts: Vec<&str> = pattern.split('/').collect();
    let mut regex = String::from(r"(?s)\A");
    for (i, part) in parts.iter().enumerate() {
        let last = i + 1 == parts.len();
        match *part {
            "*" => regex.push_str("[^/]+"),
            "**" if last => regex.push_str(".*"),
            "**" => {
                regex.push_str("(?:.+/)?");
                continue;
            }
            part if part.contains("**") => {
                return Err("`**` has to be a whole name between slashes".into());
            }
            part => translate_part(part, &mut regex),
        }
        if !last {
            regex.push('/');
        }
    }
    Ok(regex + r"\z")
}

fn translate_part(part: &str, regex: &mut String) {
    let mut rest = part;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str("[^/]"),
            '[' => match class(rest) {
                Some((class, after)) => {
                    regex.push_str(&class);
                    rest = after;
                }
                None => regex.push_str(r"\["),
            },
            c => regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
}

/// A class behind its `[`, and what is left after its `]`; a `]` that comes first is part of the
/// class.
fn class(text: &str) -> Option<(String, &str)> {
    let negated = text.starts_with('!');
    let body = &text[usize::from(negated)..];
    let first = usize::from(body.starts_with(']'));
    let end = first + body[first..].find(']')?;
    let chars: Vec<char> = body[..end].chars().collect();
    let mut class = String::from(if negated { "[^" } else { "[" });
    let mut i = 0;
    while i < chars.len() {
        let (low, high) = match (chars.get(i + 1), chars.get(i + 2)) {
            (Some('-'), Some(high)) => {
                i += 2;
                (chars[i - 2], *high)
            }
            _ => (chars[i], chars[i]),
        };
        i += 1;
        // A range from a later to an earlier character holds none.
        if low <= high {
            class.push_str(&format!(r"\x{{{:x}}}-\x{{{:x}}}", u32::from(low), u32::from(high)));
        }
    }
    let class = match class.as_str() {
        "[" => r"[^\s\S]".into(),
        "[^" => r"[^/]".into(),
        _ => class + "]",
    };
    Some((class, &body[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(pattern: &str, file: &str) -> bool {
        !Pattern::new(pattern).unwrap().matches(&[file.to_owned()]).is_empty()
    }

    #[test]
    fn patterns_match_as_fsspec_s() {
        for (pattern, file, right) in [
            ("*.csv", "a.csv", true),
            ("*.csv", "data/a.csv", false),
            ("data/*", "data/a.csv", true),
            ("data/*", "data/b/a.csv", false),
            ("data/**", "data/b/a.csv", true),
            ("**", "a/b/c.csv", true),
            ("**/*.csv", "a.csv", true),
            ("**/*.csv", "x/y/a.csv", true),
            ("a[0-2].csv", "a1.csv", true),
            ("a[!0-2].csv", "a1.csv", false),
            ("a?.csv", "ab.csv", true),
            ("a?.csv", "a/.csv", false),
            ("x.csv", "xycsv", false),
            ("train[-._ 0-9]*", "train-1.csv", true),
            ("train[-._ 0-9]*", "train.csv", true),
            ("train[-._ 0-9]*", "trainer.csv", false),
            ("**", "README.md", false),
            ("README.md", "README.md", true),
            ("**", ".hidden/a.csv", false),
            (".hidden/*", ".hidden/a.csv", true),
            ("**", "__pycache__/a.csv", false),
            ("**", "__a.csv", true),
        ] {
            assert_eq!(matched(pattern, file), right, "{pattern} {file}");
        }
    }

    #[test]
    fn two_stars_within_a_name_are_refused() {
        let reason = Pattern::new("data/**.csv").unwrap_err();
        assert!(reason.contains("`data/**.csv`") && reason.contains("whole name"), "{reason}");
    }
}
