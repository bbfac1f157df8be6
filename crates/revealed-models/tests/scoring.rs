//! Log-probs and scores of rows: independent of the batching, in the order of the rows, with progress.
#![allow(clippy::unwrap_used)]

mod support;

use revealed_models::{
    CompletionBatch, ModelError, PaddingSide, ScalarModel, Scoring, ScoringProgress, TokenBatch,
};
use support::{assert_close, device, host, row_log_probs, tiny_llama};

/// Rows of several lengths, in groups of a prompt.
fn rows() -> Vec<(Vec<u32>, usize)> {
    let prompts = [vec![1, 2, 3, 4, 5, 6], vec![7, 8], vec![9, 10, 11, 12]];
    let row = |index: u32| {
        let prompt = &prompts[index as usize % 3];
        let completion = (0..1 + index % 4).map(|offset| (index * 5 + offset) % 24);
        (prompt.iter().copied().chain(completion).collect(), prompt.len())
    };
    (0..11).map(row).collect()
}

fn borrowed(rows: &[(Vec<u32>, usize)]) -> Vec<(&[u32], usize)> {
    rows.iter().map(|(ids, start)| (ids.as_slice(), *start)).collect()
}

#[test]
fn log_probs_and_scores_do_not_depend_on_the_micro_batches() {
    let (model, rows) = (tiny_llama(24, 16, true, 1), rows());
    let reward = ScalarModel::new(model.clone(), 2);
    for budget in [1, 30, 10_000] {
        let mut scoring = Scoring::new(0, budget);
        let found = model.row_log_probs(&borrowed(&rows), 0.8, &mut scoring).unwrap();
        for (found, row) in found.iter().zip(&rows) {
            let alone = row_log_probs(&model, std::slice::from_ref(row), PaddingSide::Right, 0.8);
            assert_close(found, &alone[0], 1e-5, "log-probs");
        }
        let found = reward.score_rows(&borrowed(&rows), &mut scoring).unwrap();
        // Without completions no prompt is shared.
        let whole: Vec<(&[u32], usize)> = rows.iter().map(|(ids, _)| (ids.as_slice(), 0)).collect();
        let plain = reward.score_rows(&whole, &mut scoring).unwrap();
        for ((found, plain), (ids, _)) in found.iter().zip(&plain).zip(&rows) {
            let batch = TokenBatch::new(&[ids], 0, PaddingSide::Right, &device()).unwrap();
            let alone = host(reward.scores(&batch));
            assert_close(&[*found as f32, *plain as f32], &[alone[0]; 2], 1e-5, "scores");
        }
    }
}

#[test]
fn critics_give_a_value_per_completion_token() {
    let (critic, rows) = (ScalarModel::new(tiny_llama(24, 16, true, 3), 4), rows());
    let values = |batch: &CompletionBatch| critic.values(batch).inner();
    let found = Scoring::new(0, 30).token_values(&borrowed(&rows), &device(), values).unwrap();
    for (values, (ids, start)) in found.iter().zip(&rows) {
        assert_eq!(values.len(), ids.len() - start);
    }
}

#[test]
fn progress_counts_rows_and_tokens_to_the_end() {
    let (model, rows) = (tiny_llama(24, 16, true, 1), rows());
    let mut seen = Vec::new();
    {
        let mut report = |progress: ScoringProgress| seen.push(progress);
        let mut scoring = Scoring::new(0, 20).on_progress(&mut report);
        model.row_log_probs(&borrowed(&rows), 1.0, &mut scoring).unwrap();
    }
    let tokens = rows.iter().map(|(ids, _)| ids.len()).sum::<usize>();
    assert!(seen.len() > 2);
    assert!(seen.windows(2).all(|pair| pair[0].rows < pair[1].rows));
    assert!(seen.iter().all(|one| (one.total_rows, one.total_tokens) == (11, tokens)));
    let last = *seen.last().unwrap();
    assert_eq!((last.rows, last.tokens), (11, tokens));
    let second = last.of_pass(1, 4);
    assert_eq!((second.rows, second.total_rows), (5, 11));
    assert_eq!((second.tokens, second.total_tokens), (2 * tokens, 4 * tokens));
}

#[test]
fn a_row_without_a_completion_is_named_by_its_index_in_the_call() {
    let model = tiny_llama(24, 16, true, 1);
    let mut rows = rows();
    let start = rows[7].1;
    rows[7].0.truncate(start);
    let error = model.row_log_probs(&borrowed(&rows), 1.0, &mut Scoring::new(0, 30)).unwrap_err();
    assert!(matches!(error, ModelError::Row { row: 7, .. }), "{error}");
    assert!(model.row_log_probs(&[], 1.0, &mut Scoring::new(0, 30)).unwrap().is_empty());
}
