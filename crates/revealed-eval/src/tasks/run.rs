//! Runs a task's questions through a model.

use std::collections::{BTreeMap, HashMap};

use revealed_data::Encoder;
use revealed_models::{CausalLm, PrefixCache};
use serde_json::{Map, Value, json};

use super::answer::{Answers, up_to};
use super::description::{OutputType, TaskDescription};
use super::encode::TextSide;
use super::error::TaskError;
use super::fields::Fields;
use super::metrics::{ContinuationScore, TaskFigure, choice, figures, values};
use super::prepare::{PreparedQuestion, prepare};
use super::question::Form;
use super::rows::TaskRow;
use super::settings::{PromptForm, TaskRows, TaskSettings, described};
use super::shots::Shots;
use crate::progress::{Progress, Stage};
use crate::record::Item;

/// The results of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskResult {
    /// Over all questions, then by group.
    pub figures: Vec<TaskFigure>,
    /// TaskQuestion by question, in order; an id is the row's number from 0.
    pub items: Vec<Item>,
    /// The description and everything else that the figures depend on, for the record.
    pub settings: Map<String, Value>,
    /// Questions whose context was truncated from the left to fit the model.
    pub truncated: usize,
    /// Tokens run through the model to score or to begin to answer; `tokens_asked` if no prefix were shared.
    pub tokens_computed: usize,
    /// Tokens of all contexts and continuations.
    pub tokens_asked: usize,
}

/// Asks the model every question. All questions are built before the first is asked.
///
/// # Errors
/// When the description does not fit the rows or its templates fail, there are too few examples, a question does not fit the
/// model, or the model fails.
pub fn run_task(
    task: &TaskDescription,
    rows: TaskRows,
    settings: &TaskSettings,
    (model, encoder): (&CausalLm, &Encoder),
    on_progress: &mut dyn FnMut(Progress<'_>),
) -> Result<TaskResult, TaskError> {
    let fields = Fields::new(task)?;
    let form = form(settings.prompt, encoder)?;
    let count = settings.shots.unwrap_or(task.num_fewshot);
    let drawn = (count, settings.seed);
    let mut shots = Shots::new(task, &fields, rows.questions, rows.examples, drawn)?;
    let places = asked_rows(task, rows.questions, settings.limit)?;
    let total = places.len();
    if total == 0 {
        return Err(TaskError::NoRows);
    }
    let text = TextSide::new(encoder, model.shape().context);
    let mut run = Run::new(task, model, &text)?;
    let asked = prepare((task, &fields, form), (rows.questions, &places), &mut shots, &text)?;
    let together = match task.output_type {
        OutputType::GenerateUntil => settings.batch_size.max(1),
        _ => 1,
    };
    let mut stage = Stage::start(&task.task, total, on_progress);
    let mut asked = asked.into_iter();
    loop {
        let batch: Vec<PreparedQuestion> = asked.by_ref().take(together).collect();
        if batch.is_empty() {
            break;
        }
        let (count, before) = (batch.len(), run.asked);
        match task.output_type {
            OutputType::GenerateUntil => run.generate(batch)?,
            _ => batch.into_iter().try_for_each(|asked| run.score(asked))?,
        }
        stage.add(count, run.asked - before);
    }
    let mut result = run.result();
    let from = rows.examples.is_some();
    result.settings = described(task, settings, count, encoder);
    result.settings.extend([
        ("shots_from".into(), json!(if from { "the shots' file" } else { "the other questions" })),
        ("truncated".into(), json!(result.truncated)),
        ("tokens_asked".into(), json!(result.tokens_asked)),
        ("tokens_computed".into(), json!(result.tokens_computed)),
    ]);
    Ok(result)
}

/// Indices of the rows to ask about: the first `limit` of each group, since lm-evaluation-harness treats a group as a task.
///
/// # Errors
/// When the description's templates fail.
pub(super) fn asked_rows(
    task: &TaskDescription,
    questions: &[TaskRow],
    limit: Option<usize>,
) -> Result<Vec<usize>, TaskError> {
    let Some(limit) = limit else { return Ok((0..questions.len()).collect()) };
    let fields = Fields::new(task)?;
    let (mut seen, mut asked) = (HashMap::new(), Vec::new());
    for (index, row) in questions.iter().enumerate() {
        let count: &mut usize = seen.entry(fields.group(row)?).or_default();
        *count += 1;
        if *count <= limit {
            asked.push(index);
        }
    }
    Ok(asked)
}

fn form(prompt: PromptForm, encoder: &Encoder) -> Result<Form<'_>, TaskError> {
    match (prompt, encoder.template()) {
        (PromptForm::Plain, _) => Ok(Form::Plain),
        (PromptForm::Chat, Some(template)) => Ok(Form::Chat(template)),
        (PromptForm::Chat, None) => Err(TaskError::NoTemplate),
    }
}

impl PreparedQuestion {
    fn item(self, values: BTreeMap<String, f64>, detail: Map<String, Value>) -> Item {
        Item { id: self.index.to_string(), subset: self.part, values, detail }
    }
}

struct Run<'a> {
    task: &'a TaskDescription,
    answers: Answers,
    text: &'a TextSide<'a>,
    cache: PrefixCache,
    items: Vec<Item>,
    truncated: usize,
    asked: usize,
}

impl<'a> Run<'a> {
    fn new(
        task: &'a TaskDescription,
        model: &CausalLm,
        text: &'a TextSide<'a>,
    ) -> Result<Self, TaskError> {
        Ok(Self {
            task,
            answers: Answers::new(task)?,
            text,
            cache: PrefixCache::new(model),
            items: Vec::new(),
            truncated: 0,
            asked: 0,
        })
    }

    /// Log-likelihoods of a question's continuations.
    fn score(&mut self, asked: PreparedQuestion) -> Result<(), TaskError> {
        let question = &asked.question;
        self.truncated += usize::from(asked.cut() > 0);
        let rows: Vec<(&[u32], usize)> =
            asked.rows.iter().map(|row| (row.ids.as_slice(), row.start)).collect();
        self.asked += rows.iter().map(|(ids, _)| ids.len() - 1).sum::<usize>();
        let scored: Vec<ContinuationScore> = self
            .cache
            .score(&rows)?
            .into_iter()
            .map(|scored| ContinuationScore {
                log_likelihood: scored.log_probs.iter().map(|v| f64::from(*v)).sum(),
                greedy: scored.greedy.iter().all(|greedy| *greedy),
                tokens: scored.log_probs.len(),
            })
            .collect();
        let detail = self.detail(&asked, &scored);
        let values = values(self.task, question, &scored);
        self.items.push(asked.item(values, detail));
        Ok(())
    }

    fn detail(&self, asked: &PreparedQuestion, scored: &[ContinuationScore]) -> Map<String, Value> {
        let question = &asked.question;
        let each =
            |of: fn(&ContinuationScore) -> Value| Value::Array(scored.iter().map(of).collect());
        let mut detail = Map::from_iter([
            ("log_likelihoods".into(), each(|scored| json!(scored.log_likelihood))),
            ("greedy".into(), each(|scored| json!(scored.greedy))),
            ("tokens".into(), each(|scored| json!(scored.tokens))),
        ]);
        match question.gold.as_slice() {
            [] => detail.insert("target".into(), json!(question.target)),
            gold => {
                let chosen = self.task.metrics.iter().map(|metric| {
                    (metric.name().to_owned(), json!(choice(*metric, question, scored)))
                });
                detail.insert("chosen".into(), Value::Object(chosen.collect()));
                detail.insert("gold".into(), json!(gold))
            }
        };
        if asked.cut() > 0 {
            detail.insert("tokens_cut".into(), json!(asked.cut()));
        }
        detail
    }

    /// Greedy answers to some questions together.
    fn generate(&mut self, batch: Vec<PreparedQuestion>) -> Result<(), TaskError> {
        let room = self.task.generation.max_gen_toks;
        let mut prompts = Vec::new();
        for asked in &batch {
            self.truncated += usize::from(asked.cut() > 0);
            for row in &asked.rows {
                self.asked += row.ids.len() - 1;
                prompts.push(row.ids.clone());
            }
        }
        let until = self.until();
        let text = self.text;
        let ended = |tokens: &[u32]| {
            let end = tokens.last().is_some_and(|last| text.ends().contains(last));
            end || until.iter().any(|stop| text.decode(tokens).contains(stop.as_str()))
        };
        let answers = self.cache.greedy(&prompts, room, ended)?;
        for (asked, tokens) in batch.into_iter().zip(answers) {
            let item = self.answered(asked, &tokens, &until);
            self.items.push(item);
        }
        Ok(())
    }

    /// The item of a generated answer, with its value by filter.
    fn answered(&self, asked: PreparedQuestion, tokens: &[u32], until: &[String]) -> Item {
        let whole = self.text.decode(tokens);
        let answer = up_to(&whole, until);
        let taken = self.answers.of(answer);
        let target = &asked.question.target;
        let right = |taken: &String| f64::from(self.answers.equal(taken, target));
        let values = taken.iter().map(|(name, taken)| (name.clone(), right(taken))).collect();
        let mut detail = Map::from_iter([
            ("answer".into(), json!(answer)),
            ("taken".into(), json!(taken.into_iter().collect::<BTreeMap<_, _>>())),
            ("target".into(), json!(target)),
            ("tokens".into(), json!(tokens.len())),
        ]);
        if asked.cut() > 0 {
            detail.insert("tokens_cut".into(), json!(asked.cut()));
        }
        asked.item(values, detail)
    }

    /// Texts at which an answer ends; by default the delimiter of shots.
    fn until(&self) -> Vec<String> {
        let mut until = self.task.generation.until.clone();
        if until.is_empty() {
            until.push(self.task.fewshot_delimiter.clone());
        }
        until.retain(|stop| !stop.is_empty());
        until.push(self.text.end_text());
        until
    }

    fn result(self) -> TaskResult {
        TaskResult {
            figures: figures(&self.items),
            items: self.items,
            settings: Map::new(),
            truncated: self.truncated,
            tokens_computed: self.cache.computed(),
            tokens_asked: self.asked,
        }
    }
}
