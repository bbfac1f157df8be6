//! Which answered examples come before a question.

use std::collections::HashMap;

use super::description::{Sampler, TaskDescription};
use super::error::TaskError;
use super::fields::Fields;
use super::random::PythonRandom;
use super::rows::TaskRow;

/// The rows of one group, and their generator.
struct Pool<'a> {
    rows: Vec<&'a TaskRow>,
    random: PythonRandom,
}

/// Chooses shots, question by question in order: `default` draws on from where it was.
///
/// Every group has rows and a generator of its own, as it would as a task of its own.
pub(super) struct Shots<'a> {
    pools: HashMap<Option<String>, Pool<'a>>,
    sampler: Sampler,
    count: usize,
    /// Whether the questions themselves are the examples.
    own: bool,
}

impl<'a> Shots<'a> {
    /// `count` shots of `examples`, or of the questions themselves, each but for its own.
    pub fn new(
        task: &TaskDescription,
        fields: &Fields,
        questions: &'a [TaskRow],
        examples: Option<&'a [TaskRow]>,
        (count, seed): (usize, u64),
    ) -> Result<Self, TaskError> {
        let mut pools = HashMap::new();
        for row in examples.unwrap_or(questions) {
            let group = if count > 0 { fields.group(row)? } else { None };
            let pool = || Pool { rows: Vec::new(), random: PythonRandom::new(seed) };
            pools.entry(group).or_insert_with(pool).rows.push(row);
        }
        Ok(Self { pools, sampler: task.fewshot_sampler, count, own: examples.is_none() })
    }

    /// The shots of a question.
    pub fn of(
        &mut self,
        question: &TaskRow,
        group: &Option<String>,
    ) -> Result<Vec<&'a TaskRow>, TaskError> {
        let count = self.count;
        if count == 0 {
            return Ok(Vec::new());
        }
        let too_few = |found| TaskError::TooFewShots { asked: count, found, group: group.clone() };
        let Some(pool) = self.pools.get_mut(group) else { return Err(too_few(0)) };
        let other = |row: &&TaskRow| row.columns != question.columns;
        let shots: Vec<&TaskRow> = match (self.sampler, self.own) {
            (Sampler::FirstN, false) => pool.rows.iter().copied().take(count).collect(),
            (Sampler::FirstN, true) => {
                pool.rows.iter().copied().filter(other).take(count).collect()
            }
            (Sampler::Default, false) => pick(pool, count),
            (Sampler::Default, true) | (Sampler::DefaultWithoutDoc, _) => {
                let drawn = pick(pool, count + 1);
                let kept: Vec<&TaskRow> = drawn.into_iter().filter(other).take(count).collect();
                if kept.len() == count || pool.rows.len() <= count {
                    kept
                } else {
                    // Copies of the question were drawn: again, from the rows that are none.
                    let rows: Vec<&TaskRow> = pool.rows.iter().copied().filter(other).collect();
                    let drawn = pool.random.sample(rows.len(), count).unwrap_or_default();
                    drawn.into_iter().map(|at| rows[at]).collect()
                }
            }
        };
        if shots.len() < count {
            return Err(too_few(pool.rows.len()));
        }
        Ok(shots)
    }
}

fn pick<'a>(pool: &mut Pool<'a>, count: usize) -> Vec<&'a TaskRow> {
    let drawn = pool.random.sample(pool.rows.len(), count).unwrap_or_default();
    drawn.into_iter().map(|at| pool.rows[at]).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::rows::made_up;
    use super::*;

    fn rows(names: &[&str]) -> Vec<TaskRow> {
        made_up(names.iter().map(|name| json!({"q": name, "s": &name[..1]})))
    }

    fn task(sampler: &str, group: &str) -> TaskDescription {
        let text = format!(
            "task = 't'\noutput_type = 'loglikelihood'\ndoc_to_text = 'q'\ndoc_to_target = 'q'\nmetrics = ['acc']\nfewshot_sampler = '{sampler}'\n{group}"
        );
        TaskDescription::parse(&text, "here").unwrap()
    }

    fn places(
        task: &TaskDescription,
        questions: &[TaskRow],
        examples: Option<&[TaskRow]>,
        count: usize,
    ) -> Result<Vec<Vec<usize>>, TaskError> {
        let fields = Fields::new(task).unwrap();
        let mut shots = Shots::new(task, &fields, questions, examples, (count, 1234))?;
        let place = |row: &TaskRow| match row.place.row {
            revealed_data::Row::Line(line) => line - 1,
            revealed_data::Row::Index(index) => index - 1,
        };
        questions
            .iter()
            .map(|row| Ok(shots.of(row, &fields.group(row)?)?.into_iter().map(place).collect()))
            .collect()
    }

    #[test]
    fn the_first_ones_are_the_same_for_all_but_a_question_is_never_its_own_example() {
        let (questions, examples) = (rows(&["a1", "a2"]), rows(&["a2", "b", "c"]));
        let first = task("first_n", "");
        assert_eq!(places(&first, &questions, Some(&examples), 2).unwrap(), [[0, 1], [0, 1]]);
        let own = rows(&["a", "b", "c"]);
        assert_eq!(places(&first, &own, None, 2).unwrap(), [[1, 2], [0, 2], [0, 1]]);
    }

    #[test]
    fn drawing_goes_on_from_question_to_question() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let examples = rows(&names);
        let questions = rows(&["x", "y", "z"]);
        // python: r = random.Random(1234); [r.sample(range(8), 3) for _ in range(3)]
        let drawn = places(&task("default", ""), &questions, Some(&examples), 3).unwrap();
        assert_eq!(drawn, DRAWN);
        // python: the same with sample(range(8), 4), without the question's own place, and then the first three.
        let own = places(&task("default_without_doc", ""), &examples, None, 3).unwrap();
        assert_eq!(own[..3], OWN);
    }

    #[test]
    fn groups_have_their_own_examples_and_generators() {
        let examples = rows(&["a1", "b1", "a2", "b2"]);
        let questions = rows(&["b9", "a9"]);
        let grouped = task("first_n", "group = 's'");
        assert_eq!(places(&grouped, &questions, Some(&examples), 2).unwrap(), [[1, 3], [0, 2]]);
        let error = places(&grouped, &questions, Some(&examples), 3).unwrap_err().to_string();
        assert!(error.contains("3 shots") && error.contains("`b`"), "{error}");
        assert!(places(&grouped, &rows(&["c"]), Some(&examples), 1).is_err());
    }

    #[test]
    fn copies_of_a_question_are_drawn_around() {
        let examples = rows(&["a", "a", "a", "b"]);
        let copies = task("default_without_doc", "");
        let drawn = places(&copies, &rows(&["a"; 4]), Some(&examples), 1).unwrap();
        assert!(drawn.iter().all(|places| *places == [3]), "{drawn:?}");
    }

    const DRAWN: [[usize; 3]; 3] = [[7, 0, 6], [1, 6, 4], [0, 5, 6]];
    const OWN: [[usize; 3]; 3] = [[7, 6, 5], [0, 5, 6], [1, 6, 7]];
}
