//! Padding, batch composition and the KV cache change nothing.
#![allow(clippy::unwrap_used)]

mod support;

use revealed_models::{CausalLm, PaddingSide, ScalarModel, TokenBatch};
use support::{
    MODELS, assert_close, completions, device, golden, host, load, max_difference, row_log_probs,
    unpad,
};

const SIDES: [PaddingSide; 2] = [PaddingSide::Left, PaddingSide::Right];

/// Largest difference of f32 results whose sums are only taken in another order.
const TOLERANCE: f32 = 1e-5;

/// Rows longer and shorter than every window, with pad ids (0) among the real tokens.
fn rows() -> Vec<Vec<u32>> {
    let row = |length: u32, step: u32| (0..length).map(|i| (i * step + step / 3) % 64).collect();
    vec![row(3, 7), row(19, 11), row(9, 32), row(1, 5), row(14, 23)]
}

/// Hidden states of the real tokens of each row.
fn hidden(model: &CausalLm, rows: &[Vec<u32>], side: PaddingSide) -> Vec<Vec<f32>> {
    let batch = TokenBatch::new(rows, 0, side, &device()).unwrap();
    let [_, time] = batch.shape();
    let width = model.shape().hidden_size;
    host(model.hidden(&batch))
        .chunks(time * width)
        .zip(&batch.lengths)
        .map(|(row, length)| match side {
            PaddingSide::Left => row[(time - length) * width..].to_vec(),
            PaddingSide::Right => row[..length * width].to_vec(),
        })
        .collect()
}

#[test]
fn hidden_states_do_not_depend_on_padding_or_on_the_other_rows() {
    for name in MODELS {
        let model = load(name);
        let alone: Vec<Vec<f32>> =
            rows().into_iter().flat_map(|row| hidden(&model, &[row], PaddingSide::Right)).collect();
        for side in SIDES {
            let together = hidden(&model, &rows(), side).concat();
            assert_close(&together, &alone.concat(), TOLERANCE, name);
        }
    }
}

#[test]
fn log_probs_and_entropies_do_not_depend_on_padding_or_on_the_other_rows() {
    let rows: Vec<(Vec<u32>, usize)> = rows()
        .into_iter()
        .filter(|row| row.len() > 1)
        .map(|row| (row.clone(), row.len() / 2))
        .collect();
    for name in MODELS {
        let model = load(name);
        let mut backwards = rows.clone();
        backwards.reverse();
        let alone: Vec<Vec<f32>> = rows
            .iter()
            .flat_map(|row| {
                row_log_probs(&model, std::slice::from_ref(row), PaddingSide::Right, 0.7)
            })
            .collect();
        for side in SIDES {
            let together = row_log_probs(&model, &rows, side, 0.7).concat();
            assert_close(&together, &alone.concat(), TOLERANCE, name);
            let mut reversed = row_log_probs(&model, &backwards, side, 0.7);
            reversed.reverse();
            assert_close(&reversed.concat(), &alone.concat(), TOLERANCE, name);
        }
        let entropy = |side| {
            let batch = completions(&rows, side);
            unpad(&batch, model.log_probs(&batch, 0.7).entropy).concat()
        };
        let [left, right] = SIDES.map(entropy);
        assert_close(&left, &right, TOLERANCE, name);
    }
}

#[test]
fn scores_and_values_do_not_depend_on_padding_or_on_the_other_rows() {
    for name in MODELS {
        let model = ScalarModel::new(load(name), 5);
        let score = |rows: &[Vec<u32>], side| {
            host(model.scores(&TokenBatch::new(rows, 0, side, &device()).unwrap()))
        };
        let alone: Vec<f32> =
            rows().into_iter().flat_map(|row| score(&[row], PaddingSide::Right)).collect();
        let values = |side| {
            let rows = [(vec![5, 6, 7, 8, 9], 2), (vec![10, 11], 1)];
            let batch = completions(&rows, side);
            unpad(&batch, model.values(&batch)).concat()
        };
        for side in SIDES {
            assert_close(&score(&rows(), side), &alone, TOLERANCE, name);
        }
        let [left, right] = SIDES.map(values);
        assert_close(&left, &right, TOLERANCE, name);
    }
}

#[test]
fn a_value_is_the_score_of_the_state_before_the_token() {
    let model = ScalarModel::load(&golden("qwen2-reward"), &device()).unwrap();
    let row = vec![5, 6, 7, 8, 9];
    let batch = completions(&[(row.clone(), 2)], PaddingSide::Left);
    let values = host(model.values(&batch));
    for (token, value) in values.iter().enumerate() {
        let prefix = &row[..2 + token];
        let batch = TokenBatch::new(&[prefix], 0, PaddingSide::Left, &device()).unwrap();
        let score = host(model.scores(&batch))[0];
        assert!((score - value).abs() <= TOLERANCE);
    }
}

#[test]
fn a_later_token_changes_no_earlier_hidden_state_and_an_earlier_one_does() {
    for name in MODELS {
        let model = load(name);
        let width = model.shape().hidden_size;
        let row: Vec<u32> = (10..20).collect();
        let mut changed = row.clone();
        changed[6] = 50;
        let [a, b] = [row, changed].map(|row| hidden(&model, &[row], PaddingSide::Left).concat());
        assert_close(&a[..6 * width], &b[..6 * width], 0.0, name);
        let (a, b) = (&a[7 * width..8 * width], &b[7 * width..8 * width]);
        assert!(max_difference(a, b) > 1e-4, "{name}");
    }
}
