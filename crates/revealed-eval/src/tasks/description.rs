//! A task as data. Fields have the names and meanings of lm-evaluation-harness's YAML.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::builtin::BUILTIN;
use super::error::TaskError;

/// A task's description, a TOML file.
///
/// A text field is the name of a column, or a Jinja template over the row's columns; one that is `{{ expression }}` and nothing
/// else gives the expression's value, which may be a list.
///
/// | field | default | meaning |
/// |---|---|---|
/// | `task` | | its name |
/// | `output_type` | | see [`OutputType`] |
/// | `description` | none | text before everything else |
/// | `doc_to_text` | | the question; of `multiple_context`, the index of the right context |
/// | `doc_to_choice` | none | a list of texts: the choices; of `multiple_context`, the contexts |
/// | `doc_to_target` | | index or text of the right choice; of the other types, the text that is wanted |
/// | `doc_to_labels` | none | a list with 1 for every true choice, for `mc2` |
/// | `target_delimiter` | `" "` | between question and answer |
/// | `fewshot_delimiter` | `"\n\n"` | after every shot |
/// | `num_fewshot` | 0 | answered examples before the question |
/// | `fewshot_sampler` | `default` | see [`Sampler`] |
/// | `group` | none | a column by which shots are kept apart and figures are given too |
/// | `metrics` | | see [`Metric`] |
/// | `generation` | | see [`Generation`] |
/// | `filters` | the text itself | see [`Filter`] |
/// | `exact_match` | | see [`ExactMatch`] |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskDescription {
    /// Its name.
    pub task: String,
    /// What is asked of the model.
    pub output_type: OutputType,
    /// Text before everything else.
    #[serde(default)]
    pub description: String,
    /// The question.
    pub doc_to_text: String,
    /// The choices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc_to_choice: Option<Choices>,
    /// The answer.
    pub doc_to_target: Target,
    /// Which choices are true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc_to_labels: Option<String>,
    /// Between question and answer.
    #[serde(default = "space")]
    pub target_delimiter: String,
    /// After every shot.
    #[serde(default = "blank_line")]
    pub fewshot_delimiter: String,
    /// Answered examples before the question.
    #[serde(default)]
    pub num_fewshot: usize,
    /// How they are chosen.
    #[serde(default)]
    pub fewshot_sampler: Sampler,
    /// A column that parts the rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What is counted.
    pub metrics: Vec<Metric>,
    /// How an answer is generated.
    #[serde(default)]
    pub generation: Generation,
    /// What is taken from it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Filter>,
    /// How that is compared.
    #[serde(default)]
    pub exact_match: ExactMatch,
}

/// What is asked of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputType {
    /// The log-likelihood of every choice after the question.
    MultipleChoice,
    /// The log-likelihood of one text after every one of several contexts, as WinoGrande's partial scoring wants; in
    /// lm-evaluation-harness a `multiple_choice` whose `doc_to_text` gives a number.
    MultipleContext,
    /// The log-likelihood of the target after the question, and whether greedy decoding would give it. No delimiter is put
    /// between them.
    Loglikelihood,
    /// Greedy decoding.
    GenerateUntil,
}

impl OutputType {
    /// The metrics that it can have, and in words.
    fn metrics(self) -> (&'static [Metric], &'static str) {
        use Metric::{Acc, AccBytes, AccNorm, ExactMatch, Mc1, Mc2, Perplexity};
        match self {
            Self::MultipleChoice => (
                &[Acc, AccNorm, AccBytes, Mc1, Mc2, ExactMatch],
                "multiple_choice has acc, acc_norm, acc_bytes, mc1, mc2 and exact_match",
            ),
            Self::MultipleContext => {
                (&[Acc, AccNorm, AccBytes], "multiple_context has acc, acc_norm and acc_bytes")
            }
            Self::Loglikelihood => (&[Acc, Perplexity], "loglikelihood has acc and perplexity"),
            Self::GenerateUntil => (&[ExactMatch], "generate_until has exact_match"),
        }
    }
}

/// A column or template of lists, or the same list for every row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Choices {
    /// A list.
    Fixed(Vec<String>),
    /// A column or `{{ expression }}`.
    Of(String),
}

/// The same index for every row, or a column or template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Target {
    /// An index.
    Fixed(usize),
    /// A column or template.
    Of(String),
}

/// How shots are chosen among the rows for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// Drawn again for every question by Python's `random.Random(seed).sample`.
    #[default]
    Default,
    /// As `default`, but one more is drawn and the question itself is left out: what lm-evaluation-harness does in tasks
    /// without a test split, whatever the rows are.
    DefaultWithoutDoc,
    /// The first ones, the same for every question.
    FirstN,
}

/// What is counted. The mean over items, except for `perplexity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Whether the likeliest choice is right; of `loglikelihood`, whether greedy decoding gives the target.
    Acc,
    /// The same with log-likelihoods over the choice's length in characters.
    AccNorm,
    /// The same over its length in bytes of UTF-8.
    AccBytes,
    /// `acc` under TruthfulQA's name.
    Mc1,
    /// The true choices' share of the choices' probability.
    Mc2,
    /// Whether the answer equals the target.
    ExactMatch,
    /// `exp(−mean log-likelihood)` of the targets.
    Perplexity,
}

impl Metric {
    /// As a figure's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Acc => "acc",
            Self::AccNorm => "acc_norm",
            Self::AccBytes => "acc_bytes",
            Self::Mc1 => "mc1",
            Self::Mc2 => "mc2",
            Self::ExactMatch => "exact_match",
            Self::Perplexity => "perplexity",
        }
    }
}

/// How an answer is generated: greedily.
///
/// | field | default | |
/// |---|---|---|
/// | `until` | the shots' delimiter | texts before which the answer ends; the end token's is always one |
/// | `max_gen_toks` | 256 | ≥ 1, tokens |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Generation {
    /// Texts before which the answer ends.
    pub until: Vec<String>,
    /// Tokens at most.
    pub max_gen_toks: usize,
}

impl Default for Generation {
    fn default() -> Self {
        Self { until: Vec::new(), max_gen_toks: 256 }
    }
}

/// Takes a part of a generated text; every filter gives a figure of its own, `exact_match,NAME`.
///
/// | field | default | |
/// |---|---|---|
/// | `name` | | |
/// | `regex` | | of several matches one is taken, of several groups the first that matched |
/// | `group_select` | 0 | which match; −1 is the last |
/// | `fallback` | `[invalid]` | where nothing matches |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Its name.
    pub name: String,
    /// What to look for.
    pub regex: String,
    /// Which match.
    #[serde(default)]
    pub group_select: i64,
    /// Where nothing matches.
    #[serde(default = "invalid")]
    pub fallback: String,
}

/// How two texts are compared.
///
/// | field | default | |
/// |---|---|---|
/// | `ignore_case` | false | |
/// | `ignore_punctuation` | false | ASCII |
/// | `ignore_numbers` | false | ASCII digits |
/// | `regexes_to_ignore` | none | removed from both, one after the other, before anything else |
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExactMatch {
    /// Compare lower case.
    pub ignore_case: bool,
    /// Leave out ASCII punctuation.
    pub ignore_punctuation: bool,
    /// Leave out ASCII digits.
    pub ignore_numbers: bool,
    /// Leave these out.
    pub regexes_to_ignore: Vec<String>,
}

fn space() -> String {
    " ".into()
}

fn blank_line() -> String {
    "\n\n".into()
}

fn invalid() -> String {
    "[invalid]".into()
}

impl TaskDescription {
    /// A built-in task by its name, or a `.toml` file.
    ///
    /// # Errors
    /// When there is neither, or it is no description.
    pub fn read(name: &str) -> Result<Self, TaskError> {
        if let Some((_, text)) = BUILTIN.iter().find(|(known, _)| *known == name) {
            return Self::parse(text, name);
        }
        let path = Path::new(name);
        if path.extension().is_none_or(|ending| ending != "toml") {
            let known: Vec<&str> = BUILTIN.iter().map(|(known, _)| *known).collect();
            return Err(TaskError::Unknown { name: name.into(), known: known.join(", ") });
        }
        let text = std::fs::read_to_string(path)
            .map_err(|source| TaskError::Io { path: path.into(), source })?;
        Self::parse(&text, name)
    }

    /// From TOML; `origin` names it in errors.
    ///
    /// # Errors
    /// When it is no description.
    pub fn parse(text: &str, origin: &str) -> Result<Self, TaskError> {
        let description: Self = toml::from_str(text).map_err(|source| TaskError::Toml {
            origin: origin.into(),
            source: Box::new(source),
        })?;
        description.check()?;
        Ok(description)
    }

    /// Whether the fields go together; templates are compiled elsewhere.
    fn check(&self) -> Result<(), TaskError> {
        let wrong = |field, found: String, expected| {
            Err(TaskError::Field { task: self.task.clone(), field, found, expected })
        };
        let (known, expected) = self.output_type.metrics();
        if self.metrics.is_empty() {
            return wrong("metrics", "empty".into(), expected);
        }
        if let Some(metric) = self.metrics.iter().find(|metric| !known.contains(metric)) {
            return wrong("metrics", metric.name().into(), expected);
        }
        let chooses =
            matches!(self.output_type, OutputType::MultipleChoice | OutputType::MultipleContext);
        match (&self.doc_to_choice, chooses) {
            (None, true) => {
                return wrong("doc_to_choice", "missing".into(), "give the list of choices");
            }
            (Some(_), false) => {
                return wrong(
                    "doc_to_choice",
                    "given".into(),
                    "only multiple_… types have choices",
                );
            }
            _ => {}
        }
        if self.metrics.contains(&Metric::Mc2) && self.doc_to_labels.is_none() {
            return wrong("doc_to_labels", "missing".into(), "mc2 needs a list with 1 for true");
        }
        let fixed = matches!(self.doc_to_target, Target::Fixed(_));
        if fixed && self.output_type != OutputType::MultipleChoice {
            return wrong("doc_to_target", "a number".into(), "only multiple_choice has indices");
        }
        if self.generation.max_gen_toks == 0 {
            return wrong("generation.max_gen_toks", "0".into(), "1 or more are needed");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_task_is_a_description_under_its_own_name() {
        for (name, _) in BUILTIN {
            assert_eq!(TaskDescription::read(name).unwrap().task, *name);
        }
        let shots = |name| TaskDescription::read(name).unwrap().num_fewshot;
        assert_eq!((shots("arc_challenge"), shots("hellaswag"), shots("mmlu")), (25, 10, 5));
        assert_eq!((shots("truthfulqa_mc1"), shots("winogrande"), shots("gsm8k")), (0, 5, 5));
    }

    #[test]
    fn an_unknown_name_is_told_the_known_ones() {
        let error = TaskDescription::read("arc").unwrap_err().to_string();
        assert!(error.contains("no task `arc`") && error.contains("arc_challenge"), "{error}");
    }

    fn description(change: &str) -> Result<TaskDescription, TaskError> {
        let head = "task = 't'\ndoc_to_text = 'q'\n";
        TaskDescription::parse(&format!("{head}{change}"), "here")
    }

    #[test]
    fn fields_that_do_not_go_together_are_refused_by_name() {
        let choice = "output_type = 'multiple_choice'\ndoc_to_target = 'a'\n";
        for (change, named) in [
            (format!("{choice}metrics = ['acc']"), "doc_to_choice"),
            (format!("{choice}metrics = []\ndoc_to_choice = 'c'"), "metrics"),
            (format!("{choice}metrics = ['mc2']\ndoc_to_choice = 'c'"), "doc_to_labels"),
            (format!("{choice}metrics = ['perplexity']\ndoc_to_choice = 'c'"), "metrics"),
            (format!("{choice}metrics = ['acc']\ndoc_to_choise = 'c'"), "doc_to_choise"),
            (
                "output_type = 'generate_until'\ndoc_to_target = 1\nmetrics = ['exact_match']".into(),
                "doc_to_target",
            ),
            (
                "output_type = 'loglikelihood'\ndoc_to_target = 'a'\nmetrics = ['acc']\ndoc_to_choice = 'c'"
                    .into(),
                "doc_to_choice",
            ),
        ] {
            let error = description(&change).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        let whole = format!("{choice}metrics = ['acc']\ndoc_to_choice = ['no', 'yes']");
        let task = description(&whole).unwrap();
        assert_eq!(
            (task.target_delimiter.as_str(), task.fewshot_delimiter.as_str()),
            (" ", "\n\n")
        );
        assert_eq!(task.generation.max_gen_toks, 256);
    }
}
