//! `CausalLm::backward` and `backward_with_values` against autodiff through all logits, and the former against finite
//! differences.
#![allow(clippy::unwrap_used)]

mod support;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use revealed_models::{Backward, CausalLm, CompletionBatch, LoraConfig, PaddingSide, ScalarModel};
use support::{
    assert_close, completions, device, golden, host, load, max_difference, tiny_llama, unpad,
};

/// Gradients in the order of the module's parameters, flat; `None` where there is none.
fn gradients<M: Module>(
    model: &M,
    gradients: &GradientsParams,
) -> Vec<(ParamId, Option<Vec<f32>>)> {
    struct Collect<'a> {
        gradients: &'a GradientsParams,
        found: Vec<(ParamId, Option<Vec<f32>>)>,
    }
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = self.gradients.get::<D>(param.id).map(host);
            self.found.push((param.id, gradient));
        }
    }
    let mut collect = Collect { gradients, found: vec![] };
    model.visit(&mut collect);
    collect.found
}

/// Rows with prompts of several lengths; the ids fit every model here.
fn batch(side: PaddingSide) -> CompletionBatch {
    let rows = [
        (vec![3, 14, 15, 9, 2, 6], 2),
        (vec![5, 3, 5], 1),
        (vec![8, 9, 7, 9, 3, 2, 3, 8, 4, 6], 6),
    ];
    completions(&rows, side)
}

/// A loss whose gradient differs from token to token and is not linear in the log-probs.
fn loss(log_probs: Tensor<2>) -> Tensor<1> {
    let [rows, width] = log_probs.dims();
    let weights = (0..rows * width).map(|i| 0.2 + 0.1 * (i % 5) as f32);
    let data = TensorData::new(weights.collect::<Vec<f32>>(), [rows, width]);
    let weights = Tensor::<2>::from_data(data, &device());
    (log_probs.clone().exp() * 2.0 - log_probs * weights).sum()
}

/// The same with values: their gradient differs from token to token too, depends on the log-probs, and is no multiple
/// of theirs.
fn loss_with_values(log_probs: Tensor<2>, values: Tensor<2>) -> Tensor<1> {
    let [rows, width] = values.dims();
    let weights = (0..rows * width).map(|i| 0.5 - 0.2 * (i % 4) as f32);
    let data = TensorData::new(weights.collect::<Vec<f32>>(), [rows, width]);
    let weights = Tensor::<2>::from_data(data, &device());
    let coupled = (values.clone() * weights + log_probs.clone() * 0.3).square() * 0.1;
    loss(log_probs) + (coupled - values * 0.4).sum()
}

/// Log-probs and soft values of the completion tokens, `[B, C]`, by autodiff through the logits of all positions.
fn by_autodiff(model: &CausalLm, batch: &CompletionBatch, temperature: f64) -> [Tensor<2>; 2] {
    let logits = model.logits(&batch.tokens) / temperature;
    let log_softmax = activation::log_softmax(logits.clone(), 2);
    let largest = logits.clone().detach().max_dim(2);
    let log_sum = (logits - largest.clone()).exp().sum_dim(2).log() + largest;
    let [_, time, _] = log_softmax.dims();
    let ids: Vec<i64> = batch.tokens.input_ids.clone().into_data().iter().collect();
    let mut rows = [vec![], vec![]];
    let [_, width] = batch.completion_mask.dims();
    for (row, length) in batch.completion_lengths.iter().enumerate() {
        let end = match batch.tokens.side {
            PaddingSide::Left => time,
            PaddingSide::Right => batch.tokens.lengths[row],
        };
        let first = end - length;
        let targets: Vec<i64> = ids[row * time + first..row * time + end].to_vec();
        let targets = Tensor::<1, Int>::from_ints(targets.as_slice(), &device());
        let states = |all: &Tensor<3>| all.clone().narrow(0, row, 1).narrow(1, first - 1, *length);
        let taken = states(&log_softmax).gather(2, targets.reshape([1, *length, 1]));
        let filler = Tensor::zeros([1, width - length], &device());
        for (rows, values) in rows.iter_mut().zip([taken, states(&log_sum)]) {
            let values = values.reshape([1, *length]);
            rows.push(match width > *length {
                true => Tensor::cat(vec![values, filler.clone()], 1),
                false => values,
            });
        }
    }
    rows.map(|rows| Tensor::cat(rows, 0))
}

/// Compares all gradients within `1e-5` of the largest of each tensor; gives how many there are.
fn assert_gradients_equal(
    what: &str,
    model: &CausalLm,
    batch: &CompletionBatch,
    temperature: f64,
) -> usize {
    let ours = model.backward(batch, temperature, loss);
    let [log_probs, _] = by_autodiff(model, batch, temperature);
    assert_same(what, model, batch, temperature, (ours, loss(log_probs)))
}

/// The same of [`loss_with_values`].
fn assert_value_gradients_equal(
    what: &str,
    model: &CausalLm,
    batch: &CompletionBatch,
    temperature: f64,
) -> usize {
    let ours = model.backward_with_values(batch, temperature, loss_with_values);
    let [log_probs, values] = by_autodiff(model, batch, temperature);
    assert_same(what, model, batch, temperature, (ours, loss_with_values(log_probs, values)))
}

fn assert_same(
    what: &str,
    model: &CausalLm,
    batch: &CompletionBatch,
    temperature: f64,
    (ours, theirs): (Backward, Tensor<1>),
) -> usize {
    let value = host(theirs.clone().inner())[0];
    let theirs = GradientsParams::from_grads(theirs.backward(), model);
    assert!((host(ours.loss)[0] - value).abs() <= 1e-5 * value.abs(), "{what}");
    let scored = model.log_probs(batch, temperature).log_probs;
    // Tracked and plain operations are not the same kernels: a few units of the last place of a logit.
    assert_close(&host(ours.log_probs), &host(scored), 1e-5, what);
    let mut count = 0;
    let pairs = gradients(model, &ours.gradients);
    for ((id, ours), (_, theirs)) in pairs.into_iter().zip(gradients(model, &theirs)) {
        assert_eq!(ours.is_some(), theirs.is_some(), "{what}: {id:?}");
        if let (Some(ours), Some(theirs)) = (ours, theirs) {
            let size = theirs.iter().fold(0f32, |m, g| m.max(g.abs()));
            let worst = max_difference(&ours, &theirs);
            // The floor is f32's rounding of sums whose terms, of size 1, cancel.
            assert!(worst <= 1e-5 * size.max(0.1), "{what}: {worst:e} of {size:e}");
            count += usize::from(size > 0.0);
        }
    }
    count
}

#[test]
fn gradients_of_a_full_model_equal_autodiff_through_all_logits() {
    let models =
        [("pythia", 28), ("qwen2", 26), ("llama3", 21), ("qwen3-mixed", 47), ("gemma3", 41)];
    for (name, parameters) in models {
        let model = load(name).trainable();
        for side in [PaddingSide::Left, PaddingSide::Right] {
            for temperature in [1.0, 0.6] {
                let count = assert_gradients_equal(name, &model, &batch(side), temperature);
                assert_eq!(count, parameters, "{name}");
                let count = assert_value_gradients_equal(name, &model, &batch(side), temperature);
                assert_eq!(count, parameters, "{name}");
            }
        }
    }
}

#[test]
fn gradients_of_adapters_on_a_frozen_model_equal_autodiff_and_the_rest_has_none() {
    let adapters =
        [("llama3-lora", "llama3"), ("pythia-lora", "pythia"), ("gemma3-lora", "gemma3")];
    for (name, base) in adapters {
        let model = load(base).with_adapter(&golden(name)).unwrap();
        let factors = 2 * model.decoder.linears().filter(|l| l.lora.is_some()).count();
        for temperature in [1.0, 1.5] {
            let batch = batch(PaddingSide::Right);
            let count = assert_gradients_equal(name, &model, &batch, temperature);
            assert_eq!(count, factors, "{name}");
            let found = gradients(&model, &model.backward(&batch, temperature, loss).gradients);
            let with = found.iter().filter(|(_, gradient)| gradient.is_some()).count();
            assert_eq!(with, factors, "a frozen weight of {name} has a gradient");
            let count = assert_value_gradients_equal(name, &model, &batch, temperature);
            assert_eq!(count, factors, "{name}");
        }
    }
}

#[test]
fn a_batch_may_be_made_on_a_device_with_autodiff() {
    let rows = [(vec![3, 14, 15, 9, 2, 6], 2), (vec![3, 14, 5], 2), (vec![8, 9, 7, 9, 3, 2], 1)];
    let tracked = device().autodiff();
    for (name, adapter) in [("llama3", Some("llama3-lora")), ("mistral", None), ("pythia", None)] {
        let model = load(name);
        let model = match adapter {
            Some(adapter) => model.with_adapter(&golden(adapter)).unwrap(),
            None => model.trainable(),
        };
        let batches = |device: &Device| {
            let padded = [PaddingSide::Left, PaddingSide::Right]
                .map(|side| CompletionBatch::new(&rows, 0, side, device).unwrap());
            let shared = CompletionBatch::sharing_prompts(&rows, 0, device).unwrap();
            padded.into_iter().chain([shared])
        };
        for (plain, tracked) in batches(&device()).zip(batches(&tracked)) {
            let numbers = |batch: &CompletionBatch| {
                let backward = model.backward(batch, 1.0, loss);
                let log_probs = host(model.log_probs(batch, 1.0).log_probs);
                (log_probs, gradients(&model, &backward.gradients))
            };
            assert_eq!(numbers(&tracked), numbers(&plain), "{name}");
        }
    }
}

#[test]
fn a_fresh_adapter_changes_no_log_prob_and_its_second_factor_learns_first() {
    let base = load("qwen3");
    let model = base.clone().with_lora(&LoraConfig::default(), 1).unwrap();
    let batch = batch(PaddingSide::Right);
    let log_probs = |model: &CausalLm| host(model.log_probs(&batch, 1.0).log_probs);
    assert_eq!(log_probs(&base), log_probs(&model));
    let gradients = model.backward(&batch, 1.0, loss).gradients;
    for layer in model.decoder.linears() {
        let lora = layer.lora.as_ref().unwrap();
        let size = |id| {
            let gradient = host(gradients.get::<2>(id).unwrap());
            gradient.into_iter().fold(0f32, |m, g| m.max(g.abs()))
        };
        assert_eq!(size(lora.a.id), 0.0, "{}", layer.name);
        assert!(size(lora.b.id) > 0.0, "{}", layer.name);
    }
}

#[test]
fn logits_that_need_several_chunks_give_the_same_log_probs_and_gradients() {
    // A chunk holds 2^23 logits, here 16 tokens of the 37.
    let vocab = 1 << 19;
    let rows: Vec<u32> = (0..40).map(|i| i * 13_001 % vocab).collect();
    let batch = completions(&[(rows, 3)], PaddingSide::Right);
    let model = tiny_llama(vocab as usize, 4, false, 2);
    let frozen = LoraConfig { r: 2, ..LoraConfig::default() };
    let frozen = model.clone().with_lora(&frozen, 3).unwrap();
    assert!(assert_gradients_equal("frozen head", &frozen, &batch, 0.8) > 0);
    assert!(assert_value_gradients_equal("frozen head", &frozen, &batch, 0.8) > 0);
    let trained = model.trainable();
    assert!(assert_gradients_equal("trained head", &trained, &batch, 0.8) > 0);
    assert!(assert_value_gradients_equal("trained head", &trained, &batch, 0.8) > 0);
}

#[test]
fn a_loss_that_reads_no_value_has_the_gradients_of_one_that_is_given_none() {
    let trained = load("llama3").trainable();
    let adapters = load("llama3").with_adapter(&golden("llama3-lora")).unwrap();
    for (model, rounds) in [(trained, 0.0), (adapters, 1e-5)] {
        let batch = batch(PaddingSide::Left);
        let plain = model.backward(&batch, 0.7, loss);
        let with = model.backward_with_values(&batch, 0.7, |log_probs, _| loss(log_probs));
        assert_eq!(host(plain.loss), host(with.loss));
        assert_eq!(host(plain.log_probs), host(with.log_probs));
        let pairs = gradients(&model, &plain.gradients);
        for ((_, a), (_, b)) in pairs.into_iter().zip(gradients(&model, &with.gradients)) {
            assert_eq!(a.is_some(), b.is_some());
            let (a, b) = (a.unwrap_or_default(), b.unwrap_or_default());
            let size = a.iter().fold(0.1f32, |m, g| m.max(g.abs()));
            // With a frozen head the one multiplies by the gradient before the product with the head, the other after.
            assert!(max_difference(&a, &b) <= rounds * size);
        }
    }
}

#[test]
fn a_loss_of_values_alone_has_gradients_and_fillers_have_none() {
    let model = load("qwen2").trainable();
    let rows = [(vec![3, 14, 15, 9, 2, 6], 2), (vec![5, 3, 5], 1)];
    let sum = |_: Tensor<2>, values: Tensor<2>| values.sum();
    let of = |rows: &[(Vec<u32>, usize)]| {
        let batch = completions(rows, PaddingSide::Right);
        let done = model.backward_with_values(&batch, 0.5, sum);
        (host(done.loss)[0], gradients(&model, &done.gradients))
    };
    let (all, together) = of(&rows);
    let ((first, a), (second, b)) = (of(&rows[..1]), of(&rows[1..]));
    assert!((all - first - second).abs() <= 1e-5 * all.abs() && all != 0.0);
    let mut learned = false;
    for ((together, a), b) in together.iter().zip(&a).zip(&b) {
        let apart: Vec<f32> =
            a.1.iter().flatten().zip(b.1.iter().flatten()).map(|(a, b)| a + b).collect();
        let together: Vec<f32> = together.1.iter().flatten().copied().collect();
        let size = together.iter().fold(0.1f32, |m, g| m.max(g.abs()));
        assert!(max_difference(&together, &apart) <= 1e-5 * size);
        learned |= size > 0.1;
    }
    assert!(learned);
}

#[test]
fn a_step_along_a_factor_changes_the_loss_as_its_gradient_says() {
    let model = load("llama3").with_adapter(&golden("llama3-lora")).unwrap();
    let batch = batch(PaddingSide::Left);
    let gradients = model.backward(&batch, 1.0, loss).gradients;
    let name = "model.layers.0.self_attn.v_proj";
    let layer = model.decoder.linears().find(|l| l.name == name).unwrap();
    let lora = layer.lora.as_ref().unwrap();
    for (id, shape) in [(lora.a.id, lora.a.dims()), (lora.b.id, lora.b.dims())] {
        let gradient = gradients.get::<2>(id).unwrap();
        let squared: f32 = host(gradient.clone()).iter().map(|g| g * g).sum();
        let size = squared.sqrt();
        assert_eq!(gradient.dims(), shape);
        let value = |step: f32| {
            let mut moved =
                Moved { id, by: host(gradient.clone()).iter().map(|g| g / size * step).collect() };
            let moved = model.clone().map(&mut moved);
            f64::from(host(loss(moved.log_probs(&batch, 1.0).log_probs))[0])
        };
        // f32 losses of about 20 are good to 1e-5, so a step of 1e-2 gives the slope to about 1e-3.
        let slope = (value(1e-2) - value(-1e-2)) / 2e-2;
        let relative = (slope / f64::from(size) - 1.0).abs();
        assert!(relative < 5e-3, "slope {slope}, gradient {size}");
    }
}

/// Adds a vector to one parameter.
struct Moved {
    id: ParamId,
    by: Vec<f32>,
}

impl burn::module::ModuleMapper for Moved {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if param.id != self.id {
            return param;
        }
        let by = TensorData::new(self.by.clone(), param.dims());
        param.map(|tensor| {
            let by = Tensor::from_data(by, &device());
            (tensor.inner() + by).autodiff().require_grad()
        })
    }
}

#[test]
fn entropy_equals_its_definition() {
    let model = load("pythia");
    let batch = batch(PaddingSide::Left);
    for temperature in [1.0, 0.5] {
        let entropy = unpad(&batch, model.log_probs(&batch, temperature).entropy);
        let logits = model.logits(&batch.tokens).div_scalar(temperature);
        let [_, time, vocab] = logits.dims();
        let log_softmax = host(activation::log_softmax(logits, 2));
        for (row, entropies) in entropy.iter().enumerate() {
            for (offset, found) in entropies.iter().enumerate() {
                let column = time - entropies.len() + offset - 1;
                let start = (row * time + column) * vocab;
                let log_probs = &log_softmax[start..start + vocab];
                let wanted: f64 =
                    log_probs.iter().map(|l| -f64::from(*l) * f64::from(*l).exp()).sum();
                assert!((f64::from(*found) - wanted).abs() < 1e-5);
            }
        }
    }
}

#[test]
fn a_scalar_model_takes_gradients_to_its_head_and_adapter_and_to_nothing_else() {
    let config = LoraConfig {
        r: 4,
        target_modules: vec!["q_proj".into(), "down_proj".into()],
        ..LoraConfig::default()
    };
    let model = ScalarModel::new(load("qwen2").with_lora(&config, 2).unwrap(), 3);
    let batch = batch(PaddingSide::Right);
    for scalar in [model.scores(&batch.tokens).square().sum(), model.values(&batch).square().sum()]
    {
        let gradients = GradientsParams::from_grads(scalar.backward(), &model);
        let found = self::gradients(&model, &gradients);
        let with: Vec<_> = found.iter().filter(|(_, g)| g.is_some()).collect();
        // Two factors on two layers of two blocks, and the head.
        assert_eq!(with.len(), 9);
        let head = host(gradients.get::<2>(model.score.id).unwrap());
        assert!(head.iter().any(|g| *g != 0.0));
        let second = model.backbone.decoder.linears().find_map(|l| l.lora.as_ref());
        let second = host(gradients.get::<2>(second.unwrap().b.id).unwrap());
        assert!(second.iter().any(|g| *g != 0.0));
    }
}

/// Prompts of several lengths, one of them under four completions (longer than every window), one under two, one alone.
fn rows_of_few_prompts() -> Vec<(Vec<u32>, usize)> {
    let row = |prompt: &[u32], length: u32, step: u32| {
        let completion = (0..length).map(|i| (i * step + step / 3) % 64);
        (prompt.iter().copied().chain(completion).collect(), prompt.len())
    };
    let long: Vec<u32> = (0..12).map(|i| (i * 17 + 3) % 64).collect();
    vec![
        row(&long, 3, 7),
        row(&[5, 0, 9], 1, 5),
        row(&long, 1, 3),
        row(&[8], 6, 11),
        row(&long, 9, 5),
        row(&[5, 0, 9], 8, 13),
        row(&long, 5, 29),
    ]
}

#[test]
fn a_prompt_computed_once_for_its_rows_changes_no_number_and_no_gradient() {
    let rows = rows_of_few_prompts();
    let alone = completions(&rows, PaddingSide::Right);
    let shared = CompletionBatch::sharing_prompts(&rows, 0, &device()).unwrap();
    // Three prompts: the batch has but the completions.
    assert_eq!(shared.tokens.shape(), [7, 9]);
    assert_eq!(alone.tokens.shape(), [7, 21]);
    for name in support::MODELS {
        let plain = load(name);
        let adapter = LoraConfig { r: 4, ..LoraConfig::default() };
        let adapted = plain.clone().with_lora(&adapter, 2).unwrap();
        for model in [plain.trainable(), adapted] {
            let found = model.log_probs(&shared, 0.7);
            let expected = model.log_probs(&alone, 0.7);
            assert_close(&host(found.log_probs), &host(expected.log_probs), 1e-5, name);
            assert_close(&host(found.entropy), &host(expected.entropy), 1e-5, name);
            let critic = ScalarModel::new(model.clone(), 3);
            let (found, expected) = (critic.values(&shared), critic.values(&alone));
            assert_close(&host(found.inner()), &host(expected.inner()), 2e-5, name);
            let [found, expected] = [&shared, &alone].map(|batch| critic.row_scores(batch));
            let at_last = critic.scores(&alone.tokens);
            assert_close(&host(expected.clone().inner()), &host(at_last.inner()), 2e-5, name);
            assert_close(&host(found.clone().inner()), &host(expected.clone().inner()), 2e-5, name);
            let of_scores = [found, expected].map(|scores| {
                GradientsParams::from_grads(scores.square().sum().backward(), &critic)
            });
            let [found, expected] = of_scores.map(|all| gradients(&critic, &all));
            same_gradients(&found, &expected, name);
            let of_loss = [&shared, &alone].map(|batch| model.backward(batch, 0.7, loss).gradients);
            let [found, expected] = of_loss.map(|all| gradients(&model, &all));
            same_gradients(&found, &expected, name);
            assert!(
                expected
                    .iter()
                    .any(|(_, g)| g.as_ref().is_some_and(|g| g.iter().any(|g| *g != 0.0)))
            );
        }
    }
}

fn same_gradients(
    found: &[(ParamId, Option<Vec<f32>>)],
    expected: &[(ParamId, Option<Vec<f32>>)],
    name: &str,
) {
    let largest = |all: &[f32]| all.iter().fold(0f32, |largest, g| largest.max(g.abs()));
    for ((id, found), (other, expected)) in found.iter().zip(expected) {
        assert_eq!((id, found.is_some()), (other, expected.is_some()), "{name}");
        if let (Some(found), Some(expected)) = (found, expected) {
            assert_close(found, expected, 2e-5 * largest(expected).max(1.0), name);
        }
    }
}

#[test]
fn prompts_that_save_little_are_not_shared() {
    let rows = vec![(vec![1, 2, 3, 4, 5, 6, 7, 8, 9], 1), (vec![1, 3, 4, 5, 6, 7, 8, 9, 9], 1)];
    let batch = CompletionBatch::sharing_prompts(&rows, 0, &device()).unwrap();
    assert_eq!(batch.tokens.shape(), [2, 9]);
    let distinct = vec![(vec![1, 2, 3], 2), (vec![2, 2, 3], 2)];
    let batch = CompletionBatch::sharing_prompts(&distinct, 0, &device()).unwrap();
    assert_eq!(batch.tokens.shape(), [2, 3]);
    let wrong = CompletionBatch::sharing_prompts(&[(vec![1, 2], 3)], 0, &device()).unwrap_err();
    assert!(wrong.to_string().contains("starts at token 3 of 2"), "{wrong}");
}
