//! From ratings to figures.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Grading, Question, SingleJob};
use crate::record::{Figure, Item};
use crate::stats::{clustered_ci95, mean_sd};

/// Figures and items of a model's grading.
#[derive(Debug, Clone, PartialEq)]
pub struct Grades {
    /// `score` over all turns, `turn_1`, `turn_2`, each over all questions and over each category; `judge_sd`; and the
    /// counts `unparsed`, `failed` and `cut`, whose `n` is all judgements.
    pub figures: Vec<Figure>,
    /// A question each, in the questions' order; a question without any rating has no `score`.
    pub items: Vec<Item>,
}

/// An answer's ratings.
struct Rated<'a> {
    question: usize,
    category: &'a str,
    turn: usize,
    ratings: Vec<f64>,
}

impl Rated<'_> {
    fn mean(&self) -> f64 {
        mean_sd(&self.ratings).0
    }
}

/// Summarizes a grading. An answer's score is the mean of its ratings; figures are means over the answers that have any,
/// 1 to 10. Their intervals take a question's two turns for one cluster. `judge_sd` is the standard deviation of a
/// judgement given its answer, `√(mean_a s_a²)` over the answers with two ratings or more.
pub fn grades(questions: &[Question], jobs: &[SingleJob], grading: &Grading) -> Grades {
    let rated = rated(questions, jobs, grading);
    let mut figures = Vec::new();
    let mut categories: Vec<&str> = Vec::new();
    for question in questions {
        if !categories.contains(&question.category.as_str()) {
            categories.push(&question.category);
        }
    }
    for subset in std::iter::once(None).chain(categories.into_iter().map(Some)) {
        for (name, turn) in [("score", None), ("turn_1", Some(1)), ("turn_2", Some(2))] {
            let holds = |each: &&Rated<'_>| {
                subset.is_none_or(|subset| each.category == subset)
                    && turn.is_none_or(|turn| each.turn == turn)
                    && !each.ratings.is_empty()
            };
            let chosen: Vec<&Rated<'_>> = rated.iter().filter(holds).collect();
            figures.extend(mean(name, subset, &chosen));
        }
    }
    figures.extend(spread(&rated));
    let judged = || grading.judgments.iter().flatten();
    let count = |name: &str, value: usize| Figure {
        name: name.into(),
        subset: None,
        value: value as f64,
        interval: None,
        n: jobs.len(),
        parts: Vec::new(),
    };
    figures.push(count("unparsed", judged().filter(|row| row.score.is_none()).count()));
    figures.push(count("failed", grading.judgments.iter().filter(|row| row.is_none()).count()));
    figures.push(count("cut", judged().filter(|row| row.cut).count()));
    Grades { figures, items: items(questions, jobs, &rated, grading) }
}

fn rated<'a>(questions: &'a [Question], jobs: &[SingleJob], grading: &Grading) -> Vec<Rated<'a>> {
    let mut all = Vec::new();
    for (at, question) in questions.iter().enumerate() {
        for turn in question.judged_turns() {
            let of = |job: &SingleJob| job.question_id == question.question_id && job.turn == turn;
            let rows = jobs.iter().zip(&grading.judgments).filter(|(job, _)| of(job));
            let ratings = rows.filter_map(|(_, row)| row.as_ref()?.score).collect();
            all.push(Rated { question: at, category: &question.category, turn, ratings });
        }
    }
    all
}

fn mean(name: &str, subset: Option<&str>, chosen: &[&Rated<'_>]) -> Option<Figure> {
    if chosen.is_empty() {
        return None;
    }
    let values: Vec<(usize, f64)> =
        chosen.iter().map(|each| (each.question, each.mean())).collect();
    let value = values.iter().map(|(_, value)| value).sum::<f64>() / values.len() as f64;
    let (low, high) = clustered_ci95(&values);
    Some(Figure {
        name: name.into(),
        subset: subset.map(str::to_owned),
        value,
        interval: low.is_finite().then_some([low, high]),
        n: values.len(),
        parts: Vec::new(),
    })
}

fn spread(rated: &[Rated<'_>]) -> Option<Figure> {
    let deviations = rated.iter().map(|each| mean_sd(&each.ratings).1);
    let squares: Vec<f64> = deviations.filter(|sd| sd.is_finite()).map(|sd| sd * sd).collect();
    let n = squares.len();
    let value = (squares.iter().sum::<f64>() / n as f64).sqrt();
    (n > 0).then(|| Figure {
        name: "judge_sd".into(),
        subset: None,
        value,
        interval: None,
        n,
        parts: vec![],
    })
}

fn items(
    questions: &[Question],
    jobs: &[SingleJob],
    rated: &[Rated<'_>],
    grading: &Grading,
) -> Vec<Item> {
    let item = |(at, question): (usize, &Question)| {
        let (mut values, mut detail) = (BTreeMap::new(), Map::<String, Value>::new());
        let turns: Vec<&Rated<'_>> = rated.iter().filter(|each| each.question == at).collect();
        let mut means = Vec::new();
        for each in &turns {
            let name = format!("turn_{}", each.turn);
            detail.insert(format!("{name}_ratings"), json!(each.ratings));
            if !each.ratings.is_empty() {
                values.insert(name, each.mean());
                means.push(each.mean());
            }
        }
        if !means.is_empty() {
            values.insert("score".into(), mean_sd(&means).0);
        }
        let own = jobs.iter().zip(&grading.judgments);
        let own = own.filter(|(job, _)| job.question_id == question.question_id);
        let unrated = own.filter(|(_, row)| row.as_ref().is_none_or(|row| row.score.is_none()));
        detail.insert("without_rating".into(), json!(unrated.count()));
        let id = question.question_id.to_string();
        Item { id, subset: Some(question.category.clone()), values, detail }
    };
    questions.iter().enumerate().map(item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Ask;
    use crate::mt_bench::{QuestionId, SingleJudgment};

    /// Two questions, two turns, two judgements each; by question, turn and index.
    fn graded(scores: [[[Option<f64>; 2]; 2]; 2]) -> Grades {
        let question = |id, category: &str| Question {
            question_id: QuestionId::Number(id),
            category: category.into(),
            turns: vec!["?".into(), "!".into()],
        };
        let questions = [question(1, "math"), question(2, "stem")];
        let (mut jobs, mut judgments) = (vec![], vec![]);
        for (question, turns) in questions.iter().zip(scores) {
            for (turn, ratings) in (1..).zip(turns) {
                for (index, score) in ratings.into_iter().enumerate() {
                    jobs.push(SingleJob {
                        question_id: question.question_id.clone(),
                        category: question.category.clone(),
                        turn,
                        prompt: "p".into(),
                        index,
                        ask: Ask { system: String::new(), user: String::new() },
                    });
                    // A rating of 0 stands for a request that failed.
                    judgments.push((score != Some(0.0)).then(|| SingleJudgment {
                        question_id: question.question_id.clone(),
                        model: "m".into(),
                        judge: ["j".into(), "p".into()],
                        user_prompt: String::new(),
                        judgment: String::new(),
                        score,
                        turn,
                        tstamp: 0.0,
                        index,
                        request_sha256: String::new(),
                        cut: score.is_none(),
                    }));
                }
            }
        }
        grades(&questions, &jobs, &Grading { judgments, ..Default::default() })
    }

    fn value(grades: &Grades, name: &str, subset: Option<&str>) -> Option<(f64, usize)> {
        let mut all = grades.figures.iter();
        let found = all.find(|figure| figure.name == name && figure.subset.as_deref() == subset);
        found.map(|figure| (figure.value, figure.n))
    }

    #[test]
    fn means_are_over_answers_and_say_what_they_leave_out() {
        let some = |a, b| [Some(a), Some(b)];
        let grades =
            graded([[some(4.0, 6.0), [Some(3.0), None]], [some(8.0, 8.0), [None, Some(0.0)]]]);
        // Answers: 5 and 3 of the first question, 8 and none of the second.
        assert_eq!(value(&grades, "turn_1", None), Some((6.5, 2)));
        assert_eq!(value(&grades, "turn_2", None), Some((3.0, 1)));
        assert_eq!(value(&grades, "score", None), Some((16.0 / 3.0, 3)));
        assert_eq!(value(&grades, "score", Some("math")), Some((4.0, 2)));
        assert_eq!(value(&grades, "turn_2", Some("stem")), None);
        assert_eq!(value(&grades, "unparsed", None), Some((2.0, 8)));
        assert_eq!(value(&grades, "failed", None), Some((1.0, 8)));
        assert_eq!(value(&grades, "cut", None), Some((2.0, 8)));
        // Variances 2 and 0 of the two answers with two ratings.
        assert_eq!(value(&grades, "judge_sd", None), Some((1.0, 2)));
        let item = &grades.items[1];
        assert_eq!((item.id.as_str(), item.subset.as_deref()), ("2", Some("stem")));
        assert_eq!(item.values, BTreeMap::from([("score".into(), 8.0), ("turn_1".into(), 8.0)]));
        assert_eq!(item.detail["without_rating"], 2);
    }

    #[test]
    fn without_any_rating_there_is_no_mean_and_no_number_that_is_none() {
        let grades = graded([[[None; 2]; 2]; 2]);
        assert_eq!(value(&grades, "score", None), None);
        assert_eq!(value(&grades, "unparsed", None), Some((8.0, 8)));
        assert!(grades.items.iter().all(|item| item.values.is_empty()));
    }
}
