//! Tests read their expected values here: `golden/objectives/expected.json`, made by PyTorch and
//! TRL in float64.

use burn::tensor::{Bool, Device, Gradients, Tensor, TensorData, Tolerance};
use serde_json::Value;

/// A few roundings of f32: the longest sum has 20 terms, and exp and log cost about 2 ulp each.
const RELATIVE: f32 = 2e-6;
/// For elements that are small because larger ones (up to 100) cancel; the pair losses reach 85,
/// and one ulp there is 8e-6.
const ABSOLUTE: f32 = 1e-6;

/// One case of the file.
pub(crate) struct Case {
    name: &'static str,
    record: Value,
}

impl Case {
    pub(crate) fn load(name: &'static str) -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/objectives/expected.json");
        let text =
            std::fs::read_to_string(path).expect("golden/objectives/make.py writes the file");
        let mut cases: Value = serde_json::from_str(&text).expect("the file is json");
        Self { name, record: cases[name].take() }
    }

    /// An input on a plain device: a constant.
    pub(crate) fn constant<const D: usize>(&self, input: &str) -> Tensor<D> {
        floats(&self.record["inputs"][input], &Device::flex())
    }

    /// An input that is differentiated.
    pub(crate) fn tracked<const D: usize>(&self, input: &str) -> Tensor<D> {
        floats(&self.record["inputs"][input], &Device::flex().autodiff()).require_grad()
    }

    pub(crate) fn mask(&self) -> Tensor<2, Bool> {
        self.constant("mask").greater_elem(0.5)
    }

    pub(crate) fn number(&self, key: &str) -> f64 {
        self.record["numbers"][key].as_f64().expect("the case has this number")
    }

    /// Compares one of the outputs.
    pub(crate) fn matches_output<const D: usize>(&self, index: usize, output: &Tensor<D>) {
        close(self.name, &self.record["outputs"][index], output);
    }

    /// Compares the output, then the gradient of every tracked input; pass each input that the file
    /// has a gradient for.
    pub(crate) fn matches<const D: usize>(
        &self,
        output: Tensor<D>,
        tracked: &[(&str, &Tensor<D>)],
    ) {
        let gradients = self.backward(output);
        let expected = self.record["gradients"].as_object().map_or(0, serde_json::Map::len);
        assert_eq!(tracked.len(), expected, "{}: gradients compared", self.name);
        for (input, tensor) in tracked {
            self.matches_gradient(&gradients, input, tensor);
        }
    }

    /// Compares the output and differentiates its sum weighted by the case's `upstream`.
    pub(crate) fn backward<const D: usize>(&self, output: Tensor<D>) -> Gradients {
        self.matches_output(0, &output);
        let upstream = floats(&self.record["upstream"], &Device::flex());
        (output * upstream).sum().backward()
    }

    pub(crate) fn matches_gradient<const D: usize>(
        &self,
        gradients: &Gradients,
        input: &str,
        tensor: &Tensor<D>,
    ) {
        let gradient = tensor.grad(gradients).expect("the input is tracked");
        close(self.name, &self.record["gradients"][input], &gradient);
    }
}

/// The gradient of a tensor's sum in one tracked input.
pub(crate) fn gradient<const D: usize, const E: usize>(
    output: Tensor<D>,
    input: &Tensor<E>,
) -> Vec<f32> {
    numbers(&input.grad(&output.sum().backward()).expect("the input is tracked"))
}

/// A tensor's elements.
pub(crate) fn numbers<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.to_data().try_to_vec().expect("the tensor is f32")
}

fn close<const D: usize>(name: &str, expected: &Value, got: &Tensor<D>) {
    let expected = floats::<D>(expected, &Device::flex());
    assert_eq!(got.dims(), expected.dims(), "{name}: shape");
    let got = got.to_data();
    assert!(got.iter::<f32>().all(f32::is_finite), "{name}: {got}");
    got.assert_approx_eq::<f32>(&expected.into_data(), Tolerance::rel_abs(RELATIVE, ABSOLUTE));
}

/// Nested lists of numbers or booleans as a tensor.
fn floats<const D: usize>(nested: &Value, device: &Device) -> Tensor<D> {
    let (mut shape, mut level) = (Vec::new(), nested);
    while let Value::Array(items) = level {
        shape.push(items.len());
        level = &items[0];
    }
    assert_eq!(shape.len(), D, "the case has this input, at rank {D}: {nested}");
    let mut flat = Vec::new();
    flatten(nested, &mut flat);
    Tensor::from_data(TensorData::new(flat, shape), device)
}

fn flatten(nested: &Value, into: &mut Vec<f32>) {
    match nested {
        Value::Array(items) => items.iter().for_each(|item| flatten(item, into)),
        Value::Bool(kept) => into.push(f32::from(*kept)),
        number => into.push(number.as_f64().expect("the file holds numbers") as f32),
    }
}
