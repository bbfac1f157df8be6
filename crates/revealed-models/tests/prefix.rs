//! Scores and decodings from a shared beginning are those of every row by itself.
#![allow(clippy::unwrap_used)]

mod support;

use burn::tensor::activation;
use revealed_models::{
    CausalLm, CompletionBatch, Decoding, ModelError, PaddingSide, PrefixCache, SamplingConfig,
    ScoredTokens, sample,
};
use support::{MODELS, assert_close, device, host, load, row_logits};

/// Rows with where their continuations start: questions that share their first ten tokens, with three continuations each, one of
/// which ends another; a question whose contexts differ; one that shares nothing; and the first again.
fn questions() -> Vec<Vec<(Vec<u32>, usize)>> {
    let shots = [1u32, 5, 9, 13, 17, 21, 25, 29, 33, 37];
    let choices = |context: &[u32]| -> Vec<(Vec<u32>, usize)> {
        let with = |end: &[u32]| ([&shots, context, end].concat(), shots.len() + context.len());
        vec![with(&[3, 4, 5]), with(&[3]), with(&[3, 60]), with(&[50, 51, 52, 53])]
    };
    let first = choices(&[40, 41]);
    let contexts = vec![
        ([&shots[..], &[44, 7, 8]].concat(), 11),
        ([&shots[..], &[45, 46, 7, 8]].concat(), 12),
    ];
    let alone = vec![(vec![2, 3], 1), (vec![2, 4, 5], 1)];
    vec![first.clone(), choices(&[42, 43, 44, 45]), contexts, alone, first]
}

fn uncached(model: &CausalLm, rows: &[(Vec<u32>, usize)]) -> Vec<ScoredTokens> {
    let row = |(ids, start): &(Vec<u32>, usize)| {
        let batch =
            CompletionBatch::new(&[(ids, *start)], 0, PaddingSide::Right, &device()).unwrap();
        let log_probs = host(model.log_probs(&batch, 1.0).log_probs);
        let vocab = model.shape().vocab_size;
        let logits = row_logits(model, ids);
        let greedy = (*start..ids.len()).map(|at| {
            let logits = &logits[(at - 1) * vocab..at * vocab];
            let most = logits.iter().copied().fold(f32::MIN, f32::max);
            logits[ids[at] as usize] == most
        });
        ScoredTokens { log_probs, greedy: greedy.collect() }
    };
    rows.iter().map(row).collect()
}

#[test]
fn scores_from_a_shared_beginning_are_those_of_an_uncached_pass() {
    for name in MODELS {
        let model = load(name);
        let mut cache = PrefixCache::new(&model);
        let mut tokens = 0;
        for rows in questions() {
            tokens += rows.iter().map(|(ids, _)| ids.len() - 1).sum::<usize>();
            let wanted = uncached(&model, &rows);
            for (found, wanted) in cache.score(&rows).unwrap().iter().zip(&wanted) {
                assert_close(&found.log_probs, &wanted.log_probs, 1e-4, name);
                assert_eq!(found.greedy, wanted.greedy, "{name}");
            }
        }
        assert!(cache.computed() < tokens / 3, "{name}: {} of {tokens}", cache.computed());
    }
}

#[test]
fn a_row_may_have_one_token_more_than_the_context() {
    let model = load("llama3");
    let context = model.shape().context;
    // One token more than the context: the last one is never read.
    let long: Vec<u32> = (0..=context).map(|at| (at * 7 % 60) as u32 + 3).collect();
    let rows = vec![(long.clone(), context - 2), (long, context - 5)];
    let found = PrefixCache::new(&model).score(&rows).unwrap();
    let ids = &rows[0].0[..context];
    let logits = row_logits(&model, ids);
    let logits = burn::tensor::Tensor::<1>::from_floats(logits.as_slice(), &device());
    let all = host(activation::log_softmax(logits.reshape([context, 64]), 1));
    let wanted: Vec<f32> =
        (context - 5..=context).map(|at| all[(at - 1) * 64 + rows[1].0[at] as usize]).collect();
    assert_close(&found[1].log_probs, &wanted, 1e-4, "llama3");
    assert_close(&found[0].log_probs, &wanted[3..], 1e-4, "llama3");
}

#[test]
fn greedy_decoding_from_a_shared_beginning_is_that_of_the_sampler() {
    for name in MODELS {
        let model = load(name);
        let prompts: Vec<Vec<u32>> =
            vec![vec![5, 6, 7, 8, 9], vec![5, 6, 7, 10], vec![11], vec![5, 6, 7, 8, 9, 12, 13]];
        let config = SamplingConfig {
            decoding: Decoding::Greedy,
            max_new_tokens: 6,
            ..SamplingConfig::default()
        };
        let wanted: Vec<Vec<u32>> = sample(&model, &prompts, &config)
            .unwrap()
            .into_iter()
            .map(|sample| sample.token_ids)
            .collect();
        let mut cache = PrefixCache::new(&model);
        assert_eq!(cache.greedy(&prompts, 6, |_| false).unwrap(), wanted, "{name}");
        let stop = wanted[1][2];
        let ended = cache.greedy(&prompts, 6, |tokens| tokens.last() == Some(&stop)).unwrap();
        for (ended, whole) in ended.iter().zip(&wanted) {
            let end = whole.iter().position(|token| *token == stop).map_or(6, |at| at + 1);
            assert_eq!(ended, &whole[..end], "{name}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_by_its_row() {
    let model = load("llama3");
    let mut cache = PrefixCache::new(&model);
    let long = vec![3; model.shape().context + 2];
    for (rows, at) in [
        (vec![(vec![3, 4], 1), (vec![3, 4], 0)], 1),
        (vec![(vec![3, 4], 2)], 0),
        (vec![(vec![3, 64], 1)], 0),
        (vec![(vec![64, 3], 1)], 0),
        (vec![(long.clone(), 1)], 0),
    ] {
        let error = cache.score(&rows).unwrap_err();
        assert!(matches!(error, ModelError::Row { row, .. } if row == at), "{error}");
    }
    for prompt in [vec![], vec![64], long] {
        let error = cache.greedy(&[vec![3], prompt], 1, |_| false).unwrap_err();
        assert!(matches!(error, ModelError::Row { row: 1, .. }), "{error}");
    }
    assert_eq!(cache.score::<Vec<u32>>(&[]).unwrap(), []);
    assert_eq!(cache.greedy::<Vec<u32>>(&[], 3, |_| false).unwrap(), Vec::<Vec<u32>>::new());
}
