//! Extracts the answer from a generated text, and compares it with the target.

use regex::Regex;

use super::description::{ExactMatch, Filter, TaskDescription};
use super::error::TaskError;

/// The filters and the comparison of one task, compiled.
pub(super) struct Answers {
    filters: Vec<(Filter, Regex)>,
    rule: ExactMatch,
    ignored: Vec<Regex>,
}

impl Answers {
    pub fn new(task: &TaskDescription) -> Result<Self, TaskError> {
        let compile = |pattern: &String| {
            Regex::new(pattern).map_err(|source| TaskError::Regex {
                task: task.task.clone(),
                pattern: pattern.clone(),
                source: Box::new(source),
            })
        };
        let filters =
            task.filters.iter().map(|filter| Ok((filter.clone(), compile(&filter.regex)?)));
        Ok(Self {
            filters: filters.collect::<Result<_, TaskError>>()?,
            rule: task.exact_match.clone(),
            ignored: task
                .exact_match
                .regexes_to_ignore
                .iter()
                .map(compile)
                .collect::<Result<_, _>>()?,
        })
    }

    /// The answer that each filter extracts, by the figure's name; the text itself without filters.
    pub fn of(&self, text: &str) -> Vec<(String, String)> {
        if self.filters.is_empty() {
            return vec![("exact_match".into(), text.into())];
        }
        let taken = |(filter, regex): &(Filter, Regex)| {
            (format!("exact_match,{}", filter.name), extract(text, filter, regex))
        };
        self.filters.iter().map(taken).collect()
    }

    /// Whether an answer equals the wanted one, by the task's rule.
    pub fn equal(&self, answer: &str, target: &str) -> bool {
        self.plain(answer) == self.plain(target)
    }

    fn plain(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for ignored in &self.ignored {
            text = ignored.replace_all(&text, "").into_owned();
        }
        if self.rule.ignore_case {
            text = text.to_lowercase();
        }
        text.retain(|c| {
            !(self.rule.ignore_punctuation && c.is_ascii_punctuation()
                || self.rule.ignore_numbers && c.is_ascii_digit())
        });
        text
    }
}

/// Python's `findall`, of which one match is taken: its only group, or the first of several that is not empty.
fn extract(text: &str, filter: &Filter, regex: &Regex) -> String {
    let all: Vec<regex::Captures> = regex.captures_iter(text).collect();
    let at = match filter.group_select {
        at if at < 0 => all.len().checked_sub(at.unsigned_abs() as usize),
        at => Some(at as usize),
    };
    let Some(found) = at.and_then(|at| all.get(at)) else { return filter.fallback.clone() };
    let group = |at: usize| found.get(at).map_or("", |group| group.as_str());
    match found.len() - 1 {
        0 => group(0).trim().to_owned(),
        1 => group(1).trim().to_owned(),
        groups => {
            let first = (1..=groups).map(group).find(|group| !group.is_empty());
            first.map_or(filter.fallback.clone(), |group| group.trim().to_owned())
        }
    }
}

/// A generated text up to the stop texts, cut by one after the other as lm-evaluation-harness does.
pub(super) fn up_to<'a>(text: &'a str, until: &[String]) -> &'a str {
    until
        .iter()
        .filter(|stop| !stop.is_empty())
        .fold(text, |text, stop| text.split_once(stop.as_str()).map_or(text, |(before, _)| before))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers() -> Answers {
        Answers::new(&TaskDescription::read("gsm8k").unwrap()).unwrap()
    }

    fn taken(text: &str) -> [String; 2] {
        let taken: Vec<String> = answers().of(text).into_iter().map(|(_, answer)| answer).collect();
        taken.try_into().unwrap()
    }

    #[test]
    fn the_strict_filter_wants_the_mark_and_the_flexible_one_takes_the_last_number() {
        assert_eq!(taken("He has 3.\n#### 1,234\n"), ["1,234", "1,234"]);
        assert_eq!(taken("That is $7.50, or 8 in all"), ["[invalid]", "8"]);
        assert_eq!(taken("none"), ["[invalid]", "[invalid]"]);
        let names: Vec<String> = answers().of("").into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["exact_match,strict-match", "exact_match,flexible-extract"]);
    }

    #[test]
    fn answers_are_equal_without_what_is_ignored() {
        let answers = answers();
        assert!(answers.equal("1234.", "She adds.\nAnd adds.\n#### 1,234"));
        assert!(answers.equal("$5", "#### 5"));
        assert!(!answers.equal("[invalid]", "#### 5"));
        assert!(!answers.equal("5.0", "#### 5"));
    }

    #[test]
    fn case_punctuation_and_digits_are_ignored_where_the_rule_says_so() {
        let rule = "task = 't'\noutput_type = 'generate_until'\ndoc_to_text = 'q'\ndoc_to_target = 'a'\nmetrics = ['exact_match']\n[exact_match]\n";
        let equal = |rules: &str| {
            let task = TaskDescription::parse(&format!("{rule}{rules}"), "here").unwrap();
            Answers::new(&task).unwrap().equal("É, 1!", "é 2")
        };
        assert!(!equal("ignore_case = true\nignore_punctuation = true"));
        assert!(!equal("ignore_punctuation = true\nignore_numbers = true"));
        assert!(equal("ignore_case = true\nignore_punctuation = true\nignore_numbers = true"));
    }

    #[test]
    fn a_text_ends_before_its_first_stop() {
        let until = ["Q:".to_owned(), String::new(), "\n".to_owned()];
        assert_eq!(up_to("yes\nQ: no", &until), "yes");
        assert_eq!(up_to("Q: no", &until), "");
        assert_eq!(up_to("yes", &until), "yes");
    }

    #[test]
    fn an_expression_that_does_not_parse_is_named() {
        let mut task = TaskDescription::read("gsm8k").unwrap();
        task.filters[0].regex = "(".into();
        let error = Answers::new(&task).err().unwrap().to_string();
        assert!(error.contains("gsm8k") && error.contains("`(`"), "{error}");
    }
}
