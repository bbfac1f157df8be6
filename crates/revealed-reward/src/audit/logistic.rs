//! Logistic regression on differences, by Newton's method with conjugate gradients.
//!
//! `min_w ½‖w‖² + Σ_i log(1 + exp(−w·x_i))`
//!
//! `x_i` is a pair's features, demonstration minus sample, and the label is always "demonstration". Shown in the other order
//! a pair gives the same term, so this is the usual classifier of both orders, without intercept; in the terms of
//! scikit-learn `C = 1, fit_intercept = False`. The ridge makes the minimum unique, and makes it exist for separable pairs.

/// A row's features that are not 0: `(column, value)`.
pub(super) type SparseRow = Vec<(usize, f64)>;

/// The gradient's norm, relative to that at 0, at which the fit ends; too small to change an accuracy.
const TOLERANCE: f64 = 1e-8;
/// Newton steps at most; the golden fits take 4 to 11.
const NEWTON_STEPS: usize = 100;
/// Residual, relative to the gradient, of the linear system of a Newton step: each step then gains about as much.
const SYSTEM_TOLERANCE: f64 = 1e-3;
/// Conjugate gradient steps at most in a Newton step.
const SYSTEM_STEPS: usize = 1000;
/// Sufficient-decrease constant of Armijo's condition (the usual value).
const ARMIJO: f64 = 1e-4;

/// Weights at the minimum, one per column.
///
/// # Panics
/// If a column is not below `width`.
pub(super) fn fit(rows: &[SparseRow], width: usize) -> Vec<f64> {
    let mut weights = vec![0.0; width];
    let start = norm(&gradient(rows, &weights));
    for _ in 0..NEWTON_STEPS {
        let gradient = gradient(rows, &weights);
        if norm(&gradient) <= TOLERANCE * start {
            break;
        }
        let step = newton_step(rows, &weights, &gradient);
        let (now, slope) = (objective(rows, &weights), dot(&gradient, &step));
        let sizes = std::iter::successors(Some(1.0), |size| Some(0.5 * size)).take(30);
        let moved = |size: f64| add(&weights, -size, &step);
        let keeps = |size: &f64| objective(rows, &moved(*size)) <= now - ARMIJO * size * slope;
        // None: what is left to gain is below the rounding of the objective.
        let Some(size) = sizes.into_iter().find(keeps) else { break };
        weights = moved(size);
    }
    weights
}

fn objective(rows: &[SparseRow], weights: &[f64]) -> f64 {
    let loss = |row: &SparseRow| {
        let margin = product(row, weights);
        (-margin.abs()).exp().ln_1p() + (-margin).max(0.0)
    };
    0.5 * dot(weights, weights) + rows.iter().map(loss).sum::<f64>()
}

/// `w − Σ_i σ(−w·x_i) x_i`
fn gradient(rows: &[SparseRow], weights: &[f64]) -> Vec<f64> {
    let mut gradient = weights.to_vec();
    for row in rows {
        let wrong = sigmoid(-product(row, weights));
        row.iter().for_each(|(column, value)| gradient[*column] -= wrong * value);
    }
    gradient
}

/// Solves `(I + Σ_i p_i (1 − p_i) x_i x_iᵀ) s = g` by conjugate gradients, `p_i = σ(w·x_i)`.
fn newton_step(rows: &[SparseRow], weights: &[f64], gradient: &[f64]) -> Vec<f64> {
    let curvature: Vec<f64> =
        rows.iter().map(|row| sigmoid(product(row, weights))).map(|p| p * (1.0 - p)).collect();
    let hessian = |v: &[f64]| {
        let mut out = v.to_vec();
        for (row, curvature) in rows.iter().zip(&curvature) {
            let along = curvature * product(row, v);
            row.iter().for_each(|(column, value)| out[*column] += along * value);
        }
        out
    };
    let mut solution = vec![0.0; gradient.len()];
    let (mut residual, mut direction) = (gradient.to_vec(), gradient.to_vec());
    let target = SYSTEM_TOLERANCE * norm(gradient);
    for _ in 0..SYSTEM_STEPS {
        let squares = dot(&residual, &residual);
        if squares.sqrt() <= target {
            break;
        }
        let image = hessian(&direction);
        let size = squares / dot(&direction, &image);
        solution = add(&solution, size, &direction);
        residual = add(&residual, -size, &image);
        direction = add(&residual, dot(&residual, &residual) / squares, &direction);
    }
    solution
}

fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

fn product(row: &SparseRow, weights: &[f64]) -> f64 {
    row.iter().map(|(column, value)| weights[*column] * value).sum()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

/// `a + factor · b`
fn add(a: &[f64], factor: f64, b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + factor * b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_column_satisfies_the_first_order_condition() {
        // w = Σ x σ(−w x): with one x = 1, w = σ(−w).
        let [w] = fit(&[vec![(0, 1.0)]], 1)[..] else { panic!("one weight") };
        assert!((w - sigmoid(-w)).abs() < 1e-8 && w > 0.4 && w < 0.41, "{w}");
    }

    #[test]
    fn the_gradient_vanishes_on_separable_and_on_overlapping_rows() {
        let separable: Vec<SparseRow> = (1..60).map(|i| vec![(i % 7, 3.0), (7, 40.0)]).collect();
        let mixed: Vec<SparseRow> = (0..60)
            .map(|i| vec![(i % 7, if i % 3 == 0 { -5.0 } else { 2.0 }), (7, (i % 11) as f64 - 4.0)])
            .collect();
        for rows in [separable, mixed] {
            let start = norm(&gradient(&rows, &[0.0; 8]));
            assert!(norm(&gradient(&rows, &fit(&rows, 8))) < 1e-6 * start);
        }
    }

    #[test]
    fn nothing_to_learn_gives_weights_of_zero() {
        assert_eq!(fit(&[], 2), [0.0, 0.0]);
        assert_eq!(fit(&[vec![(1, 1.0)], vec![(1, -1.0)]], 2), [0.0, 0.0]);
        assert!(fit(&[vec![]], 0).is_empty());
    }
}
